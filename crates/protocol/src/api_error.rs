//! Errors as clients receive them.

use super::ErrorCode;
use std::{borrow::Cow, fmt, time::Duration};
use uuid::Uuid;

/// Error for a client, the same in an `error` frame and in the body of a REST response.
///
/// `message` is for people and never reveals internals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    pub code: ErrorCode,
    pub message: Cow<'static, str>,
    /// Delay before the next attempt, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// Moment at which a used-up budget is renewed, in milliseconds since 1970.
    pub resets_at_ms: Option<i64>,
    /// Id of the log line that gives the cause.
    pub correlation_id: Option<Uuid>,
}

impl ApiError {
    /// Creates an error without a delay and without a correlation id.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None, resets_at_ms: None, correlation_id: None }
    }

    /// Creates an `INVALID_FIELD` error. `reason` continues the sentence that begins with the field's name.
    pub fn invalid_field(field: &str, reason: impl fmt::Display) -> Self {
        Self::new(ErrorCode::InvalidField, format!("`{field}` {reason}"))
    }

    /// Creates an `OVERLOADED` error.
    pub fn overloaded(message: &'static str, retry_after_ms: u64) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(ErrorCode::Overloaded, message) }
    }

    /// Creates a `RATE_LIMITED` error; the next attempt may succeed after `wait`.
    pub fn rate_limited(message: &'static str, wait: Duration) -> Self {
        // Rounded up: a request that arrives slightly early is rejected again.
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        Self { retry_after_ms: Some(wait_ms), ..Self::new(ErrorCode::RateLimited, message) }
    }
}
