//! `auth`: authenticates the connection, or renews its token.

use super::Command;
use crate::{
    auth::Identity,
    connection::{AuthRefusal, Now, auth_error},
    session::{
        authenticator::Authenticator,
        effect::{Effect, send, send_error},
        state::SessionState,
    },
};
use switchboard_protocol::{ApiError, AuthFrame, CloseReason, ErrorSubject, ServerFrame};

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
        match self.auth.authenticate(outcome, now, |user_id| authenticator.admit(user_id)) {
            Ok(authenticated) => {
                effects.push(send(ServerFrame::AuthSuccess(authenticated.frame())));
                effects.push(Effect::Authenticated(authenticated.identity));
                self.check_expiry(now, effects);
                self.send_events(now, effects);
                self.show_announced(now, effects);
            }
            Err(AuthRefusal::Token { error, is_last }) => {
                let frame = ServerFrame::AuthError(auth_error(&error));
                effects.extend([send(frame), Effect::ErrorSent(error.code), Effect::AuthFailed(error.code)]);
                if is_last {
                    effects.push(Effect::Close(CloseReason::TooManyAuthFailures));
                }
            }
            Err(AuthRefusal::TooManyConnections(error)) => {
                send_error(&error, &ErrorSubject::default(), self.names(), effects);
                effects.extend([Effect::AuthFailed(error.code), Effect::Close(CloseReason::TooManyConnections)]);
            }
        }
    }
}
