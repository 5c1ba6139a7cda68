//! End of a turn, by its own task or at startup after a crash.

use super::{
    events::{self, LoggedKinds, NewEvent},
    schema::{conversations, messages, turns},
    turn_rows::{COMPLETE, FAILED, MessageRow, RUNNING, bytes_of, json_of},
    usage,
};
use crate::{
    domain::{Event, EventActor, Fact, MessageRole, TurnOutcome, UnixMillis},
    store::{Answer, EndedTurn, StoreError},
};
use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SqliteConnection};

/// Stores the end of a running turn with its answer, and returns the events. A turn that has ended stays as it is.
pub(super) fn end_turn(
    connection: &mut SqliteConnection,
    turn: EndedTurn,
    logged: &LoggedKinds,
) -> Result<Vec<Event>, StoreError> {
    let id = turn.turn_id.to_string();
    let found: Option<(String, i64, i64)> = turns::table
        .inner_join(conversations::table)
        .filter(turns::id.eq(&id))
        .select((turns::state, turns::epoch, conversations::epoch))
        .first(connection)
        .optional()?;
    let (state, of_turn, of_conversation) = found.ok_or(StoreError::NotFound("turn"))?;
    if state != RUNNING {
        return events::of_ended_turn(connection, turn.conversation_id, &id, logged);
    }
    if turn.epoch != of_turn || turn.epoch != of_conversation {
        return Err(StoreError::Fenced);
    }
    store_end(connection, turn)
}

/// Stores the end of a turn that is known to be running under the current epoch.
fn store_end(connection: &mut SqliteConnection, turn: EndedTurn) -> Result<Vec<Event>, StoreError> {
    let EndedTurn { turn_id, conversation_id, answer, error, at, charge, .. } = turn;
    if let Some(charge) = charge {
        usage::add(connection, charge)?;
    }
    let Answer { message_id, text, token_ends, finish_reason, metadata, items, reasoning } = answer;
    let outcome = match &error {
        None => TurnOutcome::Finished(finish_reason),
        Some((code, _)) => TurnOutcome::Failed(code.clone()),
    };
    let token_ends = bytes_of(&token_ends);
    set_ended(connection, &turn_id.to_string(), error, Some((token_ends, items)), at)?;
    diesel::insert_into(messages::table)
        .values(MessageRow {
            id: message_id.to_string(),
            conversation_id: conversation_id.to_string(),
            turn_id: Some(turn_id.to_string()),
            role: MessageRole::Assistant.as_str().to_owned(),
            content: text.clone(),
            finish_reason: Some(finish_reason.as_str().to_owned()),
            metadata: Some(json_of(&metadata)?),
            reasoning,
            created_at_ms: at.0,
        })
        .execute(connection)?;
    let mut facts = Vec::with_capacity(2);
    // An answer without text is in the history, but nobody said anything.
    if !text.is_empty() {
        facts.push(Fact::Message { message_id, text, turn_id: Some(turn_id), client_message_id: None });
    }
    facts.push(Fact::TurnEnded { turn_id, message_id: Some(message_id), outcome });
    let new = facts.into_iter().map(|fact| NewEvent { actor: EventActor::ASSISTANT, fact }).collect();
    events::append(connection, conversation_id, at, new)
}

/// Ends a running turn whose epoch has passed: its answer is not stored.
pub(super) fn end_fenced(connection: &mut SqliteConnection, turn: EndedTurn) -> Result<Vec<Event>, StoreError> {
    let EndedTurn { turn_id, conversation_id, error, at, charge, .. } = turn;
    if let Some(charge) = charge {
        usage::add(connection, charge)?;
    }
    let code = error.as_ref().map(|(code, _)| code.clone()).unwrap_or_default();
    set_ended(connection, &turn_id.to_string(), error, None, at)?;
    let fact = Fact::TurnEnded { turn_id, message_id: None, outcome: TurnOutcome::Failed(code) };
    events::append(connection, conversation_id, at, vec![NewEvent { actor: EventActor::ASSISTANT, fact }])
}

fn set_ended(
    connection: &mut SqliteConnection,
    turn_id: &str,
    error: Option<(String, String)>,
    answer: Option<(Vec<u8>, Option<String>)>,
    at: UnixMillis,
) -> Result<(), StoreError> {
    let state = if error.is_none() { COMPLETE } else { FAILED };
    let (error_code, error_message) = error.unzip();
    let (token_ends, items) = answer.unzip();
    diesel::update(turns::table.find(turn_id))
        .set((
            turns::state.eq(state),
            turns::error_code.eq(error_code),
            turns::error_message.eq(error_message),
            turns::token_ends.eq(token_ends),
            turns::items.eq(items.flatten()),
            turns::ended_at_ms.eq(at.0),
        ))
        .execute(connection)?;
    Ok(())
}
