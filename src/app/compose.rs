//! The steps of [`Application::build`](super::Application::build) that are more than one call.

use crate::{
    api_error::from_failure,
    auth::{Accounts, DocumentLinks, Passwords, Tickets, Tokens},
    bus::{Bus, LocalBus},
    config::{
        AuthConfig, BudgetsConfig, Config, DatabaseConfig, Environment, ProviderKind, ServerConfig, SessionConfig,
    },
    http::{self, AppState, HostCheck, JsonLimit, ScrapeRules, WorkerState},
    knowledge::{Embedder, KnowledgeBase, Reranker},
    limiter::{self, Limiter, Origins},
    metrics::Metrics,
    ops::{Feed, FeedSources, OpsContext},
    preflight::Preflight,
    provider::{Providers, UNKNOWN_PRICE},
    registry::{ConnectionManager, StallLimits},
    session::{QuestionRules, SessionContext},
    steering::{Audit, DrainControl, Settings},
    store::{
        AuditStore, ClockStore, ConversationStore, DocumentStore, EventStore, FeedbackStore, ServingClock, UserList,
        UserStore, VectorStore, sqlite::SqliteStore,
    },
    transport,
    turn::TurnFailure,
    workflow::{
        Engine, Recorder, Tasks, Turns, Workflow,
        budgets::{Budgets, DailyLimits},
        guide::Guide,
        router::Router,
    },
};
use actix::{Actor, Addr};
use secrecy::SecretString;
use std::{error::Error, io, net::TcpListener, sync::Arc, time::Duration};

/// Verifies that the server could listen, without doing so.
pub(super) fn check_address(config: &ServerConfig) -> Result<(), String> {
    TcpListener::bind((config.host.as_str(), config.port)).map(drop).map_err(|error| cannot_listen(config, &error))
}

/// Like [`check_address`], except that a port may be in use: by the server whose configuration is checked.
pub(super) fn check_port(config: &ServerConfig) -> Result<(), String> {
    match TcpListener::bind((config.host.as_str(), config.port)) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => Err(cannot_listen(config, &error)),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Listens on all addresses of the host.
pub(super) fn listen(config: &ServerConfig) -> Result<Vec<TcpListener>, Box<dyn Error>> {
    let listeners = transport::listen((config.host.as_str(), config.port));
    Ok(listeners.map_err(|error| cannot_listen(config, &error))?)
}

/// Describes why the address cannot be used, with advice.
fn cannot_listen(config: &ServerConfig, error: &io::Error) -> String {
    let (host, port) = (&config.host, config.port);
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "; stop the program that uses the port, or choose another server.port (--port)",
        io::ErrorKind::PermissionDenied => "; choose a server.port (--port) above 1023, or permit this one",
        _ => "",
    };
    format!("cannot listen on {host}:{port}: {error}{advice}")
}

/// Opens the database, and ends the turns that were running when a server last stopped.
async fn open_store(config: &DatabaseConfig, metrics: &Arc<Metrics>) -> Result<Arc<SqliteStore>, Box<dyn Error>> {
    let store = Arc::new(SqliteStore::open_measured(config, Arc::clone(metrics))?);
    let lost = from_failure(&TurnFailure::ServerLost);
    match store.interrupt_running_turns(lost.code.as_str(), &lost.message).await? {
        0 => {}
        turns => log::warn!(turns; "ended turns that were running when the server last stopped"),
    }
    Ok(store)
}

/// Opens the knowledge base, and fills an empty one with the built-in documents.
async fn open_knowledge(
    config: &Config,
    store: &Arc<SqliteStore>,
    preflight: &Preflight,
    metrics: &Arc<Metrics>,
) -> Result<Arc<KnowledgeBase>, Box<dyn Error>> {
    let documents = Arc::clone(store) as Arc<dyn DocumentStore>;
    let knowledge = KnowledgeBase::new(documents, config.knowledge.clone());
    let mut knowledge = knowledge.with_languages(Arc::clone(&preflight.languages));
    let embedder = Embedder::new(&config.embeddings, Arc::clone(metrics));
    if let Some(embedder) = embedder.map_err(|error| format!("embeddings.{error}"))? {
        knowledge = knowledge.with_embeddings(embedder, Arc::clone(store) as Arc<dyn VectorStore>);
    }
    let reranker = Reranker::new(&config.rerank, Arc::clone(metrics));
    if let Some(reranker) = reranker.map_err(|error| format!("rerank.{error}"))? {
        knowledge = knowledge.with_reranker(reranker);
    }
    let knowledge = Arc::new(knowledge);
    // First, so that the thresholds of the index are measured with the built-in documents before the first question.
    if config.knowledge.seed {
        knowledge.seed().await?;
    }
    knowledge.start_index().await?;
    Ok(knowledge)
}

/// Starts what accounts need, and learns which tokens have been revoked.
async fn open_accounts(
    config: &AuthConfig,
    secret: &SecretString,
    store: &Arc<SqliteStore>,
    clock: &ServingClock,
    metrics: &Arc<Metrics>,
) -> Result<(Arc<Accounts>, Arc<Tokens>), Box<dyn Error>> {
    let tokens = Arc::new(Tokens::new(config, secret, clock.clone()));
    let users = Arc::clone(store) as Arc<dyn UserStore>;
    let passwords = Passwords::start_measured(config, Arc::clone(metrics))?;
    let accounts = Arc::new(Accounts::new(users, passwords, Arc::clone(&tokens)));
    accounts.learn_revocations().await.map_err(|error| error.to_string())?;
    Ok((accounts, tokens))
}

/// Warns of models whose requests do not count towards the daily budget of cost.
pub(super) fn warn_of_unknown_prices(budgets: &BudgetsConfig, providers: &Providers) {
    if budgets.cost_per_user_per_day > 0.0 {
        for (provider, model) in providers.models_without_price() {
            log::warn!(provider, model; "{UNKNOWN_PRICE}");
        }
    }
}

/// Builds the signer of links to documents, and warns in production if they work only in pages of this server.
fn document_links(config: &Config, secret: &SecretString) -> Result<Arc<DocumentLinks>, Box<dyn Error>> {
    if config.env == Environment::Production && config.server.public_url.is_none() {
        log::warn!(
            "links to sources are relative, so they do not work in other products: set server.public_url to the address of this \
             server, such as https://chat.example.org"
        );
    }
    Ok(Arc::new(DocumentLinks::new(&config.server, secret)?))
}

/// Starts the registry of connections.
fn start_registry(config: &SessionConfig) -> Addr<ConnectionManager> {
    let lagging = Duration::from_secs(config.write_stall_timeout_s);
    let idle = Duration::from_secs(config.heartbeat_interval_s) + lagging;
    ConnectionManager::new(StallLimits { lagging, idle }).start()
}

/// Services and engine of a server, or of the pipeline alone.
pub(super) struct Composed {
    pub(super) state: Arc<AppState>,
    pub(super) engine: Arc<Engine>,
    pub(super) store: Arc<SqliteStore>,
    pub(super) clock: ServingClock,
    pub(super) listeners: Vec<TcpListener>,
}

/// Opens the database and everything that depends on it, and composes the services. `listen` is called when the services that may take
/// long to open are there.
pub(super) async fn compose(
    config: &Config,
    preflight: Preflight,
    secret: &SecretString,
    listen: impl FnOnce() -> Result<Vec<TcpListener>, Box<dyn Error>>,
) -> Result<Composed, Box<dyn Error>> {
    let names: Vec<_> = preflight.specialists.all().iter().map(|specialist| specialist.name.clone()).collect();
    let metrics = Arc::new(Metrics::new(&names));
    let store = open_store(&config.database, &metrics).await?;
    let knowledge = open_knowledge(config, &store, &preflight, &metrics).await?;
    let guide = guide(&preflight, &knowledge);
    let clock = ServingClock::resume(store.served_time().await?);
    let (accounts, tokens) = open_accounts(&config.auth, secret, &store, &clock, &metrics).await?;
    let registry = start_registry(&config.session);
    let listeners = listen()?;
    let parts = Parts {
        config: config.clone(),
        metrics,
        store: Arc::clone(&store),
        knowledge,
        guide,
        clock: clock.clone(),
        accounts,
        document_links: document_links(config, secret)?,
        tokens,
        registry,
        providers: Arc::clone(&preflight.providers),
    };
    let state = Arc::new(app_state(parts, &listeners)?);
    let engine = Arc::new(engine(config, preflight, &state, tasks(config, &state)));
    Ok(Composed { state, engine, store, clock, listeners })
}

/// Inputs of [`app_state`].
struct Parts {
    config: Config,
    metrics: Arc<Metrics>,
    store: Arc<SqliteStore>,
    knowledge: Arc<KnowledgeBase>,
    guide: Arc<Guide>,
    clock: ServingClock,
    accounts: Arc<Accounts>,
    document_links: Arc<DocumentLinks>,
    tokens: Arc<Tokens>,
    registry: Addr<ConnectionManager>,
    providers: Arc<Providers>,
}

/// Builds the suggestions for empty chats and small talk.
fn guide(preflight: &Preflight, knowledge: &Arc<KnowledgeBase>) -> Arc<Guide> {
    let Preflight { specialists, languages, .. } = preflight;
    Arc::new(Guide::new(Arc::clone(specialists), Arc::clone(languages), Arc::clone(knowledge)))
}

/// Builds the services that all worker threads share.
fn app_state(parts: Parts, listeners: &[TcpListener]) -> Result<AppState, Box<dyn Error>> {
    let Parts {
        config,
        metrics,
        store,
        knowledge,
        guide,
        clock,
        accounts,
        document_links,
        tokens,
        registry,
        providers,
    } = parts;
    let registry = Arc::new(registry);
    let limiter = Arc::new(Limiter::new(&config.limits));
    let turns = Turns::new(&config.workflow, Arc::clone(&limiter));
    let conversations = Arc::clone(&store) as Arc<dyn ConversationStore>;
    let events = Arc::clone(&store) as Arc<dyn EventStore>;
    let bus: Arc<dyn Bus> = Arc::new(LocalBus::new(Arc::clone(&registry) as _));
    let audit_store = Arc::clone(&store) as Arc<dyn AuditStore>;
    let audit = Audit::new(audit_store, config.database.audit_retention_days, clock.clone());
    let budgets = Arc::new(Budgets::new(DailyLimits::from(&config.budgets), Arc::clone(&conversations)));
    let ops = OpsContext {
        feed: Feed::new(FeedSources {
            registry: Addr::clone(&registry),
            turns: Arc::clone(&turns),
            limiter: Arc::clone(&limiter),
            metrics: Arc::clone(&metrics),
            providers: Arc::clone(&providers),
            budgets: Arc::clone(&budgets),
        }),
        registry: Arc::clone(&registry),
        tokens: Arc::clone(&tokens),
        limiter: Arc::clone(&limiter),
        audit: Arc::clone(&audit),
        session: Arc::new(config.session.clone()),
    };
    let question_rules = QuestionRules {
        max_message_chars: config.session.max_message_chars,
        script: (config.provider.kind == ProviderKind::Scripted).then_some(config.provider.scripted),
    };
    Ok(AppState {
        accounts,
        audit,
        budgets,
        bus: Arc::clone(&bus),
        client_addresses: Arc::new(limiter::client_addresses(&config.server)),
        document_links,
        drain: DrainControl::new(Arc::clone(&turns)),
        events,
        feedback: Arc::clone(&store) as Arc<dyn FeedbackStore>,
        guide,
        host_check: Arc::new(HostCheck::new(&config.server, listeners)?),
        in_flight: Arc::default(),
        json_limit: Arc::new(JsonLimit::new(&config)),
        knowledge,
        metrics,
        ops: Arc::new(ops),
        origins: Arc::new(Origins::of(config.env, &config.server.allowed_origins)),
        providers,
        question_rules: Arc::new(question_rules),
        recorder: Recorder::new(Arc::clone(&conversations), bus, clock, from_failure),
        conversations,
        registry,
        scrape_rules: Arc::new(ScrapeRules::new(&config.metrics)),
        tickets: Arc::new(Tickets::new(config.auth.ws_ticket_ttl_s)),
        settings: Arc::new(Settings::new(config, Arc::clone(&limiter), Arc::clone(&turns))),
        limiter,
        tokens,
        turns,
        user_list: store as Arc<dyn UserList>,
    })
}

/// Builds the dependencies of turns.
fn engine(
    config: &Config,
    Preflight { specialists, languages, providers }: Preflight,
    state: &AppState,
    tasks: Option<Tasks>,
) -> Engine {
    Engine {
        config: config.workflow.clone(),
        max_passages: config.knowledge.max_passages,
        router: Router::new(
            Arc::clone(&specialists),
            Arc::clone(&languages),
            config.workflow.confidence_threshold,
            config.workflow.routing,
        ),
        specialists,
        languages,
        guide: Arc::clone(&state.guide),
        providers,
        knowledge: Arc::clone(&state.knowledge),
        store: Arc::clone(&state.conversations),
        recorder: Arc::clone(&state.recorder),
        tasks,
        turns: Arc::clone(&state.turns),
        events: Arc::clone(&state.events),
        bus: Arc::clone(&state.bus),
        metrics: Arc::clone(&state.metrics),
        currency: config.budgets.currency.clone(),
        budget: DailyLimits::from(&config.budgets),
        failures: from_failure,
        passage_url: http::passage_url(&state.document_links),
    }
}

/// Starts the task model, if there is one.
fn tasks(config: &Config, state: &AppState) -> Option<Tasks> {
    let AppState { providers, conversations, metrics, .. } = state;
    Tasks::start(
        Arc::clone(providers),
        Arc::clone(conversations),
        Arc::clone(metrics),
        config.workflow.context_token_budget,
        DailyLimits::from(&config.budgets),
    )
}

/// Starts the workflow of a worker thread, and builds the state of its application.
pub(super) fn worker_state(app: &Arc<AppState>, engine: &Arc<Engine>, config: &Arc<SessionConfig>) -> WorkerState {
    let workflow = Workflow::new(Arc::clone(engine)).start();
    let session = SessionContext {
        config: Arc::clone(config),
        limiter: Arc::clone(&app.limiter),
        metrics: Arc::clone(&app.metrics),
        tokens: Arc::clone(&app.tokens),
        rules: Arc::clone(&app.question_rules),
        registry: Arc::clone(&app.registry),
        workflow: workflow.clone(),
    };
    WorkerState { app: Arc::clone(app), workflow: Arc::new(workflow), session: Arc::new(session) }
}
