//! A user's message, checked: what a [`Question`] holds needs no second look.

use crate::{config::ScriptedConfig, domain::ConversationId, limits::MAX_CLIENT_ID_CHARS};

/// The start of a turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Trimmed, not empty.
    pub text: String,
    /// The conversation to go on with; a new one without.
    pub conversation_id: Option<ConversationId>,
    /// The same id again never starts a second turn.
    pub client_message_id: Option<String>,
    /// The client's own name for the person it asks for.
    pub customer_id: Option<String>,
    /// Of the `scripted` provider only.
    pub script: Option<ScriptedConfig>,
}

/// Whether a text may be a client's own id: what is longer is not sent back in errors either.
pub fn is_client_id(id: &str) -> bool {
    !id.is_empty() && id.chars().count() <= MAX_CLIENT_ID_CHARS
}
