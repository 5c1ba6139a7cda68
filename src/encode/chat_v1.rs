//! `chat.v1`, the dialect of the first clients: each `token` frame carries the answer so far. Never gains required fields.

use super::turn_frames::{self, Fields};
use crate::turn::{Cursor, Encoder, Entry, ReplayStart, SubscribedAs};
use bytestring::ByteString;
use switchboard_protocol::{FieldNames, ServerFrame, TokenFrame};

pub struct ChatV1;

const FIELDS: Fields = Fields { names: FieldNames::V1, turn: None, index: None };

impl Encoder for ChatV1 {
    fn entry(&self, turn: SubscribedAs<'_>, entry: &Entry<'_>, _: Cursor) -> Option<ByteString> {
        Some(match entry {
            Entry::Progress(progress) => turn_frames::progress(turn, progress, FIELDS),
            Entry::Text { seqs, tokens } => {
                let seq = seqs.end - 1;
                ServerFrame::Token(TokenFrame {
                    token: tokens.joined(seqs.clone()),
                    partial_response: Some(tokens.text_before(seqs.end)),
                    turn_id: Some(turn.subject.turn_id),
                    turn: None,
                    session_id: Some(turn.subject.conversation_id),
                    conversation_id: None,
                    seq,
                    first_seq: (seqs.start != seq).then_some(seqs.start),
                })
                .encode()
            }
            Entry::Reasoning(_) | Entry::Part(_) | Entry::Skipped => return None,
            Entry::End { end, tokens } => turn_frames::end(turn, end, tokens, FIELDS),
        })
    }

    fn replay(&self, turn: SubscribedAs<'_>, start: ReplayStart<'_>) -> Option<ByteString> {
        Some(turn_frames::resumed(turn, start, FIELDS))
    }

    fn coalesces(&self) -> bool {
        false
    }
}
