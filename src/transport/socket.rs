//! The WebSocket layer below sessions: reassembles messages, answers pings and close frames, and closes the connection on
//! violations of RFC 6455. It is independent of chat; the conformance test runs it with an echo actor.

use super::{
    fragments::{Fragments, WholeMessage},
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
/// A frame or an error from the socket. The actor's `StreamHandler` passes it to [`receive`].
pub type Received = Result<ws::Message, ws::ProtocolError>;

/// An actor that serves a WebSocket.
pub trait SocketHandler: Actor<Context = SocketContext<Self>> {
    /// The reassembly state of the actor.
    fn fragments(&mut self) -> &mut Fragments;

    /// Handles a text message.
    fn on_text(&mut self, text: &ByteString, ctx: &mut Self::Context);

    /// Handles a binary message. Never called if [`Fragments`] accept only text.
    fn on_binary(&mut self, bytes: Bytes, ctx: &mut Self::Context);

    /// Handles a pong, solicited or not.
    fn on_pong(&mut self, _: &[u8], ctx: &mut Self::Context) {
        self.on_other_frame(ctx);
    }

    /// Handles a ping, or a fragment that is not the last; returns whether a ping is to be answered.
    fn on_other_frame(&mut self, _: &mut Self::Context) -> bool {
        true
    }

    /// Closes the connection with a reason.
    fn close(&mut self, reason: CloseReason, ctx: &mut Self::Context);

    /// Handles the client's close frame. The reply carries the same code.
    fn on_client_close(&mut self, code: Option<ws::CloseCode>, ctx: &mut Self::Context);
}

/// The frames that an actor sends, encoded.
pub type Frames = LocalBoxStream<'static, Result<Bytes, actix_web::Error>>;

/// Starts an actor on the WebSocket of an upgrade request. `protocols` holds the subprotocol to choose, if any;
/// `response_body` may wrap the actor's frames.
///
/// # Errors
/// If the request is not a WebSocket handshake.
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

/// Builds a close frame.
pub fn close_frame(code: u16, text: &str) -> ws::CloseReason {
    ws::CloseReason { code: code.into(), description: Some(text.to_owned()) }
}

/// Dispatches a received frame to the actor.
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
        Ok(Some(WholeMessage::Text(text))) => actor.on_text(&text, ctx),
        Ok(Some(WholeMessage::Binary(bytes))) => actor.on_binary(bytes, ctx),
        Err(reason) => actor.close(reason, ctx),
    }
}

/// Maps an error of the codec. It reports both reserved bits and invalid UTF-8 as I/O errors: the former as `InvalidData`, the
/// latter as `Other`.
fn close_reason(error: &ws::ProtocolError) -> CloseReason {
    match error {
        ws::ProtocolError::Overflow => CloseReason::MessageTooBig,
        ws::ProtocolError::Io(error) if error.kind() == std::io::ErrorKind::Other => CloseReason::InvalidUtf8,
        _ => CloseReason::ProtocolError,
    }
}
