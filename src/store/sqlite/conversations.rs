//! [`ConversationStore`] in SQLite.

use super::{
    SqliteStore, checkpoints, conversation_list,
    conversation_rows::{ConversationRow, MemberRow},
    end_turn::end_turn,
    events::{self, NewEvent, Standing, require},
    feedback::{FeedbackColumns, feedback_of},
    page::{json_bytes, listed, rowid_of},
    parse,
    schema::{conversations, feedback, members, messages, turns},
    stored_turns, summaries, titles,
    turn_rows::{BYTES_PER_END, MessageRow, RUNNING, TurnRow, metadata},
};
use crate::{
    domain::{
        Conversation, ConversationAccess, ConversationHandler, ConversationId, Event, EventActor, Fact, MemberRole,
        Message, MessageId, MessageRole, Part, TurnId, UnixMillis, UserId, UserTitle, title_of_question,
    },
    store::{
        AcceptedTurn, BegunTurn, Checkpoint, ConversationCursor, ConversationStore, EndedTurn, Listed,
        ListedConversations, NewTurn, Page, StoreError, StoredTurn, Unsummarized,
    },
};
use diesel::{
    BoolExpressionMethods, Connection, ExpressionMethods, JoinOnDsl, NullableExpressionMethods, OptionalExtension,
    QueryDsl, RunQueryDsl, SelectableHelper, SqliteConnection, connection::DefaultLoadingMode,
};
use std::sync::Arc;

#[async_trait::async_trait]
impl ConversationStore for SqliteStore {
    async fn begin_turn(&self, turn: NewTurn) -> Result<BegunTurn, StoreError> {
        self.write(move |connection| begin_turn(connection, turn)).await
    }

    async fn end_turn(&self, turn: EndedTurn) -> Result<Vec<Event>, StoreError> {
        let logged = Arc::clone(&self.logged_kinds);
        self.write(move |connection| end_turn(connection, turn, &logged)).await
    }

    async fn checkpoint(&self, checkpoints: Vec<Checkpoint>) -> Result<i64, StoreError> {
        self.write(move |connection| checkpoints::append(connection, &checkpoints)).await
    }

    async fn forget_checkpoints(&self, before: i64) -> Result<(), StoreError> {
        self.write(move |connection| checkpoints::forget(connection, before)).await
    }

    async fn interrupt_running_turns(&self, code: &str, message: &str) -> Result<usize, StoreError> {
        let (code, message) = (code.to_owned(), message.to_owned());
        let logged = Arc::clone(&self.logged_kinds);
        self.write(move |connection| checkpoints::interrupt_running(connection, &code, &message, &logged)).await
    }

    async fn forget_client_messages(&self, before: UnixMillis) -> Result<usize, StoreError> {
        self.write(move |connection| {
            let old = turns::table.filter(turns::client_message_id.is_not_null());
            let forgotten = diesel::update(old.filter(turns::started_at_ms.lt(before.0)))
                .set(turns::client_message_id.eq(None::<String>))
                .execute(connection)?;
            Ok(forgotten)
        })
        .await
    }

    async fn turn(&self, id: TurnId) -> Result<Option<StoredTurn>, StoreError> {
        self.read(move |connection| stored_turns::find(connection, id)).await
    }

    async fn turn_of_message(&self, user: UserId, client_message_id: String) -> Result<Option<TurnId>, StoreError> {
        self.read(move |connection| turn_of_message(connection, user, &client_message_id)).await
    }

    async fn latest_turn(&self, conversation: ConversationId) -> Result<Option<TurnId>, StoreError> {
        self.read(move |connection| stored_turns::latest(connection, conversation)).await
    }

    async fn turns_after(
        &self,
        conversation: ConversationId,
        turn: TurnId,
        limit: usize,
    ) -> Result<Vec<TurnId>, StoreError> {
        self.read(move |connection| stored_turns::after(connection, conversation, turn, limit)).await
    }

    async fn conversations(
        &self,
        user: UserId,
        page: Page<ConversationCursor>,
    ) -> Result<ListedConversations, StoreError> {
        self.read(move |connection| {
            // One transaction, so that all queries see the same state.
            connection.transaction(|connection| conversation_list::list(connection, user, page))
        })
        .await
    }

    async fn messages(
        &self,
        user: UserId,
        conversation: ConversationId,
        page: Page<MessageId>,
    ) -> Result<Listed<Message>, StoreError> {
        self.read(move |connection| {
            // The messages before a member joined are not theirs to read.
            require(connection, user, conversation, ConversationAccess::can_read_all)?;
            let is_answered =
                turns::id.nullable().eq(messages::turn_id).and(messages::role.eq(MessageRole::Assistant.as_str()));
            let is_rated = feedback::message_id.eq(messages::id).and(feedback::user_id.eq(user.to_string()));
            let rating = (feedback::rating, feedback::reasons, feedback::comment).nullable();
            let mut query = messages::table
                .left_join(turns::table.on(is_answered))
                .left_join(feedback::table.on(is_rated))
                .filter(messages::conversation_id.eq(conversation.to_string()))
                .order(messages::rowid.desc())
                .limit(page.limit.saturating_add(1))
                .select((MessageRow::as_select(), stored_turns::token_bytes(), turns::items.nullable(), rating))
                .into_boxed();
            if let Some(before) = page.before {
                query = query.filter(messages::rowid.lt(rowid_of!(messages, connection, before)));
            }
            let rows = query.load_iter::<ListedMessage, DefaultLoadingMode>(connection)?;
            let bytes = |(row, _, items, _): &ListedMessage| {
                let reasoning = row.reasoning.as_deref().map_or(0, json_bytes);
                let json = [&row.metadata, items].into_iter().flatten().map(String::len).sum::<usize>();
                json_bytes(&row.content) + reasoning + json
            };
            let mut page = listed(rows, page.limit, bytes, message)?;
            page.items.reverse();
            Ok(page)
        })
        .await
    }

    async fn rename_conversation(
        &self,
        user: UserId,
        conversation: ConversationId,
        title: UserTitle,
    ) -> Result<Conversation, StoreError> {
        self.write(move |connection| titles::rename(connection, user, conversation, &title)).await
    }

    async fn suggest_title(&self, conversation: ConversationId, title: String) -> Result<bool, StoreError> {
        self.write(move |connection| titles::suggest(connection, conversation, &title)).await
    }

    async fn unsummarized(&self, conversation: ConversationId, limit: i64) -> Result<Unsummarized, StoreError> {
        self.read(move |connection| {
            // One transaction, so that both queries see the same state.
            connection.transaction(|connection| summaries::unsummarized(connection, conversation, limit))
        })
        .await
    }

    async fn set_summary(&self, conversation: ConversationId, summary: String, until: i64) -> Result<(), StoreError> {
        self.write(move |connection| summaries::set(connection, conversation, &summary, until)).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.check_by_writing().await
    }

    async fn delete_conversation(&self, user: UserId, conversation: ConversationId) -> Result<(), StoreError> {
        self.write(move |connection| {
            require(connection, user, conversation, ConversationAccess::can_administer)?;
            diesel::delete(conversations::table.find(conversation.to_string())).execute(connection)?;
            Ok(())
        })
        .await
    }
}

fn begin_turn(connection: &mut SqliteConnection, turn: NewTurn) -> Result<BegunTurn, StoreError> {
    if let Some(client_message_id) = &turn.client_message_id
        && let Some(turn_id) = turn_of_message(connection, turn.user_id, client_message_id)?
    {
        return Ok(BegunTurn::Duplicate { turn_id });
    }
    let (history, summary, epoch) = if turn.is_new_conversation {
        create_conversation(connection, &turn)?;
        (Vec::new(), None, 0)
    } else {
        let user = turn.user_id;
        let Standing { fence, .. } = require(connection, user, turn.conversation_id, ConversationAccess::can_write)?;
        if fence.handler != ConversationHandler::Assistant {
            return Err(StoreError::Fenced);
        }
        (history(connection, &turn)?, summaries::summary(connection, turn.conversation_id)?, fence.epoch)
    };
    store_question(connection, &turn, epoch)?;
    let NewTurn { turn_id, user_id, conversation_id, message_id, text, client_message_id, at, .. } = turn;
    let message = Fact::Message { message_id, text, turn_id: Some(turn_id), client_message_id };
    let new = vec![
        NewEvent { actor: EventActor::user(user_id), fact: message },
        NewEvent { actor: EventActor::ASSISTANT, fact: Fact::TurnStarted { turn_id, message_id } },
    ];
    let events = events::append(connection, conversation_id, at, new)?;
    Ok(BegunTurn::Started(AcceptedTurn { history, summary, epoch, events }))
}

/// Stores a new conversation, which the user owns.
fn create_conversation(connection: &mut SqliteConnection, turn: &NewTurn) -> Result<(), StoreError> {
    diesel::insert_into(conversations::table)
        .values(ConversationRow {
            id: turn.conversation_id.to_string(),
            user_id: turn.user_id.to_string(),
            customer_id: turn.customer_id.clone(),
            title: title_of_question(&turn.text),
            created_at_ms: turn.at.0,
            updated_at_ms: turn.at.0,
        })
        .execute(connection)?;
    diesel::insert_into(members::table)
        .values(MemberRow {
            conversation_id: turn.conversation_id.to_string(),
            user_id: turn.user_id.to_string(),
            role: MemberRole::Owner.as_str(),
            since_position: 1,
        })
        .execute(connection)?;
    Ok(())
}

/// Returns the earlier messages of the conversation, oldest first.
fn history(connection: &mut SqliteConnection, turn: &NewTurn) -> Result<Vec<(MessageRole, String)>, StoreError> {
    let rows: Vec<(String, String)> = messages::table
        .filter(messages::conversation_id.eq(turn.conversation_id.to_string()))
        .order(messages::rowid.desc())
        .limit(turn.history_messages)
        .select((messages::role, messages::content))
        .load(connection)?;
    rows.into_iter().rev().map(|(role, content)| Ok((parse(&role)?, content))).collect()
}

fn store_question(connection: &mut SqliteConnection, turn: &NewTurn, epoch: i64) -> Result<(), StoreError> {
    diesel::insert_into(turns::table)
        .values(TurnRow {
            id: turn.turn_id.to_string(),
            conversation_id: turn.conversation_id.to_string(),
            user_id: turn.user_id.to_string(),
            client_message_id: turn.client_message_id.clone(),
            state: RUNNING.to_owned(),
            error_code: None,
            error_message: None,
            token_ends: None,
            items: None,
            started_at_ms: turn.at.0,
            ended_at_ms: None,
            epoch,
            owner_node: Some(turn.owner_node.clone()),
        })
        .execute(connection)?;
    diesel::insert_into(messages::table)
        .values(MessageRow {
            id: turn.message_id.to_string(),
            conversation_id: turn.conversation_id.to_string(),
            turn_id: Some(turn.turn_id.to_string()),
            role: MessageRole::User.as_str().to_owned(),
            content: turn.text.clone(),
            finish_reason: None,
            metadata: None,
            reasoning: None,
            created_at_ms: turn.at.0,
        })
        .execute(connection)?;
    Ok(())
}

fn turn_of_message(
    connection: &mut SqliteConnection,
    user: UserId,
    client_message_id: &str,
) -> Result<Option<TurnId>, StoreError> {
    turns::table
        .filter(turns::user_id.eq(user.to_string()))
        .filter(turns::client_message_id.eq(client_message_id))
        .select(turns::id)
        .first::<String>(connection)
        .optional()?
        .map(|id| parse(&id))
        .transpose()
}

/// A message; for an answer, also the size of its token boundaries, the other entries of its turn and the user's feedback.
type ListedMessage = (MessageRow, Option<i64>, Option<String>, Option<FeedbackColumns>);

fn message((row, token_bytes, items, feedback): ListedMessage) -> Result<Message, StoreError> {
    let is_answer = row.role == MessageRole::Assistant.as_str();
    Ok(Message {
        id: parse(&row.id)?,
        conversation_id: parse(&row.conversation_id)?,
        turn_id: row.turn_id.as_deref().map(parse).transpose()?,
        role: parse(&row.role)?,
        content: row.content,
        last_seq: is_answer.then(|| token_bytes.unwrap_or(0) / BYTES_PER_END - 1),
        finish_reason: row.finish_reason.as_deref().map(parse).transpose()?,
        metadata: metadata(row.metadata.as_deref())?,
        reasoning: row.reasoning,
        parts: items.as_deref().map(Part::of_stored_items).unwrap_or_default(),
        feedback: feedback.map(feedback_of).transpose()?,
        created_at: UnixMillis(row.created_at_ms),
    })
}
