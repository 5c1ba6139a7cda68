//! `switchboard serve`: runs the server until it is asked to stop.

use super::CliError;
use crate::{app::Application, config::Config};
use std::io;
use tokio::{
    runtime::{Builder, LocalOptions},
    signal::unix::{Signal, SignalKind, signal},
};

pub(super) fn run(config: Config, out: &mut dyn io::Write) -> Result<(), CliError> {
    // A connection touches a part of its buffers; in huge pages all of them would be resident, a third of it for nothing.
    // A kernel that cannot do without them costs memory, and nothing else.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    // No `actix::System`: within one, actix-server's workers run all their tasks as one future of their runtime, which costs
    // a second scheduler for each wake-up.
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let served = serve(config, out).await;
        // An actor that was never polled starts when it is dropped with the runtime, where it cannot: after an error it
        // starts here.
        tokio::task::yield_now().await;
        served
    })
}

async fn serve(config: Config, out: &mut dyn io::Write) -> Result<(), CliError> {
    let application = Application::build(config).await.map_err(|error| CliError::Failed(error.to_string()))?;
    writeln!(out, "Switchboard is at http://{}/ (Ctrl-C stops it)", application.address())?;
    out.flush()?;
    let handle = application.handle();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
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
    log::logger().flush();
    Ok(())
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
