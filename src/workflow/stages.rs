//! The results of the steps of a turn. Each step consumes that of the step before, so that they cannot run in another order.

use super::{Question, progress::progress, specialists::Specialist, summary::TurnHistory};
use crate::{
    domain::{AnswerMetadata, FinishReason, HistoryMessage, Retrieval, RetrievalAccount, Source},
    knowledge::RetrievalQuery,
    provider::{AnswerStream, ProviderError, QuestionPart},
    turn::{Progress, TurnFailure},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use switchboard_protocol::Step;

/// The input of a turn.
pub(super) struct Asked {
    pub question: Question,
    pub history: Vec<HistoryMessage>,
    /// Whether the history begins with the summary of messages before it.
    pub has_summary: bool,
    /// Whether messages are left out of the history.
    pub needs_summary: bool,
}

impl Asked {
    pub fn new(question: Question, TurnHistory { messages, has_summary, is_cut }: TurnHistory) -> Self {
        Self { question, history: messages, has_summary, needs_summary: is_cut }
    }

    /// The messages of the history as they were written, oldest first.
    pub fn earlier_messages(&self) -> &[HistoryMessage] {
        &self.history[usize::from(self.has_summary)..]
    }
}

/// The result of `classify`.
pub(super) struct Routed {
    pub asked: Box<Asked>,
    pub specialist: Arc<Specialist>,
    pub confidence: f64,
    /// No specialist fits well, so the default one answers.
    pub fell_back: bool,
    pub query: RetrievalQuery,
    pub took: Duration,
}

/// The result of the search for a message.
#[derive(Default)]
pub(super) struct Searched {
    pub retrieval: Retrieval,
    /// The questions of the message, if there are several.
    pub parts: Vec<QuestionPart>,
}

/// The result of `retrieve`.
pub(super) struct Retrieved {
    pub routed: Routed,
    pub searched: Searched,
    /// Account of the search; absent for small talk, for which nothing is searched.
    pub account: Option<RetrievalAccount>,
    pub sources: Arc<[Source]>,
    /// Follow-ups to suggest after the answer.
    pub suggestions: Vec<String>,
    pub took: Duration,
}

impl Retrieved {
    /// Continues with a specialist in which the router has no confidence, and without passages.
    pub fn without_search(asked: Box<Asked>, specialist: Arc<Specialist>) -> Self {
        let query = RetrievalQuery::alone(&asked.question.text);
        let routed = Routed { asked, specialist, confidence: 0.0, fell_back: false, query, took: Duration::ZERO };
        Self {
            routed,
            searched: Searched::default(),
            account: None,
            sources: Arc::new([]),
            suggestions: Vec::new(),
            took: Duration::ZERO,
        }
    }
}

/// The result of `ask`: the model's answer as a stream, or the reason for its absence.
pub(super) struct Answering {
    pub metadata: Box<AnswerMetadata>,
    pub answer: Result<Result<AnswerStream, ProviderError>, Stopped>,
    pub suggestions: Vec<String>,
    pub began: Instant,
}

/// The result of `generate`. The text of the answer is in the log.
pub(super) struct Generated {
    pub metadata: Box<AnswerMetadata>,
    /// The model's reasoning, if it is kept.
    pub reasoning: Option<String>,
    pub ending: Result<FinishReason, TurnFailure>,
}

/// The turn was asked to stop; its `Acceptance` holds the reason.
pub(super) struct Stopped;

impl Routed {
    /// Creates a progress entry with the specialist.
    pub fn progress(&self, step: Step, message: &str) -> Progress {
        Progress {
            specialist: Some(self.specialist.name.clone()),
            confidence: Some(self.confidence),
            ..progress(step, message)
        }
    }
}

/// Converts a duration for the metadata.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
