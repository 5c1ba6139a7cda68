//! What is said on `/ws/ops`: one JSON object a text frame, told apart by `type`, as on `/ws/chat`.

use super::{Columns, Sample};
use crate::{
    domain::{AuditEntry, ConnectionId, UnixMillis},
    protocol::{
        ApiError, AuthError, AuthExpiring, AuthFrame, AuthSuccess, ErrorFrame, GoingAway, fields_of, parse_type,
        unknown_type,
    },
    registry::{ConnectionQuery, ConnectionView, FrameShape},
};
use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A frame of an operator's page. Unknown fields are ignored, an unknown `type` is an error.
#[derive(Debug)]
pub enum OpsClientFrame {
    Auth(AuthFrame),
    View(ViewFrame),
    Watch(WatchFrame),
}

/// Chooses which rows of the table of connections are sent, from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewFrame {
    /// Comes back with the rows, so that the page knows which question they answer.
    pub id: u32,
    pub query: ConnectionQuery,
}

/// What a view has besides the query. Read by itself: errors of a flattened field would not name it.
#[derive(Deserialize)]
struct ViewId {
    #[serde(default)]
    id: u32,
}

/// Follows one connection and the shapes of its frames, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct WatchFrame {
    pub connection_id: Option<ConnectionId>,
}

impl OpsClientFrame {
    /// Reads a text frame.
    ///
    /// # Errors
    /// `INVALID_JSON` with line and column, `INVALID_FIELD` with the field's name, or `UNKNOWN_TYPE`.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let (frame_type, value) = parse_type(text)?;
        match frame_type.as_str() {
            "auth" => fields_of(value).map(Self::Auth),
            "view" => {
                let ViewId { id } = fields_of(value.clone())?;
                let query: ConnectionQuery = fields_of(value)?;
                query.check()?;
                Ok(Self::View(ViewFrame { id, query }))
            }
            "watch" => fields_of(value).map(Self::Watch),
            other => Err(unknown_type(other)),
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

/// The last minutes; once, after signing in.
#[derive(Debug, Serialize)]
pub struct HistoryFrame<'a> {
    pub samples: &'a Columns,
}

/// The last second.
#[derive(Debug, Serialize)]
pub struct StatsFrame<'a> {
    #[serde(flatten)]
    pub sample: &'a Sample,
    #[serde(flatten)]
    pub totals: &'a Totals,
}

/// Numbers that are no chart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// When the server started.
    pub started_at_ms: UnixMillis,
    /// Whether it takes no new work.
    pub draining: bool,
    /// Operators' sockets that are signed in.
    pub operators: usize,
    pub connections_v1: usize,
    pub connections_v2: usize,
    /// An older name of `connections_v1`, until 1.0.
    pub sessions_v1: usize,
    /// An older name of `connections_v2`, until 1.0.
    pub sessions_v2: usize,
    /// Sessions given up because their peer did not read, since the start.
    pub stalled: u64,
    pub opened: u64,
    pub turns: u64,
    pub tokens: u64,
    pub errors: u64,
    /// How often a limit said no, since the start.
    pub refused: u64,
    /// `errors` by code, without those that were never answered.
    pub errors_by_code: BTreeMap<&'static str, u64>,
    /// `refused` by limit, without those that never said no. The names are those of `limits` in
    /// `GET /api/v1/connections/stats`.
    pub refused_by_limit: BTreeMap<&'static str, u64>,
}

/// The rows that the last `view` asked for.
#[derive(Debug, Serialize)]
pub struct RowsFrame<'a> {
    /// That of the `view`.
    pub id: u32,
    pub offset: usize,
    /// How many match in all.
    pub total: usize,
    pub connections: &'a [ConnectionView],
}

/// The connection that is watched.
#[derive(Debug, Serialize)]
pub struct ConnectionFrame<'a> {
    pub connection_id: ConnectionId,
    /// None when it is gone.
    pub connection: Option<&'a ConnectionView>,
}

/// Shapes of the frames of the connection that is watched.
#[derive(Debug, Serialize)]
pub struct FramesFrame<'a> {
    pub connection_id: ConnectionId,
    /// Oldest first.
    pub frames: &'a [FrameShape],
    /// How many came before these and are not told, because there were too many.
    pub left_out: u64,
}

/// What operators did, now that its outcome is known.
#[derive(Debug, Serialize)]
pub struct AuditFrame<'a> {
    pub entries: Vec<&'a AuditEntry>,
}

impl OpsServerFrame<'_> {
    /// The frame as the text of a WebSocket message.
    pub fn encode(&self) -> ByteString {
        let json = serde_json::to_string(self).expect("frames hold nothing that JSON cannot carry");
        ByteString::from(json)
    }
}
