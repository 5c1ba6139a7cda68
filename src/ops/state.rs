//! The state of an operator's connection: authentication, view and watch. Frames, results and the clock go in, effects come out.

use super::frames::{
    AuditFrame, ConnectionFrame, FramesFrame, OpsClientFrame, OpsServerFrame, RowsFrame, ViewFrame, WatchFrame,
};
use crate::{
    auth::Identity,
    config::LimitsConfig,
    domain::{AuditEntry, ConnectionId, Role, UnixMillis, UserId},
    limiter::{FrameBudget, FrameVerdict, Limit},
    limits::MAX_AUTH_FAILURES,
    pause,
    registry::{ConnectionView, ConnectionsPage, NewFrames},
};
use bytestring::ByteString;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use switchboard_protocol::{
    ApiError, AuthError, AuthExpiring, AuthFrame, AuthSuccess, CloseReason, ErrorCode, ErrorFrame, ErrorSubject,
    FieldNames, GoingAway, UserView, check_json_depth,
};

/// Interval of [`OpsState::on_tick`], at which batches are sent.
pub const TICK: Duration = Duration::from_millis(250);
/// Interval at which numbers, rows and the watched connection are refreshed.
const SECOND: Duration = Duration::from_secs(1);

/// Authentication and admission of operators.
pub trait OpsAuthenticator {
    /// # Errors
    /// `INVALID_TOKEN` or `EXPIRED_TOKEN`.
    fn verify(&self, token: &str) -> Result<Identity, ApiError>;

    /// Registers the connection for an operator; `false` when the limit is reached.
    fn admit(&self, user_id: UserId) -> bool;

    /// Whether the identity was revoked after it was verified.
    fn is_revoked(&self, identity: &Identity) -> bool;
}

/// An instruction to the actor.
#[derive(Debug)]
pub enum OpsEffect {
    Send(ByteString),
    Close(CloseReason),
    /// Count a refusal by a limit.
    Hit(Limit),
    /// Send the history.
    SendHistory,
    /// Send the latest sample unless it was sent already.
    SendStats,
    /// Query the registry for rows.
    AskForRows(ViewFrame),
    /// Query the registry for the watched connection.
    AskForConnection(ConnectionId),
    /// Drop the watch on the previous connection.
    Unwatch,
    /// Send the audit entries since the last time.
    SendAudit,
    /// Send the shapes of the frames since the last time.
    SendFrames(ConnectionId),
}

pub struct OpsState {
    auth: Auth,
    auth_failures: u32,
    auth_deadline: Instant,
    budget: FrameBudget,
    max_json_depth: usize,
    view: Option<ViewFrame>,
    /// Whether the view has changed since the last query.
    view_changed: bool,
    /// Whether a query is pending: there is one at a time.
    is_asking: bool,
    watched: Option<ConnectionId>,
    next_second: Instant,
    ticked_at: Instant,
}

enum Auth {
    Unauthenticated,
    /// `notice_at`: time at which to announce the expiry of the token, unless it was announced.
    Operator {
        identity: Identity,
        expires_at: Instant,
        notice_at: Option<Instant>,
    },
}

/// A moment on both clocks: timers use the monotonic clock, tokens expire by the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub instant: Instant,
    pub unix: UnixMillis,
}

impl Moment {
    pub fn now() -> Self {
        Self { instant: Instant::now(), unix: UnixMillis::now() }
    }
}

impl OpsState {
    pub fn new(limits: &LimitsConfig, auth_deadline: Duration, now: Moment) -> Self {
        Self {
            auth: Auth::Unauthenticated,
            auth_failures: 0,
            auth_deadline: now.instant + auth_deadline,
            budget: FrameBudget::new(limits),
            max_json_depth: limits.json_depth,
            view: None,
            view_changed: false,
            is_asking: false,
            watched: None,
            next_second: now.instant + SECOND,
            ticked_at: now.instant,
        }
    }

    pub fn on_text(
        &mut self,
        text: &str,
        now: Moment,
        authenticator: &impl OpsAuthenticator,
        effects: &mut Vec<OpsEffect>,
    ) {
        let frame = match self.take(text, effects) {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => return send_error(&error, effects),
        };
        match (frame, &self.auth) {
            (OpsClientFrame::Auth(AuthFrame { token }), _) => {
                self.on_auth(authenticator.verify(&token), now, authenticator, effects)
            }
            (_, Auth::Unauthenticated) => {
                send_error(&ApiError::new(ErrorCode::AuthRequired, "authenticate first"), effects);
            }
            (OpsClientFrame::View(view), Auth::Operator { .. }) => {
                self.view = Some(view);
                self.view_changed = true;
                self.ask(effects);
            }
            (OpsClientFrame::Watch(WatchFrame { connection_id }), Auth::Operator { .. }) => {
                self.watched = connection_id;
                effects.push(OpsEffect::Unwatch);
                effects.extend(connection_id.map(OpsEffect::AskForConnection));
            }
        }
    }

    /// Handles a frame other than a whole text message. Returns whether it may be answered.
    pub fn on_other_frame(&self, effects: &mut Vec<OpsEffect>) -> bool {
        self.charge(effects) == FrameVerdict::Allowed
    }

    fn take(&self, text: &str, effects: &mut Vec<OpsEffect>) -> Result<Option<OpsClientFrame>, ApiError> {
        match self.charge(effects) {
            FrameVerdict::Allowed => {}
            FrameVerdict::Close => return Ok(None),
            FrameVerdict::Refused(wait) => {
                return Err(ApiError::rate_limited("You are sending frames too fast. Please wait a moment.", wait));
            }
        }
        check_json_depth(text.as_bytes(), self.max_json_depth)
            .inspect_err(|_| effects.push(OpsEffect::Hit(Limit::JsonDepth)))?;
        OpsClientFrame::parse(text).map(Some)
    }

    fn charge(&self, effects: &mut Vec<OpsEffect>) -> FrameVerdict {
        let verdict = self.budget.charge();
        match verdict {
            FrameVerdict::Allowed => {}
            FrameVerdict::Refused(_) => effects.push(OpsEffect::Hit(Limit::Frames)),
            FrameVerdict::Close => {
                effects.extend([OpsEffect::Hit(Limit::Violations), OpsEffect::Close(CloseReason::TooManyViolations)]);
            }
        }
        verdict
    }

    /// Handles the outcome of an authentication by a frame or by the upgrade request.
    pub fn on_auth(
        &mut self,
        outcome: Result<Identity, ApiError>,
        now: Moment,
        authenticator: &impl OpsAuthenticator,
        effects: &mut Vec<OpsEffect>,
    ) {
        let outcome = outcome.and_then(|identity| match (&self.auth, identity.role) {
            (_, Role::User | Role::Agent) => Err(ApiError::new(ErrorCode::Forbidden, "Only operators may do this.")),
            (Auth::Operator { identity: known, .. }, _) if known.user_id != identity.user_id => {
                Err(ApiError::new(ErrorCode::InvalidToken, "this connection belongs to another user"))
            }
            _ if authenticator.is_revoked(&identity) => {
                Err(ApiError::new(ErrorCode::InvalidToken, "the token was revoked"))
            }
            _ => Ok(identity),
        });
        let identity = match outcome {
            Ok(identity) => identity,
            Err(error) => {
                let frame = OpsServerFrame::AuthError(AuthError { message: &error.message, code: error.code });
                effects.push(OpsEffect::Send(frame.encode()));
                self.auth_failures += 1;
                if self.auth_failures >= MAX_AUTH_FAILURES {
                    effects.push(OpsEffect::Close(CloseReason::TooManyAuthFailures));
                }
                return;
            }
        };
        if !authenticator.admit(identity.user_id) {
            let reason = "There are too many operators' pages open.";
            send_error(&ApiError::new(ErrorCode::TooManyConnections, reason), effects);
            return effects.push(OpsEffect::Close(CloseReason::TooManyConnections));
        }
        let is_first = matches!(self.auth, Auth::Unauthenticated);
        let frame = OpsServerFrame::AuthSuccess(AuthSuccess {
            message: "Authenticated",
            user: UserView { id: identity.user_id, email: identity.email.as_str(), name: identity.name.as_str() },
            expires_at: identity.expires_at,
        });
        effects.push(OpsEffect::Send(frame.encode()));
        if is_first {
            effects.extend([OpsEffect::SendHistory, OpsEffect::SendStats]);
        }
        let life_ms = identity.expires_at.saturating_mul(1_000).saturating_sub(now.unix.0);
        let expires_at = now.instant + Duration::from_millis(u64::try_from(life_ms).unwrap_or(0));
        self.auth_failures = 0;
        let notice_at = expires_at.checked_sub(identity.expiry_notice()).or(Some(now.instant));
        self.auth = Auth::Operator { identity, expires_at, notice_at };
    }

    /// Closes because the server stops.
    pub fn on_going_away(&self, reconnect_after_ms: u64, effects: &mut Vec<OpsEffect>) {
        effects.push(OpsEffect::Send(OpsServerFrame::GoingAway(GoingAway { reconnect_after_ms }).encode()));
        effects.push(OpsEffect::Close(CloseReason::GoingAway));
    }

    /// Called every [`TICK`].
    pub fn on_tick(&mut self, now: Moment, authenticator: &impl OpsAuthenticator, effects: &mut Vec<OpsEffect>) {
        let due = std::mem::replace(&mut self.ticked_at, now.instant) + TICK;
        let is_paused = pause::lateness(due, now.instant).is_some();
        match &mut self.auth {
            Auth::Unauthenticated => {
                // After a pause of the process, frames that arrived meanwhile are handled first.
                if self.auth_deadline <= now.instant && !is_paused {
                    effects.push(OpsEffect::Close(CloseReason::AuthDeadline));
                }
                return;
            }
            Auth::Operator { expires_at, .. } if *expires_at <= now.instant => {
                return effects.push(OpsEffect::Close(CloseReason::AuthExpired));
            }
            Auth::Operator { identity, .. } if authenticator.is_revoked(identity) => {
                return effects.push(OpsEffect::Close(CloseReason::AuthExpired));
            }
            Auth::Operator { expires_at, notice_at, .. } => {
                if notice_at.is_some_and(|notice_at| notice_at <= now.instant) {
                    *notice_at = None;
                    let notice = AuthExpiring::new(expires_at.saturating_duration_since(now.instant));
                    effects.push(OpsEffect::Send(OpsServerFrame::AuthExpiring(notice).encode()));
                }
            }
        }
        if self.next_second <= now.instant {
            // A slow reader does not get the samples that it missed.
            self.next_second = now.instant + SECOND - TICK / 2;
            self.view_changed = self.view.is_some();
            effects.extend([OpsEffect::SendStats, OpsEffect::SendAudit]);
            effects.extend(self.watched.map(OpsEffect::AskForConnection));
        }
        self.ask(effects);
        effects.extend(self.watched.map(OpsEffect::SendFrames));
    }

    fn ask(&mut self, effects: &mut Vec<OpsEffect>) {
        if let Some(view) = &self.view
            && self.view_changed
            && !self.is_asking
        {
            self.is_asking = true;
            self.view_changed = false;
            effects.push(OpsEffect::AskForRows(view.clone()));
        }
    }

    /// Handles the rows of a query. A view that changed meanwhile is queried at the next tick, which bounds the load of a
    /// page that changes its view all the time.
    pub fn on_rows(&mut self, id: u32, page: &ConnectionsPage, effects: &mut Vec<OpsEffect>) {
        self.is_asking = false;
        let ConnectionsPage { connections, total, offset } = page;
        let frame = RowsFrame { id, offset: *offset, total: *total, connections };
        effects.push(OpsEffect::Send(OpsServerFrame::Connections(frame).encode()));
    }

    /// Handles the watched connection, or `None` when it is closed.
    pub fn on_connection(&self, id: ConnectionId, connection: Option<&ConnectionView>, effects: &mut Vec<OpsEffect>) {
        if self.watched == Some(id) {
            let frame = ConnectionFrame { connection_id: id, connection };
            effects.push(OpsEffect::Send(OpsServerFrame::Connection(frame).encode()));
        }
    }

    /// Handles new audit entries.
    pub fn on_audit(&self, entries: &[Arc<AuditEntry>], effects: &mut Vec<OpsEffect>) {
        if !entries.is_empty() {
            let entries = entries.iter().map(AsRef::as_ref).collect();
            effects.push(OpsEffect::Send(OpsServerFrame::Audit(AuditFrame { entries }).encode()));
        }
    }

    pub fn watches(&self, id: ConnectionId) -> bool {
        self.watched == Some(id)
    }

    /// Handles frames of the watched connection.
    pub fn on_frames(
        &self,
        id: ConnectionId,
        NewFrames { frames, left_out }: &NewFrames,
        effects: &mut Vec<OpsEffect>,
    ) {
        if self.watched == Some(id) && !frames.is_empty() {
            let frame = FramesFrame { connection_id: id, frames, left_out: *left_out };
            effects.push(OpsEffect::Send(OpsServerFrame::Frames(frame).encode()));
        }
    }
}

fn send_error(error: &ApiError, effects: &mut Vec<OpsEffect>) {
    let about = ErrorSubject::default();
    let frame = OpsServerFrame::Error(ErrorFrame::new(error, &about, FieldNames::V2));
    effects.push(OpsEffect::Send(frame.encode()));
}

#[cfg(test)]
mod tests;
