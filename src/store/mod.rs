//! What is kept: one trait for each kind of thing, and the databases behind them.
//!
//! The only place that knows SQL is the module of a backend (`sqlite`). Callers hold `Arc<dyn …Store>`.

mod audit;
#[cfg(test)]
mod conformance;
mod conversations;
mod documents;
mod serving_clock;
pub mod sqlite;
mod user_list;
mod users;

pub use audit::AuditStore;
pub use conversations::{
    Answer, BegunTurn, Checkpoint, ConversationCursor, ConversationPosition, ConversationStore, EndedTurn, Listed,
    ListedConversations, NewTurn, Page, StoredTurn, StoredTurnState,
};
pub use documents::{DocumentStore, SearchHit, SearchHits};
#[cfg(test)]
pub(crate) use serving_clock::test_support::TurnedClock;
pub use serving_clock::{ClockStore, ServedTime, ServingClock};
pub use user_list::{ListedUser, UserList, UserQuery};
pub use users::{
    Credentials, Grace, MAX_FAMILIES_PER_USER, PasswordHash, RefreshFamily, Revocation, Revoked, Rotation, TokenIssue,
    UserStore,
};

use crate::{
    limits::STORE_RETRY_MS,
    protocol::{ApiError, ErrorCode},
};

/// Why the store could not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("no such {0}")]
    NotFound(&'static str),
    /// It is there, and somebody else's.
    #[error("this {0} is somebody else's")]
    Forbidden(&'static str),
    /// Something unique exists already; names what.
    #[error("{0} exists already")]
    Conflict(&'static str),
    /// The database could not do it now: locked, full, read-only, gone.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The database cannot be used until somebody changes something; says who, and what.
    #[error("{0}")]
    Unusable(String),
    /// What is stored cannot be read as what it should be.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
}

/// What a client is told when the store refused.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Self::new(ErrorCode::NotFound, format!("There is no such {what}.")),
            StoreError::Forbidden(what) => Self::new(ErrorCode::Forbidden, format!("This {what} is somebody else's.")),
            // It heals by itself, mostly: the same request may well succeed a little later.
            StoreError::Unavailable(_) => Self {
                code: ErrorCode::Overloaded,
                message: "The server cannot store anything at the moment. Please try again soon.".into(),
                retry_after_ms: Some(STORE_RETRY_MS),
                ..Self::internal(&error)
            },
            StoreError::Conflict(_) | StoreError::Corrupt(_) | StoreError::Unusable(_) => Self::internal(&error),
        }
    }
}
