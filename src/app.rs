//! The composition root: chooses backends, starts actors and assembles the server. Tests start the same application on a
//! free port.

mod compose;
mod pipeline;
mod stop;
mod tasks;

pub use pipeline::{Pipeline, PipelineAnswer, PipelineError};
pub use stop::ApplicationHandle;

use crate::{
    config::Config,
    http::{self, AppState},
    ops::Feed,
    preflight::Preflight,
    process,
    provider::Providers,
    steering::Audit,
    store::{
        ClockStore, ServingClock,
        sqlite::{ServingRight, SqliteStore},
    },
    transport::{self, Capacity, ServerContext, ServerLimits},
};
use actix::Addr;
use actix_web::dev::Server;
use compose::Composed;
use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};
use tasks::{keep_time, learn_revocations, store_time};

/// Interval between two sweeps of ended turns and unused rate limits.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// A server that listens, and serves while [`Application::run`] is awaited.
pub struct Application {
    server: Server,
    address: SocketAddr,
    state: Arc<AppState>,
    drain_timeout: Duration,
    clock: ServingClock,
    clock_store: Arc<dyn ClockStore>,
    serving_right: ServingRight,
}

impl Application {
    /// Builds the server: opens the database, loads the knowledge base, starts the actors, and listens. Must be called
    /// within a runtime that can spawn local tasks.
    ///
    /// # Errors
    /// When the database, the specialists, the provider or the address cannot be used; the error says which.
    pub async fn build(config: Config) -> Result<Self, Box<dyn Error>> {
        // Whatever can fail without the database comes first: a process that cannot serve must not change it.
        let preflight = Preflight::run(&config)?;
        compose::check_address(&config.server)?;
        let serving_right = ServingRight::take(&config.database)?;
        let limits = server_limits(&config)?;
        let secret = config.signing_secret()?;
        actix::spawn(Arc::clone(&preflight.providers).check_at_start());
        compose::warn_of_unknown_prices(&config.budgets, &preflight.providers);

        // Clients can connect once it listens. They wait until the workers have started.
        let listen = || compose::listen(&config.server);
        let Composed { state, engine, store, clock, listeners } =
            compose::compose(&config, preflight, &secret, listen).await?;
        let address = listeners.first().ok_or("no address to listen on")?.local_addr()?;
        let shared = ServerContext {
            in_flight: Arc::clone(&state.in_flight),
            limiter: Arc::clone(&state.limiter),
            addresses: Arc::clone(&state.client_addresses),
            metrics: Arc::clone(&state.metrics),
        };
        let (state_of_workers, session_config) = (Arc::clone(&state), Arc::new(config.session));
        let application = move || http::application(compose::worker_state(&state_of_workers, &engine, &session_config));
        let server = transport::server(listeners, limits, shared, application)?;
        let drain_timeout = Duration::from_secs(config.server.drain_timeout_s);
        Ok(Self { server, address, state, drain_timeout, clock, clock_store: store, serving_right })
    }

    /// Checks everything that [`Application::build`] would refuse, without creating or changing anything. A server may be
    /// running, and use the port and the database.
    ///
    /// # Errors
    /// As [`Application::build`].
    pub fn check(config: &Config) -> Result<Arc<Providers>, Box<dyn Error>> {
        let preflight = Preflight::run(config)?;
        compose::check_port(&config.server)?;
        server_limits(config)?;
        SqliteStore::check(&config.database)?;
        Ok(preflight.providers)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn handle(&self) -> ApplicationHandle {
        ApplicationHandle {
            server: self.server.handle(),
            registry: Addr::clone(&self.state.registry),
            turns: Arc::clone(&self.state.turns),
            requests: Arc::clone(&self.state.in_flight),
            drain: Arc::clone(&self.state.drain),
            drain_timeout: self.drain_timeout,
        }
    }

    /// Serves until the server is stopped.
    ///
    /// # Errors
    /// When the server ends with an I/O error.
    pub async fn run(self) -> std::io::Result<()> {
        let handle = self.handle();
        let AppState { accounts, audit, drain, limiter, ops, recorder, registry, turns, .. } = &*self.state;
        actix::spawn(async move { handle.stop_when_asked().await });
        actix::spawn(learn_revocations(Arc::clone(accounts), Addr::clone(registry), Arc::clone(drain)));
        let (turns, limiter) = (Arc::downgrade(turns), Arc::downgrade(limiter));
        actix::spawn(async move {
            let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
            loop {
                ticks.tick().await;
                let (Some(turns), Some(limiter)) = (turns.upgrade(), limiter.upgrade()) else { return };
                turns.sweep();
                limiter.sweep();
            }
        });
        actix::spawn(Arc::clone(recorder).run());
        actix::spawn(Arc::clone(recorder).maintain());
        actix::spawn(Feed::run(Arc::downgrade(&ops.feed)));
        actix::spawn(Audit::maintain(Arc::downgrade(audit)));
        let clock_store = Arc::clone(&self.clock_store);
        actix::spawn(keep_time(self.clock.clone(), clock_store, Arc::clone(accounts), Arc::clone(drain)));
        let served = self.server.await;
        // Turns that were still running have ended with the worker threads.
        recorder.retry_unstored().await;
        store_time(&self.clock, &*self.clock_store).await;
        drop(self.serving_right);
        drain.set_stopped();
        served
    }
}

/// Computes the number of worker threads, and the limits and timeouts of their connections.
fn server_limits(config: &Config) -> Result<ServerLimits, Box<dyn Error>> {
    let workers = match config.server.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    Ok(ServerLimits {
        workers,
        capacity: Capacity::new(config, workers, process::file_limit())?,
        request_head_timeout: Duration::from_millis(config.server.request_head_timeout_ms),
        stall_timeout: Duration::from_secs(config.session.write_stall_timeout_s),
    })
}
