//! The execution context of an actor that serves a WebSocket: mailbox and futures of actix, and the frames to send.
//!
//! The actor is polled only as the body of the response that upgrades its connection, and the connection polls only when
//! everything before was sent. An actor that hands over a bounded amount per poll therefore buffers a bounded amount, however
//! slowly its client reads.

use actix::{
    Actor, ActorContext, ActorFuture, ActorState, Addr, AsyncContext, Handler, Message, SpawnHandle,
    dev::{AsyncContextParts, ContextFut, ContextParts, Envelope, Mailbox, ToEnvelope},
};
use actix_http::ws::{OpCode, Parser};
use actix_web::{
    body::{BodySize, MessageBody},
    web::{Bytes, BytesMut},
};
use actix_web_actors::ws::CloseReason;
use std::{
    convert::Infallible,
    mem,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::sync::oneshot;

/// The context of an actor that serves a WebSocket.
pub struct SocketContext<A: Actor<Context = Self>> {
    parts: ContextParts<A>,
    /// Encoded frames that the connection has yet to take.
    frames: BytesMut,
    has_demand: bool,
}

impl<A: Actor<Context = Self>> SocketContext<A> {
    /// Sends a text message.
    pub fn text(&mut self, text: impl AsRef<str>) {
        self.write(OpCode::Text, text.as_ref().as_bytes());
    }

    /// Sends a binary message.
    pub fn binary(&mut self, bytes: &[u8]) {
        self.write(OpCode::Binary, bytes);
    }

    /// Sends a ping.
    pub fn ping(&mut self, payload: &[u8]) {
        self.write(OpCode::Ping, payload);
    }

    /// Sends a pong.
    pub fn pong(&mut self, payload: &[u8]) {
        self.write(OpCode::Pong, payload);
    }

    /// Sends a close frame. Without a code, the text is omitted.
    pub fn close(&mut self, code: Option<u16>, text: &str) {
        let description = (!text.is_empty()).then(|| text.to_owned());
        let reason = code.map(|code| CloseReason { code: code.into(), description });
        Parser::write_close(&mut self.frames, reason, false);
    }

    /// Whether the connection has polled since the last call of [`SocketContext::take_demand`].
    pub fn has_demand(&self) -> bool {
        self.has_demand
    }

    /// Whether the connection has polled since the last call; resets that.
    pub fn take_demand(&mut self) -> bool {
        mem::take(&mut self.has_demand)
    }

    /// Appends a whole, unmasked frame.
    fn write(&mut self, code: OpCode, payload: &[u8]) {
        Parser::write_message(&mut self.frames, payload, code, true, false);
    }
}

impl<A: Actor<Context = Self>> ActorContext for SocketContext<A> {
    fn stop(&mut self) {
        self.parts.stop();
    }

    fn terminate(&mut self) {
        self.parts.terminate();
    }

    fn state(&self) -> ActorState {
        self.parts.state()
    }
}

impl<A: Actor<Context = Self>> AsyncContext<A> for SocketContext<A> {
    fn spawn<F: ActorFuture<A, Output = ()> + 'static>(&mut self, future: F) -> SpawnHandle {
        self.parts.spawn(future)
    }

    fn wait<F: ActorFuture<A, Output = ()> + 'static>(&mut self, future: F) {
        self.parts.wait(future);
    }

    fn waiting(&self) -> bool {
        self.parts.waiting()
    }

    fn cancel_future(&mut self, handle: SpawnHandle) -> bool {
        self.parts.cancel_future(handle)
    }

    fn address(&self) -> Addr<A> {
        self.parts.address()
    }
}

impl<A: Actor<Context = Self>> AsyncContextParts<A> for SocketContext<A> {
    fn parts(&mut self) -> &mut ContextParts<A> {
        &mut self.parts
    }
}

impl<A, M> ToEnvelope<A, M> for SocketContext<A>
where
    A: Actor<Context = Self> + Handler<M>,
    M: Message<Result: Send> + Send + 'static,
{
    fn pack(message: M, reply: Option<oneshot::Sender<M::Result>>) -> Envelope<A> {
        Envelope::new(message, reply)
    }
}

/// An actor, and the frames that it sends as the body of its response.
pub struct SocketBody<A: Actor<Context = SocketContext<A>>> {
    actor: ContextFut<A, SocketContext<A>>,
}

impl<A: Actor<Context = SocketContext<A>>> SocketBody<A> {
    /// Creates the body. `input` reads the connection and delivers messages to the actor.
    pub fn new(actor: A, input: impl ActorFuture<A, Output = ()> + 'static) -> Self {
        let mailbox = Mailbox::default();
        let parts = ContextParts::new(mailbox.sender_producer());
        let mut context = SocketContext { parts, frames: BytesMut::new(), has_demand: false };
        context.spawn(input);
        Self { actor: ContextFut::new(context, actor, mailbox) }
    }
}

impl<A: Actor<Context = SocketContext<A>>> MessageBody for SocketBody<A> {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let actor = &mut self.get_mut().actor;
        if actor.alive() {
            actor.ctx().has_demand = true;
            // The end of the actor shows in `alive`: its last frames are sent first.
            let _ = Pin::new(&mut *actor).poll(cx);
        }
        let frames = mem::take(&mut actor.ctx().frames);
        if !frames.is_empty() {
            Poll::Ready(Some(Ok(frames.freeze())))
        } else if actor.alive() {
            Poll::Pending
        } else {
            Poll::Ready(None)
        }
    }
}
