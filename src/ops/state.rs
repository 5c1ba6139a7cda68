//! The state of an operator's connection: authentication, view and watch. Frames, results and the clock go in, effects come out.

use super::frames::{
    AuditFrame, ConnectionFrame, FramesFrame, OpsClientFrame, OpsServerFrame, RowsFrame, ViewFrame, WatchFrame,
};
use crate::{
    auth::Identity,
    config::LimitsConfig,
    connection::{AuthRefusal, ConnectionAuth, GuardEffect, InboundGuard, Now, Refused, auth_error},
    domain::{AuditEntry, ConnectionId, Role},
    limiter::Limit,
    pause,
    registry::{ConnectionView, ConnectionsPage, NewFrames},
};
use bytestring::ByteString;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use switchboard_protocol::{
    ApiError, AuthFrame, CloseReason, ErrorCode, ErrorFrame, ErrorSubject, FieldNames, GoingAway,
};
use tokio::sync::OwnedSemaphorePermit;

/// Interval of [`OpsState::on_tick`], at which batches are sent.
pub const TICK: Duration = Duration::from_millis(250);
/// Interval at which numbers, rows and the watched connection are refreshed.
const SECOND: Duration = Duration::from_secs(1);

/// Authentication and admission of operators.
pub trait OpsAuthenticator {
    /// # Errors
    /// `INVALID_TOKEN` or `EXPIRED_TOKEN`.
    fn verify(&self, token: &str) -> Result<Identity, ApiError>;

    /// Acquires the permit for one more operator's connection.
    ///
    /// # Errors
    /// `TOO_MANY_CONNECTIONS`.
    fn admit(&self) -> Result<OwnedSemaphorePermit, ApiError>;
}

/// An instruction to the actor.
#[derive(Debug)]
pub enum OpsEffect {
    Send(ByteString),
    Close(CloseReason),
    /// Register the user of the connection.
    Authenticated(Arc<Identity>),
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
    auth: ConnectionAuth<OwnedSemaphorePermit>,
    inbound: InboundGuard,
    view: Option<ViewFrame>,
    /// Whether the view has changed since the last query.
    view_changed: bool,
    /// Whether a query is pending: there is one at a time.
    is_asking: bool,
    watched: Option<ConnectionId>,
    next_second: Instant,
    ticked_at: Instant,
}

impl GuardEffect for OpsEffect {
    fn limit_hit(limit: Limit) -> Self {
        Self::Hit(limit)
    }

    fn close(reason: CloseReason) -> Self {
        Self::Close(reason)
    }
}

impl OpsState {
    pub fn new(limits: &LimitsConfig, auth_deadline: Duration, now: Now) -> Self {
        Self {
            auth: ConnectionAuth::new(now.instant + auth_deadline),
            inbound: InboundGuard::new(limits),
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
        now: Now,
        authenticator: &impl OpsAuthenticator,
        effects: &mut Vec<OpsEffect>,
    ) {
        let frame = match self.inbound.accept(text, OpsClientFrame::parse, effects) {
            Ok(frame) => frame,
            Err(Refused::Malformed(error) | Refused::TooFast(_, error)) => return send_error(&error, effects),
            Err(Refused::Closed) => return,
        };
        if let OpsClientFrame::Auth(AuthFrame { token }) = frame {
            return self.on_auth(authenticator.verify(&token), now, authenticator, effects);
        }
        match self.auth.authorised(now) {
            Ok(_) => self.execute(frame, effects),
            Err(error) => send_error(&error, effects),
        }
    }

    fn execute(&mut self, frame: OpsClientFrame, effects: &mut Vec<OpsEffect>) {
        match frame {
            OpsClientFrame::Auth(_) => {}
            OpsClientFrame::View(view) => {
                self.view = Some(view);
                self.view_changed = true;
                self.ask(effects);
            }
            OpsClientFrame::Watch(WatchFrame { connection_id }) => {
                self.watched = connection_id;
                effects.push(OpsEffect::Unwatch);
                effects.extend(connection_id.map(OpsEffect::AskForConnection));
            }
        }
    }

    /// Handles a frame other than a whole text message. Returns whether it may be answered.
    pub fn on_other_frame(&self, effects: &mut Vec<OpsEffect>) -> bool {
        self.inbound.accept_other(effects)
    }

    /// Handles the outcome of an authentication by a frame or by the upgrade request.
    pub fn on_auth(
        &mut self,
        outcome: Result<Identity, ApiError>,
        now: Now,
        authenticator: &impl OpsAuthenticator,
        effects: &mut Vec<OpsEffect>,
    ) {
        let outcome = outcome.and_then(|identity| match identity.role {
            Role::User | Role::Agent => Err(ApiError::new(
                ErrorCode::Forbidden,
                "Only operators may do this. The person who runs this server can change your role; then sign in again.",
            )),
            Role::Operator => Ok(identity),
        });
        match self.auth.authenticate(outcome, now, |_| authenticator.admit()) {
            Ok(authenticated) => {
                effects.push(OpsEffect::Send(OpsServerFrame::AuthSuccess(authenticated.frame()).encode()));
                effects.push(OpsEffect::Authenticated(Arc::clone(&authenticated.identity)));
                if authenticated.is_first {
                    effects.extend([OpsEffect::SendHistory, OpsEffect::SendStats]);
                }
            }
            Err(AuthRefusal::Token { error, is_last }) => {
                effects.push(OpsEffect::Send(OpsServerFrame::AuthError(auth_error(&error)).encode()));
                if is_last {
                    effects.push(OpsEffect::Close(CloseReason::TooManyAuthFailures));
                }
            }
            Err(AuthRefusal::TooManyConnections(error)) => {
                send_error(&error, effects);
                effects.push(OpsEffect::Close(CloseReason::TooManyConnections));
            }
        }
    }

    /// Closes because the server stops.
    pub fn on_going_away(&self, reconnect_after_ms: u64, effects: &mut Vec<OpsEffect>) {
        effects.push(OpsEffect::Send(OpsServerFrame::GoingAway(GoingAway { reconnect_after_ms }).encode()));
        effects.push(OpsEffect::Close(CloseReason::GoingAway));
    }

    /// Called every [`TICK`].
    pub fn on_tick(&mut self, now: Now, effects: &mut Vec<OpsEffect>) {
        let due = std::mem::replace(&mut self.ticked_at, now.instant) + TICK;
        let is_paused = pause::lateness(due, now.instant).is_some();
        if self.auth.identity().is_none() {
            // After a pause of the process, frames that arrived meanwhile are handled first.
            if self.auth.is_past_deadline(now) && !is_paused {
                effects.push(OpsEffect::Close(CloseReason::AuthDeadline));
            }
            return;
        }
        // No grace period: an operator's connection has no turn to finish.
        if self.auth.is_expired(now, Duration::ZERO) {
            return effects.push(OpsEffect::Close(CloseReason::AuthExpired));
        }
        if let Some(notice) = self.auth.take_notice(now) {
            effects.push(OpsEffect::Send(OpsServerFrame::AuthExpiring(notice).encode()));
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
