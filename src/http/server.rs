//! The server below the application: where it listens, its worker threads, and what each of them does with a connection.
//!
//! It stands in for `HttpServer` of actix-web, which has no place for what serves a connection after its upgrade, and gives
//! each connection a future that waits for a graceful stop, which is not used here: to poll it takes a lock of the whole
//! server, for each token.

use super::{accepted, upgraded};
use crate::limits::{DISCONNECT_TIMEOUT, LISTEN_BACKLOG};
use actix_http::{HttpService, Request};
use actix_service::{IntoServiceFactory, fn_factory, fn_service};
use actix_web::{
    Error,
    body::MessageBody,
    dev::{AppConfig, Server, ServiceFactory, ServiceResponse},
    rt::net::TcpStream,
};
use socket2::{Domain, Socket, Type};
use std::{
    cell::OnceCell,
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    rc::Rc,
    time::Duration,
};

/// How connections are taken.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Worker threads.
    pub workers: usize,
    /// Connections of all workers together.
    pub max_connections: usize,
    /// The most time for the head of a connection's first request.
    pub request_head_timeout: Duration,
    /// How long a peer may take nothing.
    pub stall_timeout: Duration,
}

/// Listens at every address that the name stands for, as far as it can.
///
/// # Errors
/// When it can listen at none.
pub fn listen(address: impl ToSocketAddrs) -> io::Result<Vec<TcpListener>> {
    let (mut listeners, mut failed) = (Vec::new(), None);
    for address in address.to_socket_addrs()? {
        match listen_at(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if listeners.is_empty() => Err(error),
        _ if listeners.is_empty() => Err(io::Error::other("the name stands for no address")),
        _ => Ok(listeners),
    }
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// A server that runs once it is awaited. `application` is called on each worker thread.
///
/// # Errors
/// When a listener cannot be used.
pub fn server<A, S, B>(
    listeners: Vec<TcpListener>,
    limits: ServerLimits,
    application: impl Fn() -> A + Clone + Send + 'static,
) -> io::Result<Server>
where
    A: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error, InitError = ()>
        + 'static,
    B: MessageBody + 'static,
{
    let mut server = Server::build()
        .disable_signals()
        .workers(limits.workers)
        .max_concurrent_connections(limits.max_connections.div_ceil(limits.workers));
    for listener in listeners {
        let application = application.clone();
        server = server.listen("http", listener, move || {
            // One application serves requests and upgrades.
            let built = Rc::<OnceCell<Rc<S::Service>>>::default();
            let (factory, built_for_requests) = (application().into_factory(), Rc::clone(&built));
            let requests = fn_factory(move || {
                let (building, built) = (factory.new_service(AppConfig::default()), Rc::clone(&built_for_requests));
                async move {
                    let service = Rc::new(building.await?);
                    Ok::<_, ()>(Rc::clone(built.get_or_init(|| service)))
                }
            });
            let upgrades = fn_service(move |(request, connection)| {
                let app = built.get().map(Rc::clone).expect("requests come to a worker that has begun");
                upgraded::serve(app, request, connection)
            });
            HttpService::build()
                .client_request_timeout(limits.request_head_timeout)
                .client_disconnect_timeout(DISCONNECT_TIMEOUT)
                .on_connect_ext(move |connection: &TcpStream, _| {
                    accepted::set_options(connection, limits.stall_timeout);
                })
                .upgrade(upgrades)
                .finish(requests)
                .tcp()
        })?;
    }
    Ok(server.run())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_where_it_can() {
        let taken = listen("127.0.0.1:0").unwrap();
        let address = taken[0].local_addr().unwrap();
        assert_eq!(listen(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        assert_eq!(listen(&[address, free][..]).unwrap().len(), 1);
    }
}
