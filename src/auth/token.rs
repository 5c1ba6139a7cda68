//! Access and refresh tokens: JWTs that this server signs with HS256 for itself.
//!
//! Verification does not read the database: an access token carries everything that a connection needs to know of its user,
//! and [`Revocations`] are in memory, so it costs one HMAC. [`super::Accounts`] decides whether a refresh token is current.

use super::{AuthError, Identity, Revocations};
use crate::{
    config::AuthConfig,
    domain::{DisplayName, Email, Role, UnixMillis, User, UserId},
    limits::TOKEN_CLOCK_LEEWAY_S,
    store::{ServingClock, TokenIssue},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Longer texts are refused undecoded; tokens of this server are under 2 KiB.
const MAX_TOKEN_BYTES: usize = 4 * 1024;

/// Issues and verifies tokens. One instance for the server.
pub struct Tokens {
    issuer: String,
    audience: String,
    access_ttl_s: i64,
    refresh_ttl_s: i64,
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    revocations: Revocations,
    clock: ServingClock,
}

/// An encoded token.
pub struct IssuedToken {
    pub token: String,
    /// Unix time in seconds.
    pub expires_at: i64,
}

/// The content of a refresh token: the token `jti` of a family that began with a sign-in of `user_id`.
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
    /// Milliseconds; `iat` counts seconds.
    #[serde(default)]
    iat_ms: Option<i64>,
    /// Time of issue by [`ServingClock`]. Lifetime is measured by it, too, so that setting the wall clock back does not revive an
    /// expired token. Absent in tokens of version 0.1.0.
    #[serde(default)]
    running_ms: Option<i64>,
    /// Number of revocations of the user's tokens at the time of issue. Absent in tokens of version 0.1.0.
    #[serde(default)]
    generation: Option<i64>,
    exp: i64,
    r#type: TokenType,
    /// The family of the refresh token that was issued together.
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
    /// `secret` is the key of the HMAC; [`crate::config`] ensures at least 32 bytes.
    pub fn new(config: &AuthConfig, secret: &SecretString, clock: ServingClock) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        // The library accepts a token in the second of its `exp`; `check_end` does not.
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
            clock,
        }
    }

    pub fn clock(&self) -> &ServingClock {
        &self.clock
    }

    /// Revoked access tokens that have not expired.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Starts a new issue of tokens: a random id, and the current time by both clocks.
    pub fn new_issue(&self) -> TokenIssue {
        let issued_at = self.clock.wall();
        let expires_at = UnixMillis(issued_at.seconds().saturating_add(self.refresh_ttl_s).saturating_mul(1_000));
        TokenIssue { jti: Uuid::new_v4(), issued_at, running_ms: self.clock.running_ms(), expires_at }
    }

    /// Creates the access token of an issue of tokens. `family_id` is the sign-in that it belongs to, `generation` the number of
    /// revocations of the user's tokens.
    ///
    /// # Errors
    /// `Internal` when the cryptographic library refuses to sign.
    pub fn issue_access(
        &self,
        user: &User,
        generation: i64,
        family_id: Uuid,
        issue: &TokenIssue,
    ) -> Result<IssuedToken, AuthError> {
        let iat = issue.issued_at.seconds();
        let exp = iat.saturating_add(self.access_ttl_s);
        let claims = AccessClaims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: user.id,
            jti: access_jti(issue.jti),
            iat,
            iat_ms: Some(issue.issued_at.0),
            running_ms: Some(issue.running_ms),
            generation: Some(generation),
            exp,
            r#type: TokenType::Access,
            family: Some(family_id),
            email: user.email.as_str().to_owned(),
            name: user.name.as_str().to_owned(),
            role: user.role,
        };
        Ok(IssuedToken { token: self.sign(&claims)?, expires_at: exp })
    }

    /// Creates the refresh token of an issue of tokens.
    ///
    /// # Errors
    /// `Internal` when the cryptographic library refuses to sign.
    pub fn issue_refresh(
        &self,
        user_id: UserId,
        family_id: Uuid,
        issue: &TokenIssue,
    ) -> Result<IssuedToken, AuthError> {
        let exp = issue.expires_at.seconds();
        let claims = RefreshClaims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: user_id,
            jti: issue.jti,
            iat: issue.issued_at.seconds(),
            exp,
            r#type: TokenType::Refresh,
            family: family_id,
        };
        Ok(IssuedToken { token: self.sign(&claims)?, expires_at: exp })
    }

    /// When a refresh token with this expiry was issued, assuming the current `auth.refresh_token_ttl_s`.
    pub fn issued_at_of_refresh(&self, ends_at: UnixMillis) -> UnixMillis {
        UnixMillis(ends_at.0.saturating_sub(self.refresh_ttl_s.saturating_mul(1_000)))
    }

    /// Verifies an access token, with or without a leading `Bearer`.
    ///
    /// # Errors
    /// `ExpiredToken`, `RevokedToken`, `PrematureToken`, or `InvalidToken` for anything but an access token of this server.
    pub fn verify_access(&self, token: &str) -> Result<Identity, AuthError> {
        self.verify_access_at(token, self.clock.wall())
    }

    fn verify_access_at(&self, token: &str, now: UnixMillis) -> Result<Identity, AuthError> {
        let claims: AccessClaims = self.decode(token)?;
        if claims.r#type != TokenType::Access {
            return Err(AuthError::InvalidToken);
        }
        check_end(claims.exp, now)?;
        if claims.iat > now.seconds().saturating_add(TOKEN_CLOCK_LEEWAY_S) {
            return Err(AuthError::PrematureToken);
        }
        if let Some(running_ms) = claims.running_ms {
            let life_s = claims.exp.saturating_sub(claims.iat).saturating_add(TOKEN_CLOCK_LEEWAY_S);
            if self.clock.running_ms().saturating_sub(running_ms) > life_s.saturating_mul(1_000) {
                return Err(AuthError::ExpiredToken);
            }
        }
        // Without milliseconds, the earliest possible time.
        let issued_at_ms = claims.iat_ms.unwrap_or_else(|| claims.iat.saturating_mul(1_000));
        if claims.generation.is_none() && self.revocations.cover_untagged(claims.sub, issued_at_ms) {
            return Err(AuthError::RevokedToken);
        }
        let identity = Identity {
            user_id: claims.sub,
            email: Email::parse(&claims.email).map_err(|_| AuthError::InvalidToken)?,
            name: DisplayName::cleaned(&claims.name).map_err(|_| AuthError::InvalidToken)?,
            role: claims.role,
            family_id: claims.family,
            generation: claims.generation.unwrap_or(0),
            issued_at_ms,
            expires_at: claims.exp,
        };
        self.check_revoked(&identity)?;
        Ok(identity)
    }

    /// Checks that the token of an identity has not been revoked since it was verified.
    ///
    /// # Errors
    /// `RevokedToken`.
    pub fn check_revoked(&self, identity: &Identity) -> Result<(), AuthError> {
        if self.revocations.cover(identity) { Err(AuthError::RevokedToken) } else { Ok(()) }
    }

    /// Verifies a refresh token and returns its content; it may have been used or revoked since. The time of issue is not checked:
    /// the store knows whether the token is current, and a user whose tokens were issued while the clock was ahead must be able
    /// to renew them.
    ///
    /// # Errors
    /// `ExpiredToken`, or `InvalidToken` for anything but a refresh token of this server.
    pub fn verify_refresh(&self, token: &str) -> Result<RefreshGrant, AuthError> {
        self.verify_refresh_at(token, self.clock.wall())
    }

    fn verify_refresh_at(&self, token: &str, now: UnixMillis) -> Result<RefreshGrant, AuthError> {
        let claims: RefreshClaims = self.decode(token)?;
        if claims.r#type != TokenType::Refresh {
            return Err(AuthError::InvalidToken);
        }
        check_end(claims.exp, now)?;
        Ok(RefreshGrant { user_id: claims.sub, family_id: claims.family, jti: claims.jti })
    }

    fn sign(&self, claims: &impl Serialize) -> Result<String, AuthError> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.encoding).map_err(AuthError::internal)
    }

    /// Verifies signature, issuer and audience, but no times.
    fn decode<T: DeserializeOwned>(&self, token: &str) -> Result<T, AuthError> {
        let token = without_scheme(token);
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::InvalidToken);
        }
        jsonwebtoken::decode(token, &self.decoding, &self.validation)
            .map(|data| data.claims)
            .map_err(|_| AuthError::InvalidToken)
    }
}

/// The `jti` of the access token that is issued with a refresh token, derived from the latter's so that the same pair can be
/// issued again.
fn access_jti(refresh_jti: Uuid) -> Uuid {
    let mut bytes = [0; 16];
    let digest = Sha256::digest(refresh_jti.as_bytes());
    bytes.iter_mut().zip(digest).for_each(|(byte, part)| *byte = part);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn without_scheme(text: &str) -> &str {
    const SCHEME: &str = "Bearer ";
    let text = text.trim();
    match text.split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => token.trim_start(),
        _ => text,
    }
}

/// Checks the expiry: a token is invalid from the second of its `exp` on, without leeway.
fn check_end(exp: i64, now: UnixMillis) -> Result<(), AuthError> {
    if exp <= now.seconds() { Err(AuthError::ExpiredToken) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
