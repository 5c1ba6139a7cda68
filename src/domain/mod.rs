//! What Switchboard is about, as plain values: users, conversations, turns, answers.
//!
//! Nothing here knows of sockets, actors, SQL or HTTP, and nothing here fails at run time: a value that exists is valid.

mod answer;
mod audit;
mod conversation;
mod document;
mod email;
mod ids;
mod invalid_user_field;
mod provider_error;
mod text;
mod time;
mod user;

pub use answer::{AnswerMetadata, FinishReason, Latency, Source, Usage};
pub use audit::{AuditEntry, AuditedOperator};
pub use conversation::{Conversation, HistoryMessage, Message, MessageRole};
pub use document::{Chunk, Document, Passage};
pub use email::Email;
pub use ids::{AuditId, ConnectionId, ConversationId, DocumentId, MessageId, TurnId, UserId};
pub use invalid_user_field::InvalidUserField;
pub use provider_error::ProviderErrorKind;
pub use text::{is_blank, is_misleading};
pub use time::UnixMillis;
pub use user::{DisplayName, Role, User};
