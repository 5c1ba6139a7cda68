//! The state machine of a session. Pure: frames, results and the clock go in, effects come out.

use super::{
    announcements::Announcements,
    effect::{Effect, send},
    event_readers::EventReaders,
    heartbeat::{Heartbeat, HeartbeatAction},
    pending_resumes::PendingResumes,
    question::QuestionRules,
    subscriptions::{AnyEnded, Subscriptions},
};
use crate::{
    config::{LimitsConfig, SessionConfig},
    connection::{ConnectionAuth, InboundGuard, Now},
    domain::{TurnId, UserId},
    encode::encoder_of,
    limiter::UserPermit,
    limits::AUTH_GRACE,
    turn::{Mailbox, SubscriptionOptions, TurnEvent},
    workflow::{ResumedConversation, ResumedEvents},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use switchboard_protocol::{ApiError, CloseReason, Dialect, ErrorSubject, FieldNames, GoingAway, ServerFrame};

pub struct SessionState {
    pub(super) config: Arc<SessionConfig>,
    pub(super) rules: Arc<QuestionRules>,
    pub(super) dialect: Dialect,
    pub(super) auth: ConnectionAuth<UserPermit>,
    pub(super) inbound: InboundGuard,
    pub(super) heartbeat: Heartbeat,
    pub(super) subscriptions: Subscriptions,
    /// Turns that the workflow has yet to accept.
    pub(super) starting: Vec<Starting>,
    pub(super) resumes: PendingResumes<Result<Resumed, ApiError>>,
    pub(super) events: EventReaders,
    pub(super) announcements: Announcements,
}

pub(super) struct Starting {
    pub turn_id: TurnId,
    /// The subject of an error about it.
    pub subject: ErrorSubject,
}

/// The result of the lookup for a `resume`.
pub enum Resumed {
    Turns(ResumedConversation),
    Events(ResumedEvents),
}

impl SessionState {
    pub fn new(
        config: Arc<SessionConfig>,
        limits: &LimitsConfig,
        rules: Arc<QuestionRules>,
        dialect: Dialect,
        mailbox: Mailbox,
        now: Now,
    ) -> Self {
        let auth_deadline = now.instant + Duration::from_secs(config.auth_deadline_s);
        let coalesce = Duration::from_millis(config.coalesce_ms);
        let options = SubscriptionOptions { encoder: encoder_of(dialect), coalesce };
        Self {
            heartbeat: Heartbeat::new(now.instant, Duration::from_secs(config.heartbeat_interval_s)),
            subscriptions: Subscriptions::new(options, mailbox),
            config,
            rules,
            dialect,
            auth: ConnectionAuth::new(auth_deadline),
            inbound: InboundGuard::new(limits),
            starting: Vec::new(),
            resumes: PendingResumes::default(),
            events: EventReaders::default(),
            announcements: Announcements::default(),
        }
    }

    /// Handles a control frame or a fragment; returns whether it may be answered.
    pub fn on_other_frame(&mut self, now: Now, effects: &mut Vec<Effect>) -> bool {
        self.heartbeat.on_received(now.instant);
        self.inbound.accept_other(effects)
    }

    /// Handles a pong, which may be unsolicited.
    pub fn on_pong(&mut self, payload: &[u8], now: Now, effects: &mut Vec<Effect>) {
        let interval = Duration::from_secs(self.config.heartbeat_interval_s);
        if self.on_other_frame(now, effects)
            && let Some(took) = self.heartbeat.on_pong(payload, now.instant, interval)
        {
            self.subscriptions.acknowledged();
            effects.push(Effect::RoundTrip(took));
        }
    }

    /// Takes over the permit that the upgrade request acquired.
    pub fn on_user_permit(&mut self, permit: UserPermit) {
        self.auth.set_permit(permit);
    }

    /// Handles an event of a turn.
    pub fn on_turn_event(&mut self, event: TurnEvent, now: Now, effects: &mut Vec<Effect>) {
        let any_ended = self.subscriptions.on_event(event, now, effects);
        self.after_delivery(any_ended, now, effects);
    }

    pub fn opened_at(&self) -> Instant {
        self.heartbeat.opened_at()
    }

    pub fn subscriptions(&mut self) -> &mut Subscriptions {
        &mut self.subscriptions
    }

    /// Continues with the backlogs after new credit.
    pub fn send_more(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let any_ended = self.subscriptions.send_more(now, effects);
        self.send_events(now, effects);
        self.after_delivery(any_ended, now, effects);
    }

    /// Whether turns or events wait for credit.
    pub fn waits_for_credit(&self) -> bool {
        self.subscriptions.waits_for_credit() || (!self.subscriptions.has_credit() && self.events.is_waiting())
    }

    /// Closes a connection with an expired token once its last turn has ended.
    pub(super) fn after_delivery(&mut self, AnyEnded(any_ended): AnyEnded, now: Now, effects: &mut Vec<Effect>) {
        if any_ended {
            self.check_expiry(now, effects);
        }
    }

    /// Announces that the server is going away, and closes the connection.
    pub fn on_going_away(&mut self, reconnect_after_ms: u64, effects: &mut Vec<Effect>) {
        effects.push(send(ServerFrame::GoingAway(GoingAway { reconnect_after_ms })));
        effects.push(Effect::Close(CloseReason::GoingAway));
    }

    /// Handles the deadlines that are due. Call it at [`SessionState::next_alarm`].
    pub fn on_alarm(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let interval = Duration::from_secs(self.config.heartbeat_interval_s);
        let timeout = Duration::from_secs(self.config.heartbeat_timeout_s);
        match self.heartbeat.poll(now.instant, interval, timeout) {
            Some(HeartbeatAction::TimeOut) => return effects.push(Effect::Close(CloseReason::HeartbeatTimeout)),
            Some(HeartbeatAction::Ping(payload)) => {
                effects.push(Effect::Ping(payload));
                self.subscriptions.pinged();
                if self.dialect == Dialect::V2 {
                    let AnyEnded(_) = self.subscriptions.send_heads(now, effects);
                }
            }
            None => {}
        }
        if self.auth.is_past_deadline(now) {
            effects.push(Effect::Close(CloseReason::AuthDeadline));
        }
        let AnyEnded(_) = self.subscriptions.flush(now, effects);
        self.send_events(now, effects);
        self.check_expiry(now, effects);
    }

    /// When to call [`SessionState::on_alarm`] next.
    pub fn next_alarm(&self) -> Instant {
        // While a turn runs, its end triggers the next check.
        let grace = self.subscriptions.is_empty().then_some(AUTH_GRACE);
        let auth = self.auth.next_due(grace);
        let heartbeat = self.heartbeat.next_at();
        let next = auth.map_or(heartbeat, |at| at.min(heartbeat));
        self.subscriptions.next_flush().map_or(next, |at| at.min(next))
    }

    /// Announces the expiry of the token, and closes a connection without running turns after the grace period.
    pub(super) fn check_expiry(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let Some(notice) = self.auth.take_notice(now) {
            effects.push(send(ServerFrame::AuthExpiring(notice)));
        }
        if self.auth.is_expired(now, AUTH_GRACE) && self.subscriptions.is_empty() {
            effects.push(Effect::Close(CloseReason::AuthExpired));
        }
    }

    pub(super) fn names(&self) -> FieldNames {
        self.dialect.into()
    }

    pub(super) fn authorised(&self, now: Now) -> Result<UserId, ApiError> {
        self.auth.authorised(now)
    }
}

#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
