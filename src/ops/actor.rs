//! The `OpsSession` actor: one operator's WebSocket. It executes the effects that [`OpsState`] decides.
//!
//! It sends only at its tick and is polled only as the body of its response, so that a client that reads slowly gets fewer
//! samples instead of a growing queue.

use super::{
    feed::Feed,
    frames::ViewFrame,
    sockets::{OpsCommand, OpsRegistration},
    state::{OpsAuthenticator, OpsEffect, OpsState, TICK},
};
use crate::{
    auth::{Identity, Tokens},
    config::SessionConfig,
    connection::Now,
    domain::{AuditEntry, ConnectionId, UnixMillis, UserId},
    limiter::{AddressPermit, Limiter},
    limits::MAX_OPS_FRAME_BYTES,
    registry::{ConnectionManager, FindConnection, ListConnections, TapWatch},
    steering::Audit,
    transport::{
        Fragments,
        socket::{self, CloseCode, Received, SocketContext, SocketHandler},
    },
};
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Handler, StreamHandler, WrapFuture};
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Bytes, Data, Payload},
};
use bytestring::ByteString;
use std::{sync::Arc, time::Duration};
use switchboard_protocol::{ApiError, CloseReason, ErrorCode};
use tokio::sync::broadcast::{self, error::TryRecvError};

/// Services that all operators' connections of a worker share.
#[derive(Clone)]
pub struct OpsContext {
    pub feed: Arc<Feed>,
    pub registry: Addr<ConnectionManager>,
    pub tokens: Data<Tokens>,
    pub limiter: Arc<Limiter>,
    pub audit: Arc<Audit>,
    pub session: Arc<SessionConfig>,
}

/// An upgrade request that passed the checks of the HTTP layer.
pub struct OpsOpening {
    /// Outcome of the authentication in the request, if there was any.
    pub auth: Option<Result<Identity, ApiError>>,
    pub registration: OpsRegistration,
    pub address_permit: AddressPermit,
    /// Subprotocol to echo.
    pub echo: Option<&'static str>,
}

pub struct OpsSession {
    context: OpsContext,
    state: OpsState,
    auth: Option<Result<Identity, ApiError>>,
    fragments: Fragments,
    watch: Option<TapWatch>,
    /// Present after the first authentication.
    news: Option<broadcast::Receiver<Arc<AuditEntry>>>,
    /// Time of the reading that was sent last as `stats`.
    stats_at: UnixMillis,
    is_open: bool,
    registration: OpsRegistration,
    /// Held as long as the connection.
    _address_permit: AddressPermit,
}

type Context = SocketContext<OpsSession>;

/// Answers an upgrade request with an operator's connection.
///
/// # Errors
/// Returns an error if the request is not a WebSocket handshake.
pub fn upgrade(
    request: &HttpRequest,
    payload: Payload,
    context: OpsContext,
    OpsOpening { auth, registration, address_permit, echo }: OpsOpening,
) -> Result<HttpResponse, ApiError> {
    let deadline = Duration::from_secs(context.session.auth_deadline_s);
    let session = OpsSession {
        state: OpsState::new(&context.limiter.limits(), deadline, Now::read()),
        context,
        auth,
        fragments: Fragments::of_text(MAX_OPS_FRAME_BYTES),
        watch: None,
        news: None,
        stats_at: UnixMillis::default(),
        is_open: true,
        registration,
        _address_permit: address_permit,
    };
    let echo: Vec<&str> = echo.into_iter().collect();
    socket::start(session, request, payload, &echo, |frames| frames)
}

impl Actor for OpsSession {
    type Context = Context;

    fn started(&mut self, ctx: &mut Context) {
        if !self.registration.reach(ctx.address().recipient()) {
            return self.close(CloseReason::GoingAway, ctx);
        }
        if let Some(outcome) = self.auth.take() {
            self.decide(ctx, |state, authenticator, effects| {
                state.on_auth(outcome, Now::read(), authenticator, effects)
            });
        }
        self.tick_later(ctx);
    }
}

/// Authentication for one connection.
struct ConnectionAuthenticator<'a> {
    tokens: &'a Tokens,
    registration: &'a OpsRegistration,
}

impl OpsAuthenticator for ConnectionAuthenticator<'_> {
    fn verify(&self, token: &str) -> Result<Identity, ApiError> {
        Ok(self.tokens.verify_access(token)?)
    }

    fn admit(&self, user_id: UserId) -> Result<(), ApiError> {
        let refused = || {
            let reason = "There are too many operators' pages open.";
            ApiError::new(ErrorCode::TooManyConnections, reason)
        };
        self.registration.sign_in(user_id).then_some(()).ok_or_else(refused)
    }

    fn is_revoked(&self, identity: &Identity) -> bool {
        self.tokens.check_revoked(identity).is_err()
    }
}

impl OpsSession {
    /// Set anew after each tick: an interval would make up for missed ones.
    fn tick_later(&self, ctx: &mut Context) {
        ctx.run_later(TICK, |session, ctx| {
            session.decide(ctx, |state, authenticator, effects| state.on_tick(Now::read(), authenticator, effects));
            session.tick_later(ctx);
        });
    }

    /// Runs a decision of the state and executes its effects.
    fn decide(
        &mut self,
        ctx: &mut Context,
        decision: impl FnOnce(&mut OpsState, &ConnectionAuthenticator<'_>, &mut Vec<OpsEffect>),
    ) {
        let mut effects = Vec::new();
        let authenticator = ConnectionAuthenticator { tokens: &self.context.tokens, registration: &self.registration };
        decision(&mut self.state, &authenticator, &mut effects);
        for effect in effects {
            if !self.is_open {
                break;
            }
            self.carry_out(effect, ctx);
        }
    }

    fn carry_out(&mut self, effect: OpsEffect, ctx: &mut Context) {
        match effect {
            OpsEffect::Send(frame) => ctx.text(frame),
            OpsEffect::Close(reason) => self.close(reason, ctx),
            OpsEffect::Hit(limit) => self.context.limiter.hit(limit),
            OpsEffect::SendHistory => {
                self.news.get_or_insert_with(|| self.context.audit.subscribe());
                ctx.text(self.context.feed.history());
            }
            OpsEffect::SendStats => {
                if let Some(stats) = self.context.feed.stats().filter(|stats| stats.at != self.stats_at) {
                    self.stats_at = stats.at;
                    ctx.text(stats.frame);
                }
            }
            OpsEffect::AskForRows(view) => self.ask_for_rows(view, ctx),
            OpsEffect::AskForConnection(id) => self.ask_for_connection(id, ctx),
            OpsEffect::Unwatch => self.watch = None,
            OpsEffect::SendAudit => {
                let entries = self.news.as_mut().map(newest).unwrap_or_default();
                self.decide(ctx, |state, _, effects| state.on_audit(&entries, effects));
            }
            OpsEffect::SendFrames(id) => {
                if let Some(taken) = self.watch.as_mut().map(TapWatch::take) {
                    self.decide(ctx, |state, _, effects| state.on_frames(id, &taken, effects));
                }
            }
        }
    }

    fn close_with(&mut self, reason: CloseReason, text: &str, ctx: &mut Context) {
        if self.is_open {
            self.is_open = false;
            log::info!(code = reason.code(); "closing an operator's connection: {}", reason.text());
            ctx.close(Some(socket::close_frame(reason.code(), text)));
            ctx.stop();
        }
    }

    fn ask_for_rows(&self, ViewFrame { id, query }: ViewFrame, ctx: &mut Context) {
        let answer = self.context.registry.send(ListConnections(query));
        ctx.spawn(answer.into_actor(self).map(move |answer, session, ctx| match answer {
            Ok(page) => session.decide(ctx, |state, _, effects| state.on_rows(id, &page, effects)),
            Err(_) => session.close(CloseReason::GoingAway, ctx),
        }));
    }

    fn ask_for_connection(&self, id: ConnectionId, ctx: &mut Context) {
        let answer = self.context.registry.send(FindConnection(id));
        ctx.spawn(answer.into_actor(self).map(move |answer, session, ctx| {
            let found = answer.ok().flatten();
            session.decide(ctx, |state, _, effects| {
                state.on_connection(id, found.as_ref().map(|found| &found.view), effects);
            });
            match found {
                Some(found) if session.state.watches(id) => {
                    session.watch.get_or_insert_with(|| TapWatch::new(found.stats));
                }
                _ => {}
            }
        }));
    }
}

/// Returns the entries since the last call. Entries beyond the bound of the channel are only in the audit log.
fn newest(news: &mut broadcast::Receiver<Arc<AuditEntry>>) -> Vec<Arc<AuditEntry>> {
    let mut entries = Vec::new();
    loop {
        match news.try_recv() {
            Ok(entry) => entries.push(entry),
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return entries,
        }
    }
}

impl SocketHandler for OpsSession {
    fn fragments(&mut self) -> &mut Fragments {
        &mut self.fragments
    }

    fn on_text(&mut self, text: &ByteString, ctx: &mut Context) {
        self.decide(ctx, |state, authenticator, effects| state.on_text(text, Now::read(), authenticator, effects));
    }

    fn on_binary(&mut self, _: Bytes, ctx: &mut Context) {
        self.close(CloseReason::UnsupportedData, ctx);
    }

    fn on_other_frame(&mut self, ctx: &mut Context) -> bool {
        let mut answer = false;
        self.decide(ctx, |state, _, effects| answer = state.on_other_frame(effects));
        answer
    }

    fn close(&mut self, reason: CloseReason, ctx: &mut Context) {
        self.close_with(reason, reason.text(), ctx);
    }

    fn on_client_close(&mut self, code: Option<CloseCode>, ctx: &mut Context) {
        if self.is_open {
            self.is_open = false;
            ctx.close(code.map(Into::into));
            ctx.stop();
        }
    }
}

impl StreamHandler<Received> for OpsSession {
    fn handle(&mut self, received: Received, ctx: &mut Context) {
        socket::receive(self, received, ctx);
    }
}

impl Handler<OpsCommand> for OpsSession {
    type Result = ();

    fn handle(&mut self, command: OpsCommand, ctx: &mut Context) {
        match command {
            OpsCommand::Kick(text) => self.close_with(CloseReason::Kicked, &text, ctx),
            OpsCommand::GoAway { reconnect_after_ms } => {
                self.decide(ctx, |state, _, effects| state.on_going_away(reconnect_after_ms, effects));
            }
        }
    }
}
