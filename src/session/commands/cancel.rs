//! `cancel`: stops a turn.

use super::Command;
use crate::{
    connection::Now,
    domain::TurnId,
    session::{
        authenticator::Authenticator,
        effect::{Effect, send_error},
        state::SessionState,
    },
};
use switchboard_protocol::{ApiError, CancelFrame, ErrorSubject};

impl Command for CancelFrame {
    fn subject(&self) -> ErrorSubject {
        ErrorSubject { turn_id: Some(self.turn_id), ..ErrorSubject::default() }
    }

    fn execute(self, state: &mut SessionState, now: Now, _: &impl Authenticator, effects: &mut Vec<Effect>) {
        match state.authorised(now) {
            Ok(user_id) => effects.push(Effect::Cancel { user_id, turn_id: self.turn_id }),
            Err(error) => state.on_cancel_failed(self.turn_id, &error, effects),
        }
    }
}

impl SessionState {
    /// Handles a refusal of the workflow to cancel a turn.
    pub fn on_cancel_failed(&mut self, turn_id: TurnId, error: &ApiError, effects: &mut Vec<Effect>) {
        send_error(error, &ErrorSubject { turn_id: Some(turn_id), ..ErrorSubject::default() }, self.names(), effects);
    }
}
