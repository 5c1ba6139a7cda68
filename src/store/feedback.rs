//! Storage of feedback on answers.

use super::{Listed, StoreError};
use crate::domain::{AnswerMetadata, Feedback, MessageId, Rating, UnixMillis, UserId};

/// Change of the feedback of a user on an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangedFeedback {
    /// The rating before, if there was one.
    pub before: Option<Rating>,
    /// Metadata of the answer.
    pub metadata: AnswerMetadata,
}

/// Answer with the feedback of a user on it, and the question that it answers.
#[derive(Clone, Debug, PartialEq)]
pub struct RatedAnswer {
    /// Position in the list of all.
    pub position: i64,
    pub message_id: MessageId,
    pub feedback: Feedback,
    pub question: String,
    /// Earlier messages of users in the conversation, oldest first.
    pub earlier: Vec<String>,
    pub answer: String,
    pub metadata: AnswerMetadata,
}

#[async_trait::async_trait]
pub trait FeedbackStore: Send + Sync {
    /// Stores the feedback of a user on an answer, in place of an earlier one.
    ///
    /// # Errors
    /// `NotFound` if there is no such answer, `Forbidden` if another user asked for it.
    async fn set_feedback(
        &self,
        user: UserId,
        message: MessageId,
        feedback: Feedback,
        at: UnixMillis,
    ) -> Result<ChangedFeedback, StoreError>;

    /// Deletes the feedback of a user on an answer, if there is one.
    ///
    /// # Errors
    /// As [`FeedbackStore::set_feedback`].
    async fn withdraw_feedback(&self, user: UserId, message: MessageId) -> Result<ChangedFeedback, StoreError>;

    /// Lists rated answers after a position, in the order in which they were first rated.
    async fn rated_answers(&self, after: i64, limit: i64) -> Result<Listed<RatedAnswer>, StoreError>;
}
