//! The WebSocket below a session: messages are joined from their fragments, pings answered, goodbyes returned, and what
//! RFC 6455 forbids becomes a close code. It knows nothing of chat; the conformance test runs it with an echo.

use super::{
    fragments::{Fragments, Whole},
    handshake,
};
use actix::Actor;
use actix_http::ws::Codec;
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Bytes, Payload},
};
use actix_web_actors::ws;
use bytestring::ByteString;
use futures_util::{Stream, stream::LocalBoxStream};
use switchboard_protocol::{ApiError, CloseReason};

pub type CloseCode = ws::CloseCode;
pub type SocketContext<A> = ws::WebsocketContext<A>;
/// What arrives at an actor behind a socket; its `StreamHandler` hands it to [`receive`].
pub type Received = Result<ws::Message, ws::ProtocolError>;

/// An actor behind a WebSocket.
pub trait SocketHandler: Actor<Context = SocketContext<Self>> {
    /// The message that is being put together.
    fn fragments(&mut self) -> &mut Fragments;

    /// A whole message of text.
    fn on_text(&mut self, text: &ByteString, ctx: &mut Self::Context);

    /// A whole message of bytes; never called when the fragments are for text only.
    fn on_binary(&mut self, bytes: Bytes, ctx: &mut Self::Context);

    /// A pong, asked for or not.
    fn on_pong(&mut self, _: &[u8], ctx: &mut Self::Context) {
        self.on_other_frame(ctx);
    }

    /// A ping, or a fragment that is not the last one. Whether a ping is to be answered.
    fn on_other_frame(&mut self, _: &mut Self::Context) -> bool {
        true
    }

    /// The socket has to end, and the peer to be told why.
    fn close(&mut self, reason: CloseReason, ctx: &mut Self::Context);

    /// The peer said goodbye; the answer carries the same code.
    fn on_client_close(&mut self, code: Option<ws::CloseCode>, ctx: &mut Self::Context);
}

/// What an actor behind a socket sends, as bytes on the wire.
pub type Frames = LocalBoxStream<'static, Result<Bytes, actix_web::Error>>;

/// Answers an upgrade request with an actor behind a socket. `protocols` holds the subprotocol to choose, if any; `outlet`
/// may put something between the actor and the connection.
///
/// # Errors
/// When the request is no WebSocket handshake.
pub fn start<A, O>(
    mut actor: A,
    request: &HttpRequest,
    payload: Payload,
    protocols: &[&str],
    response_body: impl FnOnce(Frames) -> O,
) -> Result<HttpResponse, ApiError>
where
    A: SocketHandler + actix::StreamHandler<Received>,
    O: Stream<Item = Result<Bytes, actix_web::Error>> + 'static,
{
    let (frames, max_bytes) = (actor.fragments().guard(payload), actor.fragments().max_bytes());
    let mut response = handshake::accept(request, protocols.first().copied())?;
    let sent = SocketContext::with_codec(actor, frames, Codec::new().max_size(max_bytes));
    Ok(response.streaming(response_body(Box::pin(sent))))
}

/// The close frame that tells a peer why.
pub fn close_frame(code: u16, text: &str) -> ws::CloseReason {
    ws::CloseReason { code: code.into(), description: Some(text.to_owned()) }
}

/// Takes what arrived.
pub fn receive<A: SocketHandler>(actor: &mut A, received: Received, ctx: &mut A::Context) {
    let whole = match received {
        Ok(ws::Message::Text(text)) => actor.fragments().push_text(text).map(Some),
        Ok(ws::Message::Binary(bytes)) => actor.fragments().push_binary(bytes).map(Some),
        Ok(ws::Message::Continuation(item)) => actor.fragments().push(item),
        Ok(ws::Message::Ping(payload)) => {
            if actor.on_other_frame(ctx) {
                ctx.pong(&payload);
            }
            return;
        }
        Ok(ws::Message::Pong(payload)) => return actor.on_pong(&payload, ctx),
        Ok(ws::Message::Nop) => return,
        // The codec has checked the code (RFC 6455, 7.4).
        Ok(ws::Message::Close(reason)) => return actor.on_client_close(reason.map(|reason| reason.code), ctx),
        Err(_) if actor.fragments().has_refused() => Err(CloseReason::MessageTooBig),
        Err(error) => Err(close_reason(&error)),
    };
    match whole {
        Ok(None) => {
            actor.on_other_frame(ctx);
        }
        Ok(Some(Whole::Text(text))) => actor.on_text(&text, ctx),
        Ok(Some(Whole::Binary(bytes))) => actor.on_binary(bytes, ctx),
        Err(reason) => actor.close(reason, ctx),
    }
}

/// Reserved bits and invalid UTF-8 both come as I/O errors; the first as `InvalidData`, the second as `Other`.
fn close_reason(error: &ws::ProtocolError) -> CloseReason {
    match error {
        ws::ProtocolError::Overflow => CloseReason::MessageTooBig,
        ws::ProtocolError::Io(error) if error.kind() == std::io::ErrorKind::Other => CloseReason::InvalidUtf8,
        _ => CloseReason::ProtocolError,
    }
}
