//! Rows of `conversations`: insertion, ownership and the time of the last change.

use super::schema::conversations;
use crate::{
    domain::{ConversationId, UnixMillis, UserId},
    store::StoreError,
};
use diesel::{ExpressionMethods, Insertable, OptionalExtension, QueryDsl, RunQueryDsl, SqliteConnection};

#[derive(Insertable)]
#[diesel(table_name = conversations)]
pub(super) struct ConversationRow {
    pub(super) id: String,
    pub(super) user_id: String,
    pub(super) customer_id: Option<String>,
    pub(super) title: String,
    pub(super) created_at_ms: i64,
    pub(super) updated_at_ms: i64,
}

/// Sets the time of the last change of a conversation.
pub(super) fn touch(
    connection: &mut SqliteConnection,
    conversation_id: &str,
    at: UnixMillis,
) -> Result<(), StoreError> {
    diesel::update(conversations::table.find(conversation_id))
        .set(conversations::updated_at_ms.eq(at.0))
        .execute(connection)?;
    Ok(())
}

/// Checks that a conversation exists and belongs to the user.
pub(super) fn owned_conversation(
    connection: &mut SqliteConnection,
    user: UserId,
    id: ConversationId,
) -> Result<(), StoreError> {
    let owner = conversations::table.find(id.to_string()).select(conversations::user_id).first::<String>(connection);
    match owner.optional()? {
        None => Err(StoreError::NotFound("conversation")),
        Some(owner) if owner == user.to_string() => Ok(()),
        Some(_) => Err(StoreError::Forbidden("conversation")),
    }
}
