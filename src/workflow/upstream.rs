//! Failures of the model, as the user is told of them.

use crate::{
    protocol::{ApiError, ErrorCode},
    provider::{ProviderError, ProviderErrorKind as Kind},
};

/// The error that a failed turn ends with. `has_begun`: some of the answer was shown.
pub(super) fn failure(error: &ProviderError, has_begun: bool) -> ApiError {
    // The provider has told the operator of a failure that needs one; the same line for each turn would bury the log.
    let level = if error.kind.is_permanent() { log::Level::Debug } else { log::Level::Warn };
    log::log!(level, kind:? = error.kind; "the model did not answer: {}", error.detail);
    let (code, message) = match error.kind {
        Kind::Timeout => (ErrorCode::UpstreamTimeout, "The model was silent for too long. Please try again."),
        Kind::Broken if has_begun => {
            (ErrorCode::TurnInterrupted, "The model broke off. What there was of the answer is kept.")
        }
        Kind::Unavailable | Kind::RateLimited | Kind::Broken => {
            (ErrorCode::UpstreamUnavailable, "The model is not available. Please try again later.")
        }
        Kind::Unauthorized => (
            ErrorCode::UpstreamRefused,
            "The model refuses this server's access. Trying again does not help; please tell the operator.",
        ),
        Kind::OutOfCredit => (
            ErrorCode::UpstreamRefused,
            "This server's credit with the model's service is used up. Trying again does not help; please tell the operator.",
        ),
        Kind::UnknownModel => (
            ErrorCode::UpstreamRefused,
            "The model that this server is set up with does not exist. Trying again does not help; please tell the operator.",
        ),
        Kind::ContextTooLong => (
            ErrorCode::ContextTooLong,
            "This conversation is too long for the model. Please shorten your message or start a new conversation.",
        ),
        Kind::Rejected => (
            ErrorCode::UpstreamRefused,
            "The model refuses this request. Trying the same again does not help; please change your message or tell the operator.",
        ),
    };
    // Waiting helps only where trying again does.
    let retry_after_ms = error.retry_after_ms.filter(|_| code.is_retryable());
    ApiError { retry_after_ms, ..ApiError::new(code, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permanent_failure_is_not_retryable_and_has_a_message_of_its_own() {
        let failures: Vec<_> =
            Kind::ALL.iter().map(|kind| (kind, failure(&ProviderError::new(*kind, "x"), false))).collect();
        for (kind, error) in &failures {
            assert_eq!(error.code.is_retryable(), !kind.is_permanent(), "{kind:?}");
            let same = failures.iter().filter(|(_, other)| other.message == error.message).count();
            assert!(same == 1 || !kind.is_permanent(), "{kind:?}");
        }
    }

    #[test]
    fn a_wait_is_passed_on_where_it_helps() {
        let waits = |kind| {
            failure(&ProviderError { retry_after_ms: Some(7), ..ProviderError::new(kind, "x") }, false).retry_after_ms
        };
        assert_eq!((waits(Kind::RateLimited), waits(Kind::OutOfCredit)), (Some(7), None));
    }

    #[test]
    fn an_answer_that_broke_off_is_interrupted() {
        let broken = ProviderError::new(Kind::Broken, "x");
        assert_eq!(failure(&broken, true).code, ErrorCode::TurnInterrupted);
        assert_eq!(failure(&broken, false).code, ErrorCode::UpstreamUnavailable);
    }
}
