//! Errors of starting or resuming a turn, and failures that end one.

use crate::{api_error::InternalError, domain::ProviderErrorKind as Kind, turn::TurnFailure, workflow::TurnError};
use switchboard_protocol::{ApiError, ErrorCode};

impl From<TurnError> for ApiError {
    fn from(error: TurnError) -> Self {
        match error {
            TurnError::InProgress => Self::new(
                ErrorCode::TurnInProgress,
                "The previous answer in this conversation is still being written. Wait until it has ended, or stop it.",
            ),
            TurnError::TooManyOfUser { retry_after_ms } => {
                let reason = "Too many of your questions are being answered. Please wait for one to finish.";
                Self::overloaded(reason, retry_after_ms)
            }
            TurnError::Busy { retry_after_ms } => {
                let reason = "The server is busy with other answers. Please try again in a moment.";
                Self::overloaded(reason, retry_after_ms)
            }
            TurnError::Draining { retry_after_ms } => {
                Self::overloaded("The server is going out of service. Please try again in a moment.", retry_after_ms)
            }
            TurnError::Forbidden => Self::new(ErrorCode::Forbidden, "You don't have access to this conversation."),
            TurnError::Unknown => Self::new(
                ErrorCode::ResumeUnavailable,
                "This turn is unknown or too old to resume; see the conversation's history for its answer.",
            ),
            TurnError::BudgetExceeded { now, resets_at } => {
                let message = "Your budget for today is used up. It is renewed at 00:00 UTC.";
                let wait_ms = u64::try_from(resets_at.0.saturating_sub(now.0)).unwrap_or(0);
                Self {
                    retry_after_ms: Some(wait_ms),
                    resets_at_ms: Some(resets_at.0),
                    ..Self::new(ErrorCode::BudgetExceeded, message)
                }
            }
            TurnError::Store(error) => error.into(),
            TurnError::Internal(cause) => Self::internal(&cause),
        }
    }
}

/// Returns the error that a failed turn ends with in frames, in the store and in the metrics.
///
/// The mapping is a pure function of the failure: code and message are stored with the turn, and must match those sent live.
pub fn from_failure(failure: &TurnFailure) -> ApiError {
    let (code, message) = match failure {
        TurnFailure::TimedOut => {
            (ErrorCode::UpstreamTimeout, "The answer took too long and was stopped. The text so far is kept.")
        }
        TurnFailure::ServerStopped => (
            ErrorCode::TurnInterrupted,
            "The server stopped before the answer was complete. The text so far is kept; please ask again.",
        ),
        TurnFailure::ServerLost => {
            (ErrorCode::TurnInterrupted, "The server stopped before the answer was finished. Please ask again.")
        }
        TurnFailure::TaskLost => {
            (ErrorCode::TurnInterrupted, "The server stopped working on this answer. Please ask again.")
        }
        TurnFailure::Provider { kind, has_begun, retry_after_ms } => {
            let (code, message) = from_provider_error(*kind, *has_begun);
            // A delay is meaningless for an error that must not be retried.
            let retry_after_ms = retry_after_ms.filter(|_| code.is_retryable());
            return ApiError { retry_after_ms, ..ApiError::new(code, message) };
        }
        TurnFailure::NotStored(failure) => {
            let error = from_failure(failure);
            let message = format!("{} The answer is not in the history yet.", error.message);
            return ApiError { message: message.into(), ..error };
        }
        TurnFailure::Restored { code, message } => {
            let code = ErrorCode::ALL.iter().find(|known| known.as_str() == code).copied();
            return ApiError::new(code.unwrap_or(ErrorCode::TurnInterrupted), message.clone());
        }
    };
    ApiError::new(code, message)
}

const fn from_provider_error(kind: Kind, has_begun: bool) -> (ErrorCode, &'static str) {
    match kind {
        Kind::Timeout => (ErrorCode::UpstreamTimeout, "The model did not respond in time. Please try again."),
        Kind::Broken if has_begun => {
            (ErrorCode::TurnInterrupted, "The model stopped before the answer was complete. The text so far is kept.")
        }
        Kind::Unavailable | Kind::RateLimited | Kind::Broken => {
            (ErrorCode::UpstreamUnavailable, "The model is not available. Please try again later.")
        }
        Kind::Unauthorized => (
            ErrorCode::UpstreamRefused,
            "The model's provider rejected this server's credentials. Retrying will not help; please tell the operator.",
        ),
        Kind::OutOfCredit => (
            ErrorCode::UpstreamRefused,
            "This server's credit with the model's provider is used up. Retrying will not help; please tell the operator.",
        ),
        Kind::UnknownModel => (
            ErrorCode::UpstreamRefused,
            "The model configured on this server does not exist. Retrying will not help; please tell the operator.",
        ),
        Kind::ContextTooLong => (
            ErrorCode::ContextTooLong,
            "This conversation is too long for the model. Please shorten your message or start a new conversation.",
        ),
        Kind::Rejected => (
            ErrorCode::UpstreamRefused,
            "The model's provider rejected this request. Repeating it will not help; please change your message or tell the operator.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::UnixMillis, store::StoreError};

    #[test]
    fn every_turn_error_has_its_code_message_and_wait() {
        let internal = "Something went wrong on our side. Please try again.";
        for (error, code, message, retry_after_ms) in [
            (
                TurnError::InProgress,
                ErrorCode::TurnInProgress,
                "The previous answer in this conversation is still being written. Wait until it has ended, or stop it.",
                None,
            ),
            (
                TurnError::TooManyOfUser { retry_after_ms: 1 },
                ErrorCode::Overloaded,
                "Too many of your questions are being answered. Please wait for one to finish.",
                Some(1),
            ),
            (
                TurnError::Busy { retry_after_ms: 2 },
                ErrorCode::Overloaded,
                "The server is busy with other answers. Please try again in a moment.",
                Some(2),
            ),
            (
                TurnError::Draining { retry_after_ms: 3 },
                ErrorCode::Overloaded,
                "The server is going out of service. Please try again in a moment.",
                Some(3),
            ),
            (TurnError::Forbidden, ErrorCode::Forbidden, "You don't have access to this conversation.", None),
            (
                TurnError::Unknown,
                ErrorCode::ResumeUnavailable,
                "This turn is unknown or too old to resume; see the conversation's history for its answer.",
                None,
            ),
            (
                TurnError::BudgetExceeded { now: UnixMillis(86_390_000), resets_at: UnixMillis(86_400_000) },
                ErrorCode::BudgetExceeded,
                "Your budget for today is used up. It is renewed at 00:00 UTC.",
                Some(10_000),
            ),
            (StoreError::NotFound("turn").into(), ErrorCode::NotFound, "There is no such turn.", None),
            (TurnError::Internal("closed".to_owned()), ErrorCode::ProcessingError, internal, None),
        ] {
            let mapped = ApiError::from(error.clone());
            assert_eq!(
                (mapped.code, &*mapped.message, mapped.retry_after_ms),
                (code, message, retry_after_ms),
                "{error}"
            );
        }
    }

    #[test]
    fn every_failure_has_its_code_and_message() {
        let provider = |kind, has_begun| TurnFailure::Provider { kind, has_begun, retry_after_ms: None };
        let unavailable = "The model is not available. Please try again later.";
        for (failure, code, message) in [
            (
                TurnFailure::TimedOut,
                ErrorCode::UpstreamTimeout,
                "The answer took too long and was stopped. The text so far is kept.",
            ),
            (
                TurnFailure::ServerStopped,
                ErrorCode::TurnInterrupted,
                "The server stopped before the answer was complete. The text so far is kept; please ask again.",
            ),
            (
                TurnFailure::ServerLost,
                ErrorCode::TurnInterrupted,
                "The server stopped before the answer was finished. Please ask again.",
            ),
            (
                TurnFailure::TaskLost,
                ErrorCode::TurnInterrupted,
                "The server stopped working on this answer. Please ask again.",
            ),
            (
                TurnFailure::NotStored(Box::new(TurnFailure::TaskLost)),
                ErrorCode::TurnInterrupted,
                "The server stopped working on this answer. Please ask again. The answer is not in the history yet.",
            ),
            (
                TurnFailure::Restored { code: "UPSTREAM_REFUSED".to_owned(), message: "As stored.".to_owned() },
                ErrorCode::UpstreamRefused,
                "As stored.",
            ),
            (
                TurnFailure::Restored { code: "NO_LONGER_KNOWN".to_owned(), message: "As stored.".to_owned() },
                ErrorCode::TurnInterrupted,
                "As stored.",
            ),
            (
                provider(Kind::Timeout, true),
                ErrorCode::UpstreamTimeout,
                "The model did not respond in time. Please try again.",
            ),
            (
                provider(Kind::Broken, true),
                ErrorCode::TurnInterrupted,
                "The model stopped before the answer was complete. The text so far is kept.",
            ),
            (provider(Kind::Broken, false), ErrorCode::UpstreamUnavailable, unavailable),
            (provider(Kind::Unavailable, false), ErrorCode::UpstreamUnavailable, unavailable),
            (provider(Kind::RateLimited, false), ErrorCode::UpstreamUnavailable, unavailable),
            (
                provider(Kind::Unauthorized, false),
                ErrorCode::UpstreamRefused,
                "The model's provider rejected this server's credentials. Retrying will not help; please tell the operator.",
            ),
            (
                provider(Kind::OutOfCredit, false),
                ErrorCode::UpstreamRefused,
                "This server's credit with the model's provider is used up. Retrying will not help; please tell the \
                 operator.",
            ),
            (
                provider(Kind::UnknownModel, false),
                ErrorCode::UpstreamRefused,
                "The model configured on this server does not exist. Retrying will not help; please tell the operator.",
            ),
            (
                provider(Kind::ContextTooLong, false),
                ErrorCode::ContextTooLong,
                "This conversation is too long for the model. Please shorten your message or start a new conversation.",
            ),
            (
                provider(Kind::Rejected, false),
                ErrorCode::UpstreamRefused,
                "The model's provider rejected this request. Repeating it will not help; please change your message \
                 or tell the operator.",
            ),
        ] {
            assert_eq!(from_failure(&failure), ApiError::new(code, message), "{failure}");
        }
    }

    #[test]
    fn a_permanent_failure_is_not_retryable_and_has_a_message_of_its_own() {
        let failures: Vec<_> = Kind::ALL.iter().map(|kind| (kind, from_provider_error(*kind, false))).collect();
        for (kind, (code, message)) in &failures {
            assert_eq!(code.is_retryable(), !kind.is_permanent(), "{kind:?}");
            let same = failures.iter().filter(|(_, (_, other))| other == message).count();
            assert!(same == 1 || !kind.is_permanent(), "{kind:?}");
        }
    }

    #[test]
    fn the_retry_delay_is_passed_on_for_retryable_errors_only() {
        let waits = |kind| {
            from_failure(&TurnFailure::Provider { kind, has_begun: false, retry_after_ms: Some(7) }).retry_after_ms
        };
        assert_eq!((waits(Kind::RateLimited), waits(Kind::OutOfCredit)), (Some(7), None));
    }
}
