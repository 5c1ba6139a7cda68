//! List of accounts for operators.

use super::{Listed, Page, StoreError};
use crate::domain::{Role, UnixMillis, User, UserId};
use async_trait::async_trait;

/// Filters of a list of accounts.
#[derive(Clone, Debug)]
pub struct UserQuery {
    /// Text that id, e-mail address or name must contain; case-insensitive.
    pub text: Option<String>,
    pub role: Option<Role>,
    pub is_locked: Option<bool>,
    pub page: Page<UserId>,
}

/// Account with its active sign-ins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUser {
    pub user: User,
    pub sign_ins: u32,
    /// When the last sign-in expires if it is not renewed.
    pub signed_in_until: Option<UnixMillis>,
}

/// Lists accounts.
#[async_trait]
pub trait UserList: Send + Sync {
    /// Lists matching accounts, last registered first.
    async fn list_users(&self, query: UserQuery, now: UnixMillis) -> Result<Listed<ListedUser>, StoreError>;
}
