//! Failures that end a turn.

use crate::domain::ProviderErrorKind;

/// The reason why a turn ended without a complete answer. Clients receive it as code and message, which the log does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TurnFailure {
    #[error("the turn took too long")]
    TimedOut,
    #[error("the server stopped the turn")]
    ServerStopped,
    /// The server stopped without ending the turn, and ended it at its next start.
    #[error("the server stopped before the turn ended")]
    ServerLost,
    /// Its task ended without an end of the turn: it panicked, or its thread ended.
    #[error("the task of the turn ended before the turn did")]
    TaskLost,
    #[error("the provider failed: {kind:?}")]
    Provider {
        kind: ProviderErrorKind,
        /// Some of the answer was streamed before.
        has_begun: bool,
        /// The time that the provider asked to wait.
        retry_after_ms: Option<u64>,
    },
    /// The store could not take the answer and its end yet.
    #[error("{0}; the answer is not stored yet")]
    NotStored(Box<Self>),
    /// A failure of an earlier time, as the store holds it: with the code and the message that clients received.
    #[error("{code}: {message}")]
    Restored { code: String, message: String },
}
