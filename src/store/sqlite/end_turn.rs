//! End of a turn, by its own task or at startup after a crash.

use super::{
    conversation_rows::touch,
    schema::{messages, turns},
    turn_rows::{COMPLETE, FAILED, MessageRow, RUNNING, bytes_of, json_of},
};
use crate::{
    domain::MessageRole,
    store::{EndedTurn, StoreError},
};
use diesel::{BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SqliteConnection};

/// Stores the end of a running turn with its answer. A turn that has ended stays as it is.
pub(super) fn end_turn(connection: &mut SqliteConnection, turn: EndedTurn) -> Result<(), StoreError> {
    let (turn_id, conversation_id) = (turn.turn_id.to_string(), turn.conversation_id.to_string());
    let state = if turn.error.is_none() { COMPLETE } else { FAILED };
    let (error_code, error_message) = turn.error.unzip();
    let running = turns::table.filter(turns::id.eq(&turn_id).and(turns::state.eq(RUNNING)));
    let ended = diesel::update(running)
        .set((
            turns::state.eq(state),
            turns::error_code.eq(error_code),
            turns::error_message.eq(error_message),
            turns::token_ends.eq(bytes_of(&turn.answer.token_ends)),
            turns::items.eq(turn.answer.items),
            turns::ended_at_ms.eq(turn.at.0),
        ))
        .execute(connection)?;
    if ended == 0 {
        let known = turns::table.find(&turn_id).select(turns::id).first::<String>(connection).optional()?;
        return known.map(|_| ()).ok_or(StoreError::NotFound("turn"));
    }
    diesel::insert_into(messages::table)
        .values(MessageRow {
            id: turn.answer.message_id.to_string(),
            conversation_id: conversation_id.clone(),
            turn_id: Some(turn_id),
            role: MessageRole::Assistant.as_str().to_owned(),
            content: turn.answer.text,
            finish_reason: Some(turn.answer.finish_reason.as_str().to_owned()),
            metadata: Some(json_of(&turn.answer.metadata)?),
            created_at_ms: turn.at.0,
        })
        .execute(connection)?;
    touch(connection, &conversation_id, turn.at)
}
