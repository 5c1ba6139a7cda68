//! The HTTP server below the application: listeners, worker threads, admission of connections.
//!
//! Replaces actix-web's `HttpServer`, which cannot customise how upgraded connections are served, and which adds a future for
//! graceful stops to each connection. Polling that future takes a server-wide lock for every token.

use super::{
    accepted::{self, Accepted, OpenConnections},
    capacity::Capacity,
    handover::Handover,
    in_flight::InFlight,
    refusal::{Refusal, RefusalCount, log_end},
    upgraded,
};
use crate::{
    limiter::{ClientAddresses, Limiter},
    limits::{DISCONNECT_TIMEOUT, LISTEN_BACKLOG_CONNECTIONS},
    metrics::Metrics,
};
use actix_http::{Extensions, HttpService, Protocol, Request, error::DispatchError};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, apply_fn_factory, fn_factory, fn_service};
use actix_web::{
    Error,
    body::MessageBody,
    dev::{AppConfig, Server, Service, ServiceFactory, ServiceResponse},
    rt::net::TcpStream,
};
use socket2::{Domain, SockRef, Socket, Type};
use std::{
    cell::OnceCell,
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// Limits of the server and its connections.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Worker threads.
    pub workers: usize,
    /// Connections of all workers together.
    pub capacity: Capacity,
    /// Time allowed to receive the head of a connection's first request.
    pub request_head_timeout: Duration,
    /// Time after which a connection that acknowledges no data is closed.
    pub stall_timeout: Duration,
}

/// State that the server shares with the application.
pub struct ServerContext {
    pub in_flight: Arc<InFlight>,
    pub limiter: Arc<Limiter>,
    pub addresses: Arc<ClientAddresses>,
    pub metrics: Arc<Metrics>,
}

/// Admission of new connections.
#[derive(Clone)]
struct Admission {
    connections: Arc<OpenConnections>,
    in_flight: Arc<InFlight>,
    limiter: Arc<Limiter>,
    addresses: Arc<ClientAddresses>,
    refusals: Arc<RefusalCount>,
    stall_timeout: Duration,
}

impl Admission {
    /// Refuses a connection if its address has too many. Trusted proxies are exempt, because they forward many clients.
    /// An upgraded connection is handed over to `handover`.
    fn accept(&self, stream: TcpStream, handover: Handover) -> Option<(Accepted, Option<SocketAddr>)> {
        let peer = stream.peer_addr().ok();
        let mut permit = None;
        if let Some(address) = peer.map(|peer| peer.ip()).filter(|address| !self.addresses.is_trusted(*address)) {
            permit = self.limiter.accept(address);
            if permit.is_none() {
                // Written without reading the request, so the client may not receive it.
                let _ = SockRef::from(&stream).send(&Refusal::TooManyConnections.response());
                return None;
            }
        }
        accepted::set_options(&stream, self.stall_timeout);
        let mut accepted = Accepted::new(
            stream,
            Arc::clone(&self.connections),
            Arc::clone(&self.in_flight),
            Arc::clone(&self.refusals),
            permit,
        );
        accepted.set_handover(handover);
        Some((accepted, peer))
    }
}

/// Marks requests on a reserve connection for the application.
fn mark_reserve(connection: &Accepted, extensions: &mut Extensions) {
    if let Some(reserve) = connection.reserve() {
        extensions.insert(reserve);
    }
}

/// Listens at every address that the name resolves to, as far as possible.
///
/// # Errors
/// When it cannot listen at any.
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
        _ if listeners.is_empty() => Err(io::Error::other("the name resolves to no address")),
        _ => Ok(listeners),
    }
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG_CONNECTIONS)?;
    Ok(socket.into())
}

/// Creates a server, which runs when awaited. `application` is called on each worker thread.
///
/// # Errors
/// When a listener cannot be used.
pub fn server<A, S, B>(
    listeners: Vec<TcpListener>,
    limits: ServerLimits,
    shared: ServerContext,
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
        .max_concurrent_connections((limits.capacity.clients + limits.capacity.reserve).div_ceil(limits.workers));
    let admission = Admission {
        connections: OpenConnections::new(limits.capacity.clients),
        in_flight: shared.in_flight,
        limiter: shared.limiter,
        addresses: shared.addresses,
        refusals: Arc::new(RefusalCount::new(shared.metrics)),
        stall_timeout: limits.stall_timeout,
    };
    for listener in listeners {
        let (application, admission) = (application.clone(), admission.clone());
        server = server.listen("http", listener, move || {
            // Requests and upgrades share one application.
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
                let app =
                    built.get().map(Rc::clone).expect("a worker builds its application before it serves requests");
                // Boxed, so that the future of a connection does not reserve memory for it.
                Box::pin(upgraded::answer(app, request, connection))
            });
            let http = HttpService::build()
                .client_request_timeout(limits.request_head_timeout)
                .client_disconnect_timeout(DISCONNECT_TIMEOUT)
                .on_connect_ext(mark_reserve)
                .upgrade(upgrades)
                .finish(requests);
            let admission = admission.clone();
            apply_fn_factory(http, move |stream: TcpStream, http: &_| {
                let handover = Handover::default();
                // Boxed, because the dispatcher of actix-http is large and ends when the connection is upgraded.
                let requests = admission
                    .accept(stream, handover.clone())
                    .map(|(accepted, peer)| Box::pin(Service::call(http, (accepted, Protocol::Http1, peer))));
                async move {
                    let Some(requests) = requests else {
                        return Err(DispatchError::Io(io::ErrorKind::ConnectionRefused.into()));
                    };
                    requests.await?;
                    if let Some(serving) = handover.take() {
                        serving.await;
                    }
                    Ok(())
                }
            })
            .map_err(|error| log_end(&error))
        })?;
    }
    Ok(server.run())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_fails_only_if_every_address_fails() {
        let taken = listen("127.0.0.1:0").unwrap();
        let address = taken[0].local_addr().unwrap();
        assert_eq!(listen(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        assert_eq!(listen(&[address, free][..]).unwrap().len(), 1);
    }
}
