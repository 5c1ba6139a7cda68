//! Server-sent events of `POST /api/v1/chat`: frames of `chat.v2` with full ids, under the field names of both dialects.
//!
//! The id of an event is `<turn_id>:<seq>:<index>`: the last token (-1 before the first) and the entry of the event, so that
//! the stream can resume after any event.

use super::turn_frames::{self, Fields};
use crate::turn::{Cursor, Encoder, Entry, ReplayStart, SubscribedAs};
use bytestring::ByteString;
use switchboard_protocol::{
    ApiError, ErrorFrame, ErrorSubject, FieldNames, PartFrame, ReasoningFrame, ServerFrame, TokenFrame, TurnId,
};

pub struct Sse;

impl Encoder for Sse {
    fn entry(&self, turn: SubscribedAs<'_>, entry: &Entry<'_>, after: Cursor) -> Option<ByteString> {
        let index = after.index() - 1;
        let turn_id = turn.subject.turn_id;
        let fields = Fields { names: FieldNames::Both, turn: None, index: Some(index) };
        let frame = match entry {
            Entry::Progress(progress) => turn_frames::progress(turn, progress, fields),
            Entry::Text { seqs, tokens } => {
                let seq = seqs.end - 1;
                ServerFrame::Token(TokenFrame {
                    token: tokens.joined(seqs.clone()),
                    partial_response: None,
                    turn_id: Some(turn_id),
                    turn: None,
                    session_id: Some(turn.subject.conversation_id),
                    conversation_id: Some(turn.subject.conversation_id),
                    seq,
                    first_seq: (seqs.start != seq).then_some(seqs.start),
                })
                .encode()
            }
            Entry::Reasoning(delta) => {
                ServerFrame::Reasoning(ReasoningFrame { delta, turn_id: Some(turn_id), turn: None, index }).encode()
            }
            Entry::Part(part) => ServerFrame::Part(PartFrame {
                kind: &part.kind,
                turn_id: Some(turn_id),
                turn: None,
                index,
                fields: &part.fields,
            })
            .encode(),
            Entry::Skipped => return None,
            Entry::End { end, tokens } => turn_frames::end(turn, end, tokens, fields),
        };
        let last_seq = i64::from(after.next_seq) - 1;
        // A frame is one line of JSON.
        Some(format!("id: {turn_id}:{last_seq}:{index}\ndata: {frame}\n\n").into())
    }

    fn replay(&self, _: SubscribedAs<'_>, _: ReplayStart<'_>) -> Option<ByteString> {
        None
    }

    fn coalesces(&self) -> bool {
        false
    }
}

/// Encodes an error that ends the stream but not the turn. Without an id, so that the last one stays valid for a resume.
pub fn error_event(error: &ApiError) -> ByteString {
    let frame = ServerFrame::Error(ErrorFrame::new(error, &ErrorSubject::default(), FieldNames::Both)).encode();
    format!("data: {frame}\n\n").into()
}

/// Parses the id of an event into the turn and the position after it: the number of tokens received, and the index of the
/// event. Events of older versions have no index.
pub fn parse_event_id(id: &str) -> Option<(TurnId, u32, Option<u32>)> {
    let mut fields = id.split(':');
    let turn_id = fields.next()?.parse().ok()?;
    let next_seq = u32::try_from(fields.next()?.parse::<i64>().ok()?.checked_add(1)?).ok()?;
    let index = fields.next().map(str::parse).transpose().ok()?;
    fields.next().is_none().then_some((turn_id, next_seq, index))
}
