//! The `ChatSession` actor: one WebSocket. It carries out what [`SessionState`] decides.
//!
//! It is polled only as the body of its response. A peer that stops reading stops the actor, too: then nothing here runs,
//! and what happens meanwhile waits in the turns' logs.

use super::{
    alarm::{Alarm, AlarmHandler},
    authenticator::ConnectionAuthenticator,
    context::SessionContext,
    effect::{self, Effect, NewTurn},
    fragments::Fragments,
    pending_resumes::ResumeTicket,
    response_body::{Flow, ResponseBody, SendMore},
    socket::{self, Received, SocketContext, SocketHandler},
    state::{Now, SessionState},
};
use crate::api_error::InternalError;
use crate::{
    auth::Identity,
    domain::{ConnectionId, TurnId, UserId},
    limiter::{AddressPermit, Limit, UserPermit},
    limits::CONNECTION_CREDIT_BYTES,
    metrics::{AuthWay, ClientClose, Surface},
    registry::{ConnectionStats, Direction, Registration, SessionCommand},
    turn::{Mailbox, Outgoing, TurnEvent},
    workflow::{CancelTurn, ResumeConversation, ResumedConversation, StartTurn, TurnError},
};
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, MailboxError, StreamHandler, WrapFuture};
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Bytes, Data, Payload},
};
use actix_web_actors::ws;
use bytestring::ByteString;
use std::{net::IpAddr, rc::Rc, sync::Arc};
use switchboard_protocol::{ApiError, CloseReason, Offer, ResumeFrame};

/// Who opens a socket, and from where.
pub struct Opening {
    pub offer: Offer,
    /// What became of the proof in the request, when there was one.
    pub auth: Option<Result<Identity, ApiError>>,
    /// The client's, as far as proxies can be trusted.
    pub address: IpAddr,
    pub address_permit: AddressPermit,
    /// When `auth` says who it is.
    pub user_permit: Option<UserPermit>,
    pub user_agent: String,
}

pub struct ChatSession {
    context: Data<SessionContext>,
    stats: Arc<ConnectionStats>,
    flow: Rc<Flow>,
    /// From the start of the actor on, which knows its address.
    running: Option<Running>,
    address: IpAddr,
    /// Held as long as the socket.
    _address_permit: AddressPermit,
    user_permit: Option<UserPermit>,
    /// Until the start of the actor.
    auth: Option<Box<Result<Identity, ApiError>>>,
    fragments: Fragments,
}

struct Running {
    state: SessionState,
    registration: Registration,
    alarm: Alarm,
}

/// Answers an upgrade request with a session.
///
/// # Errors
/// When the request is no WebSocket handshake.
pub fn upgrade(
    request: &HttpRequest,
    payload: Payload,
    context: Data<SessionContext>,
    opening: Opening,
) -> Result<HttpResponse, ApiError> {
    let Opening { offer, auth, address, address_permit, user_permit, user_agent } = opening;
    let max_message_bytes = context.config.max_message_bytes;
    let stats = ConnectionStats::new(ConnectionId::new(), offer.dialect, address.to_string(), user_agent);
    let flow = Rc::<Flow>::default();
    let session = ChatSession {
        stats: Arc::clone(&stats),
        flow: Rc::clone(&flow),
        address,
        _address_permit: address_permit,
        user_permit,
        context,
        running: None,
        auth: auth.map(Box::new),
        fragments: Fragments::of_text(max_message_bytes),
    };
    socket::start(session, request, payload, offer.echo.as_slice(), |frames| ResponseBody::new(frames, flow, stats))
}

type Context = SocketContext<ChatSession>;

impl Actor for ChatSession {
    type Context = Context;

    fn started(&mut self, ctx: &mut Context) {
        let now = Now::read();
        self.flow.connect(ctx.address().recipient::<SendMore>());
        let mailbox = Mailbox::new(ctx.address()).with_metrics(Arc::clone(&self.context.metrics));
        let mut state = SessionState::new(
            Arc::clone(&self.context.config),
            &self.context.limiter.limits(),
            self.context.rules,
            self.stats.dialect,
            mailbox,
            now,
        );
        if let Some(place) = self.user_permit.take() {
            state.on_user_permit(place);
        }
        let alarm_at = state.next_alarm();
        self.running = Some(Running {
            registration: Registration::new(
                self.context.registry.clone(),
                Arc::clone(&self.stats),
                ctx.address().recipient::<SessionCommand>(),
            ),
            state,
            alarm: Alarm::set::<Self>(alarm_at, ctx),
        });
        log::info!(connection_id:% = self.stats.connection_id, address = self.stats.address; "a session opened");
        if let Some(outcome) = self.auth.take() {
            self.decide(ctx, |state, authenticator, now, effects| state.on_auth(*outcome, authenticator, now, effects));
        }
    }

    fn stopped(&mut self, _: &mut Context) {
        if self.running.take().is_some() {
            self.context.metrics.left.increment(ClientClose::Lost);
        }
        log::info!(connection_id:% = self.stats.connection_id; "a session closed");
    }
}

impl ChatSession {
    /// Lets the state decide, and carries out what it decided.
    fn decide(
        &mut self,
        ctx: &mut Context,
        decision: impl FnOnce(&mut SessionState, &ConnectionAuthenticator<'_>, Now, &mut Vec<Effect>),
    ) {
        let Some(running) = &mut self.running else { return };
        let now = Now::read();
        let mut effects = effect::empty_list();
        if self.flow.take_asked() {
            running.state.subscriptions().grant_credit(CONNECTION_CREDIT_BYTES);
        }
        let authenticator = ConnectionAuthenticator { context: &self.context, address: self.address };
        decision(&mut running.state, &authenticator, now, &mut effects);
        self.stats.set_waits_for_credit(running.state.subscriptions().waits_for_credit());
        running.alarm.move_up::<Self>(running.state.next_alarm(), ctx);
        for effect in effects.drain(..) {
            self.carry_out(effect, now, ctx);
            if self.running.is_none() {
                break;
            }
        }
        effect::give_back(effects);
    }

    fn carry_out(&mut self, effect: Effect, now: Now, ctx: &mut Context) {
        match effect {
            Effect::Send(outgoing) => {
                self.stats.sent_frame(now.unix, outgoing.frame.len(), outgoing.tokens);
                self.stats.tap().text(Direction::Out, &outgoing.frame);
                ctx.text(outgoing.frame);
            }
            Effect::Ping(payload) => {
                self.stats.tap().control(Direction::Out, "ping", payload.len());
                ctx.ping(&payload);
            }
            Effect::RoundTrip(took) => self.stats.set_round_trip(took),
            Effect::Close(reason) => self.close(reason, ctx),
            Effect::Hit(limit) => {
                self.stats.violated();
                self.context.limiter.hit(limit);
            }
            Effect::Failed(code) => self.context.metrics.errors.increment(Surface::Socket, code),
            Effect::Identified(identity) => {
                let user_id = identity.user_id;
                let is_first = self.stats.user().is_none();
                self.stats.set_identity(Arc::clone(&identity));
                // Revoked between the proof and here: whoever ends the sessions of this user may have looked too early.
                if self.context.tokens.check_revoked(&identity).is_err() {
                    return self.close(CloseReason::AuthExpired, ctx);
                }
                self.count_authentication(is_first);
                log::info!(connection_id:% = self.stats.connection_id, user_id:%; "a session authenticated");
            }
            Effect::NotIdentified(code) => self.context.metrics.authenticated(AuthWay::Socket, Err(code)),
            Effect::Start(new) => self.start_turn(*new, ctx),
            Effect::Resume { ticket, user_id, resume } => self.resume_turn(ticket, user_id, &resume, ctx),
            Effect::Cancel { user_id, turn_id } => self.cancel_turn(user_id, turn_id, ctx),
            Effect::Subscribed(subscribed) => self.stats.add_turn(subscribed),
            Effect::Unsubscribed(turn) => self.stats.remove_turn(&turn),
            Effect::SubscribeToConversation(id) => {
                if let Some(running) = &self.running {
                    running.registration.subscribe(id);
                }
            }
        }
    }

    fn count_authentication(&self, is_first: bool) {
        let metrics = &self.context.metrics;
        metrics.authenticated(AuthWay::Socket, Ok(()));
        if let Some(running) = &self.running
            && is_first
        {
            metrics.connection_auth.record(running.state.opened_at().elapsed());
        }
    }

    fn start_turn(&self, NewTurn { turn, question }: NewTurn, ctx: &mut Context) {
        let turn_id = turn.subject.turn_id;
        let by = Some(self.stats.connection_id);
        let answer = self.context.workflow.send(StartTurn { turn, question, by, address: self.address });
        let decided = answer.into_actor(self).map(move |answer, session, ctx| {
            let outcome = received(answer);
            session.decide(ctx, |state, _, now, effects| state.on_started(turn_id, outcome, now, effects));
        });
        ctx.spawn(decided);
    }

    fn resume_turn(&self, ticket: ResumeTicket, user_id: UserId, resume: &ResumeFrame, ctx: &mut Context) {
        let answer = self.context.workflow.send(ResumeConversation {
            user_id,
            conversation_id: resume.conversation_id,
            turn_id: resume.turn_id,
        });
        let decided = answer.into_actor(self).map(move |answer, session, ctx| {
            let outcome = received(answer);
            let found = outcome.as_ref().map(ResumedConversation::state).map_err(|error| error.code);
            session.context.metrics.resumed(found);
            session.decide(ctx, |state, _, now, effects| state.on_resumed(ticket, outcome, now, effects));
        });
        ctx.spawn(decided);
    }

    fn cancel_turn(&self, user_id: UserId, turn_id: TurnId, ctx: &mut Context) {
        let answer = self.context.workflow.send(CancelTurn { user_id, turn_id });
        let decided = answer.into_actor(self).map(move |answer, session, ctx| {
            if let Err(error) = received(answer) {
                session.decide(ctx, |state, _, _, effects| state.on_cancel_failed(turn_id, &error, effects));
            }
        });
        ctx.spawn(decided);
    }

    /// Tells the peer why its socket ends.
    fn close_with(&mut self, reason: CloseReason, text: &str, ctx: &mut Context) {
        if self.running.is_some() {
            if reason == CloseReason::MessageTooBig {
                self.context.limiter.hit(Limit::MessageSize);
            }
            let code = reason.code();
            log::info!(connection_id:% = self.stats.connection_id, code; "closing a session: {}", reason.text());
            self.stats.tap().control(Direction::Out, "close", 2 + text.len());
            self.context.metrics.closed.increment(reason);
            self.end(Some(socket::close_frame(code, text)), ctx);
        }
    }

    /// Says goodbye and ends the actor; what was queued before still goes out, and nothing after it.
    fn end(&mut self, reason: Option<ws::CloseReason>, ctx: &mut Context) {
        if self.running.take().is_some() {
            ctx.close(reason);
            ctx.stop();
        }
    }
}

impl SocketHandler for ChatSession {
    fn fragments(&mut self) -> &mut Fragments {
        &mut self.fragments
    }

    fn on_text(&mut self, text: &ByteString, ctx: &mut Context) {
        self.stats.received_frame(text.len());
        self.stats.tap().text(Direction::In, text);
        self.decide(ctx, |state, authenticator, now, effects| state.on_text(text, now, authenticator, effects));
    }

    fn on_other_frame(&mut self, ctx: &mut Context) -> bool {
        let mut answer = false;
        self.decide(ctx, |state, _, _, effects| answer = state.on_other_frame(effects));
        answer
    }

    fn on_pong(&mut self, payload: &[u8], ctx: &mut Context) {
        self.stats.tap().control(Direction::In, "pong", payload.len());
        self.decide(ctx, |state, _, now, effects| state.on_pong(payload, now, effects));
    }

    fn on_binary(&mut self, _: Bytes, ctx: &mut Context) {
        self.close(CloseReason::UnsupportedData, ctx);
    }

    fn close(&mut self, reason: CloseReason, ctx: &mut Context) {
        self.close_with(reason, reason.text(), ctx);
    }

    fn on_client_close(&mut self, code: Option<ws::CloseCode>, ctx: &mut Context) {
        if self.running.is_some() {
            self.context.metrics.left.increment(ClientClose::of(code.map(u16::from)));
        }
        self.end(code.map(ws::CloseReason::from), ctx);
    }
}

impl StreamHandler<Received> for ChatSession {
    fn handle(&mut self, received: Received, ctx: &mut Context) {
        if let Some(running) = &mut self.running {
            running.state.on_received(Now::read());
        }
        socket::receive(self, received, ctx);
    }
}

impl AlarmHandler for ChatSession {
    fn on_alarm(&mut self, ctx: &mut Context) {
        let Some(running) = &mut self.running else { return };
        if running.alarm.catches_up::<Self>(ctx) {
            return;
        }
        self.decide(ctx, |state, _, now, effects| state.on_alarm(now, effects));
        if let Some(running) = &mut self.running {
            running.alarm = Alarm::set::<Self>(running.state.next_alarm(), ctx);
        }
    }
}

impl Handler<TurnEvent> for ChatSession {
    type Result = ();

    fn handle(&mut self, event: TurnEvent, ctx: &mut Context) {
        self.decide(ctx, |state, _, now, effects| state.on_turn_event(event, now, effects));
    }
}

impl Handler<SendMore> for ChatSession {
    type Result = ();

    fn handle(&mut self, _: SendMore, ctx: &mut Context) {
        self.decide(ctx, |state, _, now, effects| state.send_more(now, effects));
    }
}

impl Handler<SessionCommand> for ChatSession {
    type Result = ();

    fn handle(&mut self, command: SessionCommand, ctx: &mut Context) {
        match command {
            SessionCommand::Subscribe(turn) => {
                self.decide(ctx, |state, _, now, effects| state.on_subscribe(turn, now, effects));
            }
            SessionCommand::Close(reason) => self.close(reason, ctx),
            SessionCommand::Kick(text) => self.close_with(CloseReason::Kicked, &text, ctx),
            SessionCommand::Notice(frame) => {
                let outgoing = Outgoing { frame, tokens: 0, seq: None };
                self.decide(ctx, |_, _, _, effects| effects.push(Effect::Send(outgoing)));
            }
            SessionCommand::GoAway { reconnect_after_ms } => {
                self.decide(ctx, |state, _, _, effects| state.on_going_away(reconnect_after_ms, effects));
            }
        }
    }
}

/// An answer through a mailbox: a workflow that is gone is our failure.
fn received<T>(answer: Result<Result<T, TurnError>, MailboxError>) -> Result<T, ApiError> {
    Ok(answer.map_err(|error| ApiError::internal(&error))??)
}
