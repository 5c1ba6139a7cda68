//! An accepted TCP connection: its socket options, and the limits and counters it is part of.

use super::{
    handover::Handover,
    in_flight::InFlight,
    refusal::{RefusalCount, Refusing},
};
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

/// Number of open connections of the whole server, and the limit for clients.
#[derive(Debug)]
pub struct OpenConnections {
    open: AtomicUsize,
    /// Connections above this number are [reserve](Reserve) connections.
    max: usize,
}

/// Marks a connection above the limit for clients: one of a few reserved for health checks and operators. It serves a single
/// request.
#[derive(Clone, Copy, Debug)]
pub struct Reserve;

/// An accepted connection. Dropping it releases its permit and updates the counters.
pub struct Accepted {
    stream: TcpStream,
    connections: Arc<OpenConnections>,
    in_flight: Arc<InFlight>,
    refusals: Arc<RefusalCount>,
    is_reserve: bool,
    /// Whether a write is pending because the kernel's send buffer is full: the client reads slower than the server writes.
    is_write_blocked: bool,
    handover: Option<Handover>,
    /// The last response, if it replaces one of actix-http.
    refusing: Option<Box<Refusing>>,
    _permit: Option<AddressPermit>,
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
        refusals: Arc<RefusalCount>,
        permit: Option<AddressPermit>,
    ) -> Self {
        let is_reserve = connections.open.fetch_add(1, SeqCst) >= connections.max;
        Self {
            stream,
            connections,
            in_flight,
            refusals,
            is_reserve,
            is_write_blocked: false,
            handover: None,
            refusing: None,
            _permit: permit,
        }
    }

    /// Sets where to hand the connection over when it is upgraded.
    pub fn set_handover(&mut self, handover: Handover) {
        self.handover = Some(handover);
    }

    /// Returns the slot that was set, once.
    pub fn take_handover(&mut self) -> Option<Handover> {
        self.handover.take()
    }

    pub fn reserve(&self) -> Option<Reserve> {
        self.is_reserve.then_some(Reserve)
    }

    fn set_write_blocked(&mut self, is_write_blocked: bool) {
        if self.is_write_blocked != is_write_blocked {
            self.is_write_blocked = is_write_blocked;
            self.in_flight.set_write_blocked(is_write_blocked);
        }
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.set_write_blocked(false);
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
        let this = &mut *self;
        if this.refusing.is_none() {
            this.refusing = Refusing::begin(bytes, &this.refusals);
        }
        let written = match &mut this.refusing {
            None => Pin::new(&mut this.stream).poll_write(cx, bytes),
            Some(refusing) => {
                let done = refusing.poll(&mut this.stream, cx);
                if done.is_ready() {
                    this.refusing = None;
                }
                done
            }
        };
        this.set_write_blocked(written.is_pending());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Sets the socket options of a client connection:
///
/// - `TCP_NODELAY`: Nagle's algorithm would hold a small frame until the previous one is acknowledged, up to 40 ms with delayed
///   acknowledgements.
/// - `TCP_USER_TIMEOUT`: the kernel ends a connection that acknowledges nothing for `stall_timeout`. The session actor cannot:
///   it is not polled while its client does not read.
/// - `TCP_NOTSENT_LOWAT`: keeps the backlog in the kernel's send buffer small.
pub fn set_options(connection: &TcpStream, stall_timeout: Duration) {
    let socket = SockRef::from(connection);
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_user_timeout(Some(stall_timeout)))
        .and_then(|()| socket.set_tcp_notsent_lowat(TCP_NOT_SENT_BYTES));
    if let Err(error) = set {
        log::warn!("socket options could not be set; the connection uses the kernel's defaults: {error}");
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

    fn refusals() -> Arc<RefusalCount> {
        Arc::new(RefusalCount::new(Arc::default()))
    }

    #[actix_web::test]
    async fn the_socket_options_are_set() {
        let (stream, accepted) = pair().await;
        set_options(&accepted, Duration::from_secs(7));
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap(), "a token waits for the acknowledgement of the previous one");
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
        drop(stream);
    }

    #[actix_web::test]
    async fn connections_above_the_limit_are_reserve_connections() {
        let (connections, in_flight) = (OpenConnections::new(1), Arc::<InFlight>::default());
        let accept =
            async || Accepted::new(pair().await.1, Arc::clone(&connections), Arc::clone(&in_flight), refusals(), None);
        let first = accept().await;
        assert!(first.reserve().is_none() && accept().await.reserve().is_some());
        drop(first);
        assert!(accept().await.reserve().is_none());
    }

    #[actix_web::test]
    async fn a_blocked_write_counts_as_unsent_until_it_proceeds() {
        let in_flight = Arc::<InFlight>::default();
        let (mut client, stream) = pair().await;
        let mut accepted = Accepted::new(stream, OpenConnections::new(1), Arc::clone(&in_flight), refusals(), None);
        let bytes = [0; 64 * 1024];
        while poll_fn(|cx| Poll::Ready(Pin::new(&mut accepted).poll_write(cx, &bytes).is_ready())).await {}
        assert_eq!(in_flight.unsent(), 1);
        let mut taken = vec![0; 1024 * 1024];
        // Both sides must be polled: the send buffer drains only some time after the client has read.
        tokio::select! {
            written = poll_fn(|cx| Pin::new(&mut accepted).poll_write(cx, &bytes)) => assert!(written.unwrap() > 0),
            () = async { while client.read(&mut taken).await.unwrap() > 0 {} } => panic!("the connection has ended"),
        }
        assert_eq!(in_flight.unsent(), 0);
        while poll_fn(|cx| Poll::Ready(Pin::new(&mut accepted).poll_write(cx, &bytes).is_ready())).await {}
        assert_eq!(in_flight.unsent(), 1);
        drop(accepted);
        assert_eq!(in_flight.unsent(), 0, "a dropped connection still counts as unsent");
    }
}
