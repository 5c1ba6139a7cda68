//! `ping`: requests a `pong`.

use super::Command;
use crate::{
    connection::Now,
    limits::MAX_PING_ID_BYTES,
    session::{
        authenticator::Authenticator,
        effect::{Effect, send, send_error},
        state::SessionState,
    },
};
use switchboard_protocol::{ApiError, ErrorSubject, PingFrame, Pong, ServerFrame};

impl Command for PingFrame {
    fn execute(self, state: &mut SessionState, _: Now, _: &impl Authenticator, effects: &mut Vec<Effect>) {
        let too_long = self.id.as_ref().is_some_and(|id| id.to_string().len() > MAX_PING_ID_BYTES);
        if too_long {
            let error =
                ApiError::invalid_field("id", format_args!("must be at most {MAX_PING_ID_BYTES} bytes of JSON"));
            send_error(&error, &ErrorSubject::default(), state.names(), effects);
        } else {
            effects.push(send(ServerFrame::Pong(Pong { id: self.id })));
        }
    }
}
