//! Close reasons of a WebSocket. An error answers a frame; a close reason ends the connection, and its code tells the client
//! whether to reconnect (modelled on centrifuge's `disconnect.go`).

use serde::Serialize;

/// Reason for closing a WebSocket. Clients reconnect with back-off and jitter after the codes 4000–4399, 1001 and 1011–1013; after
/// 4400–4499 only once the cause is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// The client closed the connection or disconnected.
    Normal,
    /// The server is stopping.
    GoingAway,
    /// The client violated RFC 6455.
    ProtocolError,
    /// The client sent a binary frame.
    UnsupportedData,
    /// The client sent a text frame that is not UTF-8.
    InvalidUtf8,
    /// A message exceeds the size limit.
    MessageTooBig,
    /// The server failed.
    Internal,
    /// The client did not authenticate in time.
    AuthDeadline,
    /// Authentication failed too often on this connection.
    TooManyAuthFailures,
    /// The token expired and was not renewed.
    AuthExpired,
    /// The client sent nothing, not even a pong, within the timeout.
    HeartbeatTimeout,
    /// The client did not read queued data in time.
    SlowReader,
    /// The client exceeded the rate limit for frames too often.
    TooManyViolations,
    /// The user has too many connections.
    TooManyConnections,
    /// An operator closed the connection or locked the account.
    Kicked,
}

impl CloseReason {
    /// All reasons, in order of declaration.
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

    /// Returns the reason's name in metrics.
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

    /// Returns the code of the close frame (RFC 6455, section 7.4).
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

    /// Returns the reason text of the close frame, for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Normal => "normal closure",
            Self::GoingAway => "the server is going away; reconnect, then resume",
            Self::ProtocolError => "violation of the WebSocket protocol",
            Self::UnsupportedData => "binary frames are not supported",
            Self::InvalidUtf8 => "a text frame is not UTF-8",
            Self::MessageTooBig => "the message is too big",
            Self::Internal => "internal server error",
            Self::AuthDeadline => "not authenticated in time",
            Self::TooManyAuthFailures => "too many failed authentication attempts",
            Self::AuthExpired => "the token has expired",
            Self::HeartbeatTimeout => "heartbeat timeout; reconnect, then resume",
            Self::SlowReader => "queued data was not read in time; reconnect, then resume",
            Self::TooManyViolations => "too many violations of the rate limit",
            Self::TooManyConnections => "too many connections; try again later",
            Self::Kicked => "closed by an operator",
        }
    }
}
