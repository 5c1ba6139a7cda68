//! Summaries of conversations, which stand for messages that no longer fit into the history of a turn.

use super::{
    parse,
    schema::{conversations, messages},
};
use crate::{
    domain::{ConversationId, MessageRole},
    store::{StoreError, Unsummarized, UnsummarizedMessage},
};
use diesel::{ExpressionMethods, OptionalExtension, QueryDsl, RunQueryDsl, SqliteConnection};

/// Returns the summary of a conversation.
pub(super) fn summary(connection: &mut SqliteConnection, id: ConversationId) -> Result<Option<String>, StoreError> {
    let summary = conversations::table.find(id.to_string()).select(conversations::summary);
    Ok(summary.first::<Option<String>>(connection).optional()?.flatten())
}

/// Returns the summary of a conversation with the first messages after it, oldest first.
pub(super) fn unsummarized(
    connection: &mut SqliteConnection,
    id: ConversationId,
    limit: i64,
) -> Result<Unsummarized, StoreError> {
    let (summary, until): (Option<String>, i64) = conversations::table
        .find(id.to_string())
        .select((conversations::summary, conversations::summarized_until))
        .first(connection)
        .optional()?
        .ok_or(StoreError::NotFound("conversation"))?;
    let rows: Vec<(i64, String, String)> = messages::table
        .filter(messages::conversation_id.eq(id.to_string()))
        .filter(messages::rowid.gt(until))
        .order(messages::rowid.asc())
        .limit(limit)
        .select((messages::rowid, messages::role, messages::content))
        .load(connection)?;
    let message = |(position, role, text): (i64, String, String)| -> Result<UnsummarizedMessage, StoreError> {
        Ok(UnsummarizedMessage { position, role: parse::<MessageRole>(&role)?, text })
    };
    Ok(Unsummarized { summary, messages: rows.into_iter().map(message).collect::<Result<_, _>>()? })
}

/// Stores the summary of the messages up to a position, unless a later one is stored.
pub(super) fn set(
    connection: &mut SqliteConnection,
    id: ConversationId,
    summary: &str,
    until: i64,
) -> Result<(), StoreError> {
    diesel::update(conversations::table.find(id.to_string()).filter(conversations::summarized_until.lt(until)))
        .set((conversations::summary.eq(summary), conversations::summarized_until.eq(until)))
        .execute(connection)?;
    Ok(())
}
