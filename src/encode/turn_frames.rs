//! The parts of frames that several surfaces share.

use crate::{
    api_error::from_failure,
    turn::{Progress, ReplayStart, SubscribedAs, Tokens, TurnEnd},
};
use bytestring::ByteString;
use switchboard_protocol::{
    CompleteFrame, ErrorFrame, ErrorSubject, FieldNames, MetadataView, Named, ProgressFrame, Resumed, ServerFrame,
};

/// The fields by which the frames of surfaces differ.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    pub names: FieldNames,
    pub turn: Option<u32>,
    pub index: Option<u32>,
}

pub(super) fn progress(turn: SubscribedAs<'_>, progress: &Progress, fields: Fields) -> ByteString {
    let Fields { names, turn: number, index } = fields;
    let conversation = names.conversation(turn.subject.conversation_id);
    let specialist = progress.specialist.as_deref().map_or(Named::NONE, |name| names.specialist(name));
    ServerFrame::Progress(ProgressFrame {
        step: progress.step.name(names),
        message: &progress.message,
        session_id: conversation.v1,
        conversation_id: conversation.v2,
        turn_id: turn.subject.turn_id,
        turn: number,
        index,
        agent: specialist.v1,
        specialist: specialist.v2,
        confidence: progress.confidence,
        sources: progress.sources.as_deref(),
        client_message_id: progress.client_message_id.as_deref(),
        question: progress.question.as_deref(),
    })
    .encode()
}

/// Encodes the end of a turn: `complete`, or `error` for a failed turn.
pub(super) fn end(turn: SubscribedAs<'_>, end: &TurnEnd, tokens: &Tokens, fields: Fields) -> ByteString {
    let Fields { names, turn: number, index } = fields;
    match end {
        TurnEnd::Complete { message_id, finish_reason, metadata, sha256 } => {
            let conversation = names.conversation(turn.subject.conversation_id);
            ServerFrame::Complete(CompleteFrame {
                response: tokens.text(),
                session_id: conversation.v1,
                conversation_id: conversation.v2,
                metadata: MetadataView::new(metadata, names),
                turn_id: turn.subject.turn_id,
                turn: number,
                index,
                message_id: *message_id,
                seq: i64::from(tokens.count()) - 1,
                finish_reason: *finish_reason,
                sha256,
            })
            .encode()
        }
        TurnEnd::Failed(failure) => {
            let about = ErrorSubject {
                turn_id: Some(turn.subject.turn_id),
                conversation_id: Some(turn.subject.conversation_id),
                client_message_id: None,
            };
            let error = from_failure(failure);
            ServerFrame::Error(ErrorFrame { turn: number, index, ..ErrorFrame::new(&error, &about, names) }).encode()
        }
    }
}

pub(super) fn resumed(turn: SubscribedAs<'_>, start: ReplayStart<'_>, fields: Fields) -> ByteString {
    let conversation = fields.names.conversation(turn.subject.conversation_id);
    ServerFrame::Resumed(Resumed {
        session_id: conversation.v1,
        conversation_id: conversation.v2,
        turn_id: Some(turn.subject.turn_id),
        turn: fields.turn,
        index: fields.index,
        from_seq: Some(start.cursor.next_seq),
        state: start.state,
        reload_history: start.reload_history,
        client_message_id: start.client_message_id,
    })
    .encode()
}
