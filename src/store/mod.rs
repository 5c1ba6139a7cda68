//! Persistence: a trait per kind of data, and its backends.
//!
//! Only a backend's module (`sqlite`) contains SQL. Callers use `Arc<dyn …Store>`.

mod audit;
#[cfg(test)]
mod conformance;
mod conversations;
mod documents;
mod error;
mod events;
mod feedback;
mod serving_clock;
pub mod sqlite;
mod usage;
mod user_list;
mod users;
mod vectors;

pub use audit::AuditStore;
pub use conversations::{
    AcceptedTurn, Answer, BegunTurn, Checkpoint, ConversationCursor, ConversationPosition, ConversationStore,
    EndedTurn, Listed, ListedConversations, NewTurn, Page, StoredTurn, StoredTurnState, Unsummarized,
    UnsummarizedMessage,
};
pub use documents::{DocumentPassage, DocumentStore};
pub use error::StoreError;
pub use events::{EventStore, Fence};
pub use feedback::{ChangedFeedback, FeedbackStore, RatedAnswer};
#[cfg(test)]
pub(crate) use serving_clock::test_support::TurnedClock;
pub use serving_clock::{ClockStore, ServedTime, ServingClock};
pub use usage::{Charge, Consumption, UsageStore, UsersOfDay};
pub use user_list::{ListedUser, UserList, UserQuery};
pub use users::{
    Credentials, Grace, MAX_FAMILIES_PER_USER, PasswordHash, RefreshFamily, Revocation, Revoked, Rotation, TokenIssue,
    UserStore,
};
pub use vectors::{DocumentVectors, PassageVector, VectorStore};
