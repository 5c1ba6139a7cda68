//! The state machine of a session. Pure: frames, results and the clock go in, effects come out.

pub use super::now::Now;
use super::{
    announcements::Announcements,
    authenticator::Authenticator,
    effect::{Effect, NewTurn, on_ping, send, send_error, subject_of, subject_of_message},
    heartbeat::{Heartbeat, HeartbeatAction},
    inbound_filter::InboundFilter,
    pending_resumes::{PendingResumes, ResumeTicket},
    question::QuestionRules,
    subscriptions::{AnyEnded, Subscriptions},
};
use crate::{
    auth::Identity,
    config::{LimitsConfig, SessionConfig},
    domain::{ConversationId, TurnId, UserId},
    encode::encoder_of,
    limiter::{Limit, UserPermit},
    limits::{AUTH_GRACE_S, MAX_AUTH_FAILURES, OVERLOADED_RETRY_MS},
    turn::{Mailbox, SubscriptionOptions, TurnEvent, TurnLog, TurnSubject},
    workflow::{ResumedConversation, StartedTurn},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use switchboard_protocol::{
    ApiError, AuthError, AuthExpiring, AuthFrame, AuthSuccess, CancelFrame, ClientFrame, CloseReason, Dialect,
    ErrorCode, ErrorSubject, FieldNames, GoingAway, MessageFrame, ResumeFrame, ServerFrame, UserView,
};

pub struct SessionState {
    config: Arc<SessionConfig>,
    rules: QuestionRules,
    dialect: Dialect,
    auth: Auth,
    /// Acquired by the upgrade request or at the first authentication.
    user_permit: Option<UserPermit>,
    auth_failures: u32,
    inbound: InboundFilter,
    heartbeat: Heartbeat,
    subscriptions: Subscriptions,
    /// Turns that the workflow has yet to accept.
    starting: Vec<Starting>,
    resumes: PendingResumes<Result<ResumedConversation, ApiError>>,
    announcements: Announcements,
}

struct Starting {
    turn_id: TurnId,
    /// The subject of an error about it.
    subject: ErrorSubject,
}

enum Auth {
    Anonymous,
    Authenticated {
        identity: Arc<Identity>,
        expires_at: Instant,
        /// When to send `auth_expiring`; `None` once it was sent.
        notice_at: Option<Instant>,
    },
}

impl SessionState {
    pub fn new(
        config: Arc<SessionConfig>,
        limits: &LimitsConfig,
        rules: QuestionRules,
        dialect: Dialect,
        mailbox: Mailbox,
        now: Now,
    ) -> Self {
        let coalesce = Duration::from_millis(config.coalesce_ms);
        let options = SubscriptionOptions { encoder: encoder_of(dialect), coalesce };
        Self {
            heartbeat: Heartbeat::new(now.instant, Duration::from_secs(config.heartbeat_interval_s)),
            subscriptions: Subscriptions::new(options, mailbox),
            config,
            rules,
            dialect,
            auth: Auth::Anonymous,
            user_permit: None,
            auth_failures: 0,
            inbound: InboundFilter::new(limits, dialect.into()),
            starting: Vec::new(),
            resumes: PendingResumes::default(),
            announcements: Announcements::default(),
        }
    }

    /// Records that the client sent something.
    pub fn on_received(&mut self, now: Now) {
        self.heartbeat.on_received(now.instant);
    }

    /// Handles a control frame or a fragment; returns whether it may be answered.
    pub fn on_other_frame(&self, effects: &mut Vec<Effect>) -> bool {
        self.inbound.accept_other(effects)
    }

    /// Handles a pong, which may be unsolicited.
    pub fn on_pong(&mut self, payload: &[u8], now: Now, effects: &mut Vec<Effect>) {
        let interval = Duration::from_secs(self.config.heartbeat_interval_s);
        if self.inbound.accept_other(effects)
            && let Some(took) = self.heartbeat.on_pong(payload, now.instant, interval)
        {
            self.subscriptions.acknowledged();
            effects.push(Effect::RoundTrip(took));
        }
    }

    pub fn on_text(&mut self, text: &str, now: Now, authenticator: &impl Authenticator, effects: &mut Vec<Effect>) {
        let Some(frame) = self.inbound.accept_text(text, effects) else { return };
        match frame {
            ClientFrame::Auth(AuthFrame { token }) => {
                self.on_auth(authenticator.verify(&token), authenticator, now, effects);
            }
            ClientFrame::Message(message) => self.on_message(message, now, effects),
            ClientFrame::Resume(resume) => self.on_resume(resume, now, effects),
            ClientFrame::Cancel(cancel) => self.on_cancel(&cancel, now, effects),
            ClientFrame::Ping(ping) => on_ping(ping, self.names(), effects),
        }
    }

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

    /// Takes over the permit that the upgrade request acquired.
    pub fn on_user_permit(&mut self, permit: UserPermit) {
        self.user_permit = Some(permit);
    }

    fn on_message(&mut self, message: MessageFrame, now: Now, effects: &mut Vec<Effect>) {
        let subject = subject_of_message(&message);
        match self.check_message(message, now) {
            Ok(new) => {
                let TurnSubject { turn_id, conversation_id, .. } = new.turn.subject;
                self.starting.push(Starting { turn_id, subject });
                // Before the turn starts, so that a turn that another connection starts right after it is announced here.
                effects.push(Effect::SubscribeToConversation(conversation_id));
                self.show(Arc::clone(&new.turn), now, effects);
                effects.push(Effect::Start(Box::new(new)));
            }
            Err(error) => {
                match error.code {
                    ErrorCode::Overloaded => effects.push(Effect::LimitHit(Limit::TurnsPerConnection)),
                    ErrorCode::MessageTooLong => effects.push(Effect::LimitHit(Limit::MessageSize)),
                    _ => {}
                }
                send_error(&error, &subject, self.names(), effects);
            }
        }
    }

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

    fn on_cancel(&mut self, cancel: &CancelFrame, now: Now, effects: &mut Vec<Effect>) {
        match self.authorised(now) {
            Ok(user_id) => effects.push(Effect::Cancel { user_id, turn_id: cancel.turn_id }),
            Err(error) => self.on_cancel_failed(cancel.turn_id, &error, effects),
        }
    }

    pub fn on_cancel_failed(&mut self, turn_id: TurnId, error: &ApiError, effects: &mut Vec<Effect>) {
        send_error(error, &ErrorSubject { turn_id: Some(turn_id), ..ErrorSubject::default() }, self.names(), effects);
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
        self.after_delivery(any_ended, now, effects);
    }

    /// Closes a connection with an expired token once its last turn has ended.
    fn after_delivery(&mut self, AnyEnded(any_ended): AnyEnded, now: Now, effects: &mut Vec<Effect>) {
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
        if matches!(self.auth, Auth::Anonymous) && self.auth_deadline() <= now.instant {
            effects.push(Effect::Close(CloseReason::AuthDeadline));
        }
        let AnyEnded(_) = self.subscriptions.flush(now, effects);
        self.check_expiry(now, effects);
    }

    /// When to call [`SessionState::on_alarm`] next.
    pub fn next_alarm(&self) -> Instant {
        let auth = match &self.auth {
            Auth::Anonymous => Some(self.auth_deadline()),
            Auth::Authenticated { notice_at: Some(notice_at), .. } => Some(*notice_at),
            // While a turn runs, its end triggers the next check.
            Auth::Authenticated { .. } if !self.subscriptions.is_empty() => None,
            Auth::Authenticated { expires_at, .. } => Some(*expires_at + Duration::from_secs(AUTH_GRACE_S)),
        };
        let heartbeat = self.heartbeat.next_at();
        let next = auth.map_or(heartbeat, |at| at.min(heartbeat));
        self.subscriptions.next_flush().map_or(next, |at| at.min(next))
    }

    fn auth_deadline(&self) -> Instant {
        self.heartbeat.opened_at() + Duration::from_secs(self.config.auth_deadline_s)
    }

    /// Announces the expiry of the token, and closes a connection without running turns after the grace period.
    fn check_expiry(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Auth::Authenticated { expires_at, notice_at, .. } = &mut self.auth else { return };
        if notice_at.is_some_and(|notice_at| notice_at <= now.instant) {
            *notice_at = None;
            let notice = AuthExpiring::new(expires_at.saturating_duration_since(now.instant));
            effects.push(send(ServerFrame::AuthExpiring(notice)));
        }
        if *expires_at + Duration::from_secs(AUTH_GRACE_S) <= now.instant && self.subscriptions.is_empty() {
            effects.push(Effect::Close(CloseReason::AuthExpired));
        }
    }

    fn names(&self) -> FieldNames {
        self.dialect.into()
    }

    fn identity(&self) -> Option<&Identity> {
        match &self.auth {
            Auth::Anonymous => None,
            Auth::Authenticated { identity, .. } => Some(identity),
        }
    }

    fn authorised(&self, now: Now) -> Result<UserId, ApiError> {
        match &self.auth {
            Auth::Anonymous => Err(ApiError::new(ErrorCode::AuthRequired, "authenticate first")),
            Auth::Authenticated { expires_at, .. } if *expires_at <= now.instant => {
                Err(ApiError::new(ErrorCode::AuthExpired, "the token has expired; send `auth` with a new one"))
            }
            Auth::Authenticated { identity, .. } => Ok(identity.user_id),
        }
    }
}

mod resume;

use resume::Resumption;

#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
