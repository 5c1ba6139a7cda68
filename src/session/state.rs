//! What a session knows and decides: frames, results and the clock go in, effects come out.

use crate::{
    auth::Identity,
    config::SessionConfig,
    domain::{ConversationId, TurnId, UnixMillis, UserId},
    limits::{
        AUTH_EXPIRING_NOTICE_S, AUTH_GRACE_S, MAX_AUTH_FAILURES, MAX_PING_ID_BYTES, OVERLOADED_RETRY_MS,
        SESSION_ROOM_BYTES,
    },
    protocol::{
        ApiError, AuthError, AuthExpiring, AuthFrame, AuthSuccess, CancelFrame, ClientFrame, CloseReason, Dialect,
        ErrorCode, ErrorFrame, ErrorSubject, GoingAway, HeadOfTurn, Heartbeat, MessageFrame, PingFrame, Pong,
        ResumeFrame, Resumed, ServerFrame, UserView,
    },
    turn::{Cursor, Followed, Following, Mailbox, Outbox, Outgoing, Style, TurnEvent, TurnLog, TurnSubject},
    workflow::{Question, QuestionRules, StartedTurn, is_client_id},
};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// A moment, on both clocks: timers run on the steady one, tokens end on the wall's.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub instant: Instant,
    pub unix: UnixMillis,
}

impl Now {
    pub fn read() -> Self {
        Self { instant: Instant::now(), unix: UnixMillis::now() }
    }
}

/// What the actor has to do.
pub enum Effect {
    Send(Outgoing),
    /// A WebSocket ping.
    Ping,
    Close(CloseReason),
    /// The user is known from now on.
    Identified(UserId),
    Start(NewTurn),
    Resume {
        user_id: UserId,
        resume: ResumeFrame,
    },
    Cancel {
        user_id: UserId,
        turn_id: TurnId,
    },
    /// A turn is followed from now on.
    Followed(Followed),
    /// It ended, or is not followed any more.
    Unfollowed(Arc<TurnLog>),
    /// The session wants the turns that other sessions of this user start there, too.
    FollowConversation(ConversationId),
}

/// A question that passed all that can be checked here, and the log that its answer will fill.
pub struct NewTurn {
    pub turn: Arc<TurnLog>,
    pub question: Question,
}

/// Tells who a token stands for.
pub trait Verifier {
    /// # Errors
    /// `INVALID_TOKEN` or `EXPIRED_TOKEN`.
    fn verify(&self, token: &str) -> Result<Identity, ApiError>;
}

pub struct SessionState {
    config: Arc<SessionConfig>,
    rules: QuestionRules,
    style: Style,
    mailbox: Mailbox,
    auth: Auth,
    auth_failures: u32,
    opened_at: Instant,
    last_received_at: Instant,
    next_heartbeat: Instant,
    /// When tokens that are being collected have to go out.
    next_flush: Option<Instant>,
    /// Bytes of turns that may still go out before the connection asks for more.
    room: usize,
    following: HashMap<TurnId, Following>,
    /// Turns that this session started and nobody has accepted yet.
    starting: HashMap<TurnId, Starting>,
}

struct Starting {
    conversation_id: ConversationId,
    /// What an error about it names.
    subject: ErrorSubject,
}

enum Auth {
    Nobody,
    Somebody { identity: Identity, expires_at: Instant, told_of_expiry: bool },
}

impl SessionState {
    pub fn new(config: Arc<SessionConfig>, rules: QuestionRules, dialect: Dialect, mailbox: Mailbox, now: Now) -> Self {
        Self {
            next_heartbeat: now.instant + Duration::from_secs(config.heartbeat_interval_s),
            style: Style { dialect, coalesce: Duration::from_millis(config.coalesce_ms) },
            next_flush: None,
            room: SESSION_ROOM_BYTES,
            config,
            rules,
            mailbox,
            auth: Auth::Nobody,
            auth_failures: 0,
            opened_at: now.instant,
            last_received_at: now.instant,
            following: HashMap::new(),
            starting: HashMap::new(),
        }
    }

    /// The peer gave a sign of life.
    pub fn on_received(&mut self, now: Now) {
        self.last_received_at = now.instant;
    }

    pub fn on_text(&mut self, text: &str, now: Now, verifier: &impl Verifier, effects: &mut Vec<Effect>) {
        match ClientFrame::parse(text) {
            Ok(ClientFrame::Auth(AuthFrame { token })) => self.on_auth(verifier.verify(&token), now, effects),
            Ok(ClientFrame::Message(message)) => self.on_message(message, now, effects),
            Ok(ClientFrame::Resume(resume)) => self.on_resume(resume, now, effects),
            Ok(ClientFrame::Cancel(cancel)) => self.on_cancel(&cancel, now, effects),
            Ok(ClientFrame::Ping(ping)) => on_ping(ping, effects),
            Err(error) => send_error(&error, &ErrorSubject::default(), effects),
        }
    }

    /// A try to authenticate, by a frame or by the upgrade request, came to this.
    pub fn on_auth(&mut self, outcome: Result<Identity, ApiError>, now: Now, effects: &mut Vec<Effect>) {
        let outcome = outcome.and_then(|identity| match self.identity() {
            Some(known) if known.user_id != identity.user_id => {
                Err(ApiError::new(ErrorCode::InvalidToken, "this socket belongs to another user"))
            }
            _ => Ok(identity),
        });
        match outcome {
            Ok(identity) => {
                let frame = ServerFrame::AuthSuccess(AuthSuccess {
                    message: "Authenticated",
                    user: UserView { id: identity.user_id, email: &identity.email, name: &identity.name },
                    expires_at: identity.expires_at,
                });
                effects.push(send(frame));
                effects.push(Effect::Identified(identity.user_id));
                let life_ms = identity.expires_at.saturating_mul(1000).saturating_sub(now.unix.0);
                let expires_at = now.instant + Duration::from_millis(u64::try_from(life_ms).unwrap_or(0));
                self.auth_failures = 0;
                self.auth = Auth::Somebody { identity, expires_at, told_of_expiry: false };
                self.check_expiry(now, effects);
            }
            Err(error) => {
                let frame = ServerFrame::AuthError(AuthError { message: &error.message, code: error.code });
                effects.push(send(frame));
                self.auth_failures += 1;
                if self.auth_failures >= MAX_AUTH_FAILURES {
                    effects.push(Effect::Close(CloseReason::TooManyAuthFailures));
                }
            }
        }
    }

    fn on_message(&mut self, message: MessageFrame, now: Now, effects: &mut Vec<Effect>) {
        let subject = ErrorSubject {
            turn_id: None,
            session_id: message.session_id,
            client_message_id: message.client_message_id.clone().filter(|id| is_client_id(id)),
        };
        match self.check_message(message, now) {
            Ok(new) => {
                let TurnSubject { turn_id, conversation_id, .. } = new.turn.subject;
                self.starting.insert(turn_id, Starting { conversation_id, subject });
                self.follow(Arc::clone(&new.turn), Cursor::default(), now, effects);
                effects.push(Effect::Start(new));
            }
            Err(error) => send_error(&error, &subject, effects),
        }
    }

    fn check_message(&self, message: MessageFrame, now: Now) -> Result<NewTurn, ApiError> {
        let user_id = self.authorised(now)?;
        let question = self.rules.parse(message)?;
        if self.following.len() >= self.config.max_running_turns {
            let reason = "Too many answers are being written on this connection.";
            return Err(ApiError::overloaded(reason, OVERLOADED_RETRY_MS));
        }
        let conversation_id = question.conversation_id.unwrap_or_else(ConversationId::new);
        let turn = TurnLog::new(TurnSubject { turn_id: TurnId::new(), conversation_id, user_id });
        Ok(NewTurn { turn, question })
    }

    fn on_resume(&mut self, resume: ResumeFrame, now: Now, effects: &mut Vec<Effect>) {
        let subject = subject_of(&resume);
        let checked = self.authorised(now).and_then(|user_id| match resume.last_seq {
            -1..=0xFFFF_FFFE => Ok(user_id),
            _ => Err(ApiError::invalid_field("last_seq", "must be -1 or the seq of a token")),
        });
        match checked {
            Ok(user_id) => effects.push(Effect::Resume { user_id, resume }),
            Err(error) => send_error(&error, &subject, effects),
        }
    }

    fn on_cancel(&mut self, cancel: &CancelFrame, now: Now, effects: &mut Vec<Effect>) {
        match self.authorised(now) {
            Ok(user_id) => effects.push(Effect::Cancel { user_id, turn_id: cancel.turn_id }),
            Err(error) => self.on_cancel_failed(cancel.turn_id, &error, effects),
        }
    }

    pub fn on_cancel_failed(&mut self, turn_id: TurnId, error: &ApiError, effects: &mut Vec<Effect>) {
        send_error(error, &ErrorSubject { turn_id: Some(turn_id), ..ErrorSubject::default() }, effects);
    }

    /// The workflow took a turn that this session started, or did not.
    pub fn on_started(
        &mut self,
        turn_id: TurnId,
        outcome: Result<StartedTurn, ApiError>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Starting { conversation_id, subject }) = self.starting.remove(&turn_id) else { return };
        match outcome {
            Ok(StartedTurn::New) => effects.push(Effect::FollowConversation(conversation_id)),
            Ok(StartedTurn::Duplicate(first)) => {
                self.unfollow(turn_id, effects);
                self.resume_from(first, Cursor::default(), subject.client_message_id.as_deref(), now, effects);
            }
            Err(error) => {
                self.unfollow(turn_id, effects);
                send_error(&error, &subject, effects);
            }
        }
    }

    /// The turn to resume was found, or was not.
    pub fn on_resumed(
        &mut self,
        resume: &ResumeFrame,
        outcome: Result<Arc<TurnLog>, ApiError>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        match outcome {
            Ok(turn) => {
                let next_seq = u32::try_from(resume.last_seq + 1).unwrap_or(u32::MAX);
                // All steps come before the first token: who has a token has seen the steps.
                let progress = if next_seq == 0 { 0 } else { usize::MAX };
                self.resume_from(turn, Cursor { progress, next_seq, ended: false }, None, now, effects);
            }
            Err(error) => send_error(&error, &subject_of(resume), effects),
        }
    }

    fn resume_from(
        &mut self,
        turn: Arc<TurnLog>,
        cursor: Cursor,
        client_message_id: Option<&str>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let cursor = Cursor { next_seq: cursor.next_seq.min(turn.position().1), ..cursor };
        let frame = ServerFrame::Resumed(Resumed {
            session_id: turn.subject.conversation_id,
            turn_id: turn.subject.turn_id,
            from_seq: cursor.next_seq,
            state: turn.state(),
            client_message_id,
        });
        effects.push(send(frame));
        effects.push(Effect::FollowConversation(turn.subject.conversation_id));
        self.unfollow(turn.subject.turn_id, effects);
        self.follow(turn, cursor, now, effects);
    }

    /// Another session of this user started a turn in a conversation that this one follows.
    pub fn on_follow(&mut self, turn: Arc<TurnLog>, now: Now, effects: &mut Vec<Effect>) {
        let may_follow = self.authorised(now).is_ok_and(|user_id| user_id == turn.subject.user_id);
        if may_follow && !self.following.contains_key(&turn.subject.turn_id) {
            self.follow(turn, Cursor::default(), now, effects);
        }
    }

    fn follow(&mut self, turn: Arc<TurnLog>, cursor: Cursor, now: Now, effects: &mut Vec<Effect>) {
        let put = &mut |outgoing| effects.push(Effect::Send(outgoing));
        let mut outbox = Outbox { now: now.instant, room: &mut self.room, put };
        let following = Following::start(turn, self.mailbox.follower(), self.style, cursor, &mut outbox);
        if !following.has_ended() {
            effects.push(Effect::Followed(following.followed()));
            self.following.insert(following.turn().subject.turn_id, following);
        }
    }

    fn unfollow(&mut self, turn_id: TurnId, effects: &mut Vec<Effect>) {
        if let Some(following) = self.following.remove(&turn_id) {
            effects.push(Effect::Unfollowed(Arc::clone(following.turn())));
        }
    }

    /// News of a turn. What comes late, of a turn that is not followed any more, says nothing.
    pub fn on_turn_event(&mut self, event: TurnEvent, now: Now, effects: &mut Vec<Effect>) {
        let mut any_ended = false;
        if let Some(following) = self.following.get_mut(&event.turn.subject.turn_id) {
            let put = &mut |outgoing| effects.push(Effect::Send(outgoing));
            following.on_event(event, &mut Outbox { now: now.instant, room: &mut self.room, put });
            any_ended = following.has_ended();
            self.next_flush = earliest(self.next_flush, following.hold_until());
        }
        if self.mailbox.take_overflowed() {
            self.catch_up(now, effects, Following::is_behind);
        }
        if any_ended {
            self.forget_ended(now, effects);
        }
    }

    /// The connection took what there was.
    pub fn make_room(&mut self) {
        self.room = SESSION_ROOM_BYTES;
    }

    /// Whether something waits for the connection to ask for more.
    pub fn holds_back(&self) -> bool {
        self.room == 0 && self.following.values().any(Following::is_behind)
    }

    /// Goes on where there was no room.
    pub fn send_more(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.catch_up(now, effects, Following::is_behind);
    }

    fn catch_up(&mut self, now: Now, effects: &mut Vec<Effect>, which: impl Fn(&Following) -> bool) {
        let put = &mut |outgoing| effects.push(Effect::Send(outgoing));
        let mut outbox = Outbox { now: now.instant, room: &mut self.room, put };
        let mut any_ended = false;
        for following in self.following.values_mut().filter(|following| which(following)) {
            following.catch_up(&mut outbox);
            any_ended |= following.has_ended();
            self.next_flush = earliest(self.next_flush, following.hold_until());
        }
        if any_ended {
            self.forget_ended(now, effects);
        }
    }

    fn forget_ended(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let ended = self.following.extract_if(|_, following| following.has_ended());
        effects.extend(ended.map(|(_, following)| Effect::Unfollowed(Arc::clone(following.turn()))));
        self.check_expiry(now, effects);
    }

    /// The server is going away, and this session has to.
    pub fn on_going_away(&mut self, reconnect_after_ms: u64, effects: &mut Vec<Effect>) {
        effects.push(send(ServerFrame::GoingAway(GoingAway { reconnect_after_ms })));
        effects.push(Effect::Close(CloseReason::GoingAway));
    }

    /// Tells how far each running turn has come, so that who has less knows that something was lost.
    fn send_heads(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.catch_up(now, effects, |_| true);
        let running = self.following.values().filter(|following| following.cursor().progress > 0);
        let turns: Vec<_> = running
            .map(|following| HeadOfTurn {
                turn_id: following.turn().subject.turn_id,
                session_id: following.turn().subject.conversation_id,
                seq: i64::from(following.cursor().next_seq) - 1,
            })
            .collect();
        if !turns.is_empty() {
            effects.push(send(ServerFrame::Heartbeat(Heartbeat { turns })));
        }
    }

    /// The time that [`SessionState::next_alarm`] named has come.
    pub fn on_alarm(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.next_heartbeat <= now.instant {
            let silence = now.instant.duration_since(self.last_received_at);
            if silence >= Duration::from_secs(self.config.heartbeat_timeout_s) {
                effects.push(Effect::Close(CloseReason::HeartbeatTimeout));
                return;
            }
            effects.push(Effect::Ping);
            if self.style.dialect == Dialect::V2 {
                self.send_heads(now, effects);
            }
            self.next_heartbeat = now.instant + Duration::from_secs(self.config.heartbeat_interval_s);
        }
        if matches!(self.auth, Auth::Nobody) && self.auth_deadline() <= now.instant {
            effects.push(Effect::Close(CloseReason::AuthDeadline));
        }
        if self.next_flush.is_some_and(|at| at <= now.instant) {
            let is_due = |following: &Following| following.hold_until().is_some_and(|until| until <= now.instant);
            self.next_flush = None;
            self.catch_up(now, effects, is_due);
            self.next_flush = self.following.values().filter_map(Following::hold_until).min();
        }
        self.check_expiry(now, effects);
    }

    /// When [`SessionState::on_alarm`] has to be called next.
    pub fn next_alarm(&self) -> Instant {
        let auth = match &self.auth {
            Auth::Nobody => Some(self.auth_deadline()),
            Auth::Somebody { expires_at, told_of_expiry: false, .. } => Some(notice_at(*expires_at)),
            // With a turn still running, its end is the next occasion.
            Auth::Somebody { .. } if !self.following.is_empty() => None,
            Auth::Somebody { expires_at, .. } => Some(*expires_at + Duration::from_secs(AUTH_GRACE_S)),
        };
        let next = auth.map_or(self.next_heartbeat, |at| at.min(self.next_heartbeat));
        self.next_flush.map_or(next, |at| at.min(next))
    }

    fn auth_deadline(&self) -> Instant {
        self.opened_at + Duration::from_secs(self.config.auth_deadline_s)
    }

    /// Tells of a token's coming end, and closes what stays past it with nothing running.
    fn check_expiry(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Auth::Somebody { identity, expires_at, told_of_expiry } = &mut self.auth else { return };
        if !*told_of_expiry && notice_at(*expires_at) <= now.instant {
            *told_of_expiry = true;
            let expires_in = (identity.expires_at - now.unix.seconds()).max(0);
            effects.push(send(ServerFrame::AuthExpiring(AuthExpiring { expires_in })));
        }
        if *expires_at + Duration::from_secs(AUTH_GRACE_S) <= now.instant && self.following.is_empty() {
            effects.push(Effect::Close(CloseReason::AuthExpired));
        }
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

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    [one, other].into_iter().flatten().min()
}

fn on_ping(ping: PingFrame, effects: &mut Vec<Effect>) {
    let too_long = ping.id.as_ref().is_some_and(|id| id.to_string().len() > MAX_PING_ID_BYTES);
    if too_long {
        let error = ApiError::invalid_field("id", format_args!("must be at most {MAX_PING_ID_BYTES} bytes of JSON"));
        send_error(&error, &ErrorSubject::default(), effects);
    } else {
        effects.push(send(ServerFrame::Pong(Pong { id: ping.id })));
    }
}

fn notice_at(expires_at: Instant) -> Instant {
    let notice = Duration::from_secs(AUTH_EXPIRING_NOTICE_S.unsigned_abs());
    expires_at.checked_sub(notice).unwrap_or(expires_at)
}

fn subject_of(resume: &ResumeFrame) -> ErrorSubject {
    ErrorSubject { turn_id: resume.turn_id, session_id: Some(resume.session_id), client_message_id: None }
}

fn send_error(error: &ApiError, about: &ErrorSubject, effects: &mut Vec<Effect>) {
    effects.push(send(ServerFrame::Error(ErrorFrame::new(error, about))));
}

fn send(frame: ServerFrame<'_>) -> Effect {
    Effect::Send(Outgoing::from(frame))
}

#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
