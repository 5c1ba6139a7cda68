//! Why the server ends a socket. An error answers a frame; a close reason ends the socket, and its code tells the client
//! whether to come back (after centrifuge's `disconnect.go`).

use serde::Serialize;

/// 4000–4399, 1001 and 1011–1013: reconnect with back-off and jitter. 4400–4499: not until something changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// The other side said goodbye, or simply left.
    Normal,
    GoingAway,
    ProtocolError,
    UnsupportedData,
    InvalidUtf8,
    MessageTooBig,
    Internal,
    AuthDeadline,
    TooManyAuthFailures,
    AuthExpired,
    HeartbeatTimeout,
    /// The peer took nothing of what waited for it.
    SlowReader,
    TooManyViolations,
    TooManyConnections,
    /// An operator wants it so.
    Kicked,
}

impl CloseReason {
    /// Every reason, in the order above.
    pub const ALL: &[Self] = &[
        Self::Normal,
        Self::GoingAway,
        Self::ProtocolError,
        Self::UnsupportedData,
        Self::InvalidUtf8,
        Self::MessageTooBig,
        Self::Internal,
        Self::AuthDeadline,
        Self::TooManyAuthFailures,
        Self::AuthExpired,
        Self::HeartbeatTimeout,
        Self::SlowReader,
        Self::TooManyViolations,
        Self::TooManyConnections,
        Self::Kicked,
    ];

    /// The name in the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::GoingAway => "going_away",
            Self::ProtocolError => "protocol_error",
            Self::UnsupportedData => "unsupported_data",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::MessageTooBig => "message_too_big",
            Self::Internal => "internal",
            Self::AuthDeadline => "auth_deadline",
            Self::TooManyAuthFailures => "too_many_auth_failures",
            Self::AuthExpired => "auth_expired",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::SlowReader => "slow_reader",
            Self::TooManyViolations => "too_many_violations",
            Self::TooManyConnections => "too_many_connections",
            Self::Kicked => "kicked",
        }
    }

    /// The code of the close frame (RFC 6455, 7.4).
    pub const fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::ProtocolError => 1002,
            Self::UnsupportedData => 1003,
            Self::InvalidUtf8 => 1007,
            Self::MessageTooBig => 1009,
            Self::Internal => 1011,
            Self::AuthDeadline | Self::TooManyAuthFailures | Self::AuthExpired => 4401,
            Self::SlowReader => 4009,
            Self::HeartbeatTimeout => 4408,
            Self::TooManyViolations => 4429,
            Self::TooManyConnections => 1013,
            Self::Kicked => 4403,
        }
    }

    /// The text of the close frame, for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Normal => "goodbye",
            Self::GoingAway => "the server is going away; reconnect, then resume",
            Self::ProtocolError => "the WebSocket protocol was broken",
            Self::UnsupportedData => "binary frames are not understood",
            Self::InvalidUtf8 => "a text frame was not UTF-8",
            Self::MessageTooBig => "the message is too big",
            Self::Internal => "something went wrong on our side",
            Self::AuthDeadline => "not authenticated in time",
            Self::TooManyAuthFailures => "too many failed attempts to authenticate",
            Self::AuthExpired => "the token has expired",
            Self::HeartbeatTimeout => "no sign of life in time",
            Self::SlowReader => "what waits for you was not taken in time; reconnect, then resume",
            Self::TooManyViolations => "too many frames over the limit",
            Self::TooManyConnections => "too many connections; try again later",
            Self::Kicked => "closed by an operator",
        }
    }
}
