//! The frames of `/ws/ops`: one JSON object with a `type` per text frame, as on `/ws/chat`.

use super::{Columns, Sample};
use crate::{
    domain::{AuditEntry, ConnectionId, UnixMillis},
    provider::ProviderStatus,
    registry::{ConnectionQuery, ConnectionView, FrameShape},
    workflow::budgets::BudgetUse,
};
use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use switchboard_protocol::{
    ApiError, AuthError, AuthExpiring, AuthFrame, AuthSuccess, ErrorFrame, GoingAway, parse_fields, parse_type,
    unknown_type,
};

/// A frame from an operator's client. Unknown fields are ignored, an unknown `type` is an error.
#[derive(Debug)]
pub enum OpsClientFrame {
    Auth(AuthFrame),
    View(ViewFrame),
    Watch(WatchFrame),
}

/// Selects the rows of the table of connections to send from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewFrame {
    /// Echoed with the rows, so that the page can match them to its view.
    pub id: u32,
    pub query: ConnectionQuery,
}

/// The field of a view besides the query. Parsed on its own because errors in a flattened struct do not name the field.
#[derive(Deserialize)]
struct ViewId {
    #[serde(default)]
    id: u32,
}

/// Watches one connection and the shapes of its frames, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct WatchFrame {
    pub connection_id: Option<ConnectionId>,
}

impl OpsClientFrame {
    /// Parses a text frame.
    ///
    /// # Errors
    /// `INVALID_JSON` with line and column, `INVALID_FIELD` with the field's name, or `UNKNOWN_TYPE`.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let (frame_type, value) = parse_type(text)?;
        match frame_type.as_str() {
            "auth" => parse_fields(value).map(Self::Auth),
            "view" => {
                let ViewId { id } = parse_fields(value.clone())?;
                let query: ConnectionQuery = parse_fields(value)?;
                query.check()?;
                Ok(Self::View(ViewFrame { id, query }))
            }
            "watch" => parse_fields(value).map(Self::Watch),
            other => Err(unknown_type(other, &["auth", "view", "watch"])),
        }
    }
}

/// A frame of the server.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OpsServerFrame<'a> {
    AuthSuccess(AuthSuccess<'a>),
    AuthError(AuthError<'a>),
    AuthExpiring(AuthExpiring),
    Error(ErrorFrame<'a>),
    History(HistoryFrame<'a>),
    Stats(StatsFrame<'a>),
    Connections(RowsFrame<'a>),
    Connection(ConnectionFrame<'a>),
    Frames(FramesFrame<'a>),
    Audit(AuditFrame<'a>),
    GoingAway(GoingAway),
}

/// The recent samples; sent once, after authentication.
#[derive(Debug, Serialize)]
pub struct HistoryFrame<'a> {
    pub samples: &'a Columns,
}

/// The latest sample.
#[derive(Debug, Serialize)]
pub struct StatsFrame<'a> {
    #[serde(flatten)]
    pub sample: &'a Sample,
    #[serde(flatten)]
    pub totals: &'a Totals,
}

/// Numbers without a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Start time of the server.
    pub started_at_ms: UnixMillis,
    /// Whether the server drains and accepts no new work.
    pub draining: bool,
    /// Authenticated connections of operators.
    pub operators: usize,
    pub connections_v1: usize,
    pub connections_v2: usize,
    /// An older name of `connections_v1`, until 1.0.
    pub sessions_v1: usize,
    /// An older name of `connections_v2`, until 1.0.
    pub sessions_v2: usize,
    /// Connections closed because the client did not read, since the start.
    pub stalled: u64,
    pub opened: u64,
    pub turns: u64,
    pub tokens: u64,
    pub errors: u64,
    /// Number of refusals by limits, since the start.
    pub refused: u64,
    /// `errors` by code, without codes that did not occur.
    pub errors_by_code: BTreeMap<&'static str, u64>,
    /// `refused` by limit, without limits that refused nothing. The names are those of `limits` in
    /// `GET /api/v1/connections/stats`.
    pub refused_by_limit: BTreeMap<&'static str, u64>,
    /// Providers with the state of their circuits.
    pub providers: Vec<ProviderStatus>,
    /// Use of the daily budgets; absent without a budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetUse>,
}

/// The rows of the latest `view`.
#[derive(Debug, Serialize)]
pub struct RowsFrame<'a> {
    /// `id` of the `view`.
    pub id: u32,
    pub offset: usize,
    /// Number of matching connections.
    pub total: usize,
    pub connections: &'a [ConnectionView],
}

/// The watched connection.
#[derive(Debug, Serialize)]
pub struct ConnectionFrame<'a> {
    pub connection_id: ConnectionId,
    /// `null` when it is closed.
    pub connection: Option<&'a ConnectionView>,
}

/// Shapes of the frames of the watched connection.
#[derive(Debug, Serialize)]
pub struct FramesFrame<'a> {
    pub connection_id: ConnectionId,
    /// Oldest first.
    pub frames: &'a [FrameShape],
    /// Number of earlier frames that were dropped because there were too many.
    pub left_out: u64,
}

/// Audit entries with a known outcome.
#[derive(Debug, Serialize)]
pub struct AuditFrame<'a> {
    pub entries: Vec<&'a AuditEntry>,
}

impl OpsServerFrame<'_> {
    /// Encodes the frame as the text of a WebSocket message.
    pub fn encode(&self) -> ByteString {
        let json = serde_json::to_string(self).expect("frames hold nothing that JSON cannot carry");
        ByteString::from(json)
    }
}
