//! `switchboard serve`: runs the server until it is asked to stop.

use super::{CliError, signals::SurvivedSignals, start_error};
use crate::{app::Application, build_info, config::Config, logging, process};
use std::io::{self, Write as _};
use tokio::{
    runtime::{Builder, LocalOptions, LocalRuntime},
    signal::unix::{Signal, SignalKind, signal},
};

/// A process that is about to serve: it has a runtime, and survives signals that are only logged.
pub(super) struct Serving {
    runtime: LocalRuntime,
    signals: SurvivedSignals,
}

/// Flushes the log when dropped, however the server ends.
struct FlushedAtEnd;

impl Drop for FlushedAtEnd {
    fn drop(&mut self) {
        logging::flush();
    }
}

impl Serving {
    /// Prepares the process, before the configuration is read.
    ///
    /// # Errors
    /// When the runtime cannot be created or the signals cannot be caught.
    pub fn prepare() -> io::Result<Self> {
        // No `actix::System`: inside one, each worker of actix-server runs all its tasks as one future, so that every wake-up
        // passes through a second scheduler.
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        let signals = runtime.block_on(async { SurvivedSignals::catch() })?;
        Ok(Self { runtime, signals })
    }

    pub fn run(self, config: Config) -> Result<(), CliError> {
        // A connection touches only part of its buffers; with huge pages, all of them would be resident, a third more memory.
        // Where the kernel does not support this call, the server only takes more memory.
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
            // After an error, actors may not have been polled yet. Dropping the runtime would start them, outside of any
            // runtime; yielding starts them here.
            tokio::task::yield_now().await;
            served
        })
    }
}

async fn serve(config: Config) -> Result<(), CliError> {
    let (env, files) = (config.env, config.files.to_string());
    let application = Application::build(config).await.map_err(start_error)?;
    let handle = application.handle();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    log::info!(
        version = build_info::FULL_VERSION, address:% = application.address(), env = env.as_str(), config_files = files;
        "server started"
    );
    announce(format!("Switchboard is at http://{}/ (Ctrl-C stops it)", application.address()))?;
    actix::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        actix::spawn({
            let handle = handle.clone();
            async move { handle.stop().await }
        });
        either(&mut terminate, &mut interrupt).await;
        log::warn!("received a second signal to stop; stopping at once");
        handle.abort().await;
    });
    application.run().await?;
    log::info!("server stopped");
    Ok(())
}

/// Writes a line to stdout on a thread of its own, since the write blocks when stdout is a full pipe. A closed stdout is
/// ignored.
fn announce(line: String) -> io::Result<()> {
    let write = move || {
        let mut out = io::stdout();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    };
    std::thread::Builder::new().name("announcement".to_owned()).spawn(write).map(drop)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
