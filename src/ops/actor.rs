//! The `OpsSession` actor: one operator's WebSocket. It executes the effects that [`OpsState`] decides.
//!
//! It sends only at its tick and is polled only as the body of its response, so that a client that reads slowly gets fewer
//! samples instead of a growing queue.

use super::{
    feed::Feed,
    frames::ViewFrame,
    state::{OpsAuthenticator, OpsEffect, OpsState, TICK},
};
use crate::{
    auth::{Identity, Tokens},
    config::SessionConfig,
    connection::Now,
    domain::{AuditEntry, ConnectionId, UnixMillis},
    limiter::{AddressPermit, Limiter},
    limits::MAX_OPS_FRAME_BYTES,
    registry::{
        ConnectionAddress, ConnectionCommand, ConnectionKind, ConnectionManager, ConnectionRegistry, ConnectionStats,
        Registration, TapWatch,
    },
    steering::Audit,
    transport::{
        Decoder,
        socket::{self, SocketContext, SocketHandler},
    },
};
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Handler, WrapFuture};
use actix_web::{HttpRequest, HttpResponse, web::Bytes};
use bytestring::ByteString;
use std::{net::IpAddr, sync::Arc, time::Duration};
use switchboard_protocol::{ApiError, CloseReason};
use tokio::sync::{
    OwnedSemaphorePermit,
    broadcast::{self, error::TryRecvError},
};

/// Services that all operators' connections of a worker share.
#[derive(Clone)]
pub struct OpsContext {
    pub feed: Arc<Feed>,
    pub registry: Arc<Addr<ConnectionManager>>,
    pub tokens: Arc<Tokens>,
    pub limiter: Arc<Limiter>,
    pub audit: Arc<Audit>,
    pub session: Arc<SessionConfig>,
}

/// An upgrade request that passed the checks of the HTTP layer.
pub struct OpsOpening {
    /// Outcome of the authentication in the request, if there was any.
    pub auth: Option<Result<Identity, ApiError>>,
    /// The client's address, resolved through trusted proxies.
    pub address: IpAddr,
    pub user_agent: String,
    pub address_permit: AddressPermit,
    /// Subprotocol to echo.
    pub echo: Option<&'static str>,
}

pub struct OpsSession {
    context: OpsContext,
    state: OpsState,
    auth: Option<Result<Identity, ApiError>>,
    watch: Option<TapWatch>,
    /// Present after the first authentication.
    news: Option<broadcast::Receiver<Arc<AuditEntry>>>,
    /// Time of the reading that was sent last as `stats`.
    stats_at: UnixMillis,
    stats: Arc<ConnectionStats>,
    /// Set when the actor starts, because it needs the actor's address; `None` again once the close frame was sent.
    registration: Option<Registration>,
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
    context: OpsContext,
    OpsOpening { auth, address, user_agent, address_permit, echo }: OpsOpening,
) -> Result<HttpResponse, ApiError> {
    let deadline = Duration::from_secs(context.session.auth_deadline_s);
    let session = OpsSession {
        state: OpsState::new(&context.limiter.limits(), deadline, Now::read()),
        context,
        auth,
        watch: None,
        news: None,
        stats_at: UnixMillis::default(),
        stats: ConnectionStats::of_kind(
            ConnectionKind::Operator,
            ConnectionId::new(),
            None,
            address.to_string(),
            user_agent,
        ),
        registration: None,
        _address_permit: address_permit,
    };
    let echo: Vec<&str> = echo.into_iter().collect();
    socket::start(session, request, Decoder::of_text(MAX_OPS_FRAME_BYTES), &echo)
}

impl Actor for OpsSession {
    type Context = Context;

    fn started(&mut self, ctx: &mut Context) {
        let address = ConnectionAddress::Actor(ctx.address().recipient());
        self.registration =
            Some(Registration::new(Arc::clone(&self.context.registry), Arc::clone(&self.stats), address));
        if let Some(outcome) = self.auth.take() {
            self.decide(ctx, |state, authenticator, effects| {
                state.on_auth(outcome, Now::read(), authenticator, effects)
            });
        }
        self.tick_later(ctx);
    }
}

impl OpsAuthenticator for OpsContext {
    fn verify(&self, token: &str) -> Result<Identity, ApiError> {
        Ok(self.tokens.verify_access(token)?)
    }

    fn admit(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        self.feed.admit()
    }
}

impl OpsSession {
    /// Set anew after each tick: an interval would make up for missed ones.
    fn tick_later(&self, ctx: &mut Context) {
        ctx.run_later(TICK, |session, ctx| {
            session.decide(ctx, |state, _, effects| state.on_tick(Now::read(), effects));
            session.tick_later(ctx);
        });
    }

    /// Runs a decision of the state and executes its effects.
    fn decide(&mut self, ctx: &mut Context, decision: impl FnOnce(&mut OpsState, &OpsContext, &mut Vec<OpsEffect>)) {
        let mut effects = Vec::new();
        decision(&mut self.state, &self.context, &mut effects);
        for effect in effects {
            if self.registration.is_none() {
                break;
            }
            self.carry_out(effect, ctx);
        }
    }

    fn carry_out(&mut self, effect: OpsEffect, ctx: &mut Context) {
        match effect {
            OpsEffect::Send(frame) => self.send(frame, ctx),
            OpsEffect::Close(reason) => self.close(reason, ctx),
            OpsEffect::Hit(limit) => {
                self.stats.violated();
                self.context.limiter.hit(limit);
            }
            OpsEffect::Authenticated(identity) => {
                self.stats.set_identity(Arc::clone(&identity));
                // The token may have been revoked since it was verified. The revocation closes only connections that are
                // known to belong to the user, which this one was not until now.
                if self.context.tokens.check_revoked(&identity).is_err() {
                    self.close(CloseReason::AuthExpired, ctx);
                }
            }
            OpsEffect::SendHistory => {
                self.news.get_or_insert_with(|| self.context.audit.subscribe());
                self.send(self.context.feed.history(), ctx);
            }
            OpsEffect::SendStats => {
                if let Some(stats) = self.context.feed.stats().filter(|stats| stats.at != self.stats_at) {
                    self.stats_at = stats.at;
                    self.send(stats.frame, ctx);
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

    fn send(&self, frame: ByteString, ctx: &mut Context) {
        self.stats.sent_frame(UnixMillis::now(), frame.len(), 0);
        ctx.text(frame);
    }

    fn close_with(&mut self, reason: CloseReason, text: &str, ctx: &mut Context) {
        if self.registration.take().is_some() {
            log::info!(code = reason.code(); "closing an operator's connection: {}", reason.text());
            ctx.close(Some(reason.code()), text);
            ctx.stop();
        }
    }

    fn ask_for_rows(&self, ViewFrame { id, query }: ViewFrame, ctx: &mut Context) {
        let registry = Arc::clone(&self.context.registry);
        let answer = async move { registry.list(query).await };
        ctx.spawn(answer.into_actor(self).map(move |answer, session, ctx| match answer {
            Ok(page) => session.decide(ctx, |state, _, effects| state.on_rows(id, &page, effects)),
            Err(_) => session.close(CloseReason::GoingAway, ctx),
        }));
    }

    fn ask_for_connection(&self, id: ConnectionId, ctx: &mut Context) {
        let registry = Arc::clone(&self.context.registry);
        let answer = async move { registry.find(id).await };
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
    fn on_text(&mut self, text: &str, ctx: &mut Context) {
        self.stats.received_frame(text.len());
        self.decide(ctx, |state, authenticator, effects| state.on_text(text, Now::read(), authenticator, effects));
    }

    fn on_binary(&mut self, _: &Bytes, ctx: &mut Context) {
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

    fn on_client_close(&mut self, code: Option<u16>, ctx: &mut Context) {
        if self.registration.take().is_some() {
            ctx.close(code, "");
            ctx.stop();
        }
    }
}

impl Handler<ConnectionCommand> for OpsSession {
    type Result = ();

    fn handle(&mut self, command: ConnectionCommand, ctx: &mut Context) {
        match command {
            ConnectionCommand::Close(reason) => self.close(reason, ctx),
            ConnectionCommand::Kick(text) => self.close_with(CloseReason::Kicked, &text, ctx),
            ConnectionCommand::GoAway { reconnect_after_ms } => {
                self.decide(ctx, |state, _, effects| state.on_going_away(reconnect_after_ms, effects));
            }
            // Only chat connections subscribe to conversations and receive notices.
            ConnectionCommand::Subscribe(_) | ConnectionCommand::Notice(_) => {}
        }
    }
}
