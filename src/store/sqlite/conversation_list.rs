//! Paged list of a user's conversations.

use super::{
    events::require,
    page::{json_bytes, listed},
    parse,
    schema::messages,
};
use crate::{
    domain::{Conversation, ConversationAccess, UnixMillis, UserId},
    store::{ConversationCursor, ConversationPosition, ListedConversations, Page, StoreError},
};
use diesel::{
    ExpressionMethods, QueryDsl, QueryableByName, RunQueryDsl, SqliteConnection,
    sql_types::{BigInt, Text},
};

#[derive(QueryableByName)]
struct ListedConversation {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = Text)]
    title: String,
    #[diesel(sql_type = BigInt)]
    created_at_ms: i64,
    #[diesel(sql_type = BigInt)]
    updated_at_ms: i64,
    /// Rowid of its latest message at the time of the first page.
    #[diesel(sql_type = BigInt)]
    latest_message: i64,
}

/// Lists the conversations of a user by their latest messages. Later pages ignore messages since the first page, so that new
/// messages do not change the order.
pub(super) fn list(
    connection: &mut SqliteConnection,
    user: UserId,
    page: Page<ConversationCursor>,
) -> Result<ListedConversations, StoreError> {
    let newest = messages::table.select(diesel::dsl::max(messages::rowid));
    let (snapshot, before) = match page.before {
        None => (newest.first::<Option<i64>>(connection)?.unwrap_or_default(), i64::MAX),
        Some(cursor) => match cursor.position() {
            Ok(ConversationPosition { snapshot, latest_message }) => (snapshot, latest_message),
            Err(conversation) => {
                require(connection, user, conversation, ConversationAccess::can_subscribe)?;
                let latest = messages::table
                    .filter(messages::conversation_id.eq(conversation.to_string()))
                    .select(diesel::dsl::max(messages::rowid))
                    .first::<Option<i64>>(connection)?;
                (newest.first::<Option<i64>>(connection)?.unwrap_or_default(), latest.unwrap_or_default())
            }
        },
    };
    let rows: Vec<ListedConversation> = diesel::sql_query(
        "WITH listed AS MATERIALIZED (SELECT c.id, c.user_id, c.title, c.created_at_ms, c.updated_at_ms, \
            (SELECT max(m.rowid) FROM messages m WHERE m.conversation_id = c.id AND m.rowid <= ?) AS latest_message \
            FROM members b JOIN conversations c ON c.id = b.conversation_id WHERE b.user_id = ?) \
         SELECT * FROM listed WHERE latest_message < ? ORDER BY latest_message DESC LIMIT ?",
    )
    .bind::<BigInt, _>(snapshot)
    .bind::<Text, _>(user.to_string())
    .bind::<BigInt, _>(before)
    .bind::<BigInt, _>(page.limit.saturating_add(1))
    .load(connection)?;
    let found = listed(rows.into_iter().map(Ok), page.limit, |row| json_bytes(&row.title), Ok)?;
    let next = found.items.last().filter(|_| found.has_more);
    let next = next.map(|last| ConversationPosition { snapshot, latest_message: last.latest_message }.into());
    Ok(ListedConversations { conversations: found.items.iter().map(conversation).collect::<Result<_, _>>()?, next })
}

fn conversation(row: &ListedConversation) -> Result<Conversation, StoreError> {
    Ok(Conversation {
        id: parse(&row.id)?,
        user_id: parse(&row.user_id)?,
        title: row.title.clone(),
        created_at: UnixMillis(row.created_at_ms),
        updated_at: UnixMillis(row.updated_at_ms),
    })
}
