//! Refusals and failures of accounts, passwords, tokens and tickets.

use crate::{domain::InvalidUserField, store::StoreError};

/// The reason why a sign-in, a proof of identity or a change of an account was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Does not say which of the two is wrong, so that accounts cannot be enumerated.
    #[error("wrong e-mail address or password")]
    WrongCredentials,
    #[error("the account is locked")]
    AccountLocked,
    #[error("an account with this e-mail address exists")]
    EmailTaken,
    #[error("no account has this e-mail address")]
    UnknownEmail,
    #[error(transparent)]
    InvalidField(#[from] InvalidUserField),
    #[error(transparent)]
    WeakPassword(#[from] WeakPassword),
    /// Malformed, forged, of another server or of the other kind. Does not say which, so that a forger learns nothing.
    #[error("the token is not valid")]
    InvalidToken,
    #[error("the token has expired")]
    ExpiredToken,
    /// Issued while the clock of the server was ahead. A client that renews it receives a valid one.
    #[error("the token was issued in the future")]
    PrematureToken,
    /// Revoked before it expired. A client that tries to renew it learns whether it needs the password.
    #[error("the sign-in of the token was ended")]
    RevokedToken,
    /// Unknown, used before, or expired.
    #[error("the ticket is not valid")]
    InvalidTicket,
    #[error("the sign-in of the ticket has expired")]
    ExpiredTicket,
    #[error("too many unused tickets")]
    TooManyTickets { retry_after_ms: u64 },
    #[error("the queue of password hashes is full")]
    HashQueueFull { retry_after_ms: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A failure of a library or of the operating system.
    #[error("{0}")]
    Internal(String),
}

/// The reason why a new password was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    #[error("the password has less than {min_chars} characters")]
    TooShort { min_chars: usize },
    #[error("the password has more than {max_bytes} bytes")]
    TooLong { max_bytes: usize },
    /// `advice` comes from zxcvbn and may be empty.
    #[error("the strength of the password is {score} of {max_score}; at least {min_score} is required")]
    Guessable { score: u8, max_score: u8, min_score: u8, advice: String },
}

impl AuthError {
    pub(super) fn internal(cause: impl std::fmt::Display) -> Self {
        Self::Internal(cause.to_string())
    }
}
