//! Validation of a `message` frame or a body of `POST /api/v1/chat`, which yields a [`Question`].

use crate::{
    config::ScriptedConfig,
    domain::is_blank,
    limits::MAX_CLIENT_ID_CHARS,
    workflow::{Question, is_client_id},
};
use serde::Deserialize;
use switchboard_protocol::{ApiError, ErrorCode, MessageFrame, invalid_field};

/// The limits of a question, shared by WebSocket and REST.
#[derive(Clone, Copy, Debug)]
pub struct QuestionRules {
    pub max_message_chars: usize,
    /// The script of the `scripted` provider, whose values `metadata.script` may override; `None` for other providers.
    pub script: Option<ScriptedConfig>,
}

impl QuestionRules {
    /// Validates a message.
    ///
    /// # Errors
    /// `EMPTY_MESSAGE`, `MESSAGE_TOO_LONG`, or `INVALID_FIELD` naming the field.
    pub fn parse(&self, message: MessageFrame) -> Result<Question, ApiError> {
        let text = message.message.trim();
        if is_blank(text) {
            return Err(ApiError::new(ErrorCode::EmptyMessage, "The message is empty."));
        }
        let max_chars = self.max_message_chars;
        let chars = text.chars().count();
        if chars > max_chars {
            let reason =
                format!("The message has {chars} characters, and at most {max_chars} are allowed. Please shorten it.");
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
            (Some(script), Some(changes)) => Some(scripted(script, changes)?),
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

/// Applies `metadata.script` of a message to a script.
///
/// # Errors
/// `INVALID_FIELD`, naming a field that is unknown, of the wrong type or out of range.
fn scripted(script: ScriptedConfig, changes: &serde_json::Value) -> Result<ScriptedConfig, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Changes {
        tokens: Option<u32>,
        interval_ms: Option<u64>,
        token_bytes: Option<u32>,
        fail_after: Option<u32>,
        reasoning_tokens: Option<u32>,
    }
    let changes: Changes = serde_path_to_error::deserialize(changes).map_err(|error| {
        let field = match error.path().to_string().as_str() {
            "." => "metadata.script".to_owned(),
            path => format!("metadata.script.{path}"),
        };
        invalid_field(&field, &error.inner().to_string())
    })?;
    let script = ScriptedConfig {
        tokens: changes.tokens.unwrap_or(script.tokens),
        interval_ms: changes.interval_ms.unwrap_or(script.interval_ms),
        token_bytes: changes.token_bytes.unwrap_or(script.token_bytes),
        fail_after: changes.fail_after.or(script.fail_after),
        reasoning_tokens: changes.reasoning_tokens.unwrap_or(script.reasoning_tokens),
    };
    script.check().map_err(|invalid| {
        let (value, allowed) = (invalid.value, invalid.allowed);
        let reason = format_args!("is {value}; expected {} to {}", allowed.start(), allowed.end());
        ApiError::invalid_field(&format!("metadata.script.{}", invalid.field), reason)
    })?;
    Ok(script)
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
        for blank in ["", " \t\n", "\u{200b}\u{2060}", " \u{feff}", "\u{200d}\u{fe0f}", "\u{202e}"] {
            assert_eq!(RULES.parse(message(blank)).unwrap_err().code, ErrorCode::EmptyMessage, "{blank:?}");
        }
        assert_eq!(RULES.parse(message("❤\u{fe0f}")).unwrap().text, "❤\u{fe0f}");
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
    fn script_is_ignored_by_other_providers() {
        let metadata = json!({"script": {"tokens": 3}}).as_object().cloned();
        let with_rules = QuestionRules { script: Some(ScriptedConfig::default()), ..RULES };
        let with_script = MessageFrame { metadata, ..message("Hi") };
        assert_eq!(with_rules.parse(with_script.clone()).unwrap().script.unwrap().tokens, 3);
        assert_eq!(RULES.parse(with_script).unwrap().script, None);
    }

    #[test]
    fn message_overrides_its_script_within_bounds() {
        let base = ScriptedConfig::default();
        let changed = scripted(base, &json!({"tokens": 3, "fail_after": 2})).unwrap();
        assert_eq!(changed, ScriptedConfig { tokens: 3, fail_after: Some(2), ..base });
        assert_eq!(scripted(base, &json!({})).unwrap(), base);
        for (script, field) in [
            (json!({"tokens": 100_001}), "`metadata.script.tokens`"),
            (json!({"token_bytes": 0}), "`metadata.script.token_bytes`"),
            (json!({"token_bytes": 1_025}), "`metadata.script.token_bytes`"),
            (json!({"interval_ms": 60_001}), "`metadata.script.interval_ms`"),
            (json!({"fail_after": 100_001}), "`metadata.script.fail_after`"),
            (json!({"reasoning_tokens": 100_001}), "`metadata.script.reasoning_tokens`"),
            (json!({"tokens": -1}), "`metadata.script.tokens`"),
            (json!({"tokens": "many"}), "`metadata.script.tokens`"),
            (json!({"tokenz": 1}), "`metadata.script.tokenz`"),
            (json!([]), "`metadata.script`"),
            (json!("fast"), "`metadata.script`"),
        ] {
            let error = scripted(base, &script).unwrap_err();
            assert_eq!(error.code, switchboard_protocol::ErrorCode::InvalidField);
            assert!(error.message.starts_with(field), "{script}: {error}");
        }
    }
}
