//! Ports for programs that must be told theirs.

use socket2::{Domain, Socket, Type};
use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
};

/// A port of 127.0.0.1 that the kernel chooses for nobody else: a socket is bound to it that never listens. A program can listen
/// on the port if it sets `SO_REUSEADDR`, as servers do.
pub struct ReservedPort {
    port: u16,
    _socket: Socket,
}

impl ReservedPort {
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        Self { port, _socket: socket }
    }
}

impl fmt::Display for ReservedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.port.fmt(f)
    }
}

#[test]
fn a_reserved_port_is_chosen_for_nobody_and_can_be_listened_on() {
    let reserved = ReservedPort::new();
    let others: Vec<_> = (0..500).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    assert!(others.iter().all(|other| other.local_addr().unwrap().port() != reserved.port));
    let listener = std::net::TcpListener::bind(format!("127.0.0.1:{reserved}")).unwrap();
    std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
}
