//! A user's message, checked: what a [`Question`] holds needs no second look.

use crate::{
    config::ScriptedConfig,
    domain::ConversationId,
    limits::MAX_CLIENT_ID_CHARS,
    protocol::{ApiError, ErrorCode, MessageFrame},
};

/// What starts a turn.
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

/// What a question may be. WebSocket and REST share them.
#[derive(Clone, Copy, Debug)]
pub struct QuestionRules {
    pub max_message_chars: usize,
    /// The provider's script, when it has one that `metadata.script` may change.
    pub script: Option<ScriptedConfig>,
}

impl QuestionRules {
    /// # Errors
    /// `EMPTY_MESSAGE`, `MESSAGE_TOO_LONG`, or `INVALID_FIELD` naming the field.
    pub fn parse(&self, message: MessageFrame) -> Result<Question, ApiError> {
        let text = message.message.trim();
        if text.is_empty() {
            return Err(ApiError::new(ErrorCode::EmptyMessage, "The message is empty."));
        }
        let max_chars = self.max_message_chars;
        if text.chars().count() > max_chars {
            let reason = format!("The message is longer than {max_chars} characters.");
            return Err(ApiError::new(ErrorCode::MessageTooLong, reason));
        }
        if !message.attachments.is_empty() {
            return Err(ApiError::invalid_field("attachments", "are not supported by this server"));
        }
        let ids = [("client_message_id", &message.client_message_id), ("customer_id", &message.customer_id)];
        for (field, id) in ids {
            if id.as_deref().is_some_and(|id| !is_client_id(id)) {
                let reason = format_args!("must be 1 to {MAX_CLIENT_ID_CHARS} characters");
                return Err(ApiError::invalid_field(field, reason));
            }
        }
        let changes = message.metadata.as_ref().and_then(|metadata| metadata.get("script"));
        let script = match (self.script, changes) {
            (Some(script), Some(changes)) => Some(script.with_metadata(changes)?),
            _ => None,
        };
        Ok(Question {
            text: text.to_owned(),
            conversation_id: message.conversation_id,
            client_message_id: message.client_message_id,
            customer_id: message.customer_id,
            script,
        })
    }
}

/// Whether a text may be a client's own id: what is longer is not sent back in errors either.
pub fn is_client_id(id: &str) -> bool {
    !id.is_empty() && id.chars().count() <= MAX_CLIENT_ID_CHARS
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RULES: QuestionRules = QuestionRules { max_message_chars: 5, script: None };

    fn message(text: &str) -> MessageFrame {
        MessageFrame { message: text.to_owned(), ..MessageFrame::default() }
    }

    #[test]
    fn texts_are_trimmed_and_bounded() {
        assert_eq!(RULES.parse(message(" äöü \n")).unwrap().text, "äöü");
        assert_eq!(RULES.parse(message(" \t\n")).unwrap_err().code, ErrorCode::EmptyMessage);
        assert_eq!(RULES.parse(message("ääääää")).unwrap_err().code, ErrorCode::MessageTooLong);
    }

    #[test]
    fn ids_are_bounded_and_named() {
        for id in [String::new(), "x".repeat(MAX_CLIENT_ID_CHARS + 1)] {
            let error = RULES.parse(MessageFrame { client_message_id: Some(id), ..message("Hi") }).unwrap_err();
            assert!(error.message.contains("`client_message_id`"), "{error}");
        }
    }

    #[test]
    fn a_script_is_for_the_scripted_provider_only() {
        let metadata = json!({"script": {"tokens": 3}}).as_object().cloned();
        let scripted = QuestionRules { script: Some(ScriptedConfig::default()), ..RULES };
        let with_script = MessageFrame { metadata, ..message("Hi") };
        assert_eq!(scripted.parse(with_script.clone()).unwrap().script.unwrap().tokens, 3);
        assert_eq!(RULES.parse(with_script).unwrap().script, None);
    }
}
