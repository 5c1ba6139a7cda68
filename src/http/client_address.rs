//! Where a request comes from.

use crate::limiter::ClientAddresses;
use actix_web::{HttpRequest, web};
use std::net::{IpAddr, Ipv4Addr};

/// The client's address: the peer's, or what trusted proxies say of it. Needs `web::Data<ClientAddresses>`.
pub fn client_address(request: &HttpRequest) -> IpAddr {
    // Only a test's request has no peer.
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let Some(addresses) = request.app_data::<web::Data<ClientAddresses>>() else { return peer };
    let forwarded: Vec<&[u8]> = request.headers().get_all("x-forwarded-for").map(|value| value.as_bytes()).collect();
    addresses.client(peer, forwarded.into_iter())
}
