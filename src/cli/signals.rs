//! Signals that end a process by default, but must not end a running server.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signal for a file that has reached its size limit, such as a redirected log.
const FILE_SIZE_EXCEEDED: i32 = rustix::process::Signal::XFSZ.as_raw();

/// Signals that are only logged. They are caught from [`SurvivedSignals::catch`] until the process ends, also while no task
/// waits for them.
pub(super) struct SurvivedSignals(Vec<(Signal, &'static str)>);

impl SurvivedSignals {
    /// Starts catching the signals. Must be called within a runtime.
    ///
    /// # Errors
    /// When the system refuses to catch one of them.
    pub fn catch() -> io::Result<Self> {
        let survived = [
            (
                SignalKind::hangup(),
                "received SIGHUP; settings are not reloaded: restart the server, or use `switchboard ops settings`",
            ),
            (SignalKind::user_defined1(), "received SIGUSR1; it has no effect"),
            (SignalKind::user_defined2(), "received SIGUSR2; it has no effect"),
            (
                SignalKind::from_raw(FILE_SIZE_EXCEEDED),
                "received SIGXFSZ; a file has reached its size limit (`ulimit -f`) and cannot grow",
            ),
        ];
        let caught = survived.into_iter().map(|(kind, text)| Ok((signal(kind)?, text)));
        caught.collect::<io::Result<_>>().map(Self)
    }

    /// Logs each signal from a task on the current runtime.
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
