//! Queries for stored turns.

use super::{
    page::rowid_of,
    parse,
    schema::{messages, turns},
    turn_rows::{COMPLETE, FAILED, MessageRow, RUNNING, TurnRow, ends_of, metadata},
};
use crate::{
    domain::{ConversationId, MessageRole, TurnId},
    store::{Answer, StoreError, StoredTurn, StoredTurnState},
};
use diesel::{
    BoolExpressionMethods, ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SelectableHelper,
    SqliteConnection,
    dsl::sql,
    expression::SqlLiteral,
    sql_types::{BigInt, Nullable},
};

pub(super) fn find(connection: &mut SqliteConnection, id: TurnId) -> Result<Option<StoredTurn>, StoreError> {
    let row = turns::table.find(id.to_string()).select(TurnRow::as_select()).first(connection).optional()?;
    row.map(|row| stored_turn(connection, &row)).transpose()
}

/// Finds the latest turn of a conversation.
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

/// Lists the turns of a conversation that began after `turn`, oldest first.
pub(super) fn after(
    connection: &mut SqliteConnection,
    conversation: ConversationId,
    turn: TurnId,
    limit: usize,
) -> Result<Vec<TurnId>, StoreError> {
    let ids: Vec<String> = turns::table
        .filter(turns::conversation_id.eq(conversation.to_string()))
        .filter(turns::rowid.gt(rowid_of!(turns, connection, turn)))
        .order(turns::rowid.asc())
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select(turns::id)
        .load(connection)?;
    ids.iter().map(|id| parse(id)).collect()
}

/// Size of the token boundaries of a joined turn, without reading them; null without a turn.
pub(super) fn token_bytes() -> SqlLiteral<Nullable<BigInt>> {
    sql("length(turns.token_ends)")
}

fn stored_turn(connection: &mut SqliteConnection, row: &TurnRow) -> Result<StoredTurn, StoreError> {
    let answer = messages::table
        .filter(messages::turn_id.eq(&row.id).and(messages::role.eq(MessageRole::Assistant.as_str())))
        .select(MessageRow::as_select())
        .first(connection)
        .optional()?
        .map(|message| answer(message, row))
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
        other => return Err(StoreError::Corrupt(format!("unknown turn state {other:?}"))),
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

fn answer(message: MessageRow, turn: &TurnRow) -> Result<Answer, StoreError> {
    Ok(Answer {
        message_id: parse(&message.id)?,
        token_ends: ends_of(turn.token_ends.as_deref().unwrap_or_default())?,
        finish_reason: parse(message.finish_reason.as_deref().unwrap_or_default())?,
        metadata: metadata(message.metadata.as_deref())?.unwrap_or_default(),
        text: message.content,
        reasoning: message.reasoning,
        items: turn.items.clone(),
    })
}
