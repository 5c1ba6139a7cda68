//! The JSON body of `POST /api/v1/chat` without an event stream: the end of the turn, and nothing else.

use super::turn_frames::{self, Fields};
use crate::turn::{Cursor, Encoder, Entry, ReplayStart, SubscribedAs};
use bytestring::ByteString;
use switchboard_protocol::FieldNames;

pub struct Json;

impl Encoder for Json {
    fn entry(&self, turn: SubscribedAs<'_>, entry: &Entry<'_>, _: Cursor) -> Option<ByteString> {
        let Entry::End { end, tokens } = entry else { return None };
        Some(turn_frames::end(turn, end, tokens, Fields { names: FieldNames::Both, turn: None, index: None }))
    }

    fn replay(&self, _: SubscribedAs<'_>, _: ReplayStart<'_>) -> Option<ByteString> {
        None
    }

    fn coalesces(&self) -> bool {
        false
    }
}
