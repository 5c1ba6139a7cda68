//! Checks of texts that operators write for users: notices and close reasons.

use crate::{
    domain::{is_blank, is_misleading},
    limits::{MAX_CLOSE_TEXT_BYTES, MAX_OPERATOR_TEXT_CHARS},
};
use std::sync::Arc;
use switchboard_protocol::{ApiError, CloseReason};

/// Checks a text.
///
/// # Errors
/// `INVALID_FIELD` if it is empty or too long, or contains control characters other than line breaks and tabs, invisible characters,
/// or characters that change the direction of text.
pub fn check_text(field: &str, text: &str) -> Result<(), ApiError> {
    if let Some(c) = text.chars().find(|c| is_misleading(*c)) {
        let reason =
            format_args!("must not contain U+{:04X}, which is invisible or changes the direction of text", c as u32);
        return Err(ApiError::invalid_field(field, reason));
    }
    let is_printable = text.replace("\r\n", "\n").chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    if is_blank(text) || text.chars().count() > MAX_OPERATOR_TEXT_CHARS || !is_printable {
        let allowed = format_args!("must be 1 to {MAX_OPERATOR_TEXT_CHARS} printable characters");
        return Err(ApiError::invalid_field(field, allowed));
    }
    Ok(())
}

/// Checks a close reason, if there is one.
///
/// # Errors
/// Those of [`check_text`].
pub fn check_reason(reason: Option<&str>) -> Result<(), ApiError> {
    reason.map_or(Ok(()), |reason| check_text("reason", reason))
}

/// Returns the text of a close frame: the reason, truncated to what the frame can carry.
pub fn close_text(reason: Option<&str>) -> Arc<str> {
    const ELLIPSIS: &str = "…";
    let text = reason.map_or(CloseReason::Kicked.text(), str::trim);
    if text.len() <= MAX_CLOSE_TEXT_BYTES {
        return text.into();
    }
    let end = text.floor_char_boundary(MAX_CLOSE_TEXT_BYTES - ELLIPSIS.len());
    format!("{}{ELLIPSIS}", text[..end].trim_end()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_texts_are_truncated_to_123_bytes() {
        assert_eq!(&*close_text(None), "closed by an operator");
        assert_eq!(&*close_text(Some(" spam ")), "spam");
        let exact = "x".repeat(123);
        assert_eq!(*close_text(Some(&exact)), exact);
        let cut = close_text(Some(&"x".repeat(124)));
        assert_eq!((cut.len(), cut.ends_with("x…")), (123, true));
        for letter in ["é", "大", "🚗"] {
            let cut = close_text(Some(&letter.repeat(200)));
            assert!((118..=123).contains(&cut.len()), "{} bytes", cut.len());
        }
    }

    #[test]
    fn texts_are_bounded_and_printable() {
        assert_eq!(check_reason(None), Ok(()));
        assert_eq!(check_text("message", "Zwei\nZeilen"), Ok(()));
        assert_eq!(check_text("message", "Zwei\r\nZeilen"), Ok(()));
        for text in ["", " \n", "over\rwritten", "bell \u{7}", "\u{1b}[31m", &"x".repeat(MAX_OPERATOR_TEXT_CHARS + 1)] {
            assert!(check_text("message", text).unwrap_err().message.contains("`message`"), "{text:?}");
        }
        let refused = check_reason(Some("gnp.\u{202e}live")).unwrap_err();
        assert!(refused.message.contains("`reason`") && refused.message.contains("U+202E"), "{refused}");
        assert!(check_text("message", "a\u{200b}b").unwrap_err().message.contains("U+200B"));
    }
}
