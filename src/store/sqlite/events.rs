//! Rows of `conversation_events` and `members`: positions, reading, and access.

use super::{
    SqliteStore,
    page::{json_bytes, listed},
    parse,
    schema::{conversation_events, conversations, members, messages, turns},
};
use crate::{
    domain::{
        ActorKind, ConversationAccess, ConversationId, Event, EventActor, Fact, FactKind, FinishReason, MessageId,
        TurnId, TurnOutcome, UnixMillis, UserId,
    },
    store::{EventStore, Fence, Listed, StoreError},
};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, Insertable, JoinOnDsl, NullableExpressionMethods, OptionalExtension,
    QueryDsl, Queryable, RunQueryDsl, SqliteConnection, connection::DefaultLoadingMode,
};
use serde_json::{Map, Value};
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// Maximum number of unknown kinds that are remembered as logged.
const MAX_LOGGED_KINDS: usize = 100;

/// Unknown kinds of events that were logged already.
#[derive(Default)]
pub(super) struct LoggedKinds(Mutex<BTreeSet<String>>);

impl LoggedKinds {
    /// Whether a kind has yet to be logged; `true` once.
    fn is_new(&self, kind: &str) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.len() < MAX_LOGGED_KINDS && logged.insert(kind.to_owned())
    }

    fn log(&self, kind: &str) {
        if self.is_new(kind) {
            log::warn!(kind; "an event of an unknown kind was stored by another version; clients get its kind only");
        }
    }
}

/// The current party of a conversation and the access of a user to it, read together.
pub(super) struct Standing {
    pub(super) access: ConversationAccess,
    pub(super) fence: Fence,
}

/// Reads the handler of a conversation and the access of a user to it.
pub(super) fn standing(
    connection: &mut SqliteConnection,
    user: UserId,
    conversation: ConversationId,
) -> Result<Standing, StoreError> {
    let is_member = members::conversation_id.eq(conversations::id).and(members::user_id.eq(user.to_string()));
    let found: Option<(String, i64, Option<String>, Option<i64>)> = conversations::table
        .left_join(members::table.on(is_member))
        .filter(conversations::id.eq(conversation.to_string()))
        .select((
            conversations::handler,
            conversations::epoch,
            members::role.nullable(),
            members::since_position.nullable(),
        ))
        .first(connection)
        .optional()?;
    let (handler, epoch, role, since) = found.ok_or(StoreError::NotFound("conversation"))?;
    let access = match (role, since) {
        (Some(role), Some(since)) => ConversationAccess::of_member(parse(&role)?, since),
        _ => ConversationAccess::NONE,
    };
    Ok(Standing { access, fence: Fence { handler: parse(&handler)?, epoch } })
}

/// Checks that a conversation exists and that the user has the right that `is_granted` looks for.
pub(super) fn require(
    connection: &mut SqliteConnection,
    user: UserId,
    conversation: ConversationId,
    is_granted: fn(ConversationAccess) -> bool,
) -> Result<Standing, StoreError> {
    let standing = standing(connection, user, conversation)?;
    if is_granted(standing.access) { Ok(standing) } else { Err(StoreError::Forbidden("conversation")) }
}

/// Event to append.
pub(super) struct NewEvent {
    pub(super) actor: EventActor,
    pub(super) fact: Fact,
}

#[derive(Insertable)]
// One statement for all rows: with defaults, each would be a statement of its own.
#[diesel(table_name = conversation_events, treat_none_as_default_value = false)]
struct NewRow<'a> {
    conversation_id: &'a str,
    position: i64,
    kind: &'a str,
    at_ms: i64,
    actor_kind: &'a str,
    actor_user_id: Option<String>,
    message_id: Option<String>,
    turn_id: Option<String>,
    payload: String,
}

/// Appends events to a conversation and sets the time of its last change. Returns the events with their positions.
pub(super) fn append(
    connection: &mut SqliteConnection,
    conversation_id: ConversationId,
    at: UnixMillis,
    new: Vec<NewEvent>,
) -> Result<Vec<Event>, StoreError> {
    let id = conversation_id.to_string();
    let count = i64::try_from(new.len()).unwrap_or(i64::MAX);
    let head: i64 = diesel::update(conversations::table.find(&id))
        .set((
            conversations::updated_at_ms.eq(at.0),
            conversations::head_position.eq(conversations::head_position + count),
        ))
        .returning(conversations::head_position)
        .get_result(connection)?;
    let events: Vec<_> = (head - count + 1..)
        .zip(new)
        .map(|(position, NewEvent { actor, fact })| Event { conversation_id, position, at, actor, fact })
        .collect();
    let rows: Vec<_> = events.iter().map(|event| row_of(&id, event)).collect();
    diesel::insert_into(conversation_events::table).values(rows).execute(connection)?;
    Ok(events)
}

fn row_of<'a>(conversation_id: &'a str, event: &'a Event) -> NewRow<'a> {
    let (message_id, turn_id, payload) = match &event.fact {
        Fact::Message { message_id, turn_id, .. } => (Some(message_id.to_string()), turn_id.as_ref(), None),
        Fact::TurnStarted { turn_id, message_id } => (Some(message_id.to_string()), Some(turn_id), None),
        Fact::TurnEnded { turn_id, message_id, outcome } => {
            let (name, value) = match outcome {
                TurnOutcome::Finished(reason) => (FINISH_REASON, reason.as_str()),
                TurnOutcome::Failed(code) => (CODE, code.as_str()),
            };
            let payload = Map::from_iter([(name.to_owned(), Value::from(value))]);
            (message_id.map(|id| id.to_string()), Some(turn_id), Some(Value::from(payload).to_string()))
        }
        Fact::Other { .. } => (None, None, None),
    };
    NewRow {
        conversation_id,
        position: event.position,
        kind: event.fact.kind_name(),
        at_ms: event.at.0,
        actor_kind: event.actor.kind.as_str(),
        actor_user_id: event.actor.user_id.map(|id| id.to_string()),
        message_id,
        turn_id: turn_id.map(ToString::to_string),
        payload: payload.unwrap_or_else(|| "{}".to_owned()),
    }
}

// Fields of the payload of `turn_ended`.
const FINISH_REASON: &str = "finish_reason";
const CODE: &str = "code";

#[derive(Queryable)]
struct Row {
    position: i64,
    kind: String,
    at_ms: i64,
    actor_kind: String,
    actor_user_id: Option<String>,
    message_id: Option<String>,
    turn_id: Option<String>,
    payload: String,
    text: Option<String>,
    client_message_id: Option<String>,
}

impl Row {
    /// An estimate of the size of the event as JSON.
    fn bytes(&self) -> usize {
        EVENT_BYTES + self.text.as_deref().map_or(0, json_bytes)
    }
}

/// Approximate size of an event without its text, as JSON.
const EVENT_BYTES: usize = 300;

/// The end of a list of events.
#[derive(Clone, Copy)]
enum From<'a> {
    After(i64),
    /// Events of one turn.
    AfterInTurn(i64, &'a str),
    Before(i64),
}

fn read(
    connection: &mut SqliteConnection,
    conversation: ConversationId,
    from: From<'_>,
    limit: i64,
    logged: &LoggedKinds,
) -> Result<Listed<Event>, StoreError> {
    let asked = conversation_events::actor_kind.eq(ActorKind::User.as_str());
    let mut query = conversation_events::table
        .left_join(
            messages::table.on(messages::id
                .nullable()
                .eq(conversation_events::message_id)
                .and(conversation_events::kind.eq(FactKind::Message.as_str()))),
        )
        .left_join(turns::table.on(turns::id.nullable().eq(conversation_events::turn_id).and(asked)))
        .filter(conversation_events::conversation_id.eq(conversation.to_string()))
        .limit(limit.saturating_add(1))
        .select((
            conversation_events::position,
            conversation_events::kind,
            conversation_events::at_ms,
            conversation_events::actor_kind,
            conversation_events::actor_user_id,
            conversation_events::message_id,
            conversation_events::turn_id,
            conversation_events::payload,
            messages::content.nullable(),
            turns::client_message_id.nullable(),
        ))
        .into_boxed();
    query = match from {
        From::After(position) => {
            query.filter(conversation_events::position.gt(position)).order(conversation_events::position.asc())
        }
        From::AfterInTurn(position, turn) => query
            .filter(conversation_events::position.gt(position).and(conversation_events::turn_id.eq(turn)))
            .order(conversation_events::position.asc()),
        From::Before(position) => {
            query.filter(conversation_events::position.lt(position)).order(conversation_events::position.desc())
        }
    };
    let rows = query.load_iter::<Row, DefaultLoadingMode>(connection)?;
    let mut found = listed(rows, limit, Row::bytes, |row| event(conversation, row, logged))?;
    if let From::Before(_) = from {
        found.items.reverse();
    }
    Ok(found)
}

fn event(conversation_id: ConversationId, row: Row, logged: &LoggedKinds) -> Result<Event, StoreError> {
    let message = |row: &Row| -> Result<MessageId, StoreError> {
        parse(row.message_id.as_deref().ok_or_else(|| missing("message_id", row.position))?)
    };
    let turn = |row: &Row| -> Result<TurnId, StoreError> {
        parse(row.turn_id.as_deref().ok_or_else(|| missing("turn_id", row.position))?)
    };
    let fact = match FactKind::from_name(&row.kind) {
        Some(FactKind::Message) => Fact::Message {
            message_id: message(&row)?,
            turn_id: row.turn_id.as_deref().map(parse).transpose()?,
            text: row.text.unwrap_or_default(),
            client_message_id: row.client_message_id,
        },
        Some(FactKind::TurnStarted) => Fact::TurnStarted { turn_id: turn(&row)?, message_id: message(&row)? },
        Some(FactKind::TurnEnded) => {
            let message_id = row.message_id.as_deref().map(parse).transpose()?;
            Fact::TurnEnded { turn_id: turn(&row)?, message_id, outcome: outcome(&row.payload)? }
        }
        None => {
            logged.log(&row.kind);
            Fact::Other { kind: row.kind }
        }
    };
    let actor =
        EventActor { kind: row.actor_kind.into(), user_id: row.actor_user_id.as_deref().map(parse).transpose()? };
    Ok(Event { conversation_id, position: row.position, at: UnixMillis(row.at_ms), actor, fact })
}

fn missing(column: &str, position: i64) -> StoreError {
    StoreError::Corrupt(format!("the event at position {position} has no {column}"))
}

fn outcome(payload: &str) -> Result<TurnOutcome, StoreError> {
    let payload: Map<String, Value> =
        serde_json::from_str(payload).map_err(|error| StoreError::Corrupt(format!("payload of an event: {error}")))?;
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    Ok(match text(FINISH_REASON) {
        Some(reason) => TurnOutcome::Finished(parse::<FinishReason>(reason)?),
        // A failure of an early version has no code.
        None => TurnOutcome::Failed(text(CODE).unwrap_or_default().to_owned()),
    })
}

/// Number of events that record the end of a turn: the answer, unless it has no text, and the end itself.
const EVENTS_OF_AN_END: i64 = 2;

/// Returns the events by which the end of a turn was recorded. Those of concurrent turns may lie in between.
pub(super) fn of_ended_turn(
    connection: &mut SqliteConnection,
    conversation: ConversationId,
    turn: &str,
    logged: &LoggedKinds,
) -> Result<Vec<Event>, StoreError> {
    let first: Option<i64> = conversation_events::table
        .filter(conversation_events::conversation_id.eq(conversation.to_string()))
        .filter(conversation_events::turn_id.eq(turn))
        .filter(conversation_events::kind.eq(FactKind::TurnStarted.as_str()))
        .select(conversation_events::position)
        .first(connection)
        .optional()?;
    let Some(first) = first else { return Ok(Vec::new()) };
    let mut events = read(connection, conversation, From::AfterInTurn(first, turn), EVENTS_OF_AN_END, logged)?.items;
    if let Some(end) = events.iter().position(|event| matches!(event.fact, Fact::TurnEnded { .. })) {
        events.truncate(end + 1);
    }
    Ok(events)
}

#[async_trait::async_trait]
impl EventStore for SqliteStore {
    async fn access(&self, user: UserId, conversation: ConversationId) -> Result<ConversationAccess, StoreError> {
        self.read(move |connection| Ok(standing(connection, user, conversation)?.access)).await
    }

    async fn head(&self, conversation: ConversationId) -> Result<i64, StoreError> {
        self.read(move |connection| {
            let head = conversations::table.find(conversation.to_string()).select(conversations::head_position);
            head.first(connection).optional()?.ok_or(StoreError::NotFound("conversation"))
        })
        .await
    }

    async fn events_after(
        &self,
        conversation: ConversationId,
        position: i64,
        limit: i64,
    ) -> Result<Listed<Event>, StoreError> {
        let logged = std::sync::Arc::clone(&self.logged_kinds);
        self.read(move |connection| read(connection, conversation, From::After(position), limit, &logged)).await
    }

    async fn events_before(
        &self,
        conversation: ConversationId,
        position: i64,
        limit: i64,
    ) -> Result<Listed<Event>, StoreError> {
        let logged = std::sync::Arc::clone(&self.logged_kinds);
        self.read(move |connection| read(connection, conversation, From::Before(position), limit, &logged)).await
    }

    #[cfg(test)]
    async fn change_handler(
        &self,
        conversation: ConversationId,
        handler: crate::domain::ConversationHandler,
    ) -> Result<i64, StoreError> {
        self.write(move |connection| {
            let changed = diesel::update(conversations::table.find(conversation.to_string()))
                .set((conversations::handler.eq(handler.as_str()), conversations::epoch.eq(conversations::epoch + 1)));
            Ok(changed.returning(conversations::epoch).get_result(connection)?)
        })
        .await
    }
}

#[cfg(test)]
mod tests;
