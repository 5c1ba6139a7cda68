//! The `ChatSession` actor, which serves one WebSocket. It performs the effects that [`SessionState`] decides on.
//!
//! The actor is polled only as the body of its response, so a client that stops reading also stops the actor. Until it reads
//! again, its turns go on in their logs.

use super::{
    alarm::{Alarm, AlarmHandler},
    authenticator::ConnectionAuthenticator,
    context::SessionContext,
    effect::{self, Effect, NewTurn},
    pending_resumes::ResumeTicket,
    state::{Resumed, SessionState},
};
use crate::{
    api_error::InternalError,
    auth::Identity,
    bus::{BusSubscription, Waker},
    connection::Now,
    domain::{ConnectionId, ConversationId, TurnId, UserId},
    limiter::{AddressPermit, Limit, UserPermit},
    limits::CONNECTION_CREDIT_BYTES,
    metrics::{AuthWay, ClientClose, Surface},
    registry::{ConnectionAddress, ConnectionCommand, ConnectionStats, Direction, Registration},
    transport::{
        Decoder,
        socket::{self, SocketContext, SocketHandler},
    },
    turn::{Mailbox, Outgoing, TurnEvent},
    workflow::{CancelTurn, ReadEvents, ResumeConversation, ResumeEvents, ResumedConversation, StartTurn, TurnError},
};
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, MailboxError, Recipient, WrapFuture};
use actix_web::{HttpRequest, HttpResponse, web::Bytes};
use std::{net::IpAddr, sync::Arc};
use switchboard_protocol::{ApiError, CloseReason, Dialect, Offer, ResumeFrame};

/// An admitted upgrade request.
pub struct Opening {
    pub offer: Offer,
    /// The result of authentication, if the request carried a credential.
    pub auth: Option<Result<Identity, ApiError>>,
    /// The client's address, resolved through trusted proxies.
    pub address: IpAddr,
    pub address_permit: AddressPermit,
    /// Present if `auth` succeeded.
    pub user_permit: Option<UserPermit>,
    pub user_agent: String,
}

pub struct ChatSession {
    context: Arc<SessionContext>,
    stats: Arc<ConnectionStats>,
    dialect: Dialect,
    /// Set when the actor starts, because it needs the actor's address; `None` again once the close frame was sent.
    running: Option<Running>,
    address: IpAddr,
    /// Held until the connection ends.
    _address_permit: AddressPermit,
    /// Taken when the actor starts.
    auth: Option<Box<UpgradeAuth>>,
}

/// The outcome of the authentication in an upgrade request, and the permit that it acquired.
struct UpgradeAuth {
    outcome: Result<Identity, ApiError>,
    permit: Option<UserPermit>,
}

struct Running {
    state: SessionState,
    /// Subscriptions to the events of conversations.
    events: Vec<BusSubscription>,
    _registration: Registration,
    alarm: Alarm,
}

/// Starts a session and returns the response that upgrades its connection.
///
/// # Errors
/// If the request is not a WebSocket handshake.
pub fn upgrade(
    request: &HttpRequest,
    context: Arc<SessionContext>,
    opening: Opening,
) -> Result<HttpResponse, ApiError> {
    let Opening { offer, auth, address, address_permit, user_permit, user_agent } = opening;
    let decoder = Decoder::of_text(context.config.max_message_bytes);
    let session = ChatSession {
        stats: ConnectionStats::new(ConnectionId::new(), offer.dialect, address.to_string(), user_agent),
        dialect: offer.dialect,
        address,
        _address_permit: address_permit,
        context,
        running: None,
        auth: auth.map(|outcome| Box::new(UpgradeAuth { outcome, permit: user_permit })),
    };
    socket::start(session, request, decoder, offer.echo.as_slice())
}

type Context = SocketContext<ChatSession>;

impl Actor for ChatSession {
    type Context = Context;

    fn started(&mut self, ctx: &mut Context) {
        let now = Now::read();
        let mailbox = Mailbox::new(ctx.address()).with_metrics(Arc::clone(&self.context.metrics));
        let mut state = SessionState::new(
            Arc::clone(&self.context.config),
            &self.context.limiter.limits(),
            Arc::clone(&self.context.rules),
            self.dialect,
            mailbox,
            now,
        );
        let (outcome, permit) = self.auth.take().map_or((None, None), |auth| (Some(auth.outcome), auth.permit));
        if let Some(permit) = permit {
            state.on_user_permit(permit);
        }
        let alarm_at = state.next_alarm();
        self.running = Some(Running {
            _registration: Registration::new(
                Arc::clone(&self.context.registry),
                Arc::clone(&self.stats),
                ConnectionAddress::Actor(ctx.address().recipient()),
            ),
            state,
            events: Vec::new(),
            alarm: Alarm::set::<Self>(alarm_at, ctx),
        });
        log::info!(connection_id:% = self.stats.connection_id, address = self.stats.address; "connection opened");
        if let Some(outcome) = outcome {
            self.decide(ctx, |state, authenticator, now, effects| state.on_auth(outcome, authenticator, now, effects));
        }
    }

    fn stopped(&mut self, _: &mut Context) {
        if self.running.take().is_some() {
            self.context.metrics.left.increment(ClientClose::Lost);
        }
        log::info!(connection_id:% = self.stats.connection_id; "connection closed");
    }
}

impl ChatSession {
    /// Passes an input to the state and performs the resulting effects.
    fn decide(
        &mut self,
        ctx: &mut Context,
        decision: impl FnOnce(&mut SessionState, &ConnectionAuthenticator<'_>, Now, &mut Vec<Effect>),
    ) {
        let Some(running) = &mut self.running else { return };
        let now = Now::read();
        let mut effects = effect::empty_list();
        if ctx.take_demand() {
            running.state.subscriptions().grant_credit(CONNECTION_CREDIT_BYTES);
        }
        let authenticator = ConnectionAuthenticator { context: &self.context, address: self.address };
        decision(&mut running.state, &authenticator, now, &mut effects);
        self.stats.set_waits_for_credit(running.state.waits_for_credit());
        running.alarm.move_up::<Self>(running.state.next_alarm(), ctx);
        for effect in effects.drain(..) {
            self.perform(effect, now, ctx);
            if self.running.is_none() {
                break;
            }
        }
        effect::give_back(effects);
    }

    fn perform(&mut self, effect: Effect, now: Now, ctx: &mut Context) {
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
            Effect::LimitHit(limit) => {
                self.stats.violated();
                self.context.limiter.hit(limit);
            }
            Effect::ErrorSent(code) => self.context.metrics.errors.increment(Surface::Socket, code),
            Effect::Authenticated(identity) => {
                let user_id = identity.user_id;
                let is_first = self.stats.user().is_none();
                self.stats.set_identity(Arc::clone(&identity));
                // The token may have been revoked since it was verified. The revocation closes only connections that are
                // known to belong to the user, which this one was not until now.
                if self.context.tokens.check_revoked(&identity).is_err() {
                    return self.close(CloseReason::AuthExpired, ctx);
                }
                self.count_authentication(is_first);
                log::info!(connection_id:% = self.stats.connection_id, user_id:%; "connection authenticated");
            }
            Effect::AuthFailed(code) => self.context.metrics.authenticated(AuthWay::Socket, Err(code)),
            Effect::Start(new) => self.start_turn(*new, ctx),
            Effect::Resume { ticket, user_id, resume } => self.resume_turn(ticket, user_id, &resume, ctx),
            Effect::KeepEvents(subscription) => self.keep_events(subscription, ctx),
            Effect::UnsubscribeFromEvents(conversation) => {
                if let Some(running) = &mut self.running {
                    running.events.retain(|subscription| subscription.conversation() != conversation);
                }
            }
            Effect::ReadEvents { user_id, conversation, after } => self.read_events(user_id, conversation, after, ctx),
            Effect::Cancel { user_id, turn_id } => self.cancel_turn(user_id, turn_id, ctx),
            Effect::Subscribed(subscribed) => self.stats.add_turn(subscribed),
            Effect::Unsubscribed(turn) => self.stats.remove_turn(&turn),
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
            let outcome = flatten(answer);
            session.decide(ctx, |state, _, now, effects| state.on_started(turn_id, outcome, now, effects));
        });
        ctx.spawn(decided);
    }

    fn resume_turn(&self, ticket: ResumeTicket, user_id: UserId, resume: &ResumeFrame, ctx: &mut Context) {
        let conversation_id = resume.conversation_id;
        let connection_id = Some(self.stats.connection_id);
        if let Some(last_position) = resume.last_position {
            let waker = Arc::new(EventWaker(ctx.address().recipient()));
            let message = ResumeEvents { user_id, connection_id, conversation_id, last_position, waker };
            return self.resume_events(ticket, message, ctx);
        }
        let message = ResumeConversation { user_id, connection_id, conversation_id, turn_id: resume.turn_id };
        let answer = self.context.workflow.send(message);
        let decided = answer.into_actor(self).map(move |answer, session, ctx| {
            let outcome = flatten(answer);
            let found = outcome.as_ref().map(ResumedConversation::state).map_err(|error| error.code);
            session.context.metrics.resumed(found);
            let outcome = outcome.map(Resumed::Turns);
            session.decide(ctx, |state, _, now, effects| state.on_resumed(ticket, outcome, now, effects));
        });
        ctx.spawn(decided);
    }

    fn cancel_turn(&self, user_id: UserId, turn_id: TurnId, ctx: &mut Context) {
        let answer = self.context.workflow.send(CancelTurn { user_id, turn_id });
        let decided = answer.into_actor(self).map(move |answer, session, ctx| {
            if let Err(error) = flatten(answer) {
                session.decide(ctx, |state, _, _, effects| state.on_cancel_failed(turn_id, &error, effects));
            }
        });
        ctx.spawn(decided);
    }

    /// Closes the connection with a reason; `text` is sent to the client.
    fn close_with(&mut self, reason: CloseReason, text: &str, ctx: &mut Context) {
        if self.running.is_some() {
            if reason == CloseReason::MessageTooBig {
                self.context.limiter.hit(Limit::MessageSize);
            }
            let code = reason.code();
            log::info!(connection_id:% = self.stats.connection_id, code; "connection closed by the server: {}", reason.text());
            self.stats.tap().control(Direction::Out, "close", 2 + text.len());
            self.context.metrics.closed.increment(reason);
            self.end(Some(code), text, ctx);
        }
    }

    /// Sends a close frame after the queued frames, and stops the actor.
    fn end(&mut self, code: Option<u16>, text: &str, ctx: &mut Context) {
        if self.running.take().is_some() {
            ctx.close(code, text);
            ctx.stop();
        }
    }
}

impl SocketHandler for ChatSession {
    fn on_text(&mut self, text: &str, ctx: &mut Context) {
        self.stats.received_frame(text.len());
        self.stats.tap().text(Direction::In, text);
        self.decide(ctx, |state, authenticator, now, effects| state.on_text(text, now, authenticator, effects));
    }

    fn on_other_frame(&mut self, ctx: &mut Context) -> bool {
        let mut answer = false;
        self.decide(ctx, |state, _, now, effects| answer = state.on_other_frame(now, effects));
        answer
    }

    fn on_pong(&mut self, payload: &[u8], ctx: &mut Context) {
        self.stats.tap().control(Direction::In, "pong", payload.len());
        self.decide(ctx, |state, _, now, effects| state.on_pong(payload, now, effects));
    }

    fn on_binary(&mut self, _: &Bytes, ctx: &mut Context) {
        self.close(CloseReason::UnsupportedData, ctx);
    }

    fn on_polled(&mut self, ctx: &mut Context) {
        self.stats.asked_for_more();
        if ctx.has_demand() && self.stats.waits_for_credit() {
            self.decide(ctx, |state, _, now, effects| state.send_more(now, effects));
        }
    }

    fn close(&mut self, reason: CloseReason, ctx: &mut Context) {
        self.close_with(reason, reason.text(), ctx);
    }

    fn on_client_close(&mut self, code: Option<u16>, ctx: &mut Context) {
        if self.running.is_some() {
            self.context.metrics.left.increment(ClientClose::of(code));
        }
        self.end(code, "", ctx);
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

impl Handler<ConnectionCommand> for ChatSession {
    type Result = ();

    fn handle(&mut self, command: ConnectionCommand, ctx: &mut Context) {
        match command {
            ConnectionCommand::Subscribe(turn) => {
                self.decide(ctx, |state, _, now, effects| state.on_subscribe(turn, now, effects));
            }
            ConnectionCommand::Close(reason) => self.close(reason, ctx),
            ConnectionCommand::Kick(text) => self.close_with(CloseReason::Kicked, &text, ctx),
            ConnectionCommand::Notice(frame) => {
                let outgoing = Outgoing { frame, tokens: 0 };
                self.decide(ctx, |_, _, _, effects| effects.push(Effect::Send(outgoing)));
            }
            ConnectionCommand::GoAway { reconnect_after_ms } => {
                self.decide(ctx, |state, _, _, effects| state.on_going_away(reconnect_after_ms, effects));
            }
        }
    }
}

/// Flattens the result of a request to the workflow. A stopped workflow is an internal error.
fn flatten<T>(answer: Result<Result<T, TurnError>, MailboxError>) -> Result<T, ApiError> {
    Ok(answer.map_err(|error| ApiError::internal(&error))??)
}

mod events;
use events::EventWaker;

#[cfg(test)]
mod tests {
    use super::*;
    use actix::dev::ContextFut;

    /// A server holds tens of thousands of idle sessions. The allocator rounds their size up: to 1,024 bytes, then to 1,280.
    #[test]
    fn a_session_and_its_context_fit_into_a_kibibyte() {
        assert!(size_of::<ContextFut<ChatSession, SocketContext<ChatSession>>>() <= 1024);
    }
}
