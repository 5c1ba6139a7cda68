//! Authentication and admission: verifies tokens and enforces the per-user connection limit.

use super::context::SessionContext;
use crate::{auth::Identity, domain::UserId, limiter::UserPermit};
use std::net::IpAddr;
use switchboard_protocol::ApiError;

/// Authentication and admission of a connection.
pub trait Authenticator {
    /// Verifies an access token.
    ///
    /// # Errors
    /// `INVALID_TOKEN` or `EXPIRED_TOKEN`.
    fn verify(&self, token: &str) -> Result<Identity, ApiError>;

    /// Acquires the permit for one more connection of a user.
    ///
    /// # Errors
    /// `TOO_MANY_CONNECTIONS`.
    fn admit(&self, user: UserId) -> Result<UserPermit, ApiError>;
}

/// The [`Authenticator`] of one connection.
pub(super) struct ConnectionAuthenticator<'a> {
    pub context: &'a SessionContext,
    pub address: IpAddr,
}

impl Authenticator for ConnectionAuthenticator<'_> {
    fn verify(&self, token: &str) -> Result<Identity, ApiError> {
        Ok(self.context.tokens.verify_access(token)?)
    }

    fn admit(&self, user: UserId) -> Result<UserPermit, ApiError> {
        Ok(self.context.limiter.sign_in_socket(user, self.address)?)
    }
}
