//! A connection whose request asks for an upgrade, from there to its end.
//!
//! The dispatcher of actix-http would go on with two buffers of 8 KiB for each connection, of which an idle one needs
//! nothing. Here nothing is kept of what was read or sent: what arrives goes through a buffer of the thread, and what
//! is sent goes to the kernel as it was made.

use super::accepted::Accepted;
use crate::limits::{DISCONNECT_TIMEOUT, SOCKET_READ_BYTES};
use actix_codec::Framed;
use actix_http::{
    BoxedPayloadStream, ConnectionType, Request, Response, StatusCode,
    body::{BoxBody, MessageBody},
    error::PayloadError,
    h1::{Codec, Message},
};
use actix_web::{
    Error,
    dev::{Payload, Service, ServiceResponse},
    web::{Buf, Bytes},
};
use futures_util::{Stream, future::LocalBoxFuture};
use socket2::SockRef;
use std::{
    cell::RefCell,
    error::Error as StdError,
    future::poll_fn,
    io,
    net::Shutdown,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio_util::codec::Encoder;

thread_local! {
    /// Into which all upgraded connections of the thread read.
    static ARRIVING: RefCell<[u8; SOCKET_READ_BYTES]> = const { RefCell::new([0; SOCKET_READ_BYTES]) };
}

/// Lets the application answer, and serves what comes of it. A network that fails is an end like another.
pub fn serve<S, B>(
    app: Rc<S>,
    request: Request,
    connection: Framed<Accepted, Codec>,
) -> LocalBoxFuture<'static, Result<(), Error>>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    // What comes before and behind is in boxes of its own, so that an upgraded connection has no room for it.
    let answering = Box::pin(answer(app, request, connection));
    Box::pin(async move {
        if let Ok(Some(mut upgraded)) = answering.await
            && upgraded.send_all().await.is_ok()
        {
            Box::pin(upgraded.close()).await;
        }
        Ok(())
    })
}

/// A connection that says what its body says.
struct Upgraded {
    socket: Rc<Accepted>,
    body: BoxBody,
}

impl Upgraded {
    /// The body is asked for more only when all is with the kernel: a peer that does not read stops it.
    async fn send_all(&mut self) -> Result<(), Box<dyn StdError>> {
        while let Some(bytes) = self.next().await {
            send(&self.socket, bytes?).await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Option<Result<Bytes, Box<dyn StdError>>> {
        poll_fn(|cx| Pin::new(&mut self.body).poll_next(cx)).await
    }

    /// Nothing more will be sent. What the peer still says is not heard, but for a while it is read: to close a connection
    /// of which something is unread resets it, and the peer may lose what it has yet to read, the reason for the end.
    async fn close(self) {
        let Self { socket, body } = self;
        drop(body);
        // Who is not there any more does not hear it.
        if SockRef::from(&**socket).shutdown(Shutdown::Write).is_ok() {
            let rest = async {
                while poll_fn(|cx| poll_read(&socket, cx)).await.is_ok_and(|read| !read.is_empty()) {
                    // Who says much, and without a pause, does not hold up others.
                    tokio::task::yield_now().await;
                }
            };
            let _ = tokio::time::timeout(DISCONNECT_TIMEOUT, rest).await;
        }
    }
}

/// Answers the request. The connection goes on when it was upgraded, and ends with the answer when it was not.
async fn answer<S, B>(
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
    let arriving: BoxedPayloadStream = Box::pin(Arriving { first, socket: Rc::clone(&socket), rests: false });
    let (request, _) = request.replace_payload(Payload::Stream { payload: arriving });
    let response = match app.call(request).await {
        Ok(response) => Response::from(response).map_into_boxed_body(),
        Err(error) => Response::from(error),
    };
    let is_upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let (mut head, body) = response.into_parts();
    if !is_upgraded {
        // A proxy would keep the connection for the next request.
        head.head_mut().set_connection_type(ConnectionType::Close);
    }
    // Behind the answers to earlier requests, if any wait there.
    let mut unsent = parts.write_buf;
    parts.codec.encode(Message::Item((head, body.size())), &mut unsent)?;
    let mut connection = Upgraded { socket, body };
    if is_upgraded {
        send(&connection.socket, unsent.freeze()).await?;
        return Ok(Some(connection));
    }
    loop {
        // The head goes together with what comes first: there are clients that read an answer at one go.
        let bytes = connection.next().await.transpose()?;
        let is_over = bytes.is_none();
        parts.codec.encode(Message::Chunk(bytes), &mut unsent)?;
        send(&connection.socket, unsent.split().freeze()).await?;
        if is_over {
            connection.close().await;
            return Ok(None);
        }
    }
}

/// Ready when the kernel has all of it.
async fn send(socket: &Accepted, mut bytes: Bytes) -> io::Result<()> {
    poll_fn(|cx| {
        while !bytes.is_empty() {
            match socket.try_write(&bytes) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(sent) => bytes.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(socket.poll_write_ready(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    })
    .await
}

/// What arrives on a connection.
struct Arriving {
    /// What arrived together with the request.
    first: Bytes,
    socket: Rc<Accepted>,
    /// Something was handed over: before the next, others have their turn. Whoever sends without a pause would otherwise be
    /// read without a pause.
    rests: bool,
}

impl Stream for Arriving {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.rests) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.first))));
        }
        let read = ready!(poll_read(&self.socket, cx));
        self.rests = true;
        Poll::Ready(match read {
            Ok(bytes) if bytes.is_empty() => None,
            read => Some(read.map_err(PayloadError::from)),
        })
    }
}

/// Ready with what there is to read; with nothing when the peer says nothing more.
fn poll_read(socket: &Accepted, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    loop {
        let read = ARRIVING.with_borrow_mut(|buffer| {
            let read = socket.try_read(buffer)?;
            Ok::<_, io::Error>(Bytes::copy_from_slice(&buffer[..read]))
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(socket.poll_read_ready(cx))?,
            read => return Poll::Ready(read),
        }
    }
}
