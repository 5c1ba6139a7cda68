//! The address of the client that sent a request.

use crate::{http::state::State, limiter::ClientAddresses};
use actix_web::HttpRequest;
use std::net::{IpAddr, Ipv4Addr};

/// Returns the client's address: that of the TCP peer or, behind trusted proxies, the one that they report.
pub fn client_address(request: &HttpRequest) -> IpAddr {
    // Only requests made by tests have no peer.
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let forwarded: Vec<&[u8]> = request.headers().get_all("x-forwarded-for").map(|value| value.as_bytes()).collect();
    State::<ClientAddresses>::of(request).client(peer, forwarded.into_iter())
}
