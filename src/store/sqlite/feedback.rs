//! [`FeedbackStore`] in SQLite.

use super::{
    SqliteStore,
    events::require,
    page::{json_bytes, listed},
    parse,
    schema::{feedback, messages, turns},
    turn_rows::metadata,
};
use crate::{
    domain::{
        AnswerMetadata, ConversationAccess, ConversationId, Feedback, MessageId, MessageRole, Rating, UnixMillis,
        UserId,
    },
    limits::MAX_EXPORTED_HISTORY,
    store::{ChangedFeedback, FeedbackStore, Listed, RatedAnswer, StoreError},
};
use diesel::{
    BoolExpressionMethods, Connection, ExpressionMethods, JoinOnDsl, NullableExpressionMethods, OptionalExtension,
    QueryDsl, Queryable, RunQueryDsl, SqliteConnection,
};

/// Columns of the feedback on an answer, as read beside it.
pub(super) type FeedbackColumns = (String, String, Option<String>);

/// Decodes the columns of a feedback.
pub(super) fn feedback_of((rating, reasons, comment): FeedbackColumns) -> Result<Feedback, StoreError> {
    let reasons =
        serde_json::from_str(&reasons).map_err(|error| StoreError::Corrupt(format!("feedback.reasons: {error}")))?;
    Ok(Feedback { rating: parse(&rating)?, reasons, comment })
}

#[async_trait::async_trait]
impl FeedbackStore for SqliteStore {
    async fn set_feedback(
        &self,
        user: UserId,
        message: MessageId,
        given: Feedback,
        at: UnixMillis,
    ) -> Result<ChangedFeedback, StoreError> {
        self.write(move |connection| {
            let changed = before_change(connection, user, message)?;
            let (message_id, user_id) = (message.to_string(), user.to_string());
            let content = (
                feedback::rating.eq(given.rating.as_str()),
                feedback::reasons.eq(serde_json::Value::from(given.reasons).to_string()),
                feedback::comment.eq(given.comment),
                feedback::at_ms.eq(at.0),
            );
            if changed.before.is_some() {
                diesel::update(feedback::table.find((&message_id, &user_id))).set(content).execute(connection)?;
            } else {
                let key = (feedback::message_id.eq(&message_id), feedback::user_id.eq(&user_id));
                diesel::insert_into(feedback::table).values((key, content)).execute(connection)?;
            }
            Ok(changed)
        })
        .await
    }

    async fn withdraw_feedback(&self, user: UserId, message: MessageId) -> Result<ChangedFeedback, StoreError> {
        self.write(move |connection| {
            let changed = before_change(connection, user, message)?;
            diesel::delete(feedback::table.find((message.to_string(), user.to_string()))).execute(connection)?;
            Ok(changed)
        })
        .await
    }

    async fn rated_answers(&self, after: i64, limit: i64) -> Result<Listed<RatedAnswer>, StoreError> {
        self.read(move |connection| {
            // One transaction, so that a conversation is not deleted between the queries.
            connection.transaction(|connection| rated_answers(connection, after, limit))
        })
        .await
    }
}

/// Checks that a message is an answer to this user, and returns its metadata and the user's rating.
fn before_change(
    connection: &mut SqliteConnection,
    user: UserId,
    message: MessageId,
) -> Result<ChangedFeedback, StoreError> {
    let metadata = own_answer(connection, user, message)?;
    let given = feedback::table.find((message.to_string(), user.to_string()));
    let before: Option<String> = given.select(feedback::rating).first(connection).optional()?;
    Ok(ChangedFeedback { before: before.as_deref().map(parse::<Rating>).transpose()?, metadata })
}

/// Checks that a message is an answer to this user, and returns its metadata.
fn own_answer(
    connection: &mut SqliteConnection,
    user: UserId,
    message: MessageId,
) -> Result<AnswerMetadata, StoreError> {
    let found: Option<(String, String, Option<String>)> = messages::table
        .inner_join(turns::table.on(turns::id.nullable().eq(messages::turn_id)))
        .filter(messages::id.eq(message.to_string()).and(messages::role.eq(MessageRole::Assistant.as_str())))
        .select((messages::conversation_id, turns::user_id, messages::metadata))
        .first(connection)
        .optional()?;
    let (conversation, asked_by, json) = found.ok_or(StoreError::NotFound("answer"))?;
    let is_member = require(connection, user, parse::<ConversationId>(&conversation)?, ConversationAccess::can_write);
    if is_member.is_err() || parse::<UserId>(&asked_by)? != user {
        return Err(StoreError::Forbidden("answer"));
    }
    Ok(metadata(json.as_deref())?.unwrap_or_default())
}

#[derive(Queryable)]
struct RatedRow {
    position: i64,
    feedback: FeedbackColumns,
    message_id: String,
    message_position: i64,
    conversation_id: String,
    turn_id: Option<String>,
    answer: String,
    metadata: Option<String>,
}

fn rated_answers(connection: &mut SqliteConnection, after: i64, limit: i64) -> Result<Listed<RatedAnswer>, StoreError> {
    let rows: Vec<RatedRow> = feedback::table
        .inner_join(messages::table.on(messages::id.eq(feedback::message_id)))
        .filter(feedback::rowid.gt(after))
        .order(feedback::rowid.asc())
        .limit(limit.saturating_add(1))
        .select((
            feedback::rowid,
            (feedback::rating, feedback::reasons, feedback::comment),
            messages::id,
            messages::rowid,
            messages::conversation_id,
            messages::turn_id,
            messages::content,
            messages::metadata,
        ))
        .load(connection)?;
    let bytes = |row: &RatedRow| json_bytes(&row.answer) + row.metadata.as_deref().map_or(0, str::len);
    listed(rows.into_iter().map(Ok), limit, bytes, |row| {
        let (question, earlier) = questions(connection, &row)?;
        Ok(RatedAnswer {
            position: row.position,
            message_id: parse(&row.message_id)?,
            feedback: feedback_of(row.feedback)?,
            question,
            earlier,
            answer: row.answer,
            metadata: metadata(row.metadata.as_deref())?.unwrap_or_default(),
        })
    })
}

/// Returns the question of an answer, and the messages of users before it.
fn questions(connection: &mut SqliteConnection, row: &RatedRow) -> Result<(String, Vec<String>), StoreError> {
    let of_users = || {
        messages::table
            .filter(messages::conversation_id.eq(row.conversation_id.clone()))
            .filter(messages::role.eq(MessageRole::User.as_str()))
    };
    let (question, position): (String, i64) = of_users()
        .filter(messages::turn_id.eq(row.turn_id.clone()).and(messages::rowid.lt(row.message_position)))
        .select((messages::content, messages::rowid))
        .first(connection)?;
    let mut earlier: Vec<String> = of_users()
        .filter(messages::rowid.lt(position))
        .order(messages::rowid.desc())
        .limit(MAX_EXPORTED_HISTORY)
        .select(messages::content)
        .load(connection)?;
    earlier.reverse();
    Ok((question, earlier))
}
