//! Domain types as plain values: users, conversations, turns, answers, documents. Independent of sockets, actors, SQL and HTTP.
//!
//! Types with constraints, such as [`Email`], validate on construction, so that an existing value is valid.

mod access;
mod audit;
mod conversation;
mod document;
mod email;
mod event;
mod feedback;
mod invalid_user_field;
mod model_task;
mod part;
mod provider_error;
mod text;
mod time;
mod title;
mod user;

pub use access::{ConversationAccess, MemberRole};
pub use audit::{AuditEntry, AuditedOperator};
pub use conversation::{Conversation, HistoryMessage, Message, MessageRole};
pub use document::{Chunk, Document, Passage, Retrieval};
pub use email::Email;
pub use event::{ActorKind, ConversationHandler, Event, EventActor, Fact, FactKind, LOCAL_NODE, TurnOutcome};
pub use feedback::{Feedback, InvalidFeedback, Rating};
pub use invalid_user_field::InvalidUserField;
pub use model_task::ModelTask;
pub use part::{Part, StoredItem};
pub use provider_error::ProviderErrorKind;
pub use switchboard_protocol::{
    AnswerMetadata, AuditId, Citation, ConnectionId, ConversationId, DocumentId, FinishReason, Latency, MessageId,
    MethodOutcome, RetrievalAccount, RetrievalBasis, RetrievalMethods, Source, TurnId, Usage, UserId,
};
pub use text::{is_blank, is_invisible, is_misleading};
pub use time::{UnixMillis, UtcDay};
pub use title::{UserTitle, title_of_answer, title_of_question};
pub use user::{DisplayName, Role, User};
