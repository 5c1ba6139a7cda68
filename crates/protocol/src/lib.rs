//! Wire protocol of Switchboard as types: frames, errors, close reasons and dialects. `docs/WEBSOCKET.md` is its published form.
//!
//! Server and clients share this crate. It contains no I/O, and depends on no other crate of the workspace.
//!
//! The feature `utoipa` derives OpenAPI schemas for the types, `schemars` derives JSON Schemas.

mod answer;
mod api_error;
mod client_frame;
mod close_reason;
mod dialect;
mod error_code;
mod event_frame;
mod field_names;
mod frame_subject;
mod ids;
mod json_depth;
mod lenient_json;
mod malformed;
mod metadata_view;
mod retrieval;
mod server_frame;
mod turn_frame;
mod type_first;

pub use answer::{AnswerMetadata, Attempt, Citation, Cost, FinishReason, Latency, Source, TaskUsage, Usage};
pub use api_error::ApiError;
pub use client_frame::{
    AuthFrame, CancelFrame, ClientFrame, MessageFrame, PingFrame, ResumeFrame, parse_type, unknown_type,
};
pub use close_reason::CloseReason;
pub use dialect::{Dialect, Offer};
pub use error_code::ErrorCode;
pub use event_frame::{ActorView, EventFrame, ResumedEvents};
pub use field_names::{FieldNames, Named};
pub use ids::{AuditId, ConnectionId, ConversationId, DocumentId, MessageId, TurnId, UserId};
pub use json_depth::check_json_depth;
pub use lenient_json::{parse_fields, remove_null, replace_lone_surrogates};
pub use malformed::{invalid_field, invalid_json};
pub use metadata_view::MetadataView;
pub use retrieval::{MethodOutcome, RetrievalAccount, RetrievalBasis, RetrievalMethods};
pub use server_frame::{
    AuthError, AuthExpiring, AuthSuccess, ErrorFrame, ErrorSubject, GoingAway, Notice, NoticeLevel, Pong, ServerFrame,
    UserView,
};
pub use turn_frame::{
    CompleteFrame, Heartbeat, PartFrame, ProgressFrame, ReasoningFrame, Resumed, Step, TokenFrame, TurnHead, TurnState,
};
