//! Why a model did not answer.

/// What failed, and whose fault it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderErrorKind {
    /// It cannot be reached, or is not well (connection refused, 5xx).
    Unavailable,
    /// It was silent for too long.
    Timeout,
    /// It wants us to slow down (429).
    RateLimited,
    /// It refuses what we send: a wrong key, model or request (4xx). An operator has to act.
    Rejected,
    /// It broke off, or sent what nobody can read.
    Broken,
}

impl ProviderErrorKind {
    pub const ALL: &[Self] = &[Self::Unavailable, Self::Timeout, Self::RateLimited, Self::Rejected, Self::Broken];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Rejected => "rejected",
            Self::Broken => "broken",
        }
    }
}
