//! `chat.v2`: `token` frames carry only new text and the number of their turn on the connection.

use super::turn_frames::{self, Fields};
use crate::turn::{Cursor, Encoder, Entry, ReplayStart, SubscribedAs};
use bytestring::ByteString;
use switchboard_protocol::{FieldNames, PartFrame, ReasoningFrame, ServerFrame, TokenFrame};

pub struct ChatV2;

impl Encoder for ChatV2 {
    fn entry(&self, turn: SubscribedAs<'_>, entry: &Entry<'_>, after: Cursor) -> Option<ByteString> {
        let index = after.index() - 1;
        let fields = Fields { names: FieldNames::V2, turn: Some(turn.number), index: Some(index) };
        Some(match entry {
            Entry::Progress(progress) => turn_frames::progress(turn, progress, fields),
            Entry::Text { seqs, tokens } => {
                let seq = seqs.end - 1;
                ServerFrame::Token(TokenFrame {
                    token: tokens.joined(seqs.clone()),
                    partial_response: None,
                    turn_id: None,
                    turn: Some(turn.number),
                    session_id: None,
                    conversation_id: None,
                    seq,
                    first_seq: (seqs.start != seq).then_some(seqs.start),
                })
                .encode()
            }
            Entry::Reasoning(delta) => {
                ServerFrame::Reasoning(ReasoningFrame { delta, turn_id: None, turn: Some(turn.number), index }).encode()
            }
            Entry::Part(part) => ServerFrame::Part(PartFrame {
                kind: &part.kind,
                turn_id: None,
                turn: Some(turn.number),
                index,
                fields: &part.fields,
            })
            .encode(),
            Entry::Skipped => return None,
            Entry::End { end, tokens } => turn_frames::end(turn, end, tokens, fields),
        })
    }

    fn replay(&self, turn: SubscribedAs<'_>, start: ReplayStart<'_>) -> Option<ByteString> {
        let fields = Fields { names: FieldNames::V2, turn: Some(turn.number), index: Some(start.cursor.index()) };
        Some(turn_frames::resumed(turn, start, fields))
    }

    fn coalesces(&self) -> bool {
        true
    }
}
