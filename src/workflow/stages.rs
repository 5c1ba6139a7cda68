//! The results of the steps of a turn. Each step consumes that of the step before, so that they cannot run in another order.

use super::{Question, progress::progress, specialists::Specialist};
use crate::{
    domain::{AnswerMetadata, FinishReason, HistoryMessage, Retrieval, Source},
    provider::{AnswerStream, ProviderError},
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
    /// Whether messages are left out of the history.
    pub needs_summary: bool,
}

/// The result of `classify`.
pub(super) struct Routed {
    pub asked: Box<Asked>,
    pub specialist: Arc<Specialist>,
    pub confidence: f64,
    /// No specialist fits well, so the default one answers.
    pub fell_back: bool,
    pub took: Duration,
}

/// The result of `retrieve`.
pub(super) struct Retrieved {
    pub routed: Routed,
    pub found: Retrieval,
    pub sources: Arc<[Source]>,
    /// Follow-ups to suggest after the answer.
    pub suggestions: Vec<String>,
    pub took: Duration,
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
