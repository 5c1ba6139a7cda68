//! Errors of the store.

/// Reason why an operation of the store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The object exists but belongs to another user.
    #[error("this {0} belongs to another user")]
    Forbidden(&'static str),
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
