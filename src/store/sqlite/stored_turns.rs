//! Turns as they are stored, read back.

use super::{
    checkpoints,
    conversations::{COMPLETE, FAILED, RUNNING, metadata},
    page::place_of,
    parse,
    schema::{messages, turns},
};
use crate::{
    domain::{ConversationId, MessageRole, TurnId},
    store::{Answer, StoreError, StoredTurn, StoredTurnState},
};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, Insertable, OptionalExtension, QueryDsl, Queryable, RunQueryDsl,
    Selectable, SelectableHelper, SqliteConnection, dsl::sql, sql_types::BigInt,
};
use std::collections::HashMap;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = turns)]
pub(super) struct TurnRow {
    pub(super) id: String,
    pub(super) conversation_id: String,
    pub(super) user_id: String,
    pub(super) client_message_id: Option<String>,
    pub(super) state: String,
    pub(super) error_code: Option<String>,
    pub(super) error_message: Option<String>,
    pub(super) token_ends: Option<Vec<u8>>,
    pub(super) started_at_ms: i64,
    pub(super) ended_at_ms: Option<i64>,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = messages)]
pub(super) struct MessageRow {
    pub(super) id: String,
    pub(super) conversation_id: String,
    pub(super) turn_id: String,
    pub(super) role: String,
    pub(super) content: String,
    pub(super) finish_reason: Option<String>,
    pub(super) metadata: Option<String>,
    pub(super) created_at_ms: i64,
}

pub(super) fn find(connection: &mut SqliteConnection, id: TurnId) -> Result<Option<StoredTurn>, StoreError> {
    let row = turns::table.find(id.to_string()).select(TurnRow::as_select()).first(connection).optional()?;
    row.map(|row| stored_turn(connection, &row)).transpose()
}

/// The latest turn of a conversation.
pub(super) fn latest(
    connection: &mut SqliteConnection,
    conversation: ConversationId,
) -> Result<Option<TurnId>, StoreError> {
    turns::table
        .filter(turns::conversation_id.eq(conversation.to_string()))
        .order(turns::rowid.desc())
        .select(turns::id)
        .first::<String>(connection)
        .optional()?
        .map(|id| parse(&id))
        .transpose()
}

/// The turns of a conversation that began after `turn`, oldest first.
pub(super) fn after(
    connection: &mut SqliteConnection,
    conversation: ConversationId,
    turn: TurnId,
    limit: usize,
) -> Result<Vec<TurnId>, StoreError> {
    let ids: Vec<String> = turns::table
        .filter(turns::conversation_id.eq(conversation.to_string()))
        .filter(turns::rowid.gt(place_of!(turns, connection, turn)))
        .order(turns::rowid.asc())
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select(turns::id)
        .load(connection)?;
    ids.iter().map(|id| parse(id)).collect()
}

/// Number of tokens of each answer among some messages, by turn.
pub(super) fn token_counts(
    connection: &mut SqliteConnection,
    rows: &[MessageRow],
) -> Result<HashMap<String, i64>, StoreError> {
    let answers = rows.iter().filter(|row| row.role == MessageRole::Assistant.as_str());
    let ends_bytes = sql::<BigInt>("coalesce(length(token_ends), 0)");
    let bytes: Vec<(String, i64)> = turns::table
        .filter(turns::id.eq_any(answers.map(|row| row.turn_id.as_str())))
        .select((turns::id, ends_bytes))
        .load(connection)?;
    Ok(bytes.into_iter().map(|(id, bytes)| (id, bytes / checkpoints::BYTES_PER_END)).collect())
}

fn stored_turn(connection: &mut SqliteConnection, row: &TurnRow) -> Result<StoredTurn, StoreError> {
    let answer = messages::table
        .filter(messages::turn_id.eq(&row.id).and(messages::role.eq(MessageRole::Assistant.as_str())))
        .select(MessageRow::as_select())
        .first(connection)
        .optional()?
        .map(|message| answer(message, row.token_ends.as_deref().unwrap_or_default()))
        .transpose()?;
    let question = messages::table
        .filter(messages::turn_id.eq(&row.id).and(messages::role.eq(MessageRole::User.as_str())))
        .select(messages::content)
        .first(connection)
        .optional()?;
    let state = match row.state.as_str() {
        RUNNING => StoredTurnState::Running,
        COMPLETE => StoredTurnState::Complete,
        FAILED => StoredTurnState::Failed {
            code: row.error_code.clone().unwrap_or_default(),
            message: row.error_message.clone().unwrap_or_default(),
        },
        other => return Err(StoreError::Corrupt(format!("a turn's state {other:?}"))),
    };
    Ok(StoredTurn {
        turn_id: parse(&row.id)?,
        conversation_id: parse(&row.conversation_id)?,
        user_id: parse(&row.user_id)?,
        client_message_id: row.client_message_id.clone(),
        question,
        state,
        answer,
    })
}

fn answer(message: MessageRow, token_ends: &[u8]) -> Result<Answer, StoreError> {
    Ok(Answer {
        message_id: parse(&message.id)?,
        token_ends: checkpoints::ends_of(token_ends)?,
        finish_reason: parse(message.finish_reason.as_deref().unwrap_or_default())?,
        metadata: metadata(message.metadata.as_deref())?.unwrap_or_default(),
        text: message.content,
    })
}
