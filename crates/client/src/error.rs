//! Errors of the client.

use super::Violation;
use std::{io, time::Duration};

/// An `error` frame, or the body of a refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    /// A code of the protocol's table of errors.
    pub code: String,
    /// Text for users.
    pub message: String,
    /// Delay before a retry, in milliseconds, if a retry may succeed.
    pub retry_after_ms: Option<u64>,
}

/// An error of a request, a connection or a turn.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{url:?} is not a valid server address: {reason}")]
    Address { url: String, reason: String },
    #[error("cannot reach the server: {0}")]
    Connect(#[source] io::Error),
    /// The server redirects to another address. Not followed, so that passwords and tokens go only to the named server.
    #[error("the server redirects to {to}; redirects are not followed: use that address if you trust it")]
    Redirected { to: String },
    #[error("HTTP {status}: {} ({})", error.message, error.code)]
    Refused { status: u16, error: ServerError },
    /// The token was refused or has expired.
    #[error("authentication failed: {message} ({code})")]
    Auth { code: String, message: String },
    /// The turn was refused or failed.
    #[error("{} ({})", .0.message, .0.code)]
    Server(ServerError),
    /// The connection ended; 1006 if without a close frame.
    #[error("the connection was closed with {code} {reason}")]
    Closed { code: u16, reason: String },
    #[error("the server did not respond in time (waited for {0})")]
    Timeout(&'static str),
    #[error("protocol error: {0}")]
    Protocol(String),
    #[error("the answer differs from what the server wrote: {0}")]
    Unverified(#[from] Violation),
}

impl ClientError {
    /// Delay that the server specified when it refused a connection.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { error, .. } => error.retry_after_ms.map(Duration::from_millis),
            _ => None,
        }
    }

    /// Whether the same request may succeed later: after a network failure, a server error or too many requests.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Timeout(_) => true,
            Self::Refused { status, .. } => *status >= 500 || matches!(status, 408 | 425 | 429),
            _ => false,
        }
    }

    /// Returns a label for statistics: the server's code where there is one.
    pub fn label(&self) -> String {
        match self {
            Self::Address { .. } => "ADDRESS".to_owned(),
            Self::Connect(error) => format!("CONNECT: {}", error.kind()),
            Self::Redirected { .. } => "REDIRECTED".to_owned(),
            Self::Refused { error, .. } | Self::Server(error) => error.code.clone(),
            Self::Auth { code, .. } => code.clone(),
            Self::Closed { code, .. } => format!("CLOSED {code}"),
            Self::Timeout(what) => format!("TIMEOUT: {what}"),
            Self::Protocol(_) => "PROTOCOL".to_owned(),
            Self::Unverified(_) => "UNVERIFIED".to_owned(),
        }
    }

    /// Whether a new connection may continue where this one ended. 4408 (no pong) is included: a device that was asleep gets it
    /// after waking up.
    pub fn may_reconnect(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Timeout(_) => true,
            Self::Closed { code, .. } => matches!(code, 1001 | 1005 | 1006 | 1011..=1013 | 4000..=4399 | 4408),
            Self::Refused { status, .. } => matches!(status, 429 | 502..=504),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_determine_whether_to_reconnect() {
        let may = |code| ClientError::Closed { code, reason: String::new() }.may_reconnect();
        assert!([1001, 1006, 1011, 1013, 4000, 4399, 4408].into_iter().all(may));
        assert!(![1000, 1002, 1003, 1007, 1009, 4400, 4401, 4403, 4429].into_iter().any(may));
    }
}
