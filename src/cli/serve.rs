//! `switchboard serve`: runs the server until it is asked to stop.

use super::{CliError, signals::SurvivedSignals};
use crate::{
    app::Application,
    config::{Config, ConfigError},
    logging, process,
};
use std::{
    error::Error,
    io::{self, Write as _},
};
use tokio::{
    runtime::{Builder, LocalOptions, LocalRuntime},
    signal::unix::{Signal, SignalKind, signal},
};

/// A process that is about to serve: from here on it survives signals that only mean to tell it something.
pub(super) struct Serving {
    runtime: LocalRuntime,
    signals: SurvivedSignals,
}

/// Flushes the log however the server ends, also by a panic.
struct FlushedAtEnd;

impl Drop for FlushedAtEnd {
    fn drop(&mut self) {
        logging::flush();
    }
}

impl Serving {
    /// The first thing that a server does, before it reads its configuration.
    ///
    /// # Errors
    /// When the system has no place for a runtime.
    pub fn prepare() -> io::Result<Self> {
        // No `actix::System`: within one, actix-server's workers run all their tasks as one future of their runtime, which costs
        // a second scheduler for each wake-up.
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        let signals = runtime.block_on(async { SurvivedSignals::catch() })?;
        Ok(Self { runtime, signals })
    }

    pub fn run(self, config: Config) -> Result<(), CliError> {
        // A connection touches a part of its buffers; in huge pages all of them would be resident, a third of it for nothing.
        // A kernel that cannot do without them costs memory, and nothing else.
        #[cfg(target_os = "linux")]
        let _ = rustix::thread::disable_transparent_huge_pages(true);
        let _flushed_at_end = FlushedAtEnd;
        logging::log_panics();
        let open_files = process::raise_file_limit_to_maximum();
        log::debug!(open_files; "raised the limit of open files");
        let Self { runtime, signals } = self;
        runtime.block_on(async {
            signals.log();
            let served = serve(config).await;
            // An actor that was never polled starts when it is dropped with the runtime, where it cannot: after an error it
            // starts here.
            tokio::task::yield_now().await;
            served
        })
    }
}

async fn serve(config: Config) -> Result<(), CliError> {
    let application = Application::build(config).await.map_err(refused)?;
    let handle = application.handle();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    announce(format!("Switchboard is at http://{}/ (Ctrl-C stops it)", application.address()))?;
    actix::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        actix::spawn({
            let handle = handle.clone();
            async move { handle.stop().await }
        });
        either(&mut terminate, &mut interrupt).await;
        log::warn!("asked to stop for the second time: stopping at once");
        handle.abort().await;
    });
    application.run().await?;
    log::info!("stopped");
    Ok(())
}

/// Writes a line to stdout from a thread of its own: a write blocks when stdout is a pipe that nobody reads. A closed stdout
/// is no reason not to serve.
fn announce(line: String) -> io::Result<()> {
    let write = move || {
        let mut out = io::stdout();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    };
    std::thread::Builder::new().name("announcement".to_owned()).spawn(write).map(drop)
}

/// Why there is no server: a refused configuration, or anything else that the start needs.
fn refused(error: Box<dyn Error>) -> CliError {
    match error.downcast::<ConfigError>() {
        Ok(error) => CliError::Config(*error),
        Err(other) => CliError::Failed(other.to_string()),
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
