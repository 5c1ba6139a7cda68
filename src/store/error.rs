//! Refusals and failures of the store.

/// The reason why the store refused or could not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("no such {0}")]
    NotFound(&'static str),
    /// It is there, and somebody else's.
    #[error("this {0} is somebody else's")]
    Forbidden(&'static str),
    /// Something unique exists already; names what.
    #[error("{0} exists already")]
    Conflict(&'static str),
    /// The database could not do it now: locked, full, read-only, gone.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The database cannot be used until somebody changes something; says who, and what.
    #[error("{0}")]
    Unusable(String),
    /// What is stored cannot be read as what it should be.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
}
