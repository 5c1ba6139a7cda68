//! The commands of clients: a file per frame type, with the effect of the frame on the session.
//!
//! A command implements [`Command`] for its frame, which `switchboard_protocol` declares, and has a line in [`with_command`].

mod auth;
mod cancel;
mod message;
mod ping;
mod resume;

use super::{
    authenticator::Authenticator,
    effect::{Effect, send_error},
    state::SessionState,
};
use crate::{
    connection::{Now, Refused},
    workflow::is_client_id,
};
use switchboard_protocol::{ClientFrame, ErrorSubject};

/// A command of a client: the frame that it sent, after parsing.
pub(super) trait Command {
    /// The ids that an error about the command carries.
    fn subject(&self) -> ErrorSubject {
        ErrorSubject::default()
    }

    fn execute(self, state: &mut SessionState, now: Now, authenticator: &impl Authenticator, effects: &mut Vec<Effect>);
}

/// Evaluates an expression with the command that a frame contains.
macro_rules! with_command {
    ($frame:expr, $command:ident => $result:expr) => {
        match $frame {
            ClientFrame::Auth($command) => $result,
            ClientFrame::Message($command) => $result,
            ClientFrame::Resume($command) => $result,
            ClientFrame::Cancel($command) => $result,
            ClientFrame::Ping($command) => $result,
        }
    };
}

/// The ids that an error about a frame carries.
fn subject_of(frame: &ClientFrame) -> ErrorSubject {
    with_command!(frame, command => command.subject())
}

impl SessionState {
    /// Handles a text frame. If it is refused, the error names the message, provided that it can be read.
    pub fn on_text(&mut self, text: &str, now: Now, authenticator: &impl Authenticator, effects: &mut Vec<Effect>) {
        self.heartbeat.on_received(now.instant);
        match self.inbound.accept(text, ClientFrame::parse, effects) {
            Ok(frame) => with_command!(frame, command => command.execute(self, now, authenticator, effects)),
            Err(Refused::Malformed(error)) => {
                let mut subject = ErrorSubject::of_text(text);
                subject.client_message_id.take_if(|id| !is_client_id(id));
                send_error(&error, &subject, self.names(), effects);
            }
            Err(Refused::TooFast(frame, error)) => send_error(&error, &subject_of(&frame), self.names(), effects),
            Err(Refused::Closed) => {}
        }
    }
}
