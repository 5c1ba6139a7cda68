//! Errors of accounts, passwords, tokens and tickets.

use crate::{
    api_error::InternalError,
    auth::{AuthError, WeakPassword},
};
use switchboard_protocol::{ApiError, ErrorCode};

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let (code, message) = match error {
            AuthError::WrongCredentials => {
                (ErrorCode::InvalidCredentials, "The e-mail address or the password is wrong.")
            }
            AuthError::AccountLocked => {
                (ErrorCode::AccountLocked, "This account is locked. Please contact the operator of this service.")
            }
            AuthError::EmailTaken => (
                ErrorCode::EmailTaken,
                "An account with this e-mail address already exists. Please sign in, or use another address.",
            ),
            AuthError::UnknownEmail => (ErrorCode::NotFound, "No account has this e-mail address."),
            AuthError::InvalidToken => (ErrorCode::InvalidToken, "The token is not valid. Please sign in again."),
            AuthError::ExpiredToken => (ErrorCode::ExpiredToken, "The token has expired. Please sign in again."),
            AuthError::PrematureToken => (
                ErrorCode::InvalidToken,
                "The token was issued while the server's clock was ahead. Please renew it or sign in again.",
            ),
            AuthError::RevokedToken => (ErrorCode::ExpiredToken, "The token has been revoked. Please sign in again."),
            AuthError::InvalidTicket => {
                (ErrorCode::InvalidToken, "The ticket is invalid, already used or expired. Please request a new one.")
            }
            AuthError::ExpiredTicket => (
                ErrorCode::ExpiredToken,
                "The token that this ticket was issued for has expired. Please renew it and request a new ticket.",
            ),
            AuthError::TooManyTickets { retry_after_ms } => {
                return Self::overloaded("Too many tickets are unused. Please try again later.", retry_after_ms);
            }
            AuthError::HashQueueFull { retry_after_ms } => {
                return Self::overloaded("Too many sign-ins are in progress. Please try again.", retry_after_ms);
            }
            AuthError::InvalidField(invalid) => return invalid.into(),
            AuthError::WeakPassword(weak) => return weak.into(),
            AuthError::Store(error) => return error.into(),
            AuthError::Internal(cause) => return Self::internal(&cause),
        };
        Self::new(code, message)
    }
}

impl From<WeakPassword> for ApiError {
    fn from(weak: WeakPassword) -> Self {
        let message = match weak {
            WeakPassword::TooShort { min_chars } => format!("The password must have at least {min_chars} characters."),
            WeakPassword::TooLong { max_bytes } => format!("The password must be at most {max_bytes} bytes long."),
            WeakPassword::Guessable { score, max_score, min_score, advice } => {
                let reason = format!(
                    "The password is too easy to guess: its strength is {score} of {max_score}, and at least \
                     {min_score} is required. {advice}"
                );
                reason.trim_end().to_owned()
            }
        };
        Self::new(ErrorCode::WeakPassword, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::InvalidUserField, store::StoreError};

    #[test]
    fn every_error_has_its_code_message_and_wait() {
        use ErrorCode as Code;
        let guessable =
            |advice: &str| WeakPassword::Guessable { score: 1, max_score: 4, min_score: 3, advice: advice.to_owned() };
        let rated = "The password is too easy to guess: its strength is 1 of 4, and at least 3 is required.";
        let advised = format!("{rated} This is a common password.");
        let field = InvalidUserField { field: "email", reason: "is missing" };
        for (error, code, message, retry_after_ms) in [
            (
                AuthError::WrongCredentials,
                Code::InvalidCredentials,
                "The e-mail address or the password is wrong.",
                None,
            ),
            (
                AuthError::AccountLocked,
                Code::AccountLocked,
                "This account is locked. Please contact the operator of this service.",
                None,
            ),
            (
                AuthError::EmailTaken,
                Code::EmailTaken,
                "An account with this e-mail address already exists. Please sign in, or use another address.",
                None,
            ),
            (AuthError::UnknownEmail, Code::NotFound, "No account has this e-mail address.", None),
            (AuthError::InvalidToken, Code::InvalidToken, "The token is not valid. Please sign in again.", None),
            (AuthError::ExpiredToken, Code::ExpiredToken, "The token has expired. Please sign in again.", None),
            (
                AuthError::PrematureToken,
                Code::InvalidToken,
                "The token was issued while the server's clock was ahead. Please renew it or sign in again.",
                None,
            ),
            (AuthError::RevokedToken, Code::ExpiredToken, "The token has been revoked. Please sign in again.", None),
            (
                AuthError::InvalidTicket,
                Code::InvalidToken,
                "The ticket is invalid, already used or expired. Please request a new one.",
                None,
            ),
            (
                AuthError::ExpiredTicket,
                Code::ExpiredToken,
                "The token that this ticket was issued for has expired. Please renew it and request a new ticket.",
                None,
            ),
            (
                AuthError::TooManyTickets { retry_after_ms: 7 },
                Code::Overloaded,
                "Too many tickets are unused. Please try again later.",
                Some(7),
            ),
            (
                AuthError::HashQueueFull { retry_after_ms: 8 },
                Code::Overloaded,
                "Too many sign-ins are in progress. Please try again.",
                Some(8),
            ),
            (field.into(), Code::InvalidField, "`email` is missing", None),
            (
                WeakPassword::TooShort { min_chars: 8 }.into(),
                Code::WeakPassword,
                "The password must have at least 8 characters.",
                None,
            ),
            (
                WeakPassword::TooLong { max_bytes: 128 }.into(),
                Code::WeakPassword,
                "The password must be at most 128 bytes long.",
                None,
            ),
            (guessable("").into(), Code::WeakPassword, rated, None),
            (guessable("This is a common password.").into(), Code::WeakPassword, &advised, None),
            (StoreError::NotFound("user").into(), Code::NotFound, "There is no such user.", None),
            (
                AuthError::Internal("no random bytes".to_owned()),
                Code::ProcessingError,
                "Something went wrong on our side. Please try again.",
                None,
            ),
        ] {
            let mapped = ApiError::from(error.clone());
            assert_eq!(
                (mapped.code, &*mapped.message, mapped.retry_after_ms),
                (code, message, retry_after_ms),
                "{error}"
            );
        }
    }
}
