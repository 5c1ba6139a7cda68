//! A TCP connection from its acceptance to its end: what is set on it, and what it counts against.

use super::in_flight::InFlight;
use crate::{limiter::AddressPermit, limits::TCP_NOT_SENT_BYTES};
use actix_codec::{AsyncRead, AsyncWrite, ReadBuf};
use actix_web::rt::net::TcpStream;
use socket2::SockRef;
use std::{
    io,
    ops::Deref,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

/// The connections of the whole server that are open, and how many clients may have.
#[derive(Debug)]
pub struct OpenConnections {
    open: AtomicUsize,
    /// A connection over this is a [reserve](Reserve) connection.
    max: usize,
}

/// Marks a connection over the limit. It is one of a few that are kept for health checks and operators, and serves one
/// request.
#[derive(Clone, Copy, Debug)]
pub struct Reserve;

/// An accepted connection. Dropping it gives back what it holds.
pub struct Accepted {
    stream: TcpStream,
    connections: Arc<OpenConnections>,
    in_flight: Arc<InFlight>,
    is_reserve: bool,
    /// The kernel has no room for what is to be sent: the peer reads slower than the server writes.
    is_stuck: bool,
    /// Its share of the limit for its address, held for its drop.
    _place: Option<AddressPermit>,
}

impl OpenConnections {
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), max })
    }
}

impl Accepted {
    pub fn new(
        stream: TcpStream,
        connections: Arc<OpenConnections>,
        in_flight: Arc<InFlight>,
        place: Option<AddressPermit>,
    ) -> Self {
        let is_reserve = connections.open.fetch_add(1, SeqCst) >= connections.max;
        Self { stream, connections, in_flight, is_reserve, is_stuck: false, _place: place }
    }

    pub fn reserve(&self) -> Option<Reserve> {
        self.is_reserve.then_some(Reserve)
    }

    fn set_stuck(&mut self, is_stuck: bool) {
        if self.is_stuck != is_stuck {
            self.is_stuck = is_stuck;
            self.in_flight.set_stuck(is_stuck);
        }
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.set_stuck(false);
        self.connections.open.fetch_sub(1, SeqCst);
    }
}

impl Deref for Accepted {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl AsyncRead for Accepted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.set_stuck(written.is_pending());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Sends each frame at once: by default a small one waits until the peer has confirmed the one before, which many do only
/// after 40 ms. Lets the kernel end a connection whose peer takes nothing for `stall_timeout`, and keeps what waits in the
/// kernel small. A session cannot do this: when its peer stops reading, it is not polled any more.
pub fn set_options(connection: &TcpStream, stall_timeout: Duration) {
    let socket = SockRef::from(connection);
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_user_timeout(Some(stall_timeout)))
        .and_then(|()| socket.set_tcp_notsent_lowat(TCP_NOT_SENT_BYTES));
    if let Err(error) = set {
        log::warn!("a connection keeps the kernel's defaults: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::rt::net::TcpListener;
    use std::future::poll_fn;
    use tokio::io::AsyncReadExt;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (stream, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (stream.unwrap(), accepted.unwrap().0)
    }

    #[actix_web::test]
    async fn a_connection_has_its_options() {
        let (stream, accepted) = pair().await;
        set_options(&accepted, Duration::from_secs(7));
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap(), "a token waits for the peer to confirm the one before");
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
        drop(stream);
    }

    #[actix_web::test]
    async fn connections_over_the_limit_are_the_reserve() {
        let (connections, in_flight) = (OpenConnections::new(1), Arc::<InFlight>::default());
        let accept = async || Accepted::new(pair().await.1, Arc::clone(&connections), Arc::clone(&in_flight), None);
        let first = accept().await;
        assert!(first.reserve().is_none() && accept().await.reserve().is_some());
        drop(first);
        assert!(accept().await.reserve().is_none());
    }

    #[actix_web::test]
    async fn what_a_slow_peer_has_yet_to_take_is_known() {
        let in_flight = Arc::<InFlight>::default();
        let (mut peer, stream) = pair().await;
        let mut accepted = Accepted::new(stream, OpenConnections::new(1), Arc::clone(&in_flight), None);
        let bytes = [0; 64 * 1024];
        while poll_fn(|cx| Poll::Ready(Pin::new(&mut accepted).poll_write(cx, &bytes).is_ready())).await {}
        assert_eq!(in_flight.unsent(), 1);
        let mut taken = vec![0; 1024 * 1024];
        // Both sides must be polled: the kernel has room again only some time after the peer has read.
        tokio::select! {
            written = poll_fn(|cx| Pin::new(&mut accepted).poll_write(cx, &bytes)) => assert!(written.unwrap() > 0),
            () = async { while peer.read(&mut taken).await.unwrap() > 0 {} } => panic!("the connection has ended"),
        }
        assert_eq!(in_flight.unsent(), 0);
        while poll_fn(|cx| Poll::Ready(Pin::new(&mut accepted).poll_write(cx, &bytes).is_ready())).await {}
        assert_eq!(in_flight.unsent(), 1);
        drop(accepted);
        assert_eq!(in_flight.unsent(), 0, "nobody waits for a connection that is gone");
    }
}
