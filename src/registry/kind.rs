//! The kinds of connections.

use serde::{Deserialize, Serialize};

/// Kind of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionKind {
    /// A WebSocket at `/ws/chat`.
    Chat,
    /// An operator's WebSocket at `/ws/ops`.
    Operator,
    /// A streaming answer of `POST /api/v1/chat`.
    Stream,
}

/// The kinds of connections that a query selects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KindFilter {
    /// Chat connections, the only kind of earlier versions.
    #[default]
    Chat,
    Operator,
    Stream,
    All,
}

impl ConnectionKind {
    /// All kinds, in the order in which they are listed.
    pub const ALL: &[Self] = &[Self::Chat, Self::Operator, Self::Stream];

    /// Returns the name of the kind, as in REST responses and labels of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Operator => "operator",
            Self::Stream => "stream",
        }
    }
}

impl KindFilter {
    /// Whether the query selects connections of this kind.
    pub fn includes(self, kind: ConnectionKind) -> bool {
        match self {
            Self::Chat => kind == ConnectionKind::Chat,
            Self::Operator => kind == ConnectionKind::Operator,
            Self::Stream => kind == ConnectionKind::Stream,
            Self::All => true,
        }
    }
}
