//! The WebSocket layer below sessions: delivers whole messages, answers pings, and closes the connection on violations of
//! RFC 6455. It is independent of chat; the conformance test runs it with an echo actor.

use super::{
    accepted::Accepted,
    decoder::{Decoder, Received},
    handshake,
    read_buffer::ReadBuffer,
    socket_context::SocketBody,
};
use crate::limits::SOCKET_STEPS_PER_POLL;
use actix::{Actor, ActorContext, ActorFuture, AsyncContext};
use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    web::{Bytes, BytesMut},
};
use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use switchboard_protocol::{ApiError, CloseReason, ErrorCode};

pub use super::socket_context::SocketContext;

/// An actor that serves a WebSocket.
pub trait SocketHandler: Actor<Context = SocketContext<Self>> {
    /// Handles a text message.
    fn on_text(&mut self, text: &str, ctx: &mut Self::Context);

    /// Handles a binary message. Never called if the [`Decoder`] accepts only text.
    fn on_binary(&mut self, bytes: &Bytes, ctx: &mut Self::Context);

    /// Handles a pong, solicited or not.
    fn on_pong(&mut self, _: &[u8], ctx: &mut Self::Context) {
        self.on_other_frame(ctx);
    }

    /// Handles a ping, or a fragment that is not the last; returns whether a ping is to be answered.
    fn on_other_frame(&mut self, _: &mut Self::Context) -> bool {
        true
    }

    /// Called each time that the connection has sent everything and polls for more.
    fn on_polled(&mut self, _: &mut Self::Context) {}

    /// Closes the connection with a reason.
    fn close(&mut self, reason: CloseReason, ctx: &mut Self::Context);

    /// Handles the client's close frame. The reply carries the same code.
    fn on_client_close(&mut self, code: Option<u16>, ctx: &mut Self::Context);
}

/// The connection of an upgrade request, which is found in the extensions of the request.
pub struct UpgradedSocket {
    pub(super) socket: Rc<Accepted>,
    /// Data received together with the request.
    pub(super) first: Bytes,
}

/// Starts an actor on the WebSocket of an upgrade request. `protocols` holds the subprotocol to choose, if any.
///
/// # Errors
/// If the request is not a WebSocket handshake.
pub fn start<A: SocketHandler>(
    actor: A,
    request: &HttpRequest,
    decoder: Decoder,
    protocols: &[&str],
) -> Result<HttpResponse, ApiError> {
    let mut response = handshake::accept(request, protocols.first().copied())?;
    let upgraded = request.extensions_mut().remove::<UpgradedSocket>();
    let UpgradedSocket { socket, first } = upgraded.ok_or_else(|| {
        ApiError::new(ErrorCode::UpgradeRequired, "This request arrived on a connection that cannot be upgraded.")
    })?;
    let reader = Reader { socket, decoder, rest: first.into() };
    Ok(response.body(SocketBody::new(actor, reader)))
}

/// Reads from a connection and delivers messages to its actor.
struct Reader {
    socket: Rc<Accepted>,
    decoder: Decoder,
    /// Bytes to decode before more are read: usually none, otherwise the start of a frame, or frames that wait for the next
    /// poll.
    rest: BytesMut,
}

impl<A: SocketHandler> ActorFuture<A> for Reader {
    type Output = ();

    /// Bounded, so that a busy client cannot starve other tasks. A network failure is the end of the stream.
    fn poll(mut self: Pin<&mut Self>, actor: &mut A, ctx: &mut A::Context, cx: &mut Context<'_>) -> Poll<()> {
        actor.on_polled(ctx);
        let Self { socket, decoder, rest } = &mut *self;
        let mut arrived = ReadBuffer::take();
        for _ in 0..SOCKET_STEPS_PER_POLL {
            if ctx.waiting() {
                arrived.move_to(rest);
                return Poll::Pending;
            }
            match decoder.decode(if rest.is_empty() { &mut arrived } else { rest }) {
                Ok(Some(received)) => deliver(received, actor, ctx),
                Err(reason) => {
                    actor.close(reason, ctx);
                    return Poll::Ready(());
                }
                Ok(None) => {
                    if rest.is_empty() {
                        // Frees the memory: connections are idle most of the time.
                        *rest = BytesMut::new();
                    }
                    arrived.move_to(rest);
                    match arrived.poll_read(socket, cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(1..)) if rest.is_empty() => {}
                        Poll::Ready(Ok(1..)) => arrived.move_to(rest),
                        Poll::Ready(Ok(0) | Err(_)) => {
                            ctx.stop();
                            return Poll::Ready(());
                        }
                    }
                }
            }
        }
        arrived.move_to(rest);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn deliver<A: SocketHandler>(received: Received, actor: &mut A, ctx: &mut A::Context) {
    match received {
        Received::Text(text) => actor.on_text(&text, ctx),
        Received::Binary(bytes) => actor.on_binary(&bytes, ctx),
        Received::Ping(payload) => {
            if actor.on_other_frame(ctx) {
                ctx.pong(&payload);
            }
        }
        Received::Fragment => {
            actor.on_other_frame(ctx);
        }
        Received::Pong(payload) => actor.on_pong(&payload, ctx),
        Received::Close(code) => actor.on_client_close(code, ctx),
    }
}
