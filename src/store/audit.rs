//! Storage of the audit log.

use super::{Listed, Page, StoreError};
use crate::domain::{AuditEntry, AuditId, UnixMillis};

#[async_trait::async_trait]
pub trait AuditStore: Send + Sync {
    /// Adds an entry; durable on return.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn add_audit_entry(&self, entry: AuditEntry) -> Result<(), StoreError>;

    /// Sets the outcome of an entry.
    ///
    /// # Errors
    /// `NotFound`, or when the database is unavailable.
    async fn set_audit_outcome(&self, id: AuditId, outcome: String) -> Result<(), StoreError>;

    /// Lists entries, newest first.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn audit_entries(&self, page: Page<AuditId>) -> Result<Listed<AuditEntry>, StoreError>;

    /// Deletes entries older than `before`; returns their number.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn forget_audit_entries(&self, before: UnixMillis) -> Result<usize, StoreError>;
}
