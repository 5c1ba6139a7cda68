//! Who is who: accounts, passwords, tokens, tickets.

use crate::domain::{DisplayName, Email, Role, UserId};

/// Who somebody has proved to be, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user_id: UserId,
    pub email: Email,
    pub name: DisplayName,
    pub role: Role,
    /// Unix time in seconds at which the proof ends.
    pub expires_at: i64,
}
