//! `message`: starts a turn.

use super::{Command, resume::Resumption};
use crate::{
    connection::Now,
    domain::{ConversationId, TurnId},
    limiter::Limit,
    limits::OVERLOADED_RETRY_MS,
    session::{
        authenticator::Authenticator,
        effect::{Effect, NewTurn, send_error},
        state::{SessionState, Starting},
    },
    turn::{TurnLog, TurnSubject},
    workflow::{StartedTurn, is_client_id},
};
use std::sync::Arc;
use switchboard_protocol::{ApiError, ErrorCode, ErrorSubject, MessageFrame};

impl Command for MessageFrame {
    fn subject(&self) -> ErrorSubject {
        ErrorSubject {
            turn_id: None,
            conversation_id: self.conversation_id,
            client_message_id: self.client_message_id.clone().filter(|id| is_client_id(id)),
        }
    }

    fn execute(self, state: &mut SessionState, now: Now, _: &impl Authenticator, effects: &mut Vec<Effect>) {
        let subject = self.subject();
        match state.check_message(self, now) {
            Ok(new) => {
                state.starting.push(Starting { turn_id: new.turn.subject.turn_id, subject });
                state.show(Arc::clone(&new.turn), now, effects);
                effects.push(Effect::Start(Box::new(new)));
            }
            Err(error) => {
                match error.code {
                    ErrorCode::Overloaded => effects.push(Effect::LimitHit(Limit::TurnsPerConnection)),
                    ErrorCode::MessageTooLong => effects.push(Effect::LimitHit(Limit::MessageSize)),
                    _ => {}
                }
                send_error(&error, &subject, state.names(), effects);
            }
        }
    }
}

impl SessionState {
    fn check_message(&self, message: MessageFrame, now: Now) -> Result<NewTurn, ApiError> {
        let user_id = self.authorised(now)?;
        let question = self.rules.parse(message)?;
        if self.subscriptions.len() >= self.config.max_running_turns {
            let reason = "Too many answers are being written on this connection.";
            return Err(ApiError::overloaded(reason, OVERLOADED_RETRY_MS));
        }
        let conversation_id = question.conversation_id.unwrap_or_else(ConversationId::new);
        let turn = TurnLog::new(TurnSubject { turn_id: TurnId::new(), conversation_id, user_id });
        Ok(NewTurn { turn, question })
    }

    /// Handles the workflow's answer to a turn that this session started.
    pub fn on_started(
        &mut self,
        turn_id: TurnId,
        outcome: Result<StartedTurn, ApiError>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(index) = self.starting.iter().position(|starting| starting.turn_id == turn_id) else { return };
        let Starting { subject, .. } = self.starting.swap_remove(index);
        if self.starting.is_empty() {
            // Frees the memory: connections are idle most of the time.
            self.starting = Vec::new();
        }
        match outcome {
            Ok(StartedTurn::New) => {}
            Ok(StartedTurn::Duplicate(first)) => {
                self.subscriptions.unsubscribe(turn_id, effects);
                let resumption = Resumption { client_message_id: subject.client_message_id, ..Resumption::default() };
                self.resume_from(first, resumption, now, effects);
            }
            Err(error) => {
                self.subscriptions.unsubscribe(turn_id, effects);
                send_error(&error, &subject, self.names(), effects);
            }
        }
    }
}
