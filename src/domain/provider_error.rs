//! Kinds of failures of a model provider.

/// Kind of a failure, which determines who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderErrorKind {
    /// It cannot be reached, or is not well (connection refused, 5xx).
    Unavailable,
    /// It was silent for too long.
    Timeout,
    /// It wants us to slow down (429).
    RateLimited,
    /// It refuses our key (401, 403).
    Unauthorized,
    /// The account has no credit left (402, `insufficient_quota`).
    OutOfCredit,
    /// It does not have the model, or nothing is at the address (404, `model_not_found`).
    UnknownModel,
    /// The prompt does not fit into the model's context (413, `context_length_exceeded`).
    ContextTooLong,
    /// It refuses the request for another reason (other 4xx).
    Rejected,
    /// It broke off, or sent what cannot be read.
    Broken,
}

impl ProviderErrorKind {
    pub const ALL: &[Self] = &[
        Self::Unavailable,
        Self::Timeout,
        Self::RateLimited,
        Self::Unauthorized,
        Self::OutOfCredit,
        Self::UnknownModel,
        Self::ContextTooLong,
        Self::Rejected,
        Self::Broken,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Unauthorized => "unauthorized",
            Self::OutOfCredit => "out_of_credit",
            Self::UnknownModel => "unknown_model",
            Self::ContextTooLong => "context_too_long",
            Self::Rejected => "rejected",
            Self::Broken => "broken",
        }
    }

    /// Whether the same request fails again until somebody changes something.
    pub const fn is_permanent(self) -> bool {
        match self {
            Self::Unauthorized | Self::OutOfCredit | Self::UnknownModel | Self::ContextTooLong | Self::Rejected => true,
            Self::Unavailable | Self::Timeout | Self::RateLimited | Self::Broken => false,
        }
    }
}
