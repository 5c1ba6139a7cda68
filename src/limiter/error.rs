//! Refusals of the limits.

use std::time::Duration;

/// A request, a sign-in or a connection over a limit. For a rate, with the time until the next one is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    #[error("too many requests from this address")]
    RequestsPerAddress { retry_after: Duration },
    #[error("too many requests of this user")]
    RequestsPerUser { retry_after: Duration },
    #[error("too many sign-ins from this address")]
    LoginsPerAddress { retry_after: Duration },
    #[error("too many sign-ins to this account")]
    LoginsPerAccount { retry_after: Duration },
    #[error("too many registrations from this address")]
    Registrations { retry_after: Duration },
    #[error("too many connections from this address")]
    ConnectionsPerAddress,
    #[error("too many connections of this user")]
    ConnectionsPerUser,
}

impl LimitError {
    /// The limit that refused.
    pub(super) const fn limit(self) -> super::Limit {
        use super::Limit;
        match self {
            Self::RequestsPerAddress { .. } => Limit::RequestsPerAddress,
            Self::RequestsPerUser { .. } => Limit::RequestsPerUser,
            Self::LoginsPerAddress { .. } => Limit::LoginsPerAddress,
            Self::LoginsPerAccount { .. } => Limit::LoginsPerAccount,
            Self::Registrations { .. } => Limit::Registrations,
            Self::ConnectionsPerAddress => Limit::ConnectionsPerAddress,
            Self::ConnectionsPerUser => Limit::ConnectionsPerUser,
        }
    }
}
