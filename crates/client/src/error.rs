//! What can go wrong between a client and the server.

use super::Violation;
use std::{io, time::Duration};

/// An `error` frame, or the body of a refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    /// Of the protocol's table of errors.
    pub code: String,
    /// For people.
    pub message: String,
    /// How long to wait before the next try, in milliseconds, when the same may succeed then.
    pub retry_after_ms: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{url:?} is not the address of a server: {reason}")]
    Address { url: String, reason: String },
    #[error("cannot reach the server: {0}")]
    Connect(#[source] io::Error),
    /// The server refers to another address. It is not followed: a password or a token is for the server that was named.
    #[error("the server redirects to {to}; redirects are not followed: use that address if you trust it")]
    Redirected { to: String },
    #[error("HTTP {status}: {} ({})", error.message, error.code)]
    Refused { status: u16, error: ServerError },
    /// The proof was refused, or is used up.
    #[error("not signed in: {message} ({code})")]
    Auth { code: String, message: String },
    /// The turn was refused, or it failed.
    #[error("{} ({})", .0.message, .0.code)]
    Server(ServerError),
    /// 1006 when the network was cut without a goodbye.
    #[error("the connection was closed with {code} {reason}")]
    Closed { code: u16, reason: String },
    #[error("the server was silent for too long: {0}")]
    Timeout(&'static str),
    #[error("against the protocol: {0}")]
    Protocol(String),
    #[error("the answer is not what the server wrote: {0}")]
    Unverified(#[from] Violation),
}

impl ClientError {
    /// How long the server asked to wait, when it refused the connection for now.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { error, .. } => error.retry_after_ms.map(Duration::from_millis),
            _ => None,
        }
    }

    /// Whether the same request may succeed later: the network or the server is in trouble, or there were too many requests.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Timeout(_) => true,
            Self::Refused { status, .. } => *status >= 500 || matches!(status, 408 | 425 | 429),
            _ => false,
        }
    }

    /// One word for statistics: the server's code where there is one.
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

    /// Whether a new connection may get on where this one ended. 4408 comes to a device that slept, and is awake now.
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
    fn close_codes_say_whether_to_come_back() {
        let may = |code| ClientError::Closed { code, reason: String::new() }.may_reconnect();
        assert!([1001, 1006, 1011, 1013, 4000, 4399, 4408].into_iter().all(may));
        assert!(![1000, 1002, 1003, 1007, 1009, 4400, 4401, 4403, 4429].into_iter().any(may));
    }
}
