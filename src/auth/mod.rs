//! Authentication: accounts, passwords, tokens and tickets.

mod accounts;
mod argon2id;
mod document_link;
mod error;
mod hash_pool;
mod password;
mod password_forms;
mod revocations;
mod ticket;
mod token;

pub use accounts::{Accounts, SignIn};
pub use document_link::{DocumentLinkError, DocumentLinks};
pub use error::{AuthError, WeakPassword};
pub use password::{Passwords, Verdict};
pub use revocations::Revocations;
pub use ticket::Tickets;
pub use token::{IssuedToken, RefreshGrant, Tokens};

use crate::{
    domain::{DisplayName, Email, Role, UserId},
    limits::{AUTH_EXPIRING_LIFETIME_DIVISOR, AUTH_EXPIRING_NOTICE_S},
    store::{Revocation, Revoked},
};
use std::time::Duration;
use uuid::Uuid;

/// An authenticated user, as an access token or a ticket states it, and the time until which that is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user_id: UserId,
    pub email: Email,
    pub name: DisplayName,
    pub role: Role,
    /// The sign-in, shared with the refresh token that was issued together; absent in tokens of version 0.1.0.
    pub family_id: Option<Uuid>,
    /// Number of revocations of the user's tokens at the time of issue; 0 in tokens of version 0.1.0.
    pub generation: i64,
    /// Time of issue, as Unix time in milliseconds.
    pub issued_at_ms: i64,
    /// Time of expiry, as Unix time in seconds.
    pub expires_at: i64,
}

impl Identity {
    /// Time before expiry at which the client receives `auth_expiring`.
    pub fn expiry_notice(&self) -> Duration {
        let life_s = self.expires_at.saturating_sub(self.issued_at_ms.div_euclid(1_000));
        let life = Duration::from_secs(u64::try_from(life_s).unwrap_or(0));
        Duration::from_secs(AUTH_EXPIRING_NOTICE_S).min(life / AUTH_EXPIRING_LIFETIME_DIVISOR)
    }

    /// Whether a revocation applies to this identity.
    pub fn is_revoked_by(&self, revocation: &Revocation) -> bool {
        match revocation.revoked {
            Revoked::User { user_id, generation } => user_id == self.user_id && self.generation < generation,
            Revoked::Family(family_id) => Some(family_id) == self.family_id,
            // Read only at the start, before any connection is open.
            Revoked::Untagged { .. } => false,
        }
    }
}

#[cfg(test)]
pub(crate) mod test_support {
    use super::{Accounts, AuthError, Passwords, Tokens};
    use crate::{
        config::{AuthConfig, DatabaseConfig},
        domain::{DisplayName, Email, Role, UnixMillis, User, UserId},
        store::{ServedTime, ServingClock, sqlite::SqliteStore},
    };
    use std::sync::Arc;
    use switchboard_protocol::{ApiError, ErrorCode};
    use tempfile::TempDir;
    use uuid::Uuid;

    /// The code that a client receives for an outcome that must be an error.
    pub(crate) fn code<T>(outcome: Result<T, AuthError>) -> ErrorCode {
        match outcome {
            Ok(_) => panic!("it was accepted"),
            Err(error) => ApiError::from(error).code,
        }
    }

    pub(crate) const SECRET: &str = "a secret of the tests, 32 bytes or more";

    /// All instances accept each other's tokens.
    pub(crate) fn tokens() -> Tokens {
        Tokens::new(&AuthConfig::default(), &SECRET.into(), ServingClock::resume(ServedTime::default()))
    }

    /// An access token issued now.
    pub(crate) fn access_token(user: &User) -> String {
        let tokens = tokens();
        tokens.issue_access(user, 0, Uuid::new_v4(), &tokens.new_issue()).unwrap().token
    }

    /// Accounts on a new database, which is deleted with the folder.
    pub(crate) fn service() -> (Accounts, TempDir) {
        service_with(&AuthConfig::default())
    }

    pub(crate) fn service_with(config: &AuthConfig) -> (Accounts, TempDir) {
        service_by(config, ServingClock::resume(ServedTime::default()))
    }

    /// The same, with another clock.
    pub(crate) fn service_by(config: &AuthConfig, clock: ServingClock) -> (Accounts, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/test.db", folder.path().display());
        let store = SqliteStore::open(&DatabaseConfig { url, ..DatabaseConfig::default() }).unwrap();
        let passwords = Passwords::start(config).unwrap();
        let tokens = Tokens::new(&AuthConfig::default(), &SECRET.into(), clock);
        (Accounts::new(Arc::new(store), passwords, Arc::new(tokens)), folder)
    }

    pub(crate) fn user(email: &str, role: Role) -> User {
        User {
            id: UserId::new(),
            email: Email::parse(email).unwrap(),
            name: DisplayName::parse("Ada Lovelace").unwrap(),
            role,
            is_locked: false,
            created_at: UnixMillis::now(),
        }
    }
}
