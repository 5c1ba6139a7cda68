//! Frames from the server, parsed without copying: a process with many connections parses one per token.

use serde::Deserialize;
use std::{borrow::Cow, ops::Deref};

/// Text that is copied only when it holds escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a> Text<'a> {
    pub fn into_inner(self) -> Cow<'a, str> {
        self.0
    }
}

/// Any frame from the server. A field is `None` if frames of this type do not have it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Text<'a>,
    #[serde(borrow)]
    pub token: Option<Text<'a>>,
    pub seq: Option<i64>,
    pub first_seq: Option<i64>,
    #[serde(borrow)]
    pub turn_id: Option<Text<'a>>,
    /// Number of the turn on this connection.
    pub turn: Option<u32>,
    /// Position of the entry in the turn; in `resumed`, of the first entry that follows.
    pub index: Option<u32>,
    /// New text of a `reasoning` frame.
    #[serde(borrow)]
    pub delta: Option<Text<'a>>,
    /// The conversation's id in `chat.v2`.
    #[serde(borrow)]
    pub conversation_id: Option<Text<'a>>,
    /// The conversation's id in `chat.v1`.
    #[serde(borrow)]
    pub session_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub client_message_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub step: Option<Text<'a>>,
    #[serde(borrow)]
    pub message: Option<Text<'a>>,
    #[serde(borrow)]
    pub error: Option<Text<'a>>,
    #[serde(borrow)]
    pub code: Option<Text<'a>>,
    pub retry_after_ms: Option<u64>,
    #[serde(borrow)]
    pub response: Option<Text<'a>>,
    #[serde(borrow)]
    pub sha256: Option<Text<'a>>,
    #[serde(borrow)]
    pub finish_reason: Option<Text<'a>>,
    pub from_seq: Option<i64>,
    #[serde(borrow)]
    pub level: Option<Text<'a>>,
    pub reconnect_after_ms: Option<u64>,
    /// Running turns, in a `heartbeat`.
    #[serde(borrow)]
    pub turns: Vec<Head<'a>>,
}

/// Latest sequence number of a running turn.
#[derive(Debug, Deserialize)]
pub struct Head<'a> {
    #[serde(borrow)]
    pub turn_id: Text<'a>,
    pub seq: i64,
}

impl<'a> Frame<'a> {
    /// Parses a text frame.
    ///
    /// # Errors
    /// When it is not one JSON object with fields of the right types.
    pub fn parse(text: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_borrowed_unless_it_has_escapes() {
        let frame =
            Frame::parse(r#"{"type":"token","token":"abc ","partial_response":"x","seq":4,"new":[1]}"#).unwrap();
        assert!(matches!(frame.token, Some(Text(Cow::Borrowed("abc ")))));
        assert_eq!((&*frame.kind, frame.seq, frame.first_seq), ("token", Some(4), None));
        let frame = Frame::parse(r#"{"type":"token","token":"a\n\u00e9"}"#).unwrap();
        assert_eq!(&*frame.token.unwrap(), "a\né");
    }

    #[test]
    fn invalid_frames_are_errors() {
        assert!(Frame::parse("[]").is_err() || Frame::parse("[]").unwrap().kind.is_empty());
        assert!(Frame::parse("{").is_err());
        assert!(Frame::parse(r#"{"type":"token","seq":"4"}"#).is_err());
    }
}
