//! Errors of settings, of the drain and of audited actions.

use crate::{
    api_error::InternalError,
    limits::DRAIN_RETRY_MS,
    steering::{ActionError, AuditError, SettingsError, TooLate},
};
use switchboard_protocol::{ApiError, ErrorCode};

impl From<SettingsError> for ApiError {
    fn from(error: SettingsError) -> Self {
        Self::new(ErrorCode::InvalidField, error.to_string())
    }
}

impl From<TooLate> for ApiError {
    fn from(TooLate: TooLate) -> Self {
        Self::overloaded("The server is already stopping; the drain cannot be undone.", DRAIN_RETRY_MS)
    }
}

impl From<AuditError> for ApiError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Store(error) => error.into(),
            AuditError::Panicked(cause) => Self::internal(&cause),
        }
    }
}

impl ActionError for ApiError {
    fn outcome(&self) -> &'static str {
        self.code.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    #[test]
    fn every_error_has_its_code_message_and_wait() {
        let refused = SettingsError::Refused("`log_level` must be a filter".to_owned());
        let mapped = ApiError::from(refused);
        assert_eq!((mapped.code, &*mapped.message), (ErrorCode::InvalidField, "`log_level` must be a filter"));
        let mapped = ApiError::from(TooLate);
        assert_eq!((mapped.code, mapped.retry_after_ms), (ErrorCode::Overloaded, Some(DRAIN_RETRY_MS)));
        assert_eq!(mapped.message, "The server is already stopping; the drain cannot be undone.");
        let unavailable = AuditError::Store(StoreError::Unavailable("full".to_owned()));
        assert_eq!(ApiError::from(unavailable).code, ErrorCode::Overloaded);
        assert_eq!(ApiError::from(AuditError::Panicked("bug".to_owned())).code, ErrorCode::ProcessingError);
    }
}
