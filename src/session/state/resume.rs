//! Handling of `resume` frames and of turns that other connections start in a conversation.
//!
//! A connection subscribes to the conversation before missed turns are looked up, so that a turn is found or announced. One
//! that is both is shown once: see [`Announcements`](super::super::announcements::Announcements).

use super::*;
use switchboard_protocol::TurnState;

/// The parameters of a resumed turn.
#[derive(Default)]
pub(super) struct Resumption {
    pub cursor: Cursor,
    /// The `client_message_id` of a message that was sent again.
    pub client_message_id: Option<String>,
    /// Whether the client has to reload the history, because more turns follow than are replayed.
    pub reload_history: bool,
}

impl SessionState {
    pub(super) fn on_resume(&mut self, resume: ResumeFrame, now: Now, effects: &mut Vec<Effect>) {
        let subject = subject_of(&resume);
        let checked = self.authorised(now).and_then(|user_id| match resume.last_seq {
            -1..=0xFFFF_FFFE => Ok(user_id),
            _ => Err(ApiError::invalid_field("last_seq", "must be -1 or the seq of a token")),
        });
        match checked {
            Ok(user_id) => {
                // Before the lookup, so that a turn that starts during it is announced to this connection.
                effects.push(Effect::SubscribeToConversation(resume.conversation_id));
                let ticket = self.resumes.push(resume.clone());
                effects.push(Effect::Resume { ticket, user_id, resume });
            }
            Err(error) => send_error(&error, &subject, self.names(), effects),
        }
    }

    /// Handles the outcome of a lookup of missed turns.
    pub fn on_resumed(
        &mut self,
        ticket: ResumeTicket,
        outcome: Result<ResumedConversation, ApiError>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        for (resume, outcome) in self.resumes.complete(ticket, outcome) {
            self.answer_resume(&resume, outcome, now, effects);
        }
        self.show_announced(now, effects);
    }

    fn answer_resume(
        &mut self,
        resume: &ResumeFrame,
        outcome: Result<ResumedConversation, ApiError>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        match outcome {
            Ok(ResumedConversation { turn: None, .. }) => {
                let conversation = self.names().conversation(resume.conversation_id);
                effects.push(send(ServerFrame::Resumed(Resumed {
                    session_id: conversation.v1,
                    conversation_id: conversation.v2,
                    turn_id: None,
                    from_seq: None,
                    state: TurnState::Idle,
                    reload_history: false,
                    client_message_id: None,
                })));
            }
            Ok(ResumedConversation { turn: Some(turn), later, has_more }) => {
                let next_seq = u32::try_from(resume.last_seq + 1).unwrap_or(u32::MAX);
                // All steps precede the first token, so a client that has a token has received them.
                let progress = if next_seq == 0 { 0 } else { usize::MAX };
                let cursor = Cursor { progress, next_seq, ended: false };
                let resumption = Resumption { cursor, client_message_id: None, reload_history: has_more };
                self.resume_from(turn, resumption, now, effects);
                for turn in later {
                    self.show_once(turn, now, effects);
                }
            }
            Err(error) => send_error(&error, &subject_of(resume), self.names(), effects),
        }
    }

    pub(super) fn resume_from(
        &mut self,
        turn: Arc<TurnLog>,
        resumption: Resumption,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Resumption { cursor, client_message_id, reload_history } = resumption;
        let cursor = Cursor { next_seq: cursor.next_seq.min(turn.position().1), ..cursor };
        let conversation = self.names().conversation(turn.subject.conversation_id);
        effects.push(send(ServerFrame::Resumed(Resumed {
            session_id: conversation.v1,
            conversation_id: conversation.v2,
            turn_id: Some(turn.subject.turn_id),
            from_seq: Some(cursor.next_seq),
            state: turn.state(),
            reload_history,
            client_message_id: client_message_id.as_deref(),
        })));
        effects.push(Effect::SubscribeToConversation(turn.subject.conversation_id));
        self.subscriptions.unsubscribe(turn.subject.turn_id, effects);
        self.show(turn, cursor, now, effects);
    }

    /// Handles the announcement of a turn that another connection of this user started.
    pub fn on_subscribe(&mut self, turn: Arc<TurnLog>, now: Now, effects: &mut Vec<Effect>) {
        self.announcements.announce(turn);
        self.show_announced(now, effects);
        let any_ended = self.subscriptions.read_overflowed(now, effects);
        self.after_delivery(any_ended, now, effects);
    }

    /// Shows the announced turns that are ready. They wait while the token is expired.
    pub(super) fn show_announced(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Ok(user_id) = self.authorised(now) else { return };
        for turn in self.announcements.take_ready(|conversation| self.resumes.contains(conversation)) {
            if turn.subject.user_id == user_id {
                self.show_once(turn, now, effects);
            }
        }
    }

    fn show_once(&mut self, turn: Arc<TurnLog>, now: Now, effects: &mut Vec<Effect>) {
        if !self.announcements.was_shown(turn.subject.turn_id) {
            self.show(turn, Cursor::default(), now, effects);
        }
    }

    pub(super) fn show(&mut self, turn: Arc<TurnLog>, cursor: Cursor, now: Now, effects: &mut Vec<Effect>) {
        self.announcements.mark_shown(turn.subject.turn_id);
        self.subscriptions.subscribe(turn, cursor, now, effects);
    }
}
