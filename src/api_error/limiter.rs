//! Errors of the limiter.

use crate::limiter::LimitError;
use switchboard_protocol::{ApiError, ErrorCode};

impl From<LimitError> for ApiError {
    fn from(error: LimitError) -> Self {
        match error {
            LimitError::RequestsPerAddress { retry_after } => {
                Self::rate_limited("Too many requests from your address. Please wait a moment.", retry_after)
            }
            LimitError::RequestsPerUser { retry_after } => {
                Self::rate_limited("You have sent too many requests. Please wait a moment.", retry_after)
            }
            LimitError::LoginsPerAddress { retry_after } => Self::rate_limited(
                "Too many sign-ins from your address. Please wait before you try again.",
                retry_after,
            ),
            LimitError::LoginsPerAccount { retry_after } => {
                Self::rate_limited("Too many sign-ins to this account. Please wait before you try again.", retry_after)
            }
            LimitError::Registrations { retry_after } => Self::rate_limited(
                "Too many new accounts from your address. Please wait before you try again.",
                retry_after,
            ),
            LimitError::ConnectionsPerAddress => Self::new(
                ErrorCode::TooManyConnections,
                "There are too many connections from your address. Close some, or try again later.",
            ),
            LimitError::ConnectionsPerUser => Self::new(
                ErrorCode::TooManyConnections,
                "You have too many connections. Close another tab or sign out on another device.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_error_has_its_code_message_and_wait() {
        let retry_after = Duration::from_millis(1_500);
        for (error, message) in [
            (
                LimitError::RequestsPerAddress { retry_after },
                "Too many requests from your address. Please wait a moment.",
            ),
            (LimitError::RequestsPerUser { retry_after }, "You have sent too many requests. Please wait a moment."),
            (
                LimitError::LoginsPerAddress { retry_after },
                "Too many sign-ins from your address. Please wait before you try again.",
            ),
            (
                LimitError::LoginsPerAccount { retry_after },
                "Too many sign-ins to this account. Please wait before you try again.",
            ),
            (
                LimitError::Registrations { retry_after },
                "Too many new accounts from your address. Please wait before you try again.",
            ),
        ] {
            let mapped = ApiError::from(error);
            assert_eq!((mapped.code, &*mapped.message), (ErrorCode::RateLimited, message));
            // Rounded up, so that a client that waits exactly this long is not refused again.
            assert_eq!(mapped.retry_after_ms, Some(1_501));
        }
        for (error, message) in [
            (
                LimitError::ConnectionsPerAddress,
                "There are too many connections from your address. Close some, or try again later.",
            ),
            (
                LimitError::ConnectionsPerUser,
                "You have too many connections. Close another tab or sign out on another device.",
            ),
        ] {
            assert_eq!(ApiError::from(error), ApiError::new(ErrorCode::TooManyConnections, message));
        }
    }
}
