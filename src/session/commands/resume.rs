//! `resume`: subscribes to a conversation. Also handles the turns that other connections start in it.
//!
//! The workflow checks access, subscribes the connection to the conversation, and then looks up missed turns, so that a turn is
//! found or announced. One that is both is shown once: see [`Announcements`](super::super::announcements::Announcements).

use super::Command;
use crate::{
    connection::Now,
    encode::idle,
    session::{
        authenticator::Authenticator,
        effect::{Effect, send_error},
        pending_resumes::ResumeTicket,
        state::{Resumed, SessionState},
    },
    turn::{Cursor, Outgoing, ReplayStart, TurnLog},
    workflow::ResumedConversation,
};
use std::sync::Arc;
use switchboard_protocol::{ApiError, Dialect, ErrorSubject, ResumeFrame};

/// The parameters of a resumed turn.
#[derive(Default)]
pub(super) struct Resumption {
    pub cursor: Cursor,
    /// The `client_message_id` of a message that was sent again.
    pub client_message_id: Option<String>,
    /// Whether the client has to reload the history, because more turns follow than are replayed.
    pub reload_history: bool,
}

impl Command for ResumeFrame {
    fn subject(&self) -> ErrorSubject {
        ErrorSubject { turn_id: self.turn_id, conversation_id: Some(self.conversation_id), client_message_id: None }
    }

    fn execute(self, state: &mut SessionState, now: Now, _: &impl Authenticator, effects: &mut Vec<Effect>) {
        let checked = state.authorised(now).and_then(|user_id| check_position(&self, state.dialect).map(|()| user_id));
        match checked {
            Ok(user_id) => {
                let ticket = state.resumes.push(self.clone());
                effects.push(Effect::Resume { ticket, user_id, resume: self });
            }
            Err(error) => send_error(&error, &self.subject(), state.names(), effects),
        }
    }
}

impl SessionState {
    /// Handles the outcome of the lookup for a `resume`.
    pub fn on_resumed(
        &mut self,
        ticket: ResumeTicket,
        outcome: Result<Resumed, ApiError>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        for (resume, outcome) in self.resumes.complete(ticket, outcome) {
            match outcome {
                Ok(Resumed::Events(events)) => self.answer_resumed_events(&resume, events, now, effects),
                Ok(Resumed::Turns(turns)) => self.answer_resume(&resume, turns, now, effects),
                Err(error) if resume.last_position.is_some() => {
                    self.refuse_events(&resume, &error, &resume.subject(), effects);
                }
                Err(error) => send_error(&error, &resume.subject(), self.names(), effects),
            }
        }
        self.show_announced(now, effects);
    }

    fn answer_resume(
        &mut self,
        resume: &ResumeFrame,
        resumed: ResumedConversation,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        match resumed {
            ResumedConversation { turn: None, .. } => {
                let frame = idle(resume.conversation_id, self.dialect);
                effects.push(Effect::Send(Outgoing { frame, tokens: 0 }));
            }
            ResumedConversation { turn: Some(turn), later, has_more } => {
                let next_seq = u32::try_from(resume.last_seq + 1).unwrap_or(u32::MAX);
                let last_index = resume.last_index.and_then(|index| u32::try_from(index).ok());
                let cursor = turn.position_after(next_seq, last_index);
                let resumption = Resumption { cursor, client_message_id: None, reload_history: has_more };
                self.resume_from(turn, resumption, now, effects);
                for turn in later {
                    self.show_once(turn, now, effects);
                }
            }
        }
    }

    /// Shows a turn from its start, announced by `resumed`.
    pub(in crate::session) fn replay(&mut self, turn: Arc<TurnLog>, now: Now, effects: &mut Vec<Effect>) {
        self.resume_from(turn, Resumption::default(), now, effects);
    }

    pub(super) fn resume_from(
        &mut self,
        turn: Arc<TurnLog>,
        resumption: Resumption,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Resumption { cursor, client_message_id, reload_history } = resumption;
        let turn_id = turn.subject.turn_id;
        self.subscriptions.unsubscribe(turn_id, effects);
        self.announcements.mark_shown(turn_id);
        let (state, client_message_id) = (turn.state(), client_message_id.as_deref());
        let start = ReplayStart { cursor, state, reload_history, client_message_id };
        self.subscriptions.resume(turn, start, now, effects);
    }

    /// Handles the announcement of a turn that another connection started.
    pub fn on_subscribe(&mut self, turn: Arc<TurnLog>, now: Now, effects: &mut Vec<Effect>) {
        self.announcements.announce(turn);
        self.show_announced(now, effects);
        let any_ended = self.subscriptions.read_overflowed(now, effects);
        self.after_delivery(any_ended, now, effects);
    }

    /// Shows the announced turns that are ready. They wait while the token is expired.
    pub(in crate::session) fn show_announced(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.authorised(now).is_err() {
            return;
        }
        for turn in self.announcements.take_ready(|id| self.resumes.contains(id) || self.events.is_catching_up(id)) {
            self.show_once(turn, now, effects);
        }
    }

    fn show_once(&mut self, turn: Arc<TurnLog>, now: Now, effects: &mut Vec<Effect>) {
        if !self.announcements.was_shown(turn.subject.turn_id) {
            self.show(turn, now, effects);
        }
    }

    pub(super) fn show(&mut self, turn: Arc<TurnLog>, now: Now, effects: &mut Vec<Effect>) {
        self.announcements.mark_shown(turn.subject.turn_id);
        self.subscriptions.subscribe(turn, now, effects);
    }
}

/// Checks the numbers of a `resume`, each of which may be -1 for none.
fn check_position(resume: &ResumeFrame, dialect: Dialect) -> Result<(), ApiError> {
    match resume.last_position {
        Some(_) if dialect == Dialect::V1 => {
            return Err(ApiError::invalid_field("last_position", "is supported in `chat.v2` only"));
        }
        Some(..0) => {
            return Err(ApiError::invalid_field("last_position", "must be 0 or the position of an event"));
        }
        _ => {}
    }
    let numbers = [
        ("last_seq", resume.last_seq, "must be -1 or the seq of a token"),
        ("last_index", resume.last_index.unwrap_or(-1), "must be -1 or the index of a frame"),
    ];
    match numbers.into_iter().find(|(_, number, _)| !(-1..=0xFFFF_FFFE).contains(number)) {
        Some((field, _, allowed)) => Err(ApiError::invalid_field(field, allowed)),
        None => Ok(()),
    }
}
