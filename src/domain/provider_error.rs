//! Kinds of provider failures.

/// Kind of a provider failure, which determines who must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderErrorKind {
    /// The model server is unreachable or reports an internal error (connection refused, 5xx).
    Unavailable,
    /// The model server did not respond in time.
    Timeout,
    /// The model server limits the request rate (429).
    RateLimited,
    /// The model server rejects the API key (401, 403).
    Unauthorized,
    /// The account at the model server is out of credit (402, `insufficient_quota`).
    OutOfCredit,
    /// The model server does not know the model or the URL (404, `model_not_found`).
    UnknownModel,
    /// The prompt exceeds the model's context window (413, `context_length_exceeded`).
    ContextTooLong,
    /// The model server rejects the request for another reason (other 4xx).
    Rejected,
    /// The answer was truncated or could not be parsed.
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

    /// Whether the failure lasts until a setting, the account or the request changes.
    pub const fn is_permanent(self) -> bool {
        match self {
            Self::Unauthorized | Self::OutOfCredit | Self::UnknownModel | Self::ContextTooLong | Self::Rejected => true,
            Self::Unavailable | Self::Timeout | Self::RateLimited | Self::Broken => false,
        }
    }
}
