//! What a session knows and decides: frames, results and the clock go in, effects come out.

pub use super::now::Now;
use super::{
    announced::Announced,
    authenticator::Authenticator,
    effect::{Effect, NewTurn, on_ping, send, send_error, subject_of, subject_of_message},
    heartbeat::{Beat, Heartbeat},
    intake::Intake,
    pending_resumes::{PendingResumes, ResumeTicket},
    question::QuestionRules,
    subscriptions::{AnyEnded, Subscriptions},
};
use crate::{
    api_error::from_failure,
    auth::Identity,
    config::{LimitsConfig, SessionConfig},
    domain::{ConversationId, TurnId, UserId},
    limiter::{Limit, UserPermit},
    limits::{AUTH_GRACE_S, MAX_AUTH_FAILURES, OVERLOADED_RETRY_MS},
    turn::{Cursor, FrameOptions, Mailbox, TurnEvent, TurnLog, TurnSubject},
    workflow::{ResumedConversation, StartedTurn},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use switchboard_protocol::{
    ApiError, AuthError, AuthExpiring, AuthFrame, AuthSuccess, CancelFrame, ClientFrame, CloseReason, Dialect,
    ErrorCode, ErrorSubject, FieldNames, GoingAway, MessageFrame, ResumeFrame, Resumed, ServerFrame, UserView,
};

pub struct SessionState {
    config: Arc<SessionConfig>,
    rules: QuestionRules,
    auth: Auth,
    /// From the first sign-in on, or from the upgrade.
    user_permit: Option<UserPermit>,
    auth_failures: u32,
    intake: Intake,
    heartbeat: Heartbeat,
    subscriptions: Subscriptions,
    /// Turns that this session started and nobody has accepted yet.
    starting: Vec<Starting>,
    resumes: PendingResumes<Result<ResumedConversation, ApiError>>,
    announced: Announced,
}

struct Starting {
    turn_id: TurnId,
    /// What an error about it names.
    subject: ErrorSubject,
}

enum Auth {
    Nobody,
    /// `notice_at`: when the client is told that the token ends, unless it was told.
    Somebody {
        identity: Arc<Identity>,
        expires_at: Instant,
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
        let options = FrameOptions {
            dialect,
            names: dialect.into(),
            coalesce: Duration::from_millis(config.coalesce_ms),
            failures: from_failure,
        };
        Self {
            heartbeat: Heartbeat::new(now.instant, Duration::from_secs(config.heartbeat_interval_s)),
            subscriptions: Subscriptions::new(options, mailbox),
            config,
            rules,
            auth: Auth::Nobody,
            user_permit: None,
            auth_failures: 0,
            intake: Intake::new(limits, options.names),
            starting: Vec::new(),
            resumes: PendingResumes::default(),
            announced: Announced::default(),
        }
    }

    /// The peer gave a sign of life.
    pub fn on_received(&mut self, now: Now) {
        self.heartbeat.on_received(now.instant);
    }

    /// A frame that is no text, or not the whole of one. Whether it has to be answered.
    pub fn on_other_frame(&self, effects: &mut Vec<Effect>) -> bool {
        self.intake.take_other(effects)
    }

    /// A pong, or what pretends to be one.
    pub fn on_pong(&mut self, payload: &[u8], now: Now, effects: &mut Vec<Effect>) {
        let interval = Duration::from_secs(self.config.heartbeat_interval_s);
        if self.intake.take_other(effects)
            && let Some(took) = self.heartbeat.on_pong(payload, now.instant, interval)
        {
            self.subscriptions.acknowledged();
            effects.push(Effect::RoundTrip(took));
        }
    }

    pub fn on_text(&mut self, text: &str, now: Now, authenticator: &impl Authenticator, effects: &mut Vec<Effect>) {
        let Some(frame) = self.intake.take_text(text, effects) else { return };
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

    /// A try to authenticate, by a frame or by the upgrade request, came to this.
    pub fn on_auth(
        &mut self,
        outcome: Result<Identity, ApiError>,
        authenticator: &impl Authenticator,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let outcome = outcome.and_then(|identity| match self.identity() {
            Some(known) if known.user_id != identity.user_id => {
                Err(ApiError::new(ErrorCode::InvalidToken, "this socket belongs to another user"))
            }
            _ => Ok(identity),
        });
        match outcome {
            Ok(identity) => {
                if self.user_permit.is_none() {
                    match authenticator.admit(identity.user_id) {
                        Ok(place) => self.user_permit = Some(place),
                        Err(error) => {
                            send_error(&error, &ErrorSubject::default(), self.names(), effects);
                            effects.push(Effect::NotIdentified(error.code));
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
                effects.push(Effect::Identified(Arc::clone(&identity)));
                let life_ms = identity.expires_at.saturating_mul(1000).saturating_sub(now.unix.0);
                let expires_at = now.instant + Duration::from_millis(u64::try_from(life_ms).unwrap_or(0));
                self.auth_failures = 0;
                let notice_at = expires_at.checked_sub(identity.expiry_notice()).or(Some(now.instant));
                self.auth = Auth::Somebody { identity, expires_at, notice_at };
                self.check_expiry(now, effects);
                self.show_announced(now, effects);
            }
            Err(error) => {
                let frame = ServerFrame::AuthError(AuthError { message: &error.message, code: error.code });
                effects.extend([send(frame), Effect::Failed(error.code), Effect::NotIdentified(error.code)]);
                self.auth_failures += 1;
                if self.auth_failures >= MAX_AUTH_FAILURES {
                    effects.push(Effect::Close(CloseReason::TooManyAuthFailures));
                }
            }
        }
    }

    /// The upgrade request took a place for the user already.
    pub fn on_user_permit(&mut self, place: UserPermit) {
        self.user_permit = Some(place);
    }

    fn on_message(&mut self, message: MessageFrame, now: Now, effects: &mut Vec<Effect>) {
        let subject = subject_of_message(&message);
        match self.check_message(message, now) {
            Ok(new) => {
                let TurnSubject { turn_id, conversation_id, .. } = new.turn.subject;
                self.starting.push(Starting { turn_id, subject });
                // First, so that a turn which another connection starts right after this one is announced here, too.
                effects.push(Effect::SubscribeToConversation(conversation_id));
                self.show(Arc::clone(&new.turn), Cursor::default(), now, effects);
                effects.push(Effect::Start(Box::new(new)));
            }
            Err(error) => {
                match error.code {
                    ErrorCode::Overloaded => effects.push(Effect::Hit(Limit::TurnsPerSession)),
                    ErrorCode::MessageTooLong => effects.push(Effect::Hit(Limit::MessageSize)),
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

    /// The workflow took a turn that this session started, or did not.
    pub fn on_started(
        &mut self,
        turn_id: TurnId,
        outcome: Result<StartedTurn, ApiError>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(place) = self.starting.iter().position(|starting| starting.turn_id == turn_id) else { return };
        let Starting { subject, .. } = self.starting.swap_remove(place);
        if self.starting.is_empty() {
            // A session waits for long after it has asked.
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

    /// News of a turn.
    pub fn on_turn_event(&mut self, event: TurnEvent, now: Now, effects: &mut Vec<Effect>) {
        let any_ended = self.subscriptions.on_event(event, now, effects);
        self.after(any_ended, now, effects);
    }

    pub fn opened_at(&self) -> Instant {
        self.heartbeat.opened_at()
    }

    pub fn subscriptions(&mut self) -> &mut Subscriptions {
        &mut self.subscriptions
    }

    /// Goes on where there was no room.
    pub fn send_more(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let any_ended = self.subscriptions.send_more(now, effects);
        self.after(any_ended, now, effects);
    }

    /// The end of the last turn may be the end of a session whose token is over.
    fn after(&mut self, AnyEnded(any_ended): AnyEnded, now: Now, effects: &mut Vec<Effect>) {
        if any_ended {
            self.check_expiry(now, effects);
        }
    }

    /// The server is going away, and this session has to.
    pub fn on_going_away(&mut self, reconnect_after_ms: u64, effects: &mut Vec<Effect>) {
        effects.push(send(ServerFrame::GoingAway(GoingAway { reconnect_after_ms })));
        effects.push(Effect::Close(CloseReason::GoingAway));
    }

    /// The time that [`SessionState::next_alarm`] named has come.
    pub fn on_alarm(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let interval = Duration::from_secs(self.config.heartbeat_interval_s);
        let timeout = Duration::from_secs(self.config.heartbeat_timeout_s);
        match self.heartbeat.beat(now.instant, interval, timeout) {
            Some(Beat::Gone) => return effects.push(Effect::Close(CloseReason::HeartbeatTimeout)),
            Some(Beat::Ping(payload)) => {
                effects.push(Effect::Ping(payload));
                self.subscriptions.pinged();
                if self.subscriptions.options().dialect == Dialect::V2 {
                    let AnyEnded(_) = self.subscriptions.send_heads(now, effects);
                }
            }
            None => {}
        }
        if matches!(self.auth, Auth::Nobody) && self.auth_deadline() <= now.instant {
            effects.push(Effect::Close(CloseReason::AuthDeadline));
        }
        let AnyEnded(_) = self.subscriptions.flush(now, effects);
        self.check_expiry(now, effects);
    }

    /// When [`SessionState::on_alarm`] has to be called next.
    pub fn next_alarm(&self) -> Instant {
        let auth = match &self.auth {
            Auth::Nobody => Some(self.auth_deadline()),
            Auth::Somebody { notice_at: Some(notice_at), .. } => Some(*notice_at),
            // With a turn still running, its end is the next occasion.
            Auth::Somebody { .. } if !self.subscriptions.is_empty() => None,
            Auth::Somebody { expires_at, .. } => Some(*expires_at + Duration::from_secs(AUTH_GRACE_S)),
        };
        let beat = self.heartbeat.next_at();
        let next = auth.map_or(beat, |at| at.min(beat));
        self.subscriptions.next_flush().map_or(next, |at| at.min(next))
    }

    fn auth_deadline(&self) -> Instant {
        self.heartbeat.opened_at() + Duration::from_secs(self.config.auth_deadline_s)
    }

    /// Tells of a token's coming end, and closes what stays past it with nothing running.
    fn check_expiry(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Auth::Somebody { expires_at, notice_at, .. } = &mut self.auth else { return };
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
        self.subscriptions.options().names
    }

    fn identity(&self) -> Option<&Identity> {
        match &self.auth {
            Auth::Nobody => None,
            Auth::Somebody { identity, .. } => Some(identity),
        }
    }

    fn authorised(&self, now: Now) -> Result<UserId, ApiError> {
        match &self.auth {
            Auth::Nobody => Err(ApiError::new(ErrorCode::AuthRequired, "authenticate first")),
            Auth::Somebody { expires_at, .. } if *expires_at <= now.instant => {
                Err(ApiError::new(ErrorCode::AuthExpired, "the token has expired; send `auth` with a new one"))
            }
            Auth::Somebody { identity, .. } => Ok(identity.user_id),
        }
    }
}

mod resume;

use resume::Resumption;

#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
