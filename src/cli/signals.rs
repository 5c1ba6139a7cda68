//! Signals that would end the process by default and must not end a running server.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signal for a file that reached the limit of its size, such as a redirected log.
const FILE_SIZE_EXCEEDED: i32 = rustix::process::Signal::XFSZ.as_raw();

/// Signals that are only logged. They are caught from [`SurvivedSignals::catch`] on until the process ends, also while nobody
/// waits for them.
pub(super) struct SurvivedSignals(Vec<(Signal, &'static str)>);

impl SurvivedSignals {
    /// Needs a runtime.
    ///
    /// # Errors
    /// When the system does not let us catch them.
    pub fn catch() -> io::Result<Self> {
        let survived = [
            (
                SignalKind::hangup(),
                "SIGHUP received; no setting can be reloaded: restart the server, or use `switchboard ops settings`",
            ),
            (SignalKind::user_defined1(), "SIGUSR1 received; it has no effect"),
            (SignalKind::user_defined2(), "SIGUSR2 received; it has no effect"),
            (
                SignalKind::from_raw(FILE_SIZE_EXCEEDED),
                "SIGXFSZ received; a file has reached the limit of its size (`ulimit -f`) and cannot grow",
            ),
        ];
        let caught = survived.into_iter().map(|(kind, text)| Ok((signal(kind)?, text)));
        caught.collect::<io::Result<_>>().map(Self)
    }

    /// Logs each of them, from a task of the runtime that this is called on.
    pub fn log(self) {
        for (mut signal, text) in self.0 {
            actix::spawn(async move {
                while signal.recv().await.is_some() {
                    log::info!("{text}");
                }
            });
        }
    }
}
