//! Errors of the store.

use crate::{api_error::InternalError, limits::STORE_RETRY_MS, store::StoreError};
use switchboard_protocol::{ApiError, ErrorCode};

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Self::new(ErrorCode::NotFound, format!("There is no such {what}.")),
            StoreError::Forbidden(what) => {
                Self::new(ErrorCode::Forbidden, format!("You don't have access to this {what}."))
            }
            StoreError::Fenced => Self::new(
                ErrorCode::TurnInterrupted,
                "The conversation was handed over; the assistant no longer answers it.",
            ),
            // Usually transient (a full disk, a locked file): a retry may succeed.
            StoreError::Unavailable(_) => Self {
                code: ErrorCode::Overloaded,
                message: "The server's storage is temporarily unavailable. Please try again soon.".into(),
                retry_after_ms: Some(STORE_RETRY_MS),
                ..Self::internal(&error)
            },
            StoreError::Conflict(_) | StoreError::Corrupt(_) | StoreError::Unusable(_) => Self::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_code_message_and_wait() {
        let internal = "Something went wrong on our side. Please try again.";
        let busy = "The server's storage is temporarily unavailable. Please try again soon.";
        for (error, code, message, retry_after_ms) in [
            (StoreError::NotFound("turn"), ErrorCode::NotFound, "There is no such turn.", None),
            (StoreError::Forbidden("turn"), ErrorCode::Forbidden, "You don't have access to this turn.", None),
            (
                StoreError::Fenced,
                ErrorCode::TurnInterrupted,
                "The conversation was handed over; the assistant no longer answers it.",
                None,
            ),
            (StoreError::Unavailable("disk full".to_owned()), ErrorCode::Overloaded, busy, Some(STORE_RETRY_MS)),
            (StoreError::Conflict("e-mail"), ErrorCode::ProcessingError, internal, None),
            (StoreError::Corrupt("row".to_owned()), ErrorCode::ProcessingError, internal, None),
            (StoreError::Unusable("schema".to_owned()), ErrorCode::ProcessingError, internal, None),
        ] {
            let mapped = ApiError::from(error.clone());
            assert_eq!((mapped.code, &*mapped.message, mapped.retry_after_ms), (code, message, retry_after_ms));
            let is_logged = matches!(code, ErrorCode::ProcessingError | ErrorCode::Overloaded);
            assert_eq!(mapped.correlation_id.is_some(), is_logged, "{error}");
        }
    }
}
