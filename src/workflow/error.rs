//! Refusals to start, resume or cancel a turn.

use crate::{domain::UnixMillis, store::StoreError};

/// The reason why a turn was not started, resumed or cancelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    #[error("the conversation has a running turn")]
    InProgress,
    #[error("the user has too many running turns")]
    TooManyOfUser { retry_after_ms: u64 },
    /// No permit became free in time, or the queue for permits is full.
    #[error("too many turns are running")]
    Busy { retry_after_ms: u64 },
    #[error("the server is draining")]
    Draining { retry_after_ms: u64 },
    #[error("the conversation of the turn belongs to another user")]
    Forbidden,
    #[error("the turn is unknown, or too old to be replayed")]
    Unknown,
    /// The user's daily budget of tokens or cost is used up.
    #[error("the daily budget of the user is used up")]
    BudgetExceeded { now: UnixMillis, resets_at: UnixMillis },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Internal(String),
}
