//! Access and refresh tokens: JWTs signed with HS256 by this server, for this server.
//!
//! Nothing here reads the database: an access token carries all that a session needs to know of its user, so that a
//! connection costs one HMAC. What was revoked before its time is in memory. Whether a refresh token is still good is
//! for [`super::Accounts`] to say.

use super::{Identity, Revocations};
use crate::{
    config::AuthConfig,
    domain::{DisplayName, Email, Role, UnixMillis, User, UserId},
    protocol::{ApiError, ErrorCode},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// How far ahead of ours the clock that stamped a token may be, in seconds.
const CLOCK_SKEW_S: i64 = 5;
/// Ours are under 2 KiB; a longer text is no token, and is not worth decoding.
const MAX_TOKEN_BYTES: usize = 4 * 1024;

/// Issues and verifies tokens. One for the whole server.
pub struct Tokens {
    issuer: String,
    audience: String,
    access_ttl_s: i64,
    refresh_ttl_s: i64,
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    revocations: Revocations,
}

/// A token as it goes to the client.
pub struct IssuedToken {
    pub token: String,
    /// Unix time in seconds.
    pub expires_at: i64,
}

/// What a refresh token says: it was the `jti`-th of a family that began with a login of `user_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshGrant {
    pub user_id: UserId,
    pub family_id: Uuid,
    pub jti: Uuid,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TokenType {
    Access,
    Refresh,
}

#[derive(Serialize, Deserialize)]
struct AccessClaims {
    iss: String,
    aud: String,
    sub: UserId,
    jti: Uuid,
    iat: i64,
    /// `iat` counts seconds, too coarse to tell what was issued before a revocation and what behind it.
    #[serde(default)]
    iat_ms: Option<i64>,
    exp: i64,
    r#type: TokenType,
    /// That of the refresh token beside it.
    #[serde(default)]
    family: Option<Uuid>,
    email: String,
    name: String,
    role: Role,
}

#[derive(Serialize, Deserialize)]
struct RefreshClaims {
    iss: String,
    aud: String,
    sub: UserId,
    jti: Uuid,
    iat: i64,
    exp: i64,
    r#type: TokenType,
    family: Uuid,
}

impl Tokens {
    /// `secret` is the key of the HMAC: 32 bytes or more, which [`crate::config`] sees to.
    pub fn new(config: &AuthConfig, secret: &SecretString) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        // The library takes a token in the very second of its `exp`; `check_times` does not.
        validation.validate_exp = false;
        let key = secret.expose_secret().as_bytes();
        Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            access_ttl_s: i64::try_from(config.access_token_ttl_s).unwrap_or(i64::MAX),
            refresh_ttl_s: i64::try_from(config.refresh_token_ttl_s).unwrap_or(i64::MAX),
            encoding: EncodingKey::from_secret(key),
            decoding: DecodingKey::from_secret(key),
            validation,
            revocations: Revocations::default(),
        }
    }

    /// Access tokens that are good no more before their time.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// `family_id`: the sign-in that it comes from, and ends with.
    ///
    /// # Errors
    /// `PROCESSING_ERROR` when the cryptographic library refuses to sign.
    pub fn issue_access(&self, user: &User, family_id: Uuid, now: UnixMillis) -> Result<IssuedToken, ApiError> {
        let iat = now.seconds();
        let exp = iat.saturating_add(self.access_ttl_s);
        let claims = AccessClaims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: user.id,
            jti: Uuid::new_v4(),
            iat,
            iat_ms: Some(now.0),
            exp,
            r#type: TokenType::Access,
            family: Some(family_id),
            email: user.email.as_str().to_owned(),
            name: user.name.as_str().to_owned(),
            role: user.role,
        };
        Ok(IssuedToken { token: self.sign(&claims)?, expires_at: exp })
    }

    /// # Errors
    /// `PROCESSING_ERROR` when the cryptographic library refuses to sign.
    pub fn issue_refresh(&self, grant: RefreshGrant, now: UnixMillis) -> Result<IssuedToken, ApiError> {
        let iat = now.seconds();
        let exp = iat.saturating_add(self.refresh_ttl_s);
        let claims = RefreshClaims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: grant.user_id,
            jti: grant.jti,
            iat,
            exp,
            r#type: TokenType::Refresh,
            family: grant.family_id,
        };
        Ok(IssuedToken { token: self.sign(&claims)?, expires_at: exp })
    }

    /// Who holds this access token. A `Bearer` in front of it is tolerated.
    ///
    /// # Errors
    /// `EXPIRED_TOKEN` when it is over or revoked; `INVALID_TOKEN` when it is anything but a sound access token of this
    /// server.
    pub fn verify_access(&self, token: &str) -> Result<Identity, ApiError> {
        self.verify_access_at(token, UnixMillis::now())
    }

    fn verify_access_at(&self, token: &str, now: UnixMillis) -> Result<Identity, ApiError> {
        let claims: AccessClaims = self.decode(token)?;
        if claims.r#type != TokenType::Access {
            return Err(invalid());
        }
        check_times(claims.iat, claims.exp, now)?;
        let identity = Identity {
            user_id: claims.sub,
            email: Email::parse(&claims.email).map_err(|_| invalid())?,
            name: DisplayName::cleaned(&claims.name).map_err(|_| invalid())?,
            role: claims.role,
            family_id: claims.family,
            // Of a token that does not say, the earliest moment.
            issued_at_ms: claims.iat_ms.unwrap_or_else(|| claims.iat.saturating_mul(1_000)),
            expires_at: claims.exp,
        };
        self.check_revoked(&identity)?;
        Ok(identity)
    }

    /// Whether the proof behind an identity still counts: it may have been revoked since.
    ///
    /// # Errors
    /// `EXPIRED_TOKEN` when it was.
    pub fn check_revoked(&self, identity: &Identity) -> Result<(), ApiError> {
        if self.revocations.cover(identity) { Err(revoked()) } else { Ok(()) }
    }

    /// What this refresh token says; it may have been used or revoked since.
    ///
    /// # Errors
    /// `EXPIRED_TOKEN` when it is over; `INVALID_TOKEN` when it is anything but a sound refresh token of this server.
    pub fn verify_refresh(&self, token: &str, now: UnixMillis) -> Result<RefreshGrant, ApiError> {
        let claims: RefreshClaims = self.decode(token)?;
        if claims.r#type != TokenType::Refresh {
            return Err(invalid());
        }
        check_times(claims.iat, claims.exp, now)?;
        Ok(RefreshGrant { user_id: claims.sub, family_id: claims.family, jti: claims.jti })
    }

    fn sign(&self, claims: &impl Serialize) -> Result<String, ApiError> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.encoding)
            .map_err(|error| ApiError::internal(&error))
    }

    /// Checks all but the times: the signature, and by whom and for whom it was made.
    fn decode<T: DeserializeOwned>(&self, token: &str) -> Result<T, ApiError> {
        let token = without_scheme(token);
        if token.len() > MAX_TOKEN_BYTES {
            return Err(invalid());
        }
        jsonwebtoken::decode(token, &self.decoding, &self.validation).map(|data| data.claims).map_err(|_| invalid())
    }
}

fn without_scheme(text: &str) -> &str {
    const SCHEME: &str = "Bearer ";
    let text = text.trim();
    match text.split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => token.trim_start(),
        _ => text,
    }
}

fn check_times(iat: i64, exp: i64, now: UnixMillis) -> Result<(), ApiError> {
    let now_s = now.seconds();
    if iat > now_s.saturating_add(CLOCK_SKEW_S) {
        return Err(invalid());
    }
    if exp <= now_s {
        return Err(ApiError::new(ErrorCode::ExpiredToken, "The token has expired. Please sign in again."));
    }
    Ok(())
}

/// A client that tries to renew it finds out whether it may come back without a password.
pub(super) fn revoked() -> ApiError {
    ApiError::new(ErrorCode::ExpiredToken, "This sign-in was ended. Please sign in again.")
}

/// Does not say what is wrong: who made the token knows, and nobody else should.
pub(super) fn invalid() -> ApiError {
    ApiError::new(ErrorCode::InvalidToken, "The token is not valid. Please sign in again.")
}

#[cfg(test)]
mod tests;
