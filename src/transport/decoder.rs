//! Decoding of the bytes of a WebSocket into messages (RFC 6455, section 5), under one size limit. Pure.
//!
//! The codec of actix-http buffers a frame completely before it checks a limit, so a client could fill the server's memory. The
//! decoder refuses a frame by the length in its header.

use actix_http::ws::{Codec, Item};
use actix_web::web::{Bytes, BytesMut};
use actix_web_actors::ws::{Frame, ProtocolError};
use bytestring::ByteString;
use std::mem;
use switchboard_protocol::CloseReason;
use tokio_util::codec::Decoder as _;

/// The decoder of one connection, with the fragments of an incomplete message (RFC 6455, section 5.4).
pub struct Decoder {
    codec: Codec,
    max_bytes: usize,
    accepts_binary: bool,
    fragments: BytesMut,
    /// Whether `fragments` are of a text message.
    is_text: bool,
}

/// A message or a control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    Text(ByteString),
    Binary(Bytes),
    /// A fragment that completes no message.
    Fragment,
    Ping(Bytes),
    Pong(Bytes),
    /// A close frame, with its code.
    Close(Option<u16>),
}

impl Decoder {
    /// Accepts text messages of at most `max_bytes`.
    pub fn of_text(max_bytes: usize) -> Self {
        Self {
            codec: Codec::new().max_size(max_bytes),
            max_bytes,
            accepts_binary: false,
            fragments: BytesMut::new(),
            is_text: true,
        }
    }

    /// Accepts text and binary messages of at most `max_bytes`.
    pub fn of_any(max_bytes: usize) -> Self {
        Self { accepts_binary: true, ..Self::of_text(max_bytes) }
    }

    /// Removes the first frame from `bytes`; `None` if it is incomplete.
    ///
    /// # Errors
    /// The reason to close: a frame or message that is too large, binary where only text is accepted, invalid UTF-8, or a
    /// violation of RFC 6455.
    pub fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Received>, CloseReason> {
        if payload_length(bytes).is_some_and(|length| length > self.max_bytes as u64) {
            return Err(CloseReason::MessageTooBig);
        }
        let Some(frame) = self.codec.decode(bytes).map_err(|error| close_reason(&error))? else { return Ok(None) };
        let received = match frame {
            Frame::Text(bytes) => text(bytes)?,
            Frame::Binary(_) if !self.accepts_binary => return Err(CloseReason::UnsupportedData),
            Frame::Binary(bytes) => Received::Binary(bytes),
            Frame::Continuation(fragment) => self.join(fragment)?,
            Frame::Ping(payload) => Received::Ping(payload),
            Frame::Pong(payload) => Received::Pong(payload),
            // The codec has checked the code (RFC 6455, section 7.4).
            Frame::Close(reason) => Received::Close(reason.map(|reason| reason.code.into())),
        };
        Ok(Some(received))
    }

    /// Adds a fragment. The codec has checked that it is in order.
    fn join(&mut self, fragment: Item) -> Result<Received, CloseReason> {
        let (piece, is_last) = match fragment {
            Item::FirstBinary(_) if !self.accepts_binary => return Err(CloseReason::UnsupportedData),
            Item::FirstText(piece) => {
                self.is_text = true;
                (piece, false)
            }
            Item::FirstBinary(piece) => {
                self.is_text = false;
                (piece, false)
            }
            Item::Continue(piece) => (piece, false),
            Item::Last(piece) => (piece, true),
        };
        if self.fragments.len() + piece.len() > self.max_bytes {
            return Err(CloseReason::MessageTooBig);
        }
        self.fragments.extend_from_slice(&piece);
        if !is_last {
            return Ok(Received::Fragment);
        }
        let message = mem::take(&mut self.fragments).freeze();
        if self.is_text { text(message) } else { Ok(Received::Binary(message)) }
    }
}

/// Checks the UTF-8 of a message, once.
fn text(message: Bytes) -> Result<Received, CloseReason> {
    ByteString::try_from(message).map(Received::Text).map_err(|_| CloseReason::InvalidUtf8)
}

fn close_reason(error: &ProtocolError) -> CloseReason {
    match error {
        ProtocolError::Overflow => CloseReason::MessageTooBig,
        _ => CloseReason::ProtocolError,
    }
}

/// Returns the payload length of the first frame, once its header is complete.
fn payload_length(bytes: &[u8]) -> Option<u64> {
    let second = *bytes.get(1)?;
    let mask_bytes = if second & 0x80 == 0 { 0 } else { 4 };
    let (length_bytes, short) = match second & 0x7f {
        126 => (2, None),
        127 => (8, None),
        length => (0, Some(u64::from(length))),
    };
    if bytes.len() < 2 + length_bytes + mask_bytes {
        return None;
    }
    let long = || bytes[2..2 + length_bytes].iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
    Some(short.unwrap_or_else(long))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: u8 = 1;
    const BINARY: u8 = 2;
    const CONTINUED: u8 = 0;
    const LAST: u8 = 0x80;

    /// The first byte and the payload of each frame.
    type Frames<'a> = &'a [(u8, &'a [u8])];

    /// Builds a masked frame from its first byte and its payload.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match u8::try_from(payload.len()) {
            Ok(length @ 0..=125) => bytes.push(0x80 | length),
            _ if payload.len() <= 0xffff => {
                bytes.push(0x80 | 126);
                bytes.extend((payload.len() as u16).to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((payload.len() as u64).to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// Decodes frames that arrive together; returns what the last one gives.
    fn decode(decoder: &mut Decoder, frames: Frames<'_>) -> Result<Option<Received>, CloseReason> {
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|(first, payload)| bytes.extend(frame(*first, payload)));
        let mut last = Ok(None);
        while !bytes.is_empty() {
            last = Ok(decoder.decode(&mut bytes)?);
        }
        last
    }

    fn message(text: &str) -> Result<Option<Received>, CloseReason> {
        Ok(Some(Received::Text(ByteString::from(text))))
    }

    #[test]
    fn fragments_are_joined_into_one_message() {
        let mut decoder = Decoder::of_text(10);
        assert_eq!(decode(&mut decoder, &[(TEXT, b"a\xc3")]), Ok(Some(Received::Fragment)));
        let ping = Received::Ping(Bytes::from_static(b"between"));
        assert_eq!(decode(&mut decoder, &[(CONTINUED, b"\xa9"), (LAST | 9, b"between")]), Ok(Some(ping)));
        assert_eq!(decode(&mut decoder, &[(LAST | CONTINUED, b"b")]), message("aéb"));
        assert_eq!(decode(&mut decoder, &[(LAST | TEXT, b"c")]), message("c"));
    }

    #[test]
    fn binary_messages_are_refused_where_only_text_is_accepted() {
        let fragments: Frames<'_> = &[(BINARY, b"\xff"), (LAST | CONTINUED, b"\xfe")];
        let whole: Frames<'_> = &[(LAST | BINARY, b"\xff\xfe")];
        for frames in [fragments, whole] {
            let message = Received::Binary(Bytes::from_static(b"\xff\xfe"));
            assert_eq!(decode(&mut Decoder::of_any(10), frames), Ok(Some(message)));
            assert_eq!(decode(&mut Decoder::of_text(10), frames), Err(CloseReason::UnsupportedData));
        }
    }

    #[test]
    fn limit_applies_to_the_sum_of_fragments() {
        let frames: Frames<'_> = &[(TEXT, b"12345"), (LAST | CONTINUED, b"6789")];
        assert_eq!(decode(&mut Decoder::of_text(9), frames), message("123456789"));
        assert_eq!(decode(&mut Decoder::of_text(8), frames), Err(CloseReason::MessageTooBig));
    }

    #[test]
    fn violations_are_reasons_to_close() {
        let violations: [(Frames<'_>, _); 8] = [
            (&[(LAST | CONTINUED, b"x")], CloseReason::ProtocolError),
            (&[(TEXT, b"x"), (TEXT, b"x")], CloseReason::ProtocolError),
            (&[(TEXT, b"x"), (LAST | TEXT, b"x")], CloseReason::ProtocolError),
            (&[(TEXT, b"x"), (LAST | BINARY, b"x")], CloseReason::ProtocolError),
            (&[(0x40 | LAST | TEXT, b"x")], CloseReason::ProtocolError),
            (&[(LAST | 8, b"\x03")], CloseReason::ProtocolError),
            (&[(TEXT, b"\xff"), (LAST | CONTINUED, b"")], CloseReason::InvalidUtf8),
            (&[(LAST | TEXT, b"\xff")], CloseReason::InvalidUtf8),
        ];
        for (frames, reason) in violations {
            assert_eq!(decode(&mut Decoder::of_any(8), frames), Err(reason), "{frames:?}");
        }
    }

    #[test]
    fn oversized_frame_is_refused_by_its_header() {
        let mut header = BytesMut::from(&[0x81, 0xff][..]);
        header.extend((1_u64 << 40).to_be_bytes());
        header.extend([0; 4]);
        assert_eq!(Decoder::of_text(1_000).decode(&mut header), Err(CloseReason::MessageTooBig));
    }

    proptest! {
        /// Messages within the limit arrive whole and the first one over it does not, however the bytes are split.
        #[test]
        fn messages_are_recognised_across_any_chunk_boundaries(
            sizes in prop::collection::vec(0usize..70_000, 1..6),
            cut in 1usize..200,
        ) {
            let payloads: Vec<_> = sizes.iter().map(|size| vec![0xff; *size]).collect();
            let bytes: Vec<u8> = payloads.iter().flat_map(|payload| frame(LAST | BINARY, payload)).collect();
            let largest = sizes.iter().copied().max().unwrap();
            let messages = |max_bytes| {
                let (mut decoder, mut waiting, mut messages) = (Decoder::of_any(max_bytes), BytesMut::new(), Vec::new());
                for piece in bytes.chunks(cut) {
                    waiting.extend_from_slice(piece);
                    while let Some(received) = decoder.decode(&mut waiting)? {
                        messages.push(received);
                    }
                }
                Ok(messages)
            };
            let whole = payloads.iter().map(|payload| Received::Binary(payload.clone().into())).collect();
            prop_assert_eq!(messages(largest), Ok(whole));
            prop_assert!(largest == 0 || messages(largest - 1) == Err(CloseReason::MessageTooBig));
        }
    }
}
