//! What is kept of operators' actions.

use super::{Listed, Page, StoreError};
use crate::domain::{AuditEntry, AuditId, UnixMillis};

#[async_trait::async_trait]
pub trait AuditStore: Send + Sync {
    /// Keeps an entry: on disk when it is ready.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn add_audit_entry(&self, entry: AuditEntry) -> Result<(), StoreError>;

    /// Says what came of it.
    ///
    /// # Errors
    /// `NotFound`, or when the database is unavailable.
    async fn set_audit_outcome(&self, id: AuditId, outcome: String) -> Result<(), StoreError>;

    /// Entries, newest first.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn audit_entries(&self, page: Page<AuditId>) -> Result<Listed<AuditEntry>, StoreError>;

    /// Lets go of the entries that are older; returns how many.
    ///
    /// # Errors
    /// When the database is unavailable.
    async fn forget_audit_entries(&self, before: UnixMillis) -> Result<usize, StoreError>;
}
