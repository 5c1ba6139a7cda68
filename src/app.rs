//! The composition root: chooses backends, starts actors and assembles the server. Tests start the same application on a
//! free port.

mod stop;
mod tasks;

pub use stop::ApplicationHandle;

use crate::{
    api_error::from_failure,
    auth::{Accounts, Passwords, Tickets, Tokens},
    config::{Config, ProviderKind},
    http::{self, JsonLimit},
    knowledge::KnowledgeBase,
    limiter::{self, Limiter, Origins},
    limits::MAX_JSON_BODY_BYTES,
    metrics::Metrics,
    ops::{Feed, OpsContext},
    preflight::Preflight,
    process, provider,
    registry::{ConnectionManager, StallLimits},
    session::{QuestionRules, SessionContext},
    steering::{Audit, DrainControl, Settings},
    store::{
        AuditStore, ClockStore, ConversationStore, DocumentStore, ServingClock, UserList, UserStore,
        sqlite::{ServingRight, SqliteStore},
    },
    transport::{self, Capacity, InFlight, ServerContext, ServerLimits},
    turn::TurnFailure,
    workflow::{Engine, Recorder, Turns, Workflow, router::Router},
};
use actix::{Actor, Addr};
use actix_web::{App, dev::Server, middleware::from_fn, web::Data};
use std::{
    error::Error,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tasks::{keep_time, learn_revocations, store_time};

/// Interval between two sweeps of ended turns and unused rate limits.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// A server that listens, and serves while [`Application::run`] is awaited.
pub struct Application {
    server: Server,
    address: SocketAddr,
    registry: Addr<ConnectionManager>,
    turns: Arc<Turns>,
    requests: Arc<InFlight>,
    drain: Arc<DrainControl>,
    accounts: Data<Accounts>,
    drain_timeout: Duration,
    limiter: Arc<Limiter>,
    recorder: Arc<Recorder>,
    feed: Arc<Feed>,
    audit: Arc<Audit>,
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
        let Preflight { specialists, provider } = Preflight::run(&config)?;
        // Checked before the database is touched: a process that cannot serve must not change it.
        let (host, port) = (config.server.host.clone(), config.server.port);
        let cannot_listen = |error: io::Error| cannot_listen(&host, port, &error);
        drop(TcpListener::bind((host.as_str(), port)).map_err(cannot_listen)?);
        let serving_right = ServingRight::take(&config.database)?;
        let workers = match config.server.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let capacity = Capacity::new(&config, workers, process::file_limit())?;
        let secret = config.signing_secret()?;
        let config_at_start = config.clone();
        actix::spawn(provider::check_at_start(Arc::clone(&provider)));
        let names: Vec<_> = specialists.all().iter().map(|specialist| specialist.name.clone()).collect();
        let metrics = Arc::new(Metrics::new(&names));
        let store = Arc::new(SqliteStore::open_measured(&config.database, Arc::clone(&metrics))?);

        let lost = from_failure(&TurnFailure::ServerLost);
        match store.interrupt_running_turns(lost.code.as_str(), &lost.message).await? {
            0 => {}
            turns => log::warn!(turns; "ended turns that were running when the server last stopped"),
        }
        let knowledge =
            Arc::new(KnowledgeBase::new(Arc::clone(&store) as Arc<dyn DocumentStore>, config.knowledge.clone()));
        knowledge.start_index().await?;
        if config.knowledge.seed {
            knowledge.seed().await?;
        }

        let clock = ServingClock::resume(store.served_time().await?);
        let tokens = Arc::new(Tokens::new(&config.auth, &secret, clock.clone()));
        let users = Arc::clone(&store) as Arc<dyn UserStore>;
        let passwords = Passwords::start_measured(&config.auth, Arc::clone(&metrics))?;
        let accounts = Data::new(Accounts::new(users, passwords, Arc::clone(&tokens)));
        accounts.learn_revocations().await.map_err(|error| error.to_string())?;
        let tokens = Data::from(tokens);
        let tickets = Data::new(Tickets::new(config.auth.ws_ticket_ttl_s));
        let user_list = Arc::clone(&store) as Arc<dyn UserList>;
        let conversations = Arc::clone(&store) as Arc<dyn ConversationStore>;
        let stall_timeout = Duration::from_secs(config.session.write_stall_timeout_s);
        let registry = ConnectionManager::new(StallLimits {
            lagging: stall_timeout,
            idle: Duration::from_secs(config.session.heartbeat_interval_s) + stall_timeout,
        })
        .start();
        let limiter = Arc::new(Limiter::new(&config.limits));
        let turns = Turns::new(&config.workflow, Arc::clone(&limiter));
        let drain = DrainControl::new(Arc::clone(&turns));
        let settings = Data::new(Settings::new(config_at_start, Arc::clone(&limiter), Arc::clone(&turns)));
        let audit_retention_days = config.database.audit_retention_days;
        let audit = Audit::new(Arc::clone(&store) as Arc<dyn AuditStore>, audit_retention_days, clock.clone());
        let (audit, audit_to_maintain) = (Data::from(Arc::clone(&audit)), audit);
        let recorder = Recorder::new(Arc::clone(&conversations), clock.clone(), from_failure);
        let engine = Arc::new(Engine {
            max_passages: config.knowledge.max_passages,
            router: Router::new(Arc::clone(&specialists), config.workflow.confidence_threshold),
            config: config.workflow,
            specialists,
            provider,
            knowledge: Arc::clone(&knowledge),
            store: Arc::clone(&conversations),
            recorder: Arc::clone(&recorder),
            turns: Arc::clone(&turns),
            registry: registry.clone(),
            metrics: Arc::clone(&metrics),
            failures: from_failure,
        });
        let feed = Feed::new(registry.clone(), Arc::clone(&turns), Arc::clone(&limiter), Arc::clone(&metrics));
        let rules = QuestionRules {
            max_message_chars: config.session.max_message_chars,
            script: (config.provider.kind == ProviderKind::Scripted).then_some(config.provider.scripted),
        };
        let session_config = Arc::new(config.session);
        let json_limit = JsonLimit {
            max_message_bytes: session_config.max_message_bytes,
            // A server that accepts only short messages accepts no long bodies either.
            max_bytes: session_config.max_message_bytes.min(MAX_JSON_BODY_BYTES),
            max_depth: config.limits.json_depth,
            timeout: Duration::from_millis(config.server.request_body_timeout_ms),
        };
        let origins = Origins::of(config.env, &config.server.allowed_origins);
        let data_of_origins = Data::new(origins.clone());
        let addresses = Arc::new(limiter::client_addresses(&config.server));
        let client_addresses = Data::from(Arc::clone(&addresses));
        let data_of_limiter = Data::from(Arc::clone(&limiter));
        let data_of_recorder = Data::from(Arc::clone(&recorder));
        let data_of_metrics = Data::from(Arc::clone(&metrics));
        let scrape_rules = Data::new(http::ScrapeRules::new(&config.metrics));
        let limiter_to_sweep = Arc::clone(&limiter);

        let listeners = transport::listen((host.as_str(), port)).map_err(cannot_listen)?;
        let address = listeners.first().ok_or("no address to listen on")?.local_addr()?;
        let host_check = Data::new(http::HostCheck::new(&config.server, &listeners)?);
        let (data_of_registry, data_of_turns) = (Data::new(registry.clone()), Data::from(Arc::clone(&turns)));
        let (knowledge, conversations) = (Data::from(knowledge), Data::from(conversations));
        let user_list = Data::from(user_list);
        let requests = Arc::<InFlight>::default();
        let (data_of_drain, in_flight) = (Data::from(Arc::clone(&drain)), Data::from(Arc::clone(&requests)));
        let accounts_to_ask = accounts.clone();
        let shared = ServerContext { in_flight: Arc::clone(&requests), limiter: Arc::clone(&limiter), addresses };
        let feed_to_run = Arc::clone(&feed);
        let factory = move || {
            // One workflow per worker thread: a turn runs on the thread of its session, so that a token wakes no other core.
            let workflow = Workflow::new(Arc::clone(&engine)).start();
            let session = SessionContext {
                config: Arc::clone(&session_config),
                limiter: Arc::clone(&limiter),
                metrics: Arc::clone(&metrics),
                tokens: tokens.clone(),
                rules,
                registry: data_of_registry.get_ref().clone(),
                workflow: workflow.clone(),
            };
            let ops = OpsContext {
                feed: Arc::clone(&feed),
                registry: data_of_registry.get_ref().clone(),
                tokens: tokens.clone(),
                limiter: Arc::clone(&limiter),
                audit: Arc::clone(&audit),
                session: Arc::clone(&session_config),
            };
            App::new()
                .wrap(from_fn(transport::count_requests))
                .wrap(from_fn(http::limit_requests))
                .wrap(http::cors(origins.clone()))
                .wrap(from_fn(http::refuse_preflights))
                .wrap(from_fn(http::check_host))
                .wrap(from_fn(http::keep_reserve))
                .wrap(http::error_bodies())
                .wrap(http::default_headers())
                .wrap(from_fn(http::answer_head))
                .wrap(from_fn(http::hold_bodies))
                .app_data(tokens.clone())
                .app_data(accounts.clone())
                .app_data(tickets.clone())
                .app_data(conversations.clone())
                .app_data(user_list.clone())
                .app_data(knowledge.clone())
                .app_data(data_of_registry.clone())
                .app_data(data_of_turns.clone())
                .app_data(data_of_drain.clone())
                .app_data(settings.clone())
                .app_data(audit.clone())
                .app_data(in_flight.clone())
                .app_data(Data::new(rules))
                .app_data(Data::new(workflow))
                .app_data(Data::new(session))
                .app_data(Data::new(ops))
                .app_data(data_of_limiter.clone())
                .app_data(data_of_metrics.clone())
                .app_data(data_of_recorder.clone())
                .app_data(scrape_rules.clone())
                .app_data(data_of_origins.clone())
                .app_data(client_addresses.clone())
                .app_data(host_check.clone())
                .app_data(json_limit)
                .configure(http::routes)
        };
        let limits = ServerLimits {
            workers,
            capacity,
            request_head_timeout: Duration::from_millis(config.server.request_head_timeout_ms),
            stall_timeout,
        };
        let server = transport::server(listeners, limits, shared, factory)?;
        let drain_timeout = Duration::from_secs(config.server.drain_timeout_s);
        Ok(Self {
            server,
            address,
            registry,
            turns,
            requests,
            drain,
            accounts: accounts_to_ask,
            drain_timeout,
            limiter: limiter_to_sweep,
            recorder,
            feed: feed_to_run,
            audit: audit_to_maintain,
            clock,
            clock_store: store,
            serving_right,
        })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn handle(&self) -> ApplicationHandle {
        ApplicationHandle {
            server: self.server.handle(),
            registry: self.registry.clone(),
            turns: Arc::clone(&self.turns),
            requests: self.requests.clone(),
            operators: Arc::clone(self.feed.sockets()),
            drain: Arc::clone(&self.drain),
            drain_timeout: self.drain_timeout,
        }
    }

    /// Serves until the server is stopped.
    ///
    /// # Errors
    /// When the server ends with an I/O error.
    pub async fn run(self) -> std::io::Result<()> {
        let handle = self.handle();
        actix::spawn(async move { handle.stop_when_asked().await });
        actix::spawn(learn_revocations(self.accounts.clone(), self.registry.clone(), Arc::clone(&self.drain)));
        let (turns, limiter) = (Arc::downgrade(&self.turns), Arc::downgrade(&self.limiter));
        actix::spawn(async move {
            let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
            loop {
                ticks.tick().await;
                let (Some(turns), Some(limiter)) = (turns.upgrade(), limiter.upgrade()) else { return };
                turns.sweep();
                limiter.sweep();
            }
        });
        actix::spawn(Arc::clone(&self.recorder).run());
        actix::spawn(Arc::clone(&self.recorder).maintain());
        actix::spawn(Feed::run(Arc::downgrade(&self.feed)));
        actix::spawn(Audit::maintain(Arc::downgrade(&self.audit)));
        let (clock, clock_store) = (self.clock.clone(), Arc::clone(&self.clock_store));
        actix::spawn(keep_time(clock, clock_store, self.accounts.clone(), Arc::clone(&self.drain)));
        let served = self.server.await;
        // Turns that were still running have ended with the worker threads.
        self.recorder.retry_unstored().await;
        store_time(&self.clock, &*self.clock_store).await;
        drop(self.serving_right);
        self.drain.set_stopped();
        served
    }
}

/// Describes why the address cannot be used, with advice.
fn cannot_listen(host: &str, port: u16, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "; stop the program that uses the port, or choose another server.port (--port)",
        io::ErrorKind::PermissionDenied => "; choose a server.port (--port) above 1023, or permit this one",
        _ => "",
    };
    format!("cannot listen on {host}:{port}: {error}{advice}")
}
