//! The services of the application, and the extractor by which a handler names the ones that it needs.

use crate::{
    auth::{Accounts, DocumentLinks, Tickets, Tokens},
    bus::Bus,
    http::rules::{HostCheck, JsonLimit, ScrapeRules},
    knowledge::KnowledgeBase,
    limiter::{ClientAddresses, Limiter, Origins},
    metrics::Metrics,
    ops::OpsContext,
    provider::Providers,
    registry::ConnectionManager,
    session::{QuestionRules, SessionContext},
    steering::{Audit, DrainControl, Settings},
    store::{ConversationStore, EventStore, FeedbackStore, UserList},
    transport::InFlight,
    workflow::{PassageUrl, Recorder, Turns, Workflow, budgets::Budgets, guide::Guide},
};
use actix::Addr;
use actix_web::{FromRequest, HttpRequest, dev::Payload, web::Data};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    ops::Deref,
    sync::Arc,
};

/// Declares [`AppState`] with a field for each service, and finds the service there by its type.
macro_rules! app_state {
    ($($name:ident: $Service:ty,)*) => {
        /// The services that all worker threads share. Built once.
        pub struct AppState {
            $(pub $name: Arc<$Service>,)*
        }

        $(impl Provided for $Service {
            fn of(state: &WorkerState) -> &Arc<Self> {
                &state.app.$name
            }
        })*
    };
}

app_state! {
    accounts: Accounts,
    audit: Audit,
    budgets: Budgets,
    bus: dyn Bus,
    client_addresses: ClientAddresses,
    conversations: dyn ConversationStore,
    document_links: DocumentLinks,
    drain: DrainControl,
    events: dyn EventStore,
    feedback: dyn FeedbackStore,
    guide: Guide,
    host_check: HostCheck,
    in_flight: InFlight,
    json_limit: JsonLimit,
    knowledge: KnowledgeBase,
    limiter: Limiter,
    metrics: Metrics,
    ops: OpsContext,
    origins: Origins,
    providers: Providers,
    question_rules: QuestionRules,
    recorder: Recorder,
    registry: Addr<ConnectionManager>,
    scrape_rules: ScrapeRules,
    settings: Settings,
    tickets: Tickets,
    tokens: Tokens,
    turns: Turns,
    user_list: dyn UserList,
}

/// Returns the addresses of passages as signed links.
pub fn passage_url(links: &Arc<DocumentLinks>) -> PassageUrl {
    let links = Arc::clone(links);
    Arc::new(move |document_id, passage| links.url(document_id, passage))
}

/// The services of a worker thread: those that all threads share, and its own.
pub struct WorkerState {
    pub app: Arc<AppState>,
    /// A turn runs on the thread of its connection, so that a token wakes no other thread.
    pub workflow: Arc<Addr<Workflow>>,
    pub session: Arc<SessionContext>,
}

/// A service that handlers can name as `State<Self>`.
pub trait Provided: 'static {
    fn of(state: &WorkerState) -> &Arc<Self>;
}

impl Provided for Addr<Workflow> {
    fn of(state: &WorkerState) -> &Arc<Self> {
        &state.workflow
    }
}

impl Provided for SessionContext {
    fn of(state: &WorkerState) -> &Arc<Self> {
        &state.session
    }
}

/// A service, as a handler or a middleware receives it. A type that is not a service does not compile.
pub struct State<T: ?Sized>(Arc<T>);

impl<T: Provided + ?Sized> State<T> {
    /// The service, for code that has a request and is not a handler.
    pub fn of(request: &HttpRequest) -> &Arc<T> {
        let state = request.app_data::<Data<WorkerState>>();
        T::of(state.expect("`http::application` registers the state and the routes together"))
    }
}

impl<T: ?Sized> State<T> {
    pub fn into_inner(self) -> Arc<T> {
        self.0
    }
}

impl<T: ?Sized> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Provided + ?Sized> FromRequest for State<T> {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(Arc::clone(Self::of(request)))))
    }
}

#[cfg(test)]
pub mod test_support {
    use super::*;
    use crate::bus::LocalBus;
    use crate::{
        api_error::from_failure,
        auth::{Passwords, test_support},
        config::{Config, DatabaseConfig},
        language::Languages,
        limiter::client_addresses,
        ops::{Feed, FeedSources},
        provider::PriceTable,
        registry::StallLimits,
        store::{ServedTime, ServingClock, sqlite::SqliteStore},
        workflow::{Engine, budgets::DailyLimits, router::Router, specialists::Specialists},
    };
    use actix::Actor;
    use std::time::Duration;
    use tempfile::TempDir;

    /// The state of an application with the default settings, on a new database, which is deleted with the folder.
    pub fn state(change: impl FnOnce(&mut AppState, &SqliteStore)) -> (Data<WorkerState>, TempDir) {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}/state.db", folder.path().display());
        let database = DatabaseConfig { url, ..DatabaseConfig::default() };
        let config = Config { database, ..Config::default() };
        let store = SqliteStore::open(&config.database).unwrap();
        let conversations = Arc::new(store.clone()) as Arc<dyn ConversationStore>;
        let clock = ServingClock::resume(ServedTime::default());
        let tokens = Arc::new(test_support::tokens());
        let passwords = Passwords::start(&config.auth).unwrap();
        let limit = Duration::from_secs(20);
        let registry = Arc::new(ConnectionManager::new(StallLimits { lagging: limit, idle: limit }).start());
        let limiter = Arc::new(Limiter::new(&config.limits));
        let metrics = Arc::new(Metrics::default());
        let turns = Turns::new(&config.workflow, Arc::clone(&limiter));
        let audit = Audit::new(Arc::new(store.clone()), 0, clock.clone());
        let events = Arc::new(store.clone()) as Arc<dyn EventStore>;
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::new(Arc::clone(&registry) as _));
        let recorder = Recorder::new(Arc::clone(&conversations), Arc::clone(&bus), clock, from_failure);
        let knowledge = Arc::new(KnowledgeBase::in_process(Arc::new(store.clone()), config.knowledge.clone()));
        let specialists = Arc::new(Specialists::load(None).unwrap());
        let languages = Arc::new(Languages::built_in());
        let guide = Guide::new(Arc::clone(&specialists), Arc::clone(&languages), Arc::clone(&knowledge));
        let guide = Arc::new(guide);
        let session_config = Arc::new(config.session.clone());
        let rules = Arc::new(QuestionRules { max_message_chars: config.session.max_message_chars, script: None });
        let providers = Arc::new(Providers::build(&config, &languages, PriceTable::default(), []).unwrap());
        let document_links = Arc::new(DocumentLinks::new(&config.server, &test_support::SECRET.into()).unwrap());
        let engine = Engine {
            config: config.workflow.clone(),
            max_passages: config.knowledge.max_passages,
            router: Router::new(
                Arc::clone(&specialists),
                Arc::clone(&languages),
                config.workflow.confidence_threshold,
                config.workflow.routing,
            ),
            providers: Arc::clone(&providers),
            specialists,
            languages,
            guide: Arc::clone(&guide),
            knowledge: Arc::clone(&knowledge),
            store: Arc::clone(&conversations),
            recorder: Arc::clone(&recorder),
            tasks: None,
            turns: Arc::clone(&turns),
            events: Arc::clone(&events),
            bus: Arc::clone(&bus),
            metrics: Arc::clone(&metrics),
            currency: config.budgets.currency.clone(),
            budget: Default::default(),
            failures: from_failure,
            passage_url: passage_url(&document_links),
        };
        let workflow = Workflow::new(Arc::new(engine)).start();
        let budgets = Arc::new(Budgets::new(DailyLimits::default(), Arc::clone(&conversations)));
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
            session: Arc::clone(&session_config),
        };
        let session = SessionContext {
            config: session_config,
            limiter: Arc::clone(&limiter),
            metrics: Arc::clone(&metrics),
            tokens: Arc::clone(&tokens),
            rules: Arc::clone(&rules),
            registry: Arc::clone(&registry),
            workflow: workflow.clone(),
        };
        let mut app = AppState {
            budgets,
            accounts: Arc::new(Accounts::new(Arc::new(store.clone()), passwords, Arc::clone(&tokens))),
            audit,
            bus,
            client_addresses: Arc::new(client_addresses(&config.server)),
            conversations,
            document_links,
            drain: DrainControl::new(Arc::clone(&turns)),
            events,
            feedback: Arc::new(store.clone()),
            host_check: Arc::new(HostCheck::new(&config.server, &[]).unwrap()),
            in_flight: Arc::default(),
            json_limit: Arc::new(JsonLimit::new(&config)),
            knowledge,
            limiter: Arc::clone(&limiter),
            metrics,
            guide,
            ops: Arc::new(ops),
            origins: Arc::new(Origins::of(config.env, &config.server.allowed_origins)),
            providers,
            question_rules: rules,
            recorder,
            registry,
            scrape_rules: Arc::new(ScrapeRules::new(&config.metrics)),
            settings: Arc::new(Settings::new(config, limiter, Arc::clone(&turns))),
            tickets: Arc::new(Tickets::new(30)),
            tokens,
            turns,
            user_list: Arc::new(store.clone()),
        };
        change(&mut app, &store);
        let state = WorkerState { app: Arc::new(app), workflow: Arc::new(workflow), session: Arc::new(session) };
        (Data::new(state), folder)
    }
}
