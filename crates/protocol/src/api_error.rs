//! A failure on its way to a client.

use super::ErrorCode;
use std::{borrow::Cow, fmt, time::Duration};
use uuid::Uuid;

/// An error that a client is told of: the same in an `error` frame and in the body of a REST answer.
///
/// `message` is for people and never holds internals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    pub code: ErrorCode,
    pub message: Cow<'static, str>,
    /// How long to wait before the next try, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// Finds the cause in the server's log.
    pub correlation_id: Option<Uuid>,
}

impl ApiError {
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None, correlation_id: None }
    }

    /// A field of the request that is missing or wrong; the message names it.
    pub fn invalid_field(field: &str, reason: impl fmt::Display) -> Self {
        Self::new(ErrorCode::InvalidField, format!("`{field}` {reason}"))
    }

    pub fn overloaded(message: &'static str, retry_after_ms: u64) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(ErrorCode::Overloaded, message) }
    }

    /// More than a limit allows within its time.
    pub fn rate_limited(message: &'static str, wait: Duration) -> Self {
        // Rounded up: who comes back a little early is refused again.
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        Self { retry_after_ms: Some(wait_ms), ..Self::new(ErrorCode::RateLimited, message) }
    }
}
