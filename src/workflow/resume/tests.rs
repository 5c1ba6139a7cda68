//! Order of access, subscription and lookup.

use super::*;
use crate::{
    api_error::from_failure,
    bus::{LocalBus, TurnAnnouncements},
    config::{Config, DatabaseConfig, LimitsConfig},
    domain::{DisplayName, Email, MessageId, Role, UnixMillis, User},
    knowledge::KnowledgeBase,
    language::Languages,
    limiter::Limiter,
    metrics::Metrics,
    provider::{PriceTable, Providers},
    store::{
        ConversationStore, EventStore, NewTurn, PasswordHash, ServedTime, ServingClock, UserStore, sqlite::SqliteStore,
    },
    turn::TurnSubject,
    workflow::{Recorder, Turns, guide::Guide, router::Router, specialists::Specialists, turns::Acceptance},
};
use futures_util::FutureExt;
use std::{
    net::Ipv4Addr,
    sync::{Mutex, OnceLock},
};
use tempfile::TempDir;

/// Subscribes connections, and starts a turn in the conversation at that moment, as another connection would.
#[derive(Default)]
struct Interloper {
    turns: OnceLock<Arc<Turns>>,
    user: OnceLock<UserId>,
    subscribed: Mutex<Vec<(ConnectionId, ConversationId)>>,
    started: Mutex<Vec<Acceptance>>,
}

impl TurnAnnouncements for Interloper {
    fn subscribe(&self, connection: ConnectionId, conversation_id: ConversationId) {
        self.subscribed.lock().unwrap().push((connection, conversation_id));
        let (turns, user_id) = (self.turns.get().unwrap(), *self.user.get().unwrap());
        let log = TurnLog::new(TurnSubject { turn_id: TurnId::new(), conversation_id, user_id });
        let reserved = turns.reserve(&log, Ipv4Addr::LOCALHOST.into());
        let admitted = reserved.map(|reservation| reservation.admit().now_or_never().unwrap().unwrap());
        self.started.lock().unwrap().extend(admitted.map(|admission| admission.accept()));
    }

    fn on_announced(&self, _: Arc<TurnLog>, _: Option<ConnectionId>) {}
}

struct Fixture {
    engine: Engine,
    interloper: Arc<Interloper>,
    owner: UserId,
    stranger: UserId,
    conversation: ConversationId,
    _folder: TempDir,
}

async fn account(store: &SqliteStore, email: &str) -> UserId {
    let id = UserId::new();
    let user = User {
        id,
        email: Email::parse(email).unwrap(),
        name: DisplayName::parse("Ada").unwrap(),
        role: Role::User,
        is_locked: false,
        created_at: UnixMillis(1),
    };
    store.add_user(user, PasswordHash::new("none".to_owned())).await.unwrap();
    id
}

impl Fixture {
    /// An engine, and a conversation of the owner with a running turn that this process has forgotten.
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}/resume.db", folder.path().display());
        let config = Config { database: DatabaseConfig { url, ..DatabaseConfig::default() }, ..Config::default() };
        let store = SqliteStore::open(&config.database).unwrap();
        let (owner, stranger) = (account(&store, "ada@example.org").await, account(&store, "eve@example.org").await);
        let conversation = ConversationId::new();
        let question = NewTurn {
            turn_id: TurnId::new(),
            user_id: owner,
            conversation_id: conversation,
            is_new_conversation: true,
            message_id: MessageId::new(),
            text: "Why?".to_owned(),
            client_message_id: None,
            customer_id: None,
            at: UnixMillis(1),
            owner_node: "local".to_owned(),
            history_messages: 0,
        };
        store.begin_turn(question).await.unwrap();
        let turns = Turns::new(&config.workflow, Arc::new(Limiter::new(&LimitsConfig::default())));
        let interloper = Arc::new(Interloper::default());
        interloper.turns.set(Arc::clone(&turns)).ok();
        interloper.user.set(owner).ok();
        let bus = Arc::new(LocalBus::new(Arc::clone(&interloper) as Arc<dyn TurnAnnouncements>));
        let conversations = Arc::new(store.clone()) as Arc<dyn ConversationStore>;
        let clock = ServingClock::resume(ServedTime::default());
        let specialists = Arc::new(Specialists::load(None).unwrap());
        let languages = Arc::new(Languages::built_in());
        let knowledge = Arc::new(KnowledgeBase::in_process(Arc::new(store.clone()), config.knowledge.clone()));
        let engine = Engine {
            max_passages: 1,
            router: Router::new(
                Arc::clone(&specialists),
                Arc::clone(&languages),
                config.workflow.confidence_threshold,
                config.workflow.routing,
            ),
            providers: Arc::new(Providers::build(&config, &languages, PriceTable::default(), []).unwrap()),
            guide: Arc::new(Guide::new(Arc::clone(&specialists), Arc::clone(&languages), Arc::clone(&knowledge))),
            specialists,
            languages,
            knowledge,
            recorder: Recorder::new(Arc::clone(&conversations), bus.clone(), clock, from_failure),
            tasks: None,
            store: conversations,
            turns,
            events: Arc::new(store) as Arc<dyn EventStore>,
            bus,
            metrics: Arc::new(Metrics::default()),
            failures: from_failure,
            passage_url: Arc::new(|_, _| None),
            currency: config.budgets.currency,
            budget: Default::default(),
            config: config.workflow,
        };
        Self { engine, interloper, owner, stranger, conversation, _folder: folder }
    }

    async fn resume(&self, user_id: UserId) -> Result<ResumedConversation, TurnError> {
        let connection_id = Some(ConnectionId::new());
        let message = ResumeConversation { user_id, connection_id, conversation_id: self.conversation, turn_id: None };
        self.engine.resume(message).await
    }

    async fn resume_events(&self, user_id: UserId) -> Result<ResumedEvents, TurnError> {
        let message = ResumeEvents {
            user_id,
            connection_id: Some(ConnectionId::new()),
            conversation_id: self.conversation,
            last_position: 0,
            waker: Arc::new(Sleeper),
        };
        self.engine.resume_events(message).await
    }
}

struct Sleeper;

impl Waker for Sleeper {
    fn wake(&self) {}
}

#[tokio::test]
async fn a_turn_that_starts_after_the_subscription_is_found() {
    let fixture = Fixture::new().await;
    let found = fixture.resume(fixture.owner).await.unwrap().turn.unwrap();
    let started = fixture.interloper.started.lock().unwrap().len();
    assert_eq!((started, found.has_ended()), (1, false), "the lookup comes after the subscription");
    let resumed = fixture.resume_events(fixture.owner).await.unwrap();
    assert!(resumed.running.is_some_and(|running| Arc::ptr_eq(&running, &found)));
    assert_eq!((resumed.from_position, resumed.head), (0, 2));
    assert_eq!(resumed.subscription.conversation(), fixture.conversation);
    assert_eq!(fixture.interloper.subscribed.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_user_without_access_is_not_subscribed() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.resume(fixture.stranger).await.err(), Some(TurnError::Forbidden));
    assert_eq!(fixture.resume_events(fixture.stranger).await.err(), Some(TurnError::Forbidden));
    let elsewhere = Fixture { conversation: ConversationId::new(), ..fixture };
    assert_eq!(elsewhere.resume(elsewhere.owner).await.err(), Some(TurnError::Unknown));
    let unknown = TurnError::Store(StoreError::NotFound("conversation"));
    assert_eq!(elsewhere.resume_events(elsewhere.owner).await.err(), Some(unknown));
    assert!(elsewhere.interloper.subscribed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn connections_share_a_turn_that_is_read_from_the_store() {
    let fixture = Fixture::new().await;
    fixture.engine.store.interrupt_running_turns("TURN_INTERRUPTED", "cut off").await.unwrap();
    let turn_id = fixture.engine.store.latest_turn(fixture.conversation).await.unwrap().unwrap();
    let (one, two) =
        tokio::join!(fixture.engine.find(fixture.owner, turn_id), fixture.engine.find(fixture.owner, turn_id));
    assert!(Arc::ptr_eq(&one.unwrap(), &two.unwrap()));
}
