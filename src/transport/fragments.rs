//! Reassembly of fragmented messages (RFC 6455, section 5.4) under one size limit.

use super::frame_guard::{FrameGuard, Refusal};
use actix_http::ws::Item;
use actix_web::web::{Bytes, BytesMut, Payload};
use bytestring::ByteString;
use switchboard_protocol::CloseReason;

/// The message that is being reassembled.
pub struct Fragments {
    max_bytes: usize,
    accepts_binary: bool,
    open: Option<Open>,
    refusal: Refusal,
}

struct Open {
    is_text: bool,
    bytes: BytesMut,
}

/// A complete message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WholeMessage {
    Text(ByteString),
    Binary(Bytes),
}

impl Fragments {
    /// Accepts text messages of at most `max_bytes`.
    pub fn of_text(max_bytes: usize) -> Self {
        Self { max_bytes, accepts_binary: false, open: None, refusal: Refusal::default() }
    }

    /// Accepts text and binary messages of at most `max_bytes`.
    pub fn of_any(max_bytes: usize) -> Self {
        Self { accepts_binary: true, ..Self::of_text(max_bytes) }
    }

    /// Wraps the bytes of a socket in a guard that refuses the first frame over the limit.
    pub fn guard(&self, payload: Payload) -> FrameGuard<Payload> {
        FrameGuard::new(payload, self.max_bytes, self.refusal.clone())
    }

    /// Whether the guard has refused a frame.
    pub fn has_refused(&self) -> bool {
        self.refusal.happened()
    }

    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Adds a fragment; returns the message that it completes, if any.
    ///
    /// # Errors
    /// The reason to close: too large, out of order, binary where only text is accepted, or invalid UTF-8.
    pub fn push(&mut self, item: Item) -> Result<Option<WholeMessage>, CloseReason> {
        let (piece, is_last) = match item {
            Item::FirstText(piece) => {
                self.begin(true)?;
                (piece, false)
            }
            Item::FirstBinary(piece) => {
                self.begin(false)?;
                (piece, false)
            }
            Item::Continue(piece) => (piece, false),
            Item::Last(piece) => (piece, true),
        };
        let open = self.open.as_mut().ok_or(CloseReason::ProtocolError)?;
        if open.bytes.len() + piece.len() > self.max_bytes {
            return Err(CloseReason::MessageTooBig);
        }
        open.bytes.extend_from_slice(&piece);
        match self.open.take_if(|_| is_last) {
            None => Ok(None),
            Some(Open { is_text: true, bytes }) => {
                let text = ByteString::try_from(bytes.freeze()).map_err(|_| CloseReason::InvalidUtf8)?;
                Ok(Some(WholeMessage::Text(text)))
            }
            Some(Open { is_text: false, bytes }) => Ok(Some(WholeMessage::Binary(bytes.freeze()))),
        }
    }

    /// Accepts an unfragmented text message.
    ///
    /// # Errors
    /// If a fragmented message is incomplete: only control frames may come between its fragments.
    pub fn push_text(&mut self, text: ByteString) -> Result<WholeMessage, CloseReason> {
        self.may_begin(true).map(|()| WholeMessage::Text(text))
    }

    /// Accepts an unfragmented binary message.
    ///
    /// # Errors
    /// If a fragmented message is incomplete, or only text is accepted.
    pub fn push_binary(&mut self, bytes: Bytes) -> Result<WholeMessage, CloseReason> {
        self.may_begin(false).map(|()| WholeMessage::Binary(bytes))
    }

    fn begin(&mut self, is_text: bool) -> Result<(), CloseReason> {
        self.may_begin(is_text)?;
        self.open = Some(Open { is_text, bytes: BytesMut::new() });
        Ok(())
    }

    fn may_begin(&self, is_text: bool) -> Result<(), CloseReason> {
        match (&self.open, is_text || self.accepts_binary) {
            (Some(_), _) => Err(CloseReason::ProtocolError),
            (None, false) => Err(CloseReason::UnsupportedData),
            (None, true) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static [u8]) -> Bytes {
        Bytes::from_static(text)
    }

    fn text(text: &str) -> WholeMessage {
        WholeMessage::Text(ByteString::from(text))
    }

    #[test]
    fn fragments_are_joined_into_one_message() {
        let mut fragments = Fragments::of_text(10);
        assert_eq!(fragments.push(Item::FirstText(bytes(b"a\xc3"))), Ok(None));
        assert_eq!(fragments.push(Item::Continue(bytes(b"\xa9"))), Ok(None));
        assert_eq!(fragments.push(Item::Last(bytes(b"b"))), Ok(Some(text("aéb"))));
        assert_eq!(fragments.push_text("c".into()), Ok(text("c")));
    }

    #[test]
    fn binary_messages_are_refused_where_only_text_is_accepted() {
        let mut fragments = Fragments::of_any(10);
        assert_eq!(fragments.push(Item::FirstBinary(bytes(b"\xff"))), Ok(None));
        assert_eq!(fragments.push(Item::Last(bytes(b"\xfe"))), Ok(Some(WholeMessage::Binary(bytes(b"\xff\xfe")))));
        assert_eq!(fragments.push_binary(bytes(b"x")), Ok(WholeMessage::Binary(bytes(b"x"))));
        let mut fragments = Fragments::of_text(10);
        assert_eq!(fragments.push(Item::FirstBinary(bytes(b"x"))), Err(CloseReason::UnsupportedData));
        assert_eq!(fragments.push_binary(bytes(b"x")), Err(CloseReason::UnsupportedData));
    }

    #[test]
    fn limit_applies_to_the_sum_of_fragments() {
        let mut fragments = Fragments::of_text(8);
        assert_eq!(fragments.push(Item::FirstText(bytes(b"12345"))), Ok(None));
        assert_eq!(fragments.push(Item::Last(bytes(b"6789"))), Err(CloseReason::MessageTooBig));
    }

    #[test]
    fn protocol_violations_close_the_connection() {
        let begun = || {
            let mut fragments = Fragments::of_any(8);
            assert_eq!(fragments.push(Item::FirstText(bytes(b"\xff"))), Ok(None));
            fragments
        };
        assert_eq!(Fragments::of_any(8).push(Item::Last(bytes(b"x"))), Err(CloseReason::ProtocolError));
        assert_eq!(begun().push(Item::FirstText(bytes(b"x"))), Err(CloseReason::ProtocolError));
        assert_eq!(begun().push_text("x".into()), Err(CloseReason::ProtocolError));
        assert_eq!(begun().push_binary(bytes(b"x")), Err(CloseReason::ProtocolError));
        assert_eq!(begun().push(Item::Last(bytes(b""))), Err(CloseReason::InvalidUtf8));
    }
}
