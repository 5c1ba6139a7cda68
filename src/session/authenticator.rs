//! KickTarget a session lets in: who a token stands for, and whether they may have one more socket.

use super::context::SessionContext;
use crate::{auth::Identity, domain::UserId, limiter::UserPermit};
use std::net::IpAddr;
use switchboard_protocol::ApiError;

/// Tells who a token stands for, and whether they may have one more socket.
pub trait Authenticator {
    /// # Errors
    /// `INVALID_TOKEN` or `EXPIRED_TOKEN`.
    fn verify(&self, token: &str) -> Result<Identity, ApiError>;

    /// # Errors
    /// `TOO_MANY_CONNECTIONS`.
    fn admit(&self, user: UserId) -> Result<UserPermit, ApiError>;
}

/// The door of one session: its context, and where it comes from.
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
