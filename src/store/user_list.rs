//! Accounts as operators list them.

use super::{Listed, Page, StoreError};
use crate::domain::{Role, UnixMillis, User, UserId};
use async_trait::async_trait;

/// The accounts that an operator asks for.
#[derive(Clone, Debug)]
pub struct UserQuery {
    /// Only accounts with this text in their id, e-mail or name, whatever the case.
    pub text: Option<String>,
    pub role: Option<Role>,
    pub is_locked: Option<bool>,
    pub page: Page<UserId>,
}

/// An account, and the sign-ins that can still be renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUser {
    pub user: User,
    pub sign_ins: u32,
    /// When the last of them ends. Each renewal moves the end of a sign-in.
    pub signed_in_until: Option<UnixMillis>,
}

/// Lists accounts.
#[async_trait]
pub trait UserList: Send + Sync {
    /// At most `page.limit` accounts that match, in the reverse order of their registration; with `page.before`, those that
    /// registered before that one.
    async fn list_users(&self, query: UserQuery, now: UnixMillis) -> Result<Listed<ListedUser>, StoreError>;
}
