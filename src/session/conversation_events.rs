//! Conversation events of a session: answers to `resume` with `last_position`, and live events after it.

use super::{
    effect::{Effect, send_error},
    event_readers::{ReaderAction, Start},
    state::SessionState,
};
use crate::{
    bus::Arrived,
    connection::Now,
    domain::{ConversationId, Event},
    encode::{event, resumed_events},
    turn::Outgoing,
    workflow::ResumedEvents,
};
use switchboard_protocol::{ApiError, ErrorCode, ErrorSubject, ResumeFrame, ResumedEvents as ResumedFrame};

impl SessionState {
    /// Answers a `resume` with `last_position`.
    pub(super) fn answer_resumed_events(
        &mut self,
        resume: &ResumeFrame,
        resumed: ResumedEvents,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let ResumedEvents { from_position, head, is_snapshot, running, subscription } = resumed;
        let conversation = resume.conversation_id;
        let frame = ResumedFrame { conversation_id: conversation, from_position, head, snapshot: is_snapshot };
        effects.push(Effect::Send(Outgoing { frame: resumed_events(frame), tokens: 0 }));
        if let Some(ended) = self.events.start(Start { conversation, from_position, head, running }) {
            effects.push(Effect::UnsubscribeFromEvents(ended));
        }
        effects.push(Effect::KeepEvents(subscription));
        self.send_events(now, effects);
    }

    /// Handles an error of a `resume` with `last_position`.
    pub(super) fn refuse_events(
        &mut self,
        resume: &ResumeFrame,
        error: &ApiError,
        about: &ErrorSubject,
        effects: &mut Vec<Effect>,
    ) {
        if is_inaccessible(error) {
            self.end_events(resume.conversation_id, effects);
        }
        send_error(error, about, self.names(), effects);
    }

    /// Handles what arrived over the bus.
    pub fn on_events_arrived(
        &mut self,
        conversation: ConversationId,
        arrived: Arrived,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        self.events.on_arrived(conversation, arrived);
        self.send_events(now, effects);
    }

    /// Handles events that were read from the store after a position.
    pub fn on_events_read(
        &mut self,
        conversation: ConversationId,
        after: i64,
        read: Result<(Vec<Event>, bool), ApiError>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        match read {
            Ok(read) => {
                self.events.on_read(conversation, after, Some(read));
                self.send_events(now, effects);
            }
            Err(error) => {
                self.events.on_read(conversation, after, None);
                if is_inaccessible(&error) {
                    if self.end_events(conversation, effects) {
                        let about = ErrorSubject { conversation_id: Some(conversation), ..ErrorSubject::default() };
                        send_error(&error, &about, self.names(), effects);
                    }
                    // The other conversations waited for this read.
                    self.send_events(now, effects);
                }
                // Otherwise the next event, credit or alarm reads again.
            }
        }
    }

    /// Ends the events of a conversation. Returns whether the connection was subscribed to them.
    fn end_events(&mut self, conversation: ConversationId, effects: &mut Vec<Effect>) -> bool {
        let was_subscribed = self.events.end(conversation);
        if was_subscribed {
            effects.push(Effect::UnsubscribeFromEvents(conversation));
        }
        was_subscribed
    }

    /// Sends events as far as credit allows. They wait while the token is expired.
    pub(super) fn send_events(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.authorised(now).is_err() {
            return;
        }
        while let Some(action) = self.events.next(self.subscriptions.has_credit()) {
            match action {
                ReaderAction::Send(next) => {
                    let frame = event(&next);
                    self.subscriptions.spend(frame.len());
                    effects.push(Effect::Send(Outgoing { frame, tokens: 0 }));
                }
                ReaderAction::Read(conversation, after) => {
                    if let Ok(user_id) = self.authorised(now) {
                        effects.push(Effect::ReadEvents { user_id, conversation, after });
                    }
                }
                ReaderAction::CaughtUp(running) => {
                    if let Some(turn) = running {
                        self.replay(turn, now, effects);
                    }
                    self.show_announced(now, effects);
                }
            }
        }
    }
}

/// Whether a conversation was deleted, or the user has no access to it any more.
fn is_inaccessible(error: &ApiError) -> bool {
    matches!(error.code, ErrorCode::NotFound | ErrorCode::Forbidden)
}
