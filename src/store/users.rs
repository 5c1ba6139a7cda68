//! What is kept of accounts: users, and the families of refresh tokens that their sign-ins began.

use super::StoreError;
use crate::domain::{Email, Role, UnixMillis, User, UserId};
use async_trait::async_trait;
use std::fmt;
use uuid::Uuid;

/// Sign-ins of one user that are kept at once; one more ends the one that was idle for the longest.
pub const MAX_FAMILIES_PER_USER: usize = 32;

/// A password as it is kept: a PHC string. Cannot be printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    pub const fn new(phc: String) -> Self {
        Self(phc)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// What signing in is checked against.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub user: User,
    pub password_hash: PasswordHash,
}

/// The refresh tokens that came, one out of the other, from one sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshFamily {
    pub id: Uuid,
    pub user_id: UserId,
    /// Of the one token that is still good.
    pub current_jti: Uuid,
    pub expires_at: UnixMillis,
}

/// What became of a refresh token that somebody brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It was the current one, and now the next one is. Holds the user as of now.
    Rotated(User),
    /// It had been used before: the whole family is gone, and its access tokens are revoked.
    Reused,
    /// Its family is not there: signed out, revoked, or over.
    Unknown,
}

/// Whose access tokens are revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revoked {
    User(UserId),
    /// All that came from one sign-in.
    Family(Uuid),
}

/// From `at` back, some access tokens are good no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub whose: Revoked,
    /// Tokens issued up to here, this moment included.
    pub at: UnixMillis,
}

#[async_trait]
pub trait UserStore: Send + Sync {
    /// # Errors
    /// `Conflict("e-mail")` when another account has the address.
    async fn add_user(&self, user: User, password_hash: PasswordHash) -> Result<(), StoreError>;

    /// # Errors
    /// `NotFound("user")`.
    async fn user(&self, id: UserId) -> Result<User, StoreError>;

    /// The account with this address, preferably in the form in which it was typed.
    ///
    /// # Errors
    /// `NotFound("user")`.
    async fn credentials(&self, email: Email) -> Result<Credentials, StoreError>;

    /// Replaces `known`, the hash of a password, by another hash of the same password. Changes nothing when `known` is not the
    /// hash any more.
    async fn replace_password_hash(
        &self,
        id: UserId,
        known: PasswordHash,
        hash: PasswordHash,
    ) -> Result<(), StoreError>;

    /// At most `limit` users in the order of their registration, those after `after`.
    async fn users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, StoreError>;

    /// A role with fewer rights also revokes the access tokens issued until now, in the same transaction.
    ///
    /// # Errors
    /// `NotFound("user")`.
    async fn set_role(&self, email: Email, role: Role) -> Result<(), StoreError>;

    /// Also revokes the user's tokens, as [`UserStore::revoke_tokens`] does, in the same transaction.
    ///
    /// # Errors
    /// `NotFound("user")`.
    async fn set_password(&self, email: Email, password_hash: PasswordHash) -> Result<(), StoreError>;

    /// Ends all refresh families of the user and revokes the access tokens issued until now, in one transaction. The moment is
    /// that of the transaction, not of the call: what is issued while it waits its turn is revoked, too.
    ///
    /// # Errors
    /// `NotFound("user")`.
    async fn revoke_tokens(&self, id: UserId) -> Result<Revocation, StoreError>;

    /// Lets nobody sign in to an account any more, and revokes the user's tokens, as [`UserStore::revoke_tokens`] does, in one
    /// transaction.
    ///
    /// # Errors
    /// `NotFound("user")`.
    async fn lock_user(&self, id: UserId) -> Result<Revocation, StoreError>;

    /// The opposite; what was revoked stays so.
    ///
    /// # Errors
    /// `NotFound("user")`.
    async fn unlock_user(&self, id: UserId) -> Result<(), StoreError>;

    /// What was revoked at `since` or later, in no order. What is older than any access token may be gone.
    async fn revocations(&self, since: UnixMillis) -> Result<Vec<Revocation>, StoreError>;

    /// Keeps a new family of a sign-in that began at `now`; `false` when the user's tokens were revoked since, or
    /// the account is locked. Removes those that were over at `now`, and the user's longest idle ones past
    /// [`MAX_FAMILIES_PER_USER`].
    async fn start_family(&self, family: RefreshFamily, now: UnixMillis) -> Result<bool, StoreError>;

    /// Puts `next.current_jti` in the place of `used_jti`, when that is the current one of family `next.id` of
    /// `next.user_id`. Of concurrent calls with the same `used_jti` exactly one sees `Rotated`.
    async fn rotate_family(&self, used_jti: Uuid, next: RefreshFamily) -> Result<Rotation, StoreError>;

    /// Ends a family, whether or not it is there, and revokes the access tokens that came with its refresh tokens, in one
    /// transaction. One that has ended before keeps the moment at which it did.
    async fn end_family(&self, id: Uuid) -> Result<Revocation, StoreError>;
}
