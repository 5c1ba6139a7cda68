//! Messages that come in fragments (RFC 6455, 5.4), joined under one limit.

use crate::protocol::CloseReason;
use actix_http::ws::Item;
use actix_web::web::{Bytes, BytesMut};
use bytestring::ByteString;

/// The message that is being put together.
#[derive(Default)]
pub struct Fragments {
    text: Option<BytesMut>,
}

impl Fragments {
    /// Takes a fragment; returns the message that it completes.
    ///
    /// # Errors
    /// Why the socket has to close: too much, out of order, binary, or not UTF-8.
    pub fn push(&mut self, item: Item, max_bytes: usize) -> Result<Option<ByteString>, CloseReason> {
        let (piece, is_last) = match (item, self.text.is_some()) {
            (Item::FirstText(piece), false) => {
                self.text = Some(BytesMut::new());
                (piece, false)
            }
            (Item::FirstBinary(_), false) => return Err(CloseReason::UnsupportedData),
            (Item::Continue(piece), true) => (piece, false),
            (Item::Last(piece), true) => (piece, true),
            _ => return Err(CloseReason::ProtocolError),
        };
        let text = self.text.as_mut().ok_or(CloseReason::ProtocolError)?;
        if text.len() + piece.len() > max_bytes {
            return Err(CloseReason::MessageTooBig);
        }
        text.extend_from_slice(&piece);
        if !is_last {
            return Ok(None);
        }
        let whole: Bytes = self.text.take().unwrap_or_default().freeze();
        ByteString::try_from(whole).map(Some).map_err(|_| CloseReason::InvalidUtf8)
    }

    /// Whether a message has begun and not ended; only control frames may come between its fragments.
    pub fn is_open(&self) -> bool {
        self.text.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static [u8]) -> Bytes {
        Bytes::from_static(text)
    }

    #[test]
    fn pieces_become_one_message() {
        let mut fragments = Fragments::default();
        assert_eq!(fragments.push(Item::FirstText(bytes(b"a\xc3")), 10), Ok(None));
        assert!(fragments.is_open());
        assert_eq!(fragments.push(Item::Continue(bytes(b"\xa9")), 10), Ok(None));
        assert_eq!(fragments.push(Item::Last(bytes(b"b")), 10), Ok(Some(ByteString::from("aéb"))));
        assert!(!fragments.is_open());
    }

    #[test]
    fn the_limit_counts_all_pieces() {
        let mut fragments = Fragments::default();
        assert_eq!(fragments.push(Item::FirstText(bytes(b"12345")), 8), Ok(None));
        assert_eq!(fragments.push(Item::Last(bytes(b"6789")), 8), Err(CloseReason::MessageTooBig));
    }

    #[test]
    fn what_the_protocol_forbids_closes_the_socket() {
        assert_eq!(Fragments::default().push(Item::Last(bytes(b"x")), 8), Err(CloseReason::ProtocolError));
        assert_eq!(Fragments::default().push(Item::FirstBinary(bytes(b"x")), 8), Err(CloseReason::UnsupportedData));
        let mut fragments = Fragments::default();
        assert_eq!(fragments.push(Item::FirstText(bytes(b"x")), 8), Ok(None));
        assert_eq!(fragments.push(Item::FirstText(bytes(b"x")), 8), Err(CloseReason::ProtocolError));
        let mut fragments = Fragments::default();
        assert_eq!(fragments.push(Item::FirstText(bytes(b"\xff")), 8), Ok(None));
        assert_eq!(fragments.push(Item::Last(bytes(b"")), 8), Err(CloseReason::InvalidUtf8));
    }
}
