//! Failures that end a turn.

use crate::domain::ProviderErrorKind;
use switchboard_protocol::ApiError;

/// Maps a failure of a turn to the error that clients receive.
pub type FailureMapping = fn(&TurnFailure) -> ApiError;

/// The reason why a turn ended without a complete answer. [`FailureMapping`] turns it into the code
/// and message that clients receive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TurnFailure {
    #[error("the turn took too long")]
    TimedOut,
    #[error("the server stopped the turn")]
    ServerStopped,
    /// The server stopped without ending the turn, and ended it at its next start.
    #[error("the server stopped before the turn ended")]
    ServerLost,
    /// The task of the turn panicked, or its thread ended.
    #[error("the task of the turn ended before the turn did")]
    TaskLost,
    #[error("the provider failed: {kind:?}")]
    Provider {
        kind: ProviderErrorKind,
        /// Part of the answer was streamed before the failure.
        has_begun: bool,
        /// The wait before the next request that the provider asked for.
        retry_after_ms: Option<u64>,
    },
    /// The store was unavailable, so the answer is kept in memory for a retry.
    #[error("{0}; the answer is not stored yet")]
    NotStored(Box<Self>),
    /// A failure read from the store, with the code and message that clients received at the time.
    #[error("{code}: {message}")]
    Restored { code: String, message: String },
}
