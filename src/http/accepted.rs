//! What is set on each TCP connection when it is accepted.

use crate::limits::TCP_NOT_SENT_BYTES;
use actix_web::rt::net::TcpStream;
use socket2::SockRef;
use std::{any::Any, time::Duration};

/// Lets the kernel end a connection whose peer takes nothing for `stall_timeout`, and keeps what waits in the kernel small.
/// A session cannot do this: when its peer stops reading, it is not polled any more.
pub fn set_options(connection: &dyn Any, stall_timeout: Duration) {
    let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
    let socket = SockRef::from(stream);
    let set = socket
        .set_tcp_user_timeout(Some(stall_timeout))
        .and_then(|()| socket.set_tcp_notsent_lowat(TCP_NOT_SENT_BYTES));
    if let Err(error) = set {
        log::warn!("a connection keeps the kernel's defaults: {error}");
    }
}
