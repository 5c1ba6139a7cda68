//! A user's conversations, in pages.

use super::{
    conversation_rows::owned_conversation,
    page::{json_bytes, listed},
    parse,
    schema::messages,
};
use crate::{
    domain::{Conversation, UnixMillis, UserId},
    store::{ConversationCursor, ConversationPosition, ListedConversations, Page, StoreError},
};
use diesel::{
    ExpressionMethods, QueryDsl, QueryableByName, RunQueryDsl, SqliteConnection,
    sql_types::{BigInt, Text},
};

/// A conversation in a list.
#[derive(QueryableByName)]
struct PlacedConversation {
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
    /// The rowid of its latest message.
    #[diesel(sql_type = BigInt)]
    place: i64,
}

/// The conversations of a user by their latest messages. A page after the first one has the order of the moment at which the
/// first was read: a conversation that has got a message since is in the place that it had.
pub(super) fn list(
    connection: &mut SqliteConnection,
    user: UserId,
    page: Page<ConversationCursor>,
) -> Result<ListedConversations, StoreError> {
    let newest = messages::table.select(diesel::dsl::max(messages::rowid));
    let (snapshot, before) = match page.before {
        None => (newest.first::<Option<i64>>(connection)?.unwrap_or_default(), i64::MAX),
        Some(cursor) => match cursor.position() {
            Ok(ConversationPosition { snapshot, place }) => (snapshot, place),
            Err(conversation) => {
                owned_conversation(connection, user, conversation)?;
                let its = messages::table.filter(messages::conversation_id.eq(conversation.to_string()));
                let place = its.select(diesel::dsl::max(messages::rowid)).first::<Option<i64>>(connection)?;
                (newest.first::<Option<i64>>(connection)?.unwrap_or_default(), place.unwrap_or_default())
            }
        },
    };
    let rows: Vec<PlacedConversation> = diesel::sql_query(
        "WITH placed AS MATERIALIZED (SELECT c.id, c.user_id, c.title, c.created_at_ms, c.updated_at_ms, \
            (SELECT max(m.rowid) FROM messages m WHERE m.conversation_id = c.id AND m.rowid <= ?) AS place \
            FROM conversations c WHERE c.user_id = ?) \
         SELECT * FROM placed WHERE place < ? ORDER BY place DESC LIMIT ?",
    )
    .bind::<BigInt, _>(snapshot)
    .bind::<Text, _>(user.to_string())
    .bind::<BigInt, _>(before)
    .bind::<BigInt, _>(page.limit.saturating_add(1))
    .load(connection)?;
    let found = listed(rows.into_iter().map(Ok), page.limit, |row| json_bytes(&row.title), Ok)?;
    let next = found.items.last().filter(|_| found.has_more);
    let next = next.map(|last| ConversationPosition { snapshot, place: last.place }.into());
    Ok(ListedConversations { conversations: found.items.iter().map(conversation).collect::<Result<_, _>>()?, next })
}

fn conversation(row: &PlacedConversation) -> Result<Conversation, StoreError> {
    Ok(Conversation {
        id: parse(&row.id)?,
        user_id: parse(&row.user_id)?,
        title: row.title.clone(),
        created_at: UnixMillis(row.created_at_ms),
        updated_at: UnixMillis(row.updated_at_ms),
    })
}
