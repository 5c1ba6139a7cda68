//! Storage of users, and of the refresh-token families of their sign-ins.

use super::StoreError;
use crate::{
    domain::{Email, Role, UnixMillis, User, UserId},
    limits::REFRESH_GRACE_MS,
};
use async_trait::async_trait;
use std::fmt;
use uuid::Uuid;

/// Maximum number of concurrent sign-ins of a user; a further one ends the longest idle one.
pub const MAX_FAMILIES_PER_USER: usize = 32;

/// Hash of a password as a PHC string. `Debug` does not print it.
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

/// Data to verify a sign-in.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub user: User,
    pub password_hash: PasswordHash,
    /// Number of times that the user's tokens were revoked.
    pub generation: i64,
}

/// Issue of an access token and a refresh token. Together with the account and the sign-in, it determines both tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenIssue {
    /// Id of the refresh token.
    pub jti: Uuid,
    pub issued_at: UnixMillis,
    /// Running time of [`super::ServingClock`] at the issue.
    pub running_ms: i64,
    /// When the refresh token expires.
    pub expires_at: UnixMillis,
}

/// Sign-in as a chain of refresh tokens, each exchanged for the one before. Only the latest is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshFamily {
    pub id: Uuid,
    pub user_id: UserId,
    /// Latest issue.
    pub issue: TokenIssue,
}

/// Grace period, during which a used refresh token returns the tokens that it was exchanged for.
#[derive(Clone, Copy, Debug)]
pub struct Grace {
    pub wall: UnixMillis,
    /// Running time of [`super::ServingClock`].
    pub running_ms: i64,
    /// Running time at the start of this run of the server.
    pub began_at_ms: i64,
}

impl Grace {
    /// Returns the running time of the earliest exchange within the grace period.
    pub const fn earliest_running_ms(&self) -> i64 {
        self.running_ms - REFRESH_GRACE_MS
    }

    /// Whether the exchange for this issue is within the grace period: by the running time, and after a restart also by the
    /// wall clock, since the running time stands still between two runs.
    pub fn covers(&self, issue: &TokenIssue) -> bool {
        let in_this_run = issue.running_ms > self.began_at_ms;
        let wall_ms = self.wall.0.saturating_sub(issue.issued_at.0);
        issue.running_ms >= self.earliest_running_ms()
            && (in_this_run || (-REFRESH_GRACE_MS..=REFRESH_GRACE_MS).contains(&wall_ms))
    }
}

/// Outcome of presenting a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The token was exchanged for this issue, now or within the grace period. `user` and `generation` are current.
    Rotated { user: User, generation: i64, issue: TokenIssue },
    /// The token was used before the grace period. The family has been deleted and its access tokens revoked.
    Reused,
    /// The family does not exist: signed out, revoked or expired.
    Unknown,
}

/// Access tokens that a revocation applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// Tokens of a user with an earlier generation.
    User { user_id: UserId, generation: i64 },
    /// Tokens of one sign-in.
    Family(Uuid),
    /// Tokens of a user without a generation, issued up to this time. Written only by version 0.1.0, which issued such tokens.
    Untagged { user_id: UserId, until: UnixMillis },
}

/// Revocation of access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Sequence number, assigned by the store.
    pub number: i64,
    pub revoked: Revoked,
}

#[async_trait]
pub trait UserStore: Send + Sync {
    /// # Errors
    /// `Conflict("e-mail")` when the address belongs to another account.
    async fn add_user(&self, user: User, password_hash: PasswordHash) -> Result<(), StoreError>;

    /// # Errors
    /// `NotFound("user")`.
    async fn user(&self, id: UserId) -> Result<User, StoreError>;

    /// Finds the account with this address, preferring the form in which it was entered.
    ///
    /// # Errors
    /// `NotFound("user")`.
    async fn credentials(&self, email: Email) -> Result<Credentials, StoreError>;

    /// Replaces the password hash `known` by another hash of the same password. Has no effect if `known` is no longer current.
    async fn replace_password_hash(
        &self,
        id: UserId,
        known: PasswordHash,
        hash: PasswordHash,
    ) -> Result<(), StoreError>;

    /// Lists at most `limit` users after `after`, in the order of registration.
    async fn users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, StoreError>;

    /// Sets the role of a user. A role with fewer rights also revokes the user's access tokens, in the same transaction.
    ///
    /// # Errors
    /// `NotFound("user")`.
    async fn set_role(&self, email: Email, role: Role) -> Result<(), StoreError>;

    /// Sets the password of a user and revokes the user's tokens, as [`UserStore::revoke_tokens`] does, in one transaction.
    ///
    /// # Errors
    /// `NotFound("user")`.
    async fn set_password(&self, email: Email, password_hash: PasswordHash) -> Result<(), StoreError>;

    /// Ends all refresh families of the user and revokes the access tokens of all generations so far, in one transaction.
    ///
    /// # Errors
    /// `NotFound("user")`.
    async fn revoke_tokens(&self, id: UserId) -> Result<Revocation, StoreError>;

    /// Prevents sign-ins to an account, and revokes the user's tokens, as [`UserStore::revoke_tokens`] does, in one
    /// transaction.
    ///
    /// # Errors
    /// `NotFound("user")`.
    async fn lock_user(&self, id: UserId) -> Result<Revocation, StoreError>;

    /// Allows sign-ins to an account again. Revocations remain in effect.
    ///
    /// # Errors
    /// `NotFound("user")`.
    async fn unlock_user(&self, id: UserId) -> Result<(), StoreError>;

    /// Lists the revocations with numbers greater than `after`, in order.
    async fn revocations(&self, after: i64) -> Result<Vec<Revocation>, StoreError>;

    /// Marks new revocations as seen at the running time `running_ms` of [`super::ServingClock`], and deletes those seen before
    /// `before_ms`. Returns the number up to which all revocations have been deleted.
    async fn forget_revocations(&self, running_ms: i64, before_ms: i64) -> Result<Option<i64>, StoreError>;

    /// Adds a family for a sign-in that read `generation` with the password. Returns `false` if the user's tokens have been
    /// revoked since, or the account is locked. Deletes the user's longest idle families beyond [`MAX_FAMILIES_PER_USER`].
    async fn start_family(&self, family: RefreshFamily, generation: i64) -> Result<bool, StoreError>;

    /// Deletes the families whose last refresh token expired before `expired_before`.
    async fn forget_families(&self, expired_before: UnixMillis) -> Result<usize, StoreError>;

    /// Replaces `used_jti` by the issue in `next` if it is the current token of family `next.id` of `next.user_id`. All calls
    /// with the same `used_jti` within `grace`, including concurrent ones, return the same issue.
    async fn rotate_family(&self, used_jti: Uuid, next: RefreshFamily, grace: Grace) -> Result<Rotation, StoreError>;

    /// Deletes a family, if it exists, and revokes its access tokens, in one transaction. A family that has ended before keeps
    /// its revocation.
    async fn end_family(&self, id: Uuid) -> Result<Revocation, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: UnixMillis = UnixMillis(1_800_000_000_000);

    /// Whether the grace period covers a token that was used at a running time of 100 s and at [`WALL`].
    fn covers(running_s: i64, began_at_s: i64, wall_s: i64) -> bool {
        let issue = TokenIssue { jti: Uuid::new_v4(), issued_at: WALL, running_ms: 100_000, expires_at: WALL };
        let wall = UnixMillis(WALL.0 + 1_000 * wall_s);
        Grace { wall, running_ms: 1_000 * running_s, began_at_ms: 1_000 * began_at_s }.covers(&issue)
    }

    #[test]
    fn within_a_run_the_wall_clock_does_not_matter() {
        for wall_s in [0, 5, -90_000, 90_000] {
            assert!(covers(100, 0, wall_s) && covers(110, 0, wall_s) && !covers(111, 0, wall_s), "{wall_s}");
        }
    }

    #[test]
    fn after_a_restart_both_clocks_must_agree() {
        for began_at_s in [100, 101] {
            assert!(covers(105, began_at_s, 7) && covers(105, began_at_s, -7), "{began_at_s}");
            assert!(!covers(105, began_at_s, 3_600) && !covers(105, began_at_s, -3_600), "{began_at_s}");
            assert!(!covers(111, began_at_s, 7), "{began_at_s}");
        }
    }
}
