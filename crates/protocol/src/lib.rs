//! The wire contract as types: frames, errors, close codes, dialects. `docs/WEBSOCKET.md` is its published form.
//!
//! Nothing here knows who sends or receives.

mod answer;
mod api_error;
mod client_frame;
mod close_reason;
mod dialect;
mod error_code;
mod field_names;
mod frame_subject;
mod ids;
mod json_depth;
mod lenient_json;
mod malformed;
mod metadata_view;
mod server_frame;

pub use answer::{AnswerMetadata, FinishReason, Latency, Source, Usage};
pub use api_error::ApiError;
pub use client_frame::{
    AuthFrame, CancelFrame, ClientFrame, MessageFrame, PingFrame, ResumeFrame, parse_type, unknown_type,
};
pub use close_reason::CloseReason;
pub use dialect::{Dialect, Offer};
pub use error_code::ErrorCode;
pub use field_names::{FieldNames, Named};
pub use ids::{AuditId, ConnectionId, ConversationId, DocumentId, MessageId, TurnId, UserId};
pub use json_depth::check_json_depth;
pub use lenient_json::{fields_of, mend_surrogates, remove_null};
pub use malformed::{not_json, wrong_field};
pub use metadata_view::MetadataView;
pub use server_frame::{
    AuthError, AuthExpiring, AuthSuccess, CompleteFrame, ErrorFrame, ErrorSubject, GoingAway, HeadOfTurn, Heartbeat,
    Notice, NoticeLevel, Pong, ProgressFrame, Resumed, ServerFrame, Step, TokenFrame, TurnState, UserView,
};
