//! Serving of connections whose request asks for an upgrade.
//!
//! actix-http's dispatcher would keep two buffers of 8 KiB per connection, even an idle one. Here a connection owns no buffers: reads
//! go through a buffer of the thread, and writes pass frames to the kernel as they are. The dispatcher ends with the handshake.

use super::{accepted::Accepted, read_buffer::ReadBuffer, socket::UpgradedSocket};
use crate::limits::DISCONNECT_TIMEOUT;
use actix_codec::Framed;
use actix_http::{
    BoxedPayloadStream, ConnectionType, Request, Response, StatusCode,
    body::{BoxBody, MessageBody},
    error::PayloadError,
    h1::{Codec, Message},
};
use actix_web::{
    Error, HttpMessage,
    dev::{Payload, Service, ServiceResponse},
    web::{Buf, Bytes},
};
use futures_util::Stream;
use socket2::SockRef;
use std::{
    error::Error as StdError,
    future::poll_fn,
    io,
    net::Shutdown,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio_util::codec::Encoder;

/// An upgraded connection, which sends the data of its response body.
struct Upgraded {
    socket: Rc<Accepted>,
    body: BoxBody,
    /// Data of the body that the kernel has yet to take.
    unsent: Bytes,
}

impl Upgraded {
    /// Sends the whole body. Polls it only after the previous data was handed to the kernel, which is the backpressure for a client
    /// that does not read.
    fn poll_send_all(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Box<dyn StdError>>> {
        loop {
            ready!(poll_send(&self.socket, &mut self.unsent, cx))?;
            // Frees the memory: connections are idle most of the time.
            self.unsent = Bytes::new();
            match ready!(Pin::new(&mut self.body).poll_next(cx)) {
                Some(bytes) => self.unsent = bytes?,
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Lingering close: shuts down the write side, then reads and discards for a moment. Closing with unread data sends RST, and the
    /// client may lose our close frame.
    async fn close(self) {
        let Self { socket, body, .. } = self;
        drop(body);
        // Fails if the client is already gone.
        if SockRef::from(&**socket).shutdown(Shutdown::Write).is_ok() {
            let rest = async {
                while poll_fn(|cx| ReadBuffer::take().poll_read(&socket, cx)).await.is_ok_and(|read| read > 0) {
                    // A client that sends without pause must not starve other tasks.
                    tokio::task::yield_now().await;
                }
            };
            let _ = tokio::time::timeout(DISCONNECT_TIMEOUT, rest).await;
        }
    }
}

/// Passes the request to the application and sends the response. Hands the connection over if it was upgraded, and closes it
/// otherwise. Network errors end it without an error.
pub async fn answer<S, B>(app: Rc<S>, request: Request, mut connection: Framed<Accepted, Codec>) -> Result<(), Error>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    let handover = connection.io_mut().take_handover();
    if let Ok(Some(mut upgraded)) = respond(app, request, connection).await
        && let Some(handover) = handover
    {
        handover.set(Box::pin(async move {
            if poll_fn(|cx| upgraded.poll_send_all(cx)).await.is_ok() {
                // Boxed, so that the future of an open connection does not reserve memory for its close.
                Box::pin(upgraded.close()).await;
            }
        }));
    }
    Ok(())
}

async fn respond<S, B>(
    app: Rc<S>,
    request: Request,
    connection: Framed<Accepted, Codec>,
) -> Result<Option<Upgraded>, Box<dyn StdError>>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    let mut parts = connection.into_parts();
    let socket = Rc::new(parts.io);
    let first = Bytes::copy_from_slice(&parts.read_buf);
    request.extensions_mut().insert(UpgradedSocket { socket: Rc::clone(&socket), first: first.clone() });
    let body: BoxedPayloadStream = Box::pin(RequestBody { first, socket: Rc::clone(&socket), yields_next: false });
    let (request, _) = request.replace_payload(Payload::Stream { payload: body });
    let response = match app.call(request).await {
        Ok(response) => Response::from(response).map_into_boxed_body(),
        Err(error) => Response::from(error),
    };
    let is_upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let (mut head, body) = response.into_parts();
    if !is_upgraded {
        // A proxy would otherwise reuse the connection.
        head.head_mut().set_connection_type(ConnectionType::Close);
    }
    // After the responses to earlier requests that are still in the buffer.
    let mut unsent = parts.write_buf;
    parts.codec.encode(Message::Item((head, body.size())), &mut unsent)?;
    let mut connection = Upgraded { socket, body, unsent: Bytes::new() };
    if is_upgraded {
        send(&connection.socket, unsent.freeze()).await?;
        return Ok(Some(connection));
    }
    loop {
        // The head is sent together with the first data, for clients that read a response at once.
        let bytes = poll_fn(|cx| Pin::new(&mut connection.body).poll_next(cx)).await.transpose()?;
        let is_end = bytes.is_none();
        parts.codec.encode(Message::Chunk(bytes), &mut unsent)?;
        send(&connection.socket, unsent.split().freeze()).await?;
        if is_end {
            connection.close().await;
            return Ok(None);
        }
    }
}

async fn send(socket: &Accepted, mut bytes: Bytes) -> io::Result<()> {
    poll_fn(|cx| poll_send(socket, &mut bytes, cx)).await
}

/// Completes when all bytes were handed to the kernel.
fn poll_send(socket: &Accepted, bytes: &mut Bytes, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    while !bytes.is_empty() {
        match socket.try_write(bytes) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(sent) => bytes.advance(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(socket.poll_write_ready(cx))?,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Ready(Ok(()))
}

/// Inbound data of a connection, as the body of its request. A WebSocket reads from its connection itself.
struct RequestBody {
    /// Data received together with the request.
    first: Bytes,
    socket: Rc<Accepted>,
    /// Yields once after each chunk, so that a busy client cannot starve other tasks.
    yields_next: bool,
}

impl Stream for RequestBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.yields_next) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.first))));
        }
        let mut buffer = ReadBuffer::take();
        let read = ready!(buffer.poll_read(&self.socket, cx));
        self.yields_next = true;
        Poll::Ready(match read {
            Ok(0) => None,
            Ok(_) => Some(Ok(Bytes::copy_from_slice(&buffer))),
            Err(error) => Some(Err(error.into())),
        })
    }
}
