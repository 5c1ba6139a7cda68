//! A validated user message.

use crate::{config::ScriptedConfig, domain::ConversationId, limits::MAX_CLIENT_ID_CHARS};

/// The question of a turn. Its fields were validated and need no further checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Trimmed and not empty.
    pub text: String,
    /// The conversation to continue; a new one if absent.
    pub conversation_id: Option<ConversationId>,
    /// The idempotency key: a repeated id does not start a second turn.
    pub client_message_id: Option<String>,
    /// The client's own identifier of the person who asks.
    pub customer_id: Option<String>,
    /// Settings of the `scripted` provider for this turn.
    pub script: Option<ScriptedConfig>,
}

/// Whether a text is a valid id chosen by a client. Invalid ones are not repeated in errors.
pub fn is_client_id(id: &str) -> bool {
    !id.is_empty() && id.chars().count() <= MAX_CLIENT_ID_CHARS
}
