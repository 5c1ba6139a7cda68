//! Authentication of a connection: its deadline, its user, the expiry of the token, and the failed attempts.

use super::Now;
use crate::{auth::Identity, domain::UserId, limits::MAX_AUTH_FAILURES};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use switchboard_protocol::{ApiError, AuthError, AuthExpiring, AuthSuccess, ErrorCode, UserView};

/// The authentication of one connection; `P` is the permit that the connection holds for its user.
pub struct ConnectionAuth<P> {
    state: State,
    /// Acquired by the upgrade request or at the first authentication.
    permit: Option<P>,
    /// Refused tokens since the last accepted one.
    failures: u32,
}

enum State {
    Anonymous {
        /// When the connection is closed unless it has authenticated.
        deadline: Instant,
    },
    Authenticated {
        identity: Arc<Identity>,
        expires_at: Instant,
        /// When to send `auth_expiring`; `None` once it was sent.
        notice_at: Option<Instant>,
    },
}

/// An accepted authentication.
pub struct Authenticated {
    pub identity: Arc<Identity>,
    /// Whether the connection was anonymous before.
    pub is_first: bool,
}

/// A refused authentication.
#[derive(Debug)]
pub enum AuthRefusal {
    /// The token was refused; to be answered with `auth_error`.
    Token {
        error: ApiError,
        /// Whether it was one failure too many: close the connection.
        is_last: bool,
    },
    /// The user has too many connections: close this one.
    TooManyConnections(ApiError),
}

impl<P> ConnectionAuth<P> {
    /// Creates the authentication of an anonymous connection.
    pub fn new(deadline: Instant) -> Self {
        Self { state: State::Anonymous { deadline }, permit: None, failures: 0 }
    }

    /// Takes over the permit that the upgrade request acquired.
    pub fn set_permit(&mut self, permit: P) {
        self.permit = Some(permit);
    }

    /// Handles the outcome of verifying a token. A connection belongs to one user; `admit` acquires the permit for it.
    ///
    /// # Errors
    /// When the token was refused, or `admit` refused the connection.
    pub fn authenticate(
        &mut self,
        outcome: Result<Identity, ApiError>,
        now: Now,
        admit: impl FnOnce(UserId) -> Result<P, ApiError>,
    ) -> Result<Authenticated, AuthRefusal> {
        let outcome = outcome.and_then(|identity| match self.identity() {
            Some(known) if known.user_id != identity.user_id => Err(ApiError::new(
                ErrorCode::InvalidToken,
                "This connection belongs to another user. Open another connection for this token.",
            )),
            _ => Ok(Arc::new(identity)),
        });
        let identity = outcome.map_err(|error| {
            self.failures += 1;
            AuthRefusal::Token { error, is_last: self.failures >= MAX_AUTH_FAILURES }
        })?;
        if self.permit.is_none() {
            self.permit = Some(admit(identity.user_id).map_err(AuthRefusal::TooManyConnections)?);
        }
        let is_first = self.identity().is_none();
        let life_ms = identity.expires_at.saturating_mul(1000).saturating_sub(now.unix.0);
        let expires_at = now.instant + Duration::from_millis(u64::try_from(life_ms).unwrap_or(0));
        let notice_at = expires_at.checked_sub(identity.expiry_notice()).or(Some(now.instant));
        self.failures = 0;
        self.state = State::Authenticated { identity: Arc::clone(&identity), expires_at, notice_at };
        Ok(Authenticated { identity, is_first })
    }

    /// Returns the identity of the last accepted token; `None` while the connection is anonymous.
    pub fn identity(&self) -> Option<&Identity> {
        match &self.state {
            State::Anonymous { .. } => None,
            State::Authenticated { identity, .. } => Some(identity),
        }
    }

    /// The user on whose behalf a command is executed.
    ///
    /// # Errors
    /// `AUTH_REQUIRED` before authentication, `AUTH_EXPIRED` after the token has expired.
    pub fn authorised(&self, now: Now) -> Result<UserId, ApiError> {
        match &self.state {
            State::Anonymous { .. } => {
                Err(ApiError::new(ErrorCode::AuthRequired, "Please sign in first: send `auth` with an access token."))
            }
            State::Authenticated { expires_at, .. } if *expires_at <= now.instant => Err(ApiError::new(
                ErrorCode::AuthExpired,
                "The token has expired. Renew it and send `auth` with the new one.",
            )),
            State::Authenticated { identity, .. } => Ok(identity.user_id),
        }
    }

    /// Whether the connection is still anonymous at its deadline.
    pub fn is_past_deadline(&self, now: Now) -> bool {
        matches!(self.state, State::Anonymous { deadline } if deadline <= now.instant)
    }

    /// Whether the token expired at least `grace` ago.
    pub fn is_expired(&self, now: Now, grace: Duration) -> bool {
        matches!(self.state, State::Authenticated { expires_at, .. } if expires_at + grace <= now.instant)
    }

    /// Returns the announcement of the expiry when it is due, once per token.
    pub fn take_notice(&mut self, now: Now) -> Option<AuthExpiring> {
        let State::Authenticated { expires_at, notice_at, .. } = &mut self.state else { return None };
        notice_at.take_if(|at| *at <= now.instant)?;
        Some(AuthExpiring::new(expires_at.saturating_duration_since(now.instant)))
    }

    /// When the deadline, the announcement or the expiry is due next. `grace` is the time for which a connection outlives its
    /// token; `None` while the connection may not be closed for an expired token.
    pub fn next_due(&self, grace: Option<Duration>) -> Option<Instant> {
        match &self.state {
            State::Anonymous { deadline } => Some(*deadline),
            State::Authenticated { notice_at: Some(notice_at), .. } => Some(*notice_at),
            State::Authenticated { expires_at, .. } => grace.map(|grace| *expires_at + grace),
        }
    }
}

impl Authenticated {
    /// The fields of an `auth_success` frame.
    pub fn frame(&self) -> AuthSuccess<'_> {
        let identity = &self.identity;
        AuthSuccess {
            message: "Authenticated",
            user: UserView { id: identity.user_id, email: identity.email.as_str(), name: identity.name.as_str() },
            expires_at: identity.expires_at,
        }
    }
}

/// The fields of an `auth_error` frame.
pub fn auth_error(error: &ApiError) -> AuthError<'_> {
    AuthError { message: &error.message, code: error.code }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::test_support::user;
    use crate::domain::Role;

    const NOTICE_S: u64 = 60;

    fn identity(user_id: UserId, life_s: i64, now: Now) -> Identity {
        let user = user("ada@example.org", Role::User);
        Identity {
            user_id,
            email: user.email,
            name: user.name,
            role: user.role,
            family_id: None,
            generation: 0,
            issued_at_ms: now.unix.0,
            expires_at: now.unix.seconds() + life_s,
        }
    }

    fn later(now: Now, seconds: u64) -> Now {
        let unix = crate::domain::UnixMillis(now.unix.0 + i64::try_from(seconds * 1_000).unwrap());
        Now { instant: now.instant + Duration::from_secs(seconds), unix }
    }

    /// The start of a test, on a whole second, because tokens expire at one.
    fn start() -> Now {
        Now { instant: Instant::now(), unix: crate::domain::UnixMillis(1_800_000_000_000) }
    }

    fn refused() -> Result<Identity, ApiError> {
        Err(ApiError::new(ErrorCode::InvalidToken, "no"))
    }

    fn admitted(_: UserId) -> Result<(), ApiError> {
        Ok(())
    }

    #[test]
    fn deadline_applies_to_anonymous_connections() {
        let now = start();
        let mut auth = ConnectionAuth::<()>::new(later(now, 10).instant);
        assert_eq!(auth.next_due(None), Some(later(now, 10).instant));
        assert!(!auth.is_past_deadline(later(now, 9)) && auth.is_past_deadline(later(now, 10)));
        assert_eq!(auth.authorised(now).unwrap_err().code, ErrorCode::AuthRequired);
        let accepted = auth.authenticate(Ok(identity(UserId::new(), 900, now)), now, admitted).unwrap();
        assert!(accepted.is_first && !auth.is_past_deadline(later(now, 10)));
    }

    #[test]
    fn failures_are_counted_until_a_token_is_accepted() {
        let now = start();
        let mut auth = ConnectionAuth::<()>::new(now.instant);
        let fail = |auth: &mut ConnectionAuth<()>| match auth.authenticate(refused(), now, admitted) {
            Err(AuthRefusal::Token { is_last, .. }) => is_last,
            _ => panic!("not refused"),
        };
        assert!((1..MAX_AUTH_FAILURES).all(|_| !fail(&mut auth)));
        assert!(auth.authenticate(Ok(identity(UserId::new(), 900, now)), now, admitted).is_ok());
        assert!((1..MAX_AUTH_FAILURES).all(|_| !fail(&mut auth)) && fail(&mut auth));
    }

    #[test]
    fn connection_belongs_to_its_first_user() {
        let (now, ada) = (start(), UserId::new());
        let mut auth = ConnectionAuth::<()>::new(now.instant);
        assert!(auth.authenticate(Ok(identity(ada, 900, now)), now, admitted).is_ok());
        let other = auth.authenticate(Ok(identity(UserId::new(), 900, now)), now, admitted);
        assert!(matches!(other, Err(AuthRefusal::Token { error, .. }) if error.code == ErrorCode::InvalidToken));
        let again = auth.authenticate(Ok(identity(ada, 1_800, now)), now, |_| panic!("it has a permit"));
        assert!(again.is_ok_and(|accepted| !accepted.is_first));
    }

    #[test]
    fn refused_admission_leaves_the_connection_anonymous() {
        let now = start();
        let mut auth = ConnectionAuth::<()>::new(now.instant);
        let full = |_| Err(ApiError::new(ErrorCode::TooManyConnections, "full"));
        let outcome = auth.authenticate(Ok(identity(UserId::new(), 900, now)), now, full);
        assert!(matches!(outcome, Err(AuthRefusal::TooManyConnections(_))));
        assert!(auth.identity().is_none());
    }

    #[test]
    fn expiry_is_announced_once_and_outlived_by_the_grace_period() {
        let (now, grace) = (start(), Duration::from_secs(30));
        let mut auth = ConnectionAuth::<()>::new(now.instant);
        let accepted = auth.authenticate(Ok(identity(UserId::new(), 900, now)), now, admitted).unwrap();
        assert_eq!(accepted.identity.expiry_notice(), Duration::from_secs(NOTICE_S));
        let notice_at = later(now, 900 - NOTICE_S);
        assert_eq!(auth.next_due(Some(grace)), Some(notice_at.instant));
        assert!(auth.take_notice(now).is_none());
        assert_eq!(auth.take_notice(notice_at).map(|notice| notice.expires_in), Some(NOTICE_S));
        assert!(auth.take_notice(notice_at).is_none());
        assert_eq!((auth.next_due(Some(grace)), auth.next_due(None)), (Some(later(now, 930).instant), None));
        assert!(auth.authorised(later(now, 899)).is_ok());
        assert_eq!(auth.authorised(later(now, 900)).unwrap_err().code, ErrorCode::AuthExpired);
        assert!(!auth.is_expired(later(now, 929), grace) && auth.is_expired(later(now, 930), grace));
    }
}
