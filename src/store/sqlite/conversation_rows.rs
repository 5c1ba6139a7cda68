//! Rows of new conversations and of their members.

use super::schema::{conversations, members};
use diesel::Insertable;

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

#[derive(Insertable)]
#[diesel(table_name = members)]
pub(super) struct MemberRow {
    pub(super) conversation_id: String,
    pub(super) user_id: String,
    pub(super) role: &'static str,
    pub(super) since_position: i64,
}
