//! Titles of conversations, and who gave them.

use super::{events::require, parse, schema::conversations};
use crate::{
    domain::{Conversation, ConversationAccess, ConversationId, UnixMillis, UserId, UserTitle},
    store::StoreError,
};
use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl, SqliteConnection};

// Values of `conversations.titled_by`.
const QUESTION: &str = "question";
const TASK: &str = "task";
const USER: &str = "user";

/// Sets the title that a user gives a conversation.
pub(super) fn rename(
    connection: &mut SqliteConnection,
    user: UserId,
    id: ConversationId,
    title: &UserTitle,
) -> Result<Conversation, StoreError> {
    require(connection, user, id, ConversationAccess::can_administer)?;
    let (owner, created_at_ms, updated_at_ms): (String, i64, i64) =
        diesel::update(conversations::table.find(id.to_string()))
            .set((conversations::title.eq(title.as_str()), conversations::titled_by.eq(USER)))
            .returning((conversations::user_id, conversations::created_at_ms, conversations::updated_at_ms))
            .get_result(connection)?;
    Ok(Conversation {
        id,
        user_id: parse(&owner)?,
        title: title.as_str().to_owned(),
        created_at: UnixMillis(created_at_ms),
        updated_at: UnixMillis(updated_at_ms),
    })
}

/// Replaces the title of a conversation if it is still the start of the question; returns whether it did.
pub(super) fn suggest(connection: &mut SqliteConnection, id: ConversationId, title: &str) -> Result<bool, StoreError> {
    let untitled = conversations::table.find(id.to_string()).filter(conversations::titled_by.eq(QUESTION));
    let changed = diesel::update(untitled)
        .set((conversations::title.eq(title), conversations::titled_by.eq(TASK)))
        .execute(connection)?;
    Ok(changed > 0)
}
