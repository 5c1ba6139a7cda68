//! Accounts: registration, sign-in, renewal, sign-out, and the changes that operators make.
//!
//! The rules are here; [`Passwords`] hashes, [`Tokens`] signs and a [`UserStore`] stores.

use super::{AuthError, Identity, IssuedToken, Passwords, RefreshGrant, Tokens, Verdict};
use crate::{
    domain::{DisplayName, Email, InvalidUserField, Role, UnixMillis, User, UserId, is_misleading},
    limits::REVOCATION_LIFE_MS,
    store::{Credentials, PasswordHash, RefreshFamily, Revocation, Rotation, StoreError, TokenIssue, UserStore},
};
use secrecy::SecretString;
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};
use uuid::Uuid;

/// The accounts of the server.
pub struct Accounts {
    store: Arc<dyn UserStore>,
    passwords: Passwords,
    tokens: Arc<Tokens>,
    /// The number of the last revocation that was read from the store.
    last_revocation: AtomicI64,
}

/// The result of signing in or of renewing a sign-in.
pub struct SignIn {
    pub user: User,
    pub access: IssuedToken,
    pub refresh: IssuedToken,
    /// Wall-clock time of the sign-in or renewal.
    pub at: UnixMillis,
}

impl Accounts {
    pub fn new(store: Arc<dyn UserStore>, passwords: Passwords, tokens: Arc<Tokens>) -> Self {
        Self { store, passwords, tokens, last_revocation: AtomicI64::new(0) }
    }

    /// Creates an account with the role `user` and signs it in.
    ///
    /// # Errors
    /// As [`Self::add_user`].
    pub async fn register(
        &self,
        email: Email,
        password: SecretString,
        name: Option<DisplayName>,
    ) -> Result<SignIn, AuthError> {
        let user = self.add_user(email, password, name, Role::User).await?;
        self.start_sign_in(user, 0).await
    }

    /// Creates an account. Without a name it gets the local part of its address as its name.
    ///
    /// # Errors
    /// `InvalidField` when the address contains misleading characters, `EmailTaken`, `WeakPassword`, `HashQueueFull`.
    pub async fn add_user(
        &self,
        email: Email,
        password: SecretString,
        name: Option<DisplayName>,
        role: Role,
    ) -> Result<User, AuthError> {
        // Only for new accounts: existing ones with such an address must still be able to sign in.
        if email.as_str().chars().any(is_misleading) {
            let reason = "must not contain characters that are invisible or change the text direction";
            return Err(InvalidUserField { field: "email", reason }.into());
        }
        let name = name.map_or_else(|| name_of(&email), Ok)?;
        // The store would refuse it, too, but only after an expensive hash.
        match self.store.credentials(email.clone()).await {
            Ok(_) => return Err(AuthError::EmailTaken),
            Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let password_hash = self.passwords.hash_new(password, email.clone(), name.clone()).await?;
        let user = User { id: UserId::new(), email, name, role, is_locked: false, created_at: UnixMillis::now() };
        self.store.add_user(user.clone(), password_hash).await.map_err(|error| match error {
            StoreError::Conflict(_) => AuthError::EmailTaken,
            other => other.into(),
        })?;
        log::info!(user_id:% = user.id, role:% = user.role; "account created");
        Ok(user)
    }

    /// Signs in. Takes the same time for an unknown account as for a wrong password, so that accounts cannot be enumerated.
    ///
    /// # Errors
    /// `WrongCredentials`, `AccountLocked`, `HashQueueFull`, and `RevokedToken` when the user is signed out everywhere meanwhile.
    pub async fn login(&self, email: Email, password: SecretString) -> Result<SignIn, AuthError> {
        let known = match self.store.credentials(email).await {
            Ok(credentials) => Some(credentials),
            Err(StoreError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let hash = known.as_ref().map(|credentials| credentials.password_hash.clone());
        let verdict = self.passwords.verify(password, hash).await?;
        match (known, verdict) {
            (None, _) | (_, Verdict::Wrong) => Err(AuthError::WrongCredentials),
            // Only after the password was verified, so that nobody else learns of the lock.
            (Some(Credentials { user, .. }), _) if user.is_locked => Err(AuthError::AccountLocked),
            // The generation was read together with the hash, so a revocation during verification also revokes these tokens.
            (Some(Credentials { user, generation, .. }), Verdict::Right) => self.start_sign_in(user, generation).await,
            (Some(Credentials { user, password_hash, generation }), Verdict::RightInOldForm(canonical)) => {
                self.replace_hash(user.id, password_hash, canonical).await;
                self.start_sign_in(user, generation).await
            }
        }
    }

    /// Replaces the hash of a password in another Unicode form. If the store fails, the next sign-in tries again.
    async fn replace_hash(&self, user_id: UserId, known: PasswordHash, canonical: PasswordHash) {
        match self.store.replace_password_hash(user_id, known, canonical).await {
            Ok(()) => log::info!(user_id:%; "replaced the hash of a password that was not in canonical form"),
            Err(error) => log::error!(user_id:%; "could not replace the hash of a password: {error}"),
        }
    }

    /// Exchanges a refresh token for new tokens. For a few seconds the same refresh token returns the same tokens, because two
    /// tabs may present it at once and a response may get lost. After that a second use means that the token was stolen: its
    /// family ends. The store records the revocation of its access tokens, and [`Self::learn_revocations`] reads it from there.
    ///
    /// # Errors
    /// `ExpiredToken`, `InvalidToken`, and `RevokedToken` when the sign-in has ended.
    pub async fn refresh(&self, refresh_token: &str) -> Result<SignIn, AuthError> {
        let RefreshGrant { user_id, family_id, jti } = self.tokens.verify_refresh(refresh_token)?;
        let next = RefreshFamily { id: family_id, user_id, issue: self.tokens.new_issue() };
        match self.store.rotate_family(jti, next, self.tokens.clock().grace()).await {
            Ok(Rotation::Rotated { user, generation, issue }) => {
                let at = if issue == next.issue { issue.issued_at } else { self.tokens.clock().wall() };
                self.signed_in(user, generation, next.id, &issue, at)
            }
            Ok(Rotation::Reused) => {
                log::warn!(user_id:%; "refresh token reused; sign-in ended");
                Err(AuthError::RevokedToken)
            }
            // This server issued the token, and its sign-in has ended since.
            Ok(Rotation::Unknown) => Err(AuthError::RevokedToken),
            Err(error) => Err(error.into()),
        }
    }

    /// Signs out: ends the refresh token and revokes all tokens of the same sign-in. Idempotent. Returns the revocation for open
    /// connections, or `None` if it is already known.
    ///
    /// # Errors
    /// `ExpiredToken`, `InvalidToken`.
    pub async fn logout(&self, refresh_token: &str) -> Result<Option<Revocation>, AuthError> {
        let grant = self.tokens.verify_refresh(refresh_token)?;
        let revocation = self.store.end_family(grant.family_id).await?;
        Ok(self.tokens.revocations().add(revocation).then_some(revocation))
    }

    /// The current account, which may differ from the claims of the token.
    ///
    /// # Errors
    /// `InvalidToken` when the account no longer exists.
    pub async fn me(&self, identity: &Identity) -> Result<User, AuthError> {
        self.store.user(identity.user_id).await.map_err(|error| match error {
            StoreError::NotFound(_) => AuthError::InvalidToken,
            other => other.into(),
        })
    }

    /// At most `limit` accounts after `after`, in the order of registration.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, AuthError> {
        self.store.users(after, limit).await.map_err(AuthError::from)
    }

    /// Changes the role. It takes effect with the next access token; a lower role also revokes the issued ones.
    ///
    /// # Errors
    /// `UnknownEmail`.
    pub async fn set_role(&self, email: Email, role: Role) -> Result<(), AuthError> {
        self.store.set_role(email, role).await.map_err(no_such_user)?;
        log::info!(role:%; "role changed");
        Ok(())
    }

    /// Replaces the password and signs the user out everywhere.
    ///
    /// # Errors
    /// `UnknownEmail`, `WeakPassword`, `HashQueueFull`.
    pub async fn set_password(&self, email: Email, password: SecretString) -> Result<(), AuthError> {
        let user = self.user_of(email.clone()).await?;
        let hash = self.passwords.hash_new(password, email.clone(), user.name).await?;
        self.store.set_password(email, hash).await.map_err(no_such_user)?;
        log::info!(user_id:% = user.id; "password replaced");
        Ok(())
    }

    /// Signs the user out everywhere by revoking all tokens issued so far. Later sign-ins are not affected.
    ///
    /// # Errors
    /// `Store` when the account does not exist.
    pub async fn revoke_tokens(&self, user_id: UserId) -> Result<(), AuthError> {
        let revocation = self.store.revoke_tokens(user_id).await?;
        self.tokens.revocations().add(revocation);
        log::info!(user_id:%; "all tokens of a user revoked");
        Ok(())
    }

    /// Locks the account: signs the user out everywhere and refuses sign-ins until it is unlocked.
    ///
    /// # Errors
    /// `Store` when the account does not exist.
    pub async fn lock(&self, user_id: UserId) -> Result<(), AuthError> {
        let revocation = self.store.lock_user(user_id).await?;
        self.tokens.revocations().add(revocation);
        log::info!(user_id:%; "account locked");
        Ok(())
    }

    /// Allows sign-ins again.
    ///
    /// # Errors
    /// `Store` when the account does not exist.
    pub async fn unlock(&self, user_id: UserId) -> Result<(), AuthError> {
        self.store.unlock_user(user_id).await?;
        log::info!(user_id:%; "account unlocked");
        Ok(())
    }

    /// The account with this e-mail address.
    ///
    /// # Errors
    /// `UnknownEmail`.
    pub async fn user_of(&self, email: Email) -> Result<User, AuthError> {
        Ok(self.store.credentials(email).await.map_err(no_such_user)?.user)
    }

    /// Reads new revocations from the store: all of them on the first call, later those of other processes. Returns those that
    /// were not known.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn learn_revocations(&self) -> Result<Vec<Revocation>, AuthError> {
        let found = self.store.revocations(self.last_revocation.load(Relaxed)).await?;
        if let Some(last) = found.last() {
            self.last_revocation.fetch_max(last.number, Relaxed);
        }
        let revocations = self.tokens.revocations();
        Ok(found.into_iter().filter(|revocation| revocations.add(*revocation)).collect())
    }

    /// Deletes revocations of expired tokens, and expired sign-ins. Expiry is measured by the running time of a server and by
    /// confirmed dates, because the wall clock may be wrong for a while.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_expired(&self) -> Result<(), AuthError> {
        let clock = self.tokens.clock();
        let running_ms = clock.running_ms();
        if let Some(last) = self.store.forget_revocations(running_ms, running_ms - REVOCATION_LIFE_MS).await? {
            self.tokens.revocations().forget(last);
        }
        self.store.forget_families(clock.confirmed_now()).await?;
        Ok(())
    }

    async fn start_sign_in(&self, user: User, generation: i64) -> Result<SignIn, AuthError> {
        let family = RefreshFamily { id: Uuid::new_v4(), user_id: user.id, issue: self.tokens.new_issue() };
        if !self.store.start_family(family, generation).await? {
            return Err(AuthError::RevokedToken);
        }
        self.signed_in(user, generation, family.id, &family.issue, family.issue.issued_at)
    }

    fn signed_in(
        &self,
        user: User,
        generation: i64,
        family_id: Uuid,
        issue: &TokenIssue,
        at: UnixMillis,
    ) -> Result<SignIn, AuthError> {
        let refresh = self.tokens.issue_refresh(user.id, family_id, issue)?;
        let access = self.tokens.issue_access(&user, generation, family_id, issue)?;
        Ok(SignIn { user, access, refresh, at })
    }
}

fn name_of(email: &Email) -> Result<DisplayName, AuthError> {
    let local = email.as_str().split('@').next().unwrap_or_default();
    Ok(DisplayName::cleaned(&local.chars().take(DisplayName::MAX_CHARS).collect::<String>())?)
}

fn no_such_user(error: StoreError) -> AuthError {
    match error {
        StoreError::NotFound(_) => AuthError::UnknownEmail,
        other => other.into(),
    }
}

#[cfg(test)]
mod tests;
