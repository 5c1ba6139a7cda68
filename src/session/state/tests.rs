//! Tests of the session state machine, with a manual clock.

use super::*;
use crate::{
    auth::{Identity, test_support::user},
    bus::Arrived,
    domain::{AnswerMetadata, ConversationId, FinishReason, MessageId, Role, UnixMillis, User},
    limiter::Limiter,
    session::{authenticator::Authenticator, event_readers::Start, pending_resumes::ResumeTicket},
    turn::{Progress, TurnEnd, TurnLog, TurnSink, TurnSubject},
    workflow::StartedTurn,
};
use serde_json::{Value, json};
use std::{collections::HashMap, net::Ipv4Addr};
use switchboard_protocol::{ErrorCode, Step};
use tokio::sync::mpsc;

/// The Unix time at which the tests start, in seconds.
const START_S: i64 = 1_800_000_000;

/// Accepts tokens of one user. The text of a token is its lifetime in seconds.
struct TestAuthenticator<'a>(&'a User, Now);

impl Authenticator for TestAuthenticator<'_> {
    fn admit(&self, user: UserId) -> Result<UserPermit, ApiError> {
        Ok(Limiter::new(&LimitsConfig::default()).sign_in_socket(user, Ipv4Addr::LOCALHOST.into())?)
    }

    fn verify(&self, token: &str) -> Result<Identity, ApiError> {
        let life_s: i64 = token.parse().map_err(|_| ApiError::new(ErrorCode::InvalidToken, "not a number"))?;
        Ok(identity(self.0, self.1.unix.seconds() + life_s))
    }
}

fn identity(user: &User, expires_at: i64) -> Identity {
    Identity {
        user_id: user.id,
        email: user.email.clone(),
        name: user.name.clone(),
        role: user.role,
        family_id: None,
        generation: 0,
        issued_at_ms: START_S * 1_000,
        expires_at,
    }
}

struct Session {
    state: SessionState,
    events: mpsc::Receiver<TurnEvent>,
    sink: mpsc::Sender<TurnEvent>,
    now: Now,
    user: User,
    effects: Vec<Effect>,
    turn_ids: TurnIds,
}

/// The first step of a turn, without which the client would not know its number.
pub(super) fn starting() -> Progress {
    Progress {
        step: Step::Starting,
        message: "Starting…".to_owned(),
        specialist: None,
        confidence: None,
        sources: None,
        client_message_id: None,
        question: None,
    }
}

/// A turn of another connection, with its first step.
fn started_turn(subject: TurnSubject) -> Arc<TurnLog> {
    let turn = TurnLog::new(subject);
    turn.announce(starting());
    turn
}

/// The ids of turns by their numbers on the connection.
pub(super) type TurnIds = HashMap<u64, Value>;

/// Adds the id of its turn to a frame that names it by number.
pub(super) fn named(mut frame: Value, turn_ids: &mut TurnIds) -> Value {
    if let Some(number) = frame["turn"].as_u64() {
        match frame.get("turn_id") {
            Some(id) => drop(turn_ids.insert(number, id.clone())),
            None => frame["turn_id"] = turn_ids.get(&number).cloned().unwrap_or_default(),
        }
    }
    frame
}

impl Session {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// Creates a session whose mailbox holds four events.
    fn with(change: impl FnOnce(&mut SessionConfig)) -> Self {
        let mut config = SessionConfig {
            auth_deadline_s: 30,
            heartbeat_interval_s: 20,
            heartbeat_timeout_s: 60,
            max_running_turns: 4,
            ..SessionConfig::default()
        };
        change(&mut config);
        let (sink, events) = mpsc::channel(4);
        let now = Now { instant: Instant::now(), unix: UnixMillis(START_S * 1000) };
        let rules = Arc::new(QuestionRules { max_message_chars: 100, script: None });
        let state = SessionState::new(
            Arc::new(config),
            &LimitsConfig::default(),
            rules,
            Dialect::V2,
            Mailbox::new(sink.clone()),
            now,
        );
        Self {
            state,
            events,
            sink,
            now,
            user: user("ada@example.org", Role::User),
            effects: Vec::new(),
            turn_ids: TurnIds::new(),
        }
    }

    /// Creates a session that is authenticated for `life_s` seconds.
    fn signed_in(life_s: i64) -> Self {
        let mut session = Self::new();
        session.receive(&json!({"type": "auth", "token": life_s.to_string()}));
        session.effects.clear();
        session
    }

    fn wait(&mut self, seconds: u64) {
        self.wait_ms(1_000 * seconds);
    }

    fn wait_ms(&mut self, ms: u64) {
        self.now.instant += Duration::from_millis(ms);
        self.now.unix.0 += i64::try_from(ms).unwrap();
    }

    /// Receives something from the client, then runs the alarm handler.
    fn on_alarm(&mut self) {
        self.state.heartbeat.on_received(self.now.instant);
        self.state.on_alarm(self.now, &mut self.effects);
    }

    fn receive(&mut self, frame: &Value) {
        let authenticator = TestAuthenticator(&self.user, self.now);
        self.state.on_text(&frame.to_string(), self.now, &authenticator, &mut self.effects);
    }

    /// Starts a turn, which the workflow accepts.
    fn start(&mut self, text: &str) -> Arc<TurnLog> {
        self.receive(&json!({"type": "message", "message": text, "client_message_id": text}));
        let turn = self.started();
        self.state.on_started(turn.subject.turn_id, Ok(StartedTurn::New), self.now, &mut self.effects);
        turn.announce(starting());
        self.read_events();
        turn
    }

    fn started(&self) -> Arc<TurnLog> {
        let started = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Start(new) => Some(Arc::clone(&new.turn)),
            _ => None,
        });
        started.expect("a turn starts")
    }

    fn read_events(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.state.on_turn_event(event, self.now, &mut self.effects);
        }
    }

    /// Takes the frames among the effects so far, and drops other effects. Frames that name their turn by number also get its id.
    fn frames(&mut self) -> Vec<Value> {
        let Self { effects, turn_ids, .. } = self;
        let sent = effects.drain(..).filter_map(|effect| match effect {
            Effect::Send(outgoing) => Some(named(serde_json::from_str(&outgoing.frame).unwrap(), turn_ids)),
            _ => None,
        });
        sent.collect()
    }

    fn closed(&self) -> Option<CloseReason> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Close(reason) => Some(*reason),
            _ => None,
        })
    }

    /// Seconds until the next alarm.
    fn alarm_s(&self) -> u64 {
        self.state.next_alarm().duration_since(self.now.instant).as_secs()
    }
}

fn complete(turn: &Arc<TurnLog>) {
    turn.end(TurnEnd::Complete {
        message_id: MessageId::new(),
        finish_reason: FinishReason::Stop,
        metadata: Box::new(AnswerMetadata::default()),
        sha256: turn.with_tokens(crate::turn::Tokens::sha256),
    });
}

fn text_of(frames: &[Value], turn: &TurnLog) -> String {
    let id = json!(turn.subject.turn_id);
    frames.iter().filter(|frame| frame["turn_id"] == id).filter_map(|frame| frame["token"].as_str()).collect()
}

#[test]
fn auth_success_states_the_user_and_the_expiry() {
    let mut session = Session::new();
    session.receive(&json!({"type": "auth", "token": "900"}));
    assert!(
        session
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Authenticated(who) if who.user_id == session.user.id))
    );
    let frames = session.frames();
    assert_eq!(frames.len(), 1);
    assert_eq!((&frames[0]["type"], &frames[0]["expires_at"]), (&json!("auth_success"), &json!(START_S + 900)));
}

#[test]
fn fifth_failed_authentication_closes_the_connection() {
    let mut session = Session::new();
    for _ in 0..4 {
        session.receive(&json!({"type": "auth", "token": "wrong"}));
        assert_eq!(session.closed(), None);
    }
    session.receive(&json!({"type": "auth", "token": "wrong"}));
    assert_eq!(session.closed(), Some(CloseReason::TooManyAuthFailures));
    assert!(session.frames().iter().all(|frame| frame["code"] == "INVALID_TOKEN"));
}

#[test]
fn another_user_cannot_take_over_a_connection() {
    let mut session = Session::signed_in(900);
    let owner = std::mem::replace(&mut session.user, user("eve@example.org", Role::User));
    session.receive(&json!({"type": "auth", "token": "900"}));
    assert_eq!(session.frames()[0]["code"], "INVALID_TOKEN");
    assert_eq!(session.state.authorised(session.now), Ok(owner.id));
}

#[test]
fn auth_deadline_applies_only_before_authentication() {
    let mut session = Session::new();
    assert_eq!(session.alarm_s(), 20);
    session.wait(20);
    session.on_alarm();
    assert_eq!(session.alarm_s(), 10);
    session.wait(10);
    session.on_alarm();
    assert_eq!(session.closed(), Some(CloseReason::AuthDeadline));

    let mut session = Session::signed_in(900);
    session.wait(30);
    session.on_alarm();
    assert_eq!(session.closed(), None);
}

#[test]
fn silent_client_is_pinged_and_then_closed() {
    let mut session = Session::signed_in(900);
    for _ in 0..2 {
        session.wait(20);
        session.state.on_alarm(session.now, &mut session.effects);
        assert!(matches!(session.effects.pop(), Some(Effect::Ping(_))));
        assert_eq!(session.alarm_s(), 20);
    }
    session.wait(20);
    session.state.on_alarm(session.now, &mut session.effects);
    assert_eq!(session.closed(), Some(CloseReason::HeartbeatTimeout));
}

#[test]
fn early_alarm_has_no_effect() {
    let mut session = Session::signed_in(900);
    session.wait(19);
    session.on_alarm();
    assert!(session.effects.is_empty());
}

/// A client renews its token on this notice. At most the last quarter of a lifetime may be lost by that.
#[test]
fn expiry_of_a_short_lived_token_is_announced_in_its_last_quarter() {
    for (life_s, notice_s) in [(1, 1), (4, 1), (8, 2), (60, 15), (239, 60), (240, 60), (241, 60), (86_400, 60)] {
        let mut session = Session::signed_in(life_s);
        let before = u64::try_from(life_s * 1_000).unwrap() - (250 * u64::try_from(life_s).unwrap()).min(60_000);
        session.wait_ms(before - 1);
        session.on_alarm();
        assert!(session.frames().is_empty(), "{life_s} s: too early");
        session.wait_ms(1);
        session.on_alarm();
        assert_eq!(session.frames(), [json!({"type": "auth_expiring", "expires_in": notice_s})], "{life_s} s");
    }
}

#[test]
fn expired_token_refuses_messages_and_closes_after_the_last_turn() {
    let mut session = Session::signed_in(400);
    session.wait(340);
    session.on_alarm();
    let expiring = json!({"type": "auth_expiring", "expires_in": 60});
    assert_eq!(session.frames(), std::slice::from_ref(&expiring));
    session.wait(59);
    session.on_alarm();
    assert!(session.frames().is_empty(), "announced once");
    session.start("just in time");
    let turn = session.started();
    session.frames();

    session.wait(1);
    session.on_alarm();
    session.receive(&json!({"type": "message", "message": "too late"}));
    assert_eq!(session.frames()[0]["code"], "AUTH_EXPIRED");
    // The turn goes on past the grace period, and its end closes the connection.
    session.wait(31);
    session.on_alarm();
    assert_eq!(session.closed(), None);
    turn.append("still here");
    complete(&turn);
    session.read_events();
    assert_eq!(session.closed(), Some(CloseReason::AuthExpired));
    assert_eq!(session.frames().last().unwrap()["response"], "still here");
}

#[test]
fn idle_connection_closes_after_the_grace_period() {
    let mut session = Session::signed_in(100);
    session.wait(129);
    session.on_alarm();
    assert_eq!((session.closed(), session.alarm_s()), (None, 1));
    session.wait(1);
    session.on_alarm();
    assert_eq!(session.closed(), Some(CloseReason::AuthExpired));
}

#[test]
fn new_token_within_the_grace_period_keeps_the_connection() {
    let mut session = Session::signed_in(100);
    session.wait(110);
    session.on_alarm();
    session.receive(&json!({"type": "auth", "token": "900"}));
    session.frames();
    session.wait(30);
    session.on_alarm();
    assert_eq!(session.closed(), None);
    session.start("go on");
}

#[test]
fn announced_turns_are_shown_only_with_a_valid_token() {
    let mut session = Session::signed_in(100);
    let subject =
        TurnSubject { turn_id: TurnId::new(), conversation_id: ConversationId::new(), user_id: session.user.id };
    session.state.on_subscribe(started_turn(subject), session.now, &mut session.effects);
    assert!(matches!(session.effects.pop(), Some(Effect::Subscribed(_))));
    assert_eq!(session.frames().len(), 1);
    session.wait(100);
    let missed = started_turn(TurnSubject { turn_id: TurnId::new(), ..subject });
    session.state.on_subscribe(Arc::clone(&missed), session.now, &mut session.effects);
    assert!(session.effects.is_empty());
    // It is shown once the client has renewed its token, and only once.
    missed.append("while away");
    complete(&missed);
    for shown in ["while away", ""] {
        session.receive(&json!({"type": "auth", "token": "900"}));
        assert_eq!(text_of(&session.frames(), &missed), shown);
    }
    // Also a turn of another user: the registry announces turns to connections whose users have access.
    let mut session = Session::signed_in(100);
    let of_another_user = started_turn(TurnSubject { turn_id: TurnId::new(), ..subject });
    session.state.on_subscribe(of_another_user, session.now, &mut session.effects);
    assert_eq!(session.frames().len(), 1);
}

mod resume;

#[test]
fn refused_turn_sends_one_error_and_releases_its_subscription() {
    let mut session = Session::with(|config| config.max_running_turns = 1);
    session.receive(&json!({"type": "auth", "token": "900"}));
    session.receive(&json!({"type": "message", "message": "Hi", "client_message_id": "m1"}));
    let turn_id = session.started().subject.turn_id;
    session.frames();
    session.receive(&json!({"type": "message", "message": "Hi", "client_message_id": "m2"}));
    let refusal = session.frames().remove(0);
    assert_eq!((&refusal["code"], &refusal["client_message_id"]), (&json!("OVERLOADED"), &json!("m2")));

    let error = ApiError::new(ErrorCode::TurnInProgress, "one at a time");
    session.state.on_started(turn_id, Err(error.clone()), session.now, &mut session.effects);
    assert!(session.effects.iter().any(|effect| matches!(effect, Effect::Unsubscribed(_))));
    let frames = session.frames();
    assert_eq!(frames.len(), 1);
    assert_eq!((&frames[0]["code"], &frames[0]["client_message_id"]), (&json!("TURN_IN_PROGRESS"), &json!("m1")));
    assert_eq!(frames[0].get("turn_id"), None, "a refused turn has no id");
    // A second answer has no effect.
    session.state.on_started(turn_id, Err(error), session.now, &mut session.effects);
    assert!(session.effects.is_empty());
    session.start("another one");
}

#[test]
fn repeated_message_resumes_its_first_turn() {
    let mut session = Session::signed_in(900);
    let first = session.start("m1");
    first.append("one ");
    session.read_events();
    session.frames();
    session.receive(&json!({"type": "message", "message": "m1", "client_message_id": "m1"}));
    let second = session.started().subject.turn_id;
    let outcome = Ok(StartedTurn::Duplicate(Arc::clone(&first)));
    session.state.on_started(second, outcome, session.now, &mut session.effects);
    first.append("two");
    complete(&first);
    session.read_events();
    let frames = session.frames();
    assert_eq!(frames[0]["type"], "resumed");
    assert_eq!(text_of(&frames[1..], &first), "one two");
    assert_eq!(frames.iter().filter(|frame| frame["type"] == "complete").count(), 1);
    assert!(session.state.subscriptions.is_empty() && session.state.starting.is_empty());
}

#[test]
fn turns_sharing_an_overflowing_mailbox_arrive_completely() {
    let mut session = Session::signed_in(900);
    let turns = ["a", "b", "c"].map(|text| session.start(text));
    session.frames();
    for n in 0..50 {
        for turn in &turns {
            turn.append(&format!("{n} "));
        }
    }
    // The end of the last turn does not fit either; only events of the others are queued.
    turns.iter().for_each(complete);
    session.read_events();
    let frames = session.frames();
    let wanted: String = (0..50).map(|n| format!("{n} ")).collect();
    for turn in &turns {
        assert_eq!(text_of(&frames, turn), wanted);
    }
    assert_eq!(frames.iter().filter(|frame| frame["type"] == "complete").count(), 3);
    assert!(session.state.subscriptions.is_empty());
}

#[test]
fn mailbox_filled_by_another_turn_loses_nothing() {
    let mut session = Session::signed_in(900);
    let (loud, quiet) = (session.start("loud"), session.start("quiet"));
    session.frames();
    for n in 0..4 {
        loud.append(&n.to_string());
    }
    quiet.append("once");
    complete(&quiet);
    // All queued events belong to the other turn.
    let waiting = session.events.len();
    assert_eq!(waiting, 4);
    session.read_events();
    let frames = session.frames();
    assert_eq!((text_of(&frames, &quiet), text_of(&frames, &loud)), ("once".to_owned(), "0123".to_owned()));
    assert!(frames.iter().any(|frame| frame["type"] == "complete"));
}

#[test]
fn mailbox_filled_by_commands_loses_nothing() {
    let mut session = Session::signed_in(900);
    let turn = session.start("m1");
    session.frames();
    // These events stand in for commands: they fill the mailbox and are not handled as events of a turn.
    let junk = TurnEvent { turn: Arc::clone(&turn), index: 9, is_text: false };
    while session.sink.try_deliver(junk.clone()).is_ok() {}
    turn.append("once");
    complete(&turn);
    while session.events.try_recv().is_ok() {}
    let elsewhere = started_turn(TurnSubject { turn_id: TurnId::new(), ..turn.subject });
    complete(&elsewhere);
    session.state.on_subscribe(elsewhere, session.now, &mut session.effects);
    let frames = session.frames();
    assert_eq!(text_of(&frames, &turn), "once");
    assert_eq!(frames.iter().filter(|frame| frame["type"] == "complete").count(), 2);
    assert!(session.state.subscriptions.is_empty());
}

#[test]
fn late_event_of_an_unsubscribed_turn_has_no_effect() {
    let mut session = Session::signed_in(900);
    let turn = session.start("m1");
    turn.append("x");
    complete(&turn);
    session.read_events();
    session.frames();
    let late = TurnEvent { turn, index: 9, is_text: false };
    assert!(session.sink.try_deliver(late).is_ok());
    session.read_events();
    assert!(session.effects.is_empty());
}

#[test]
fn a_deleted_conversation_does_not_keep_others_waiting_for_events() {
    let mut session = Session::signed_in(900);
    let [deleted, other] = [(), ()].map(|()| ConversationId::new());
    for conversation in [deleted, other] {
        session.state.events.start(Start { conversation, from_position: 0, head: 1, running: None });
    }
    session.state.send_events(session.now, &mut session.effects);
    assert!(matches!(session.effects[..], [Effect::ReadEvents { conversation, .. }] if conversation == deleted));
    session.effects.clear();
    let error = ApiError::new(ErrorCode::NotFound, "deleted");
    session.state.on_events_read(deleted, 0, Err(error), session.now, &mut session.effects);
    assert!(matches!(session.effects.first(), Some(Effect::UnsubscribeFromEvents(ended)) if *ended == deleted));
    let read = session.effects.last();
    assert!(matches!(read, Some(Effect::ReadEvents { conversation, .. }) if *conversation == other));
    let frames = session.frames();
    assert_eq!((&frames[0]["code"], &frames[0]["conversation_id"]), (&json!("NOT_FOUND"), &json!(deleted)));
}

#[test]
fn events_wait_while_the_token_is_expired() {
    let mut session = Session::signed_in(100);
    let conversation = ConversationId::new();
    session.state.events.start(Start { conversation, from_position: 0, head: 0, running: None });
    session.state.send_events(session.now, &mut session.effects);
    session.wait(101);
    session.frames();
    let missed = Arrived { has_missed: true, ..Arrived::default() };
    session.state.on_events_arrived(conversation, missed, session.now, &mut session.effects);
    assert!(session.effects.is_empty(), "an expired token reads events");
    session.receive(&json!({"type": "auth", "token": "900"}));
    assert!(session.effects.iter().any(|effect| matches!(effect, Effect::ReadEvents { after: 0, .. })));
}
