//! What is kept: one trait for each kind of thing, and the databases behind them.
//!
//! The only place that knows SQL is the module of a backend (`sqlite`). Callers hold `Arc<dyn …Store>`.

mod audit;
#[cfg(test)]
mod conformance;
mod conversations;
mod documents;
mod error;
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
pub use error::StoreError;
#[cfg(test)]
pub(crate) use serving_clock::test_support::TurnedClock;
pub use serving_clock::{ClockStore, ServedTime, ServingClock};
pub use user_list::{ListedUser, UserList, UserQuery};
pub use users::{
    Credentials, Grace, MAX_FAMILIES_PER_USER, PasswordHash, RefreshFamily, Revocation, Revoked, Rotation, TokenIssue,
    UserStore,
};
