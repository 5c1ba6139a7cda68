//! `auth`: authenticates the connection, or renews its token.

use super::Command;
use crate::{
    auth::Identity,
    limits::MAX_AUTH_FAILURES,
    session::{
        authenticator::Authenticator,
        effect::{Effect, send, send_error},
        now::Now,
        state::{Auth, SessionState},
    },
};
use std::{sync::Arc, time::Duration};
use switchboard_protocol::{
    ApiError, AuthError, AuthFrame, AuthSuccess, CloseReason, ErrorCode, ErrorSubject, ServerFrame, UserView,
};

impl Command for AuthFrame {
    fn execute(
        self,
        state: &mut SessionState,
        now: Now,
        authenticator: &impl Authenticator,
        effects: &mut Vec<Effect>,
    ) {
        state.on_auth(authenticator.verify(&self.token), authenticator, now, effects);
    }
}

impl SessionState {
    /// Handles the outcome of an authentication, by an `auth` frame or by the upgrade request.
    pub fn on_auth(
        &mut self,
        outcome: Result<Identity, ApiError>,
        authenticator: &impl Authenticator,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let outcome = outcome.and_then(|identity| match self.identity() {
            Some(known) if known.user_id != identity.user_id => {
                Err(ApiError::new(ErrorCode::InvalidToken, "this connection belongs to another user"))
            }
            _ => Ok(identity),
        });
        match outcome {
            Ok(identity) => {
                if self.user_permit.is_none() {
                    match authenticator.admit(identity.user_id) {
                        Ok(permit) => self.user_permit = Some(permit),
                        Err(error) => {
                            send_error(&error, &ErrorSubject::default(), self.names(), effects);
                            effects.push(Effect::AuthFailed(error.code));
                            return effects.push(Effect::Close(CloseReason::TooManyConnections));
                        }
                    }
                }
                let identity = Arc::new(identity);
                let frame = ServerFrame::AuthSuccess(AuthSuccess {
                    message: "Authenticated",
                    user: UserView {
                        id: identity.user_id,
                        email: identity.email.as_str(),
                        name: identity.name.as_str(),
                    },
                    expires_at: identity.expires_at,
                });
                effects.push(send(frame));
                effects.push(Effect::Authenticated(Arc::clone(&identity)));
                let life_ms = identity.expires_at.saturating_mul(1000).saturating_sub(now.unix.0);
                let expires_at = now.instant + Duration::from_millis(u64::try_from(life_ms).unwrap_or(0));
                self.auth_failures = 0;
                let notice_at = expires_at.checked_sub(identity.expiry_notice()).or(Some(now.instant));
                self.auth = Auth::Authenticated { identity, expires_at, notice_at };
                self.check_expiry(now, effects);
                self.send_events(now, effects);
                self.show_announced(now, effects);
            }
            Err(error) => {
                let frame = ServerFrame::AuthError(AuthError { message: &error.message, code: error.code });
                effects.extend([send(frame), Effect::ErrorSent(error.code), Effect::AuthFailed(error.code)]);
                self.auth_failures += 1;
                if self.auth_failures >= MAX_AUTH_FAILURES {
                    effects.push(Effect::Close(CloseReason::TooManyAuthFailures));
                }
            }
        }
    }
}
