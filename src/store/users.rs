//! What is kept of accounts: users, and the families of refresh tokens that their sign-ins began.

use super::StoreError;
use crate::{
    domain::{Email, Role, UnixMillis, User, UserId},
    limits::REFRESH_GRACE_MS,
};
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
    /// Number of times that the user's tokens were revoked.
    pub generation: i64,
}

/// One issue of an access token and a refresh token: all that they are made of beside the account and the sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenIssue {
    /// Id of the refresh token.
    pub jti: Uuid,
    pub issued_at: UnixMillis,
    /// The same by [`super::ServingClock`].
    pub running_ms: i64,
    /// When the refresh token expires.
    pub expires_at: UnixMillis,
}

/// A sign-in: the refresh tokens that were issued, each in exchange for the one before. Only the latest is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshFamily {
    pub id: Uuid,
    pub user_id: UserId,
    /// The latest issue.
    pub issue: TokenIssue,
}

/// Decides how long a used refresh token returns the tokens that it was exchanged for.
#[derive(Clone, Copy, Debug)]
pub struct Grace {
    pub wall: UnixMillis,
    /// By [`super::ServingClock`].
    pub running_ms: i64,
    /// The running time at which this run of the server began.
    pub began_at_ms: i64,
}

impl Grace {
    /// Exchanges from before this running time are past the grace.
    pub const fn earliest_running_ms(&self) -> i64 {
        self.running_ms - REFRESH_GRACE_MS
    }

    /// Whether the exchange for this issue is within the grace: by the running time, and when the server has started since, by
    /// the wall clock too, since the running time stood still between the two runs.
    pub fn covers(&self, issue: &TokenIssue) -> bool {
        let in_this_run = issue.running_ms > self.began_at_ms;
        let wall_ms = self.wall.0.saturating_sub(issue.issued_at.0);
        issue.running_ms >= self.earliest_running_ms()
            && (in_this_run || (-REFRESH_GRACE_MS..=REFRESH_GRACE_MS).contains(&wall_ms))
    }
}

/// The outcome of presenting a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It was exchanged for this issue, now or within the grace. Holds the user and the generation of tokens as of now.
    Rotated { user: User, generation: i64, issue: TokenIssue },
    /// It was used before the grace: the whole family is gone, and its access tokens are revoked.
    Reused,
    /// There is no such family: signed out, revoked, or expired.
    Unknown,
}

/// The access tokens that a revocation applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// Those of a user that belong to an earlier generation than this.
    User { user_id: UserId, generation: i64 },
    /// Those that came from one sign-in.
    Family(Uuid),
    /// Those of a user without a generation, which version 0.1.0 issued, up to this moment. Only that version wrote these.
    Untagged { user_id: UserId, until: UnixMillis },
}

/// A revocation of access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Assigned by the store; later ones have larger numbers.
    pub number: i64,
    pub revoked: Revoked,
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

    /// A role with fewer rights also revokes the user's access tokens, in the same transaction.
    ///
    /// # Errors
    /// `NotFound("user")`.
    async fn set_role(&self, email: Email, role: Role) -> Result<(), StoreError>;

    /// Also revokes the user's tokens, as [`UserStore::revoke_tokens`] does, in the same transaction.
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

    /// The opposite; what was revoked stays so.
    ///
    /// # Errors
    /// `NotFound("user")`.
    async fn unlock_user(&self, id: UserId) -> Result<(), StoreError>;

    /// The revocations with a number after this one, in the order of their numbers.
    async fn revocations(&self, after: i64) -> Result<Vec<Revocation>, StoreError>;

    /// Marks revocations that are new as seen at this running time of [`super::ServingClock`], and deletes those that were seen
    /// before `before_ms`. Returns the number of the last that was deleted; all earlier ones were, too.
    async fn forget_revocations(&self, running_ms: i64, before_ms: i64) -> Result<Option<i64>, StoreError>;

    /// Adds a family for a sign-in that read this generation with the password. Returns `false` when the user's tokens were
    /// revoked since, or the account is locked. Removes the user's longest idle families past [`MAX_FAMILIES_PER_USER`].
    async fn start_family(&self, family: RefreshFamily, generation: i64) -> Result<bool, StoreError>;

    /// Removes the families whose last refresh token expired before this.
    async fn forget_families(&self, expired_before: UnixMillis) -> Result<usize, StoreError>;

    /// Replaces `used_jti` by the issue in `next`, when that is the current one of family `next.id` of `next.user_id`. All calls with
    /// the same `used_jti` within `grace`, concurrent ones too, see the same issue.
    async fn rotate_family(&self, used_jti: Uuid, next: RefreshFamily, grace: Grace) -> Result<Rotation, StoreError>;

    /// Ends a family, whether or not it is there, and revokes the access tokens that came with its refresh tokens, in one
    /// transaction. One that has ended before keeps its revocation.
    async fn end_family(&self, id: Uuid) -> Result<Revocation, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: UnixMillis = UnixMillis(1_800_000_000_000);

    /// Whether a token is good again that was used at a running time of 100 s and at [`WALL`].
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
