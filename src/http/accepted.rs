//! What is set on each TCP connection when it is accepted.

use crate::limits::TCP_NOT_SENT_BYTES;
use actix_web::rt::net::TcpStream;
use socket2::SockRef;
use std::time::Duration;

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

    #[actix_web::test]
    async fn a_connection_has_its_options() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (stream, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (accepted, _) = accepted.unwrap();
        set_options(&accepted, Duration::from_secs(7));
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap(), "a token waits for the peer to confirm the one before");
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
        drop(stream);
    }
}
