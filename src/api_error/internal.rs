//! Unexpected failures: logged here, and reported to the client only by their correlation id.

use std::fmt;
use switchboard_protocol::{ApiError, ErrorCode};
use uuid::Uuid;

/// Conversion of an unexpected failure into the error that the client receives.
pub(crate) trait InternalError {
    /// Logs the cause under a new correlation id, and returns an error that holds the id and no internals.
    fn internal(cause: &dyn fmt::Display) -> Self;
}

impl InternalError for ApiError {
    fn internal(cause: &dyn fmt::Display) -> Self {
        let correlation_id = Uuid::now_v7();
        log::error!(correlation_id:%; "a request failed: {cause}");
        Self {
            correlation_id: Some(correlation_id),
            ..Self::new(ErrorCode::ProcessingError, "Something went wrong on our side. Please try again.")
        }
    }
}
