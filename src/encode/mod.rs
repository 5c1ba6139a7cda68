//! Encoders: the entries of a turn's log as the frames of each surface. A file per surface.
//!
//! The frames of a turn are built only here; `tests/tidy/boundaries.rs` enforces that. Encoders are pure functions of the
//! log, so a replay from any point equals the live stream.

mod chat_v1;
mod chat_v2;
mod event;
mod json;
mod sse;
#[cfg(test)]
mod tests;
mod turn_frames;

pub use chat_v1::ChatV1;
pub use chat_v2::ChatV2;
pub use event::{event, event_view, resumed_events};
pub use json::Json;
pub use sse::{Sse, error_event, parse_event_id};

use crate::turn::Encoder;
use bytestring::ByteString;
use switchboard_protocol::{ConversationId, Dialect, FieldNames, Resumed, ServerFrame, TurnState};

/// Returns the encoder of a WebSocket dialect.
pub fn encoder_of(dialect: Dialect) -> &'static dyn Encoder {
    match dialect {
        Dialect::V1 => &ChatV1,
        Dialect::V2 => &ChatV2,
    }
}

/// Encodes the answer to a `resume` of a conversation without a turn to replay.
pub fn idle(conversation_id: ConversationId, dialect: Dialect) -> ByteString {
    let conversation = FieldNames::from(dialect).conversation(conversation_id);
    ServerFrame::Resumed(Resumed {
        session_id: conversation.v1,
        conversation_id: conversation.v2,
        turn_id: None,
        turn: None,
        index: None,
        from_seq: None,
        state: TurnState::Idle,
        reload_history: false,
        client_message_id: None,
    })
    .encode()
}
