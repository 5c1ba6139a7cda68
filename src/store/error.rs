//! Errors of the store.

/// Reason why an operation of the store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The object exists, but the user has no access to it.
    #[error("no access to this {0}")]
    Forbidden(&'static str),
    /// The conversation has another handler, or its epoch changed since the writer was admitted.
    #[error("the conversation has another handler")]
    Fenced,
    /// A value that must be unique already exists.
    #[error("{0} already exists")]
    Conflict(&'static str),
    /// Temporary failure of the database: locked, full, read-only or missing.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The database cannot be used until the operator acts; the message says how.
    #[error("{0}")]
    Unusable(String),
    /// Stored data is invalid.
    #[error("invalid stored data: {0}")]
    Corrupt(String),
}
