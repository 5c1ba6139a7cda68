//! How connections are accepted, and what is set on each.
//!
//! The server is put together here and not by actix-web's `HttpServer`: that gives each connection a future that waits for a
//! graceful stop, which is not used here. It takes a lock of the whole server each time that the connection is polled, for
//! each token.

use crate::limits::TCP_NOT_SENT_BYTES;
use actix_http::{HttpService, Request, error::DispatchError};
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, map_config};
use actix_web::{
    Error,
    body::MessageBody,
    dev::{AppConfig, ServiceResponse},
    rt::net::TcpStream,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::{
    fmt::Debug,
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    time::Duration,
};

/// Connections that may wait until they are accepted.
const BACKLOG: i32 = 1024;
/// How long a connection that is being closed may take for what is still on its way.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What a connection may take its time for.
#[derive(Clone, Copy)]
pub struct ConnectionRules {
    pub request_head_timeout: Duration,
    /// The kernel ends a connection whose peer takes nothing for so long.
    pub stall_timeout: Duration,
}

/// Listens at all addresses that a name has, as far as that is possible.
///
/// # Errors
/// When it is possible at none.
pub fn listen(name: impl ToSocketAddrs) -> io::Result<Vec<TcpListener>> {
    let mut failure = None;
    let listening =
        name.to_socket_addrs()?.filter_map(|address| listen_at(address).map_err(|error| failure = Some(error)).ok());
    let listeners: Vec<_> = listening.collect();
    match failure {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Answers the requests of connections with an application.
pub fn serve<F, S, B>(
    application: F,
    rules: ConnectionRules,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    F: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error> + 'static,
    S::InitError: Debug,
    B: MessageBody + 'static,
{
    let application = application.into_factory().map_err(|error: Error| error.error_response());
    HttpService::build()
        .client_request_timeout(rules.request_head_timeout)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .on_connect_ext(move |connection: &TcpStream, _| set_options(connection, rules.stall_timeout))
        .finish(map_config(application, |()| AppConfig::default()))
        .tcp()
}

/// Sends each frame at once: by default a small one waits until the peer has confirmed the one before, which many do only
/// after 40 ms. Lets the kernel end a connection whose peer takes nothing for `stall_timeout`, and keeps what waits in the
/// kernel small. A session cannot do this: when its peer stops reading, it is not polled any more.
fn set_options(connection: &TcpStream, stall_timeout: Duration) {
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

    #[test]
    fn it_listens_where_it_can() {
        let taken = listen("127.0.0.1:0").unwrap();
        let address = taken[0].local_addr().unwrap();
        assert_eq!(listen(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        assert_eq!(listen(&[address, free][..]).unwrap().len(), 1);
    }

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
