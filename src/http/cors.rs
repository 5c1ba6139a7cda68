//! What browsers let pages of other origins do with the REST API: the pages of `server.allowed_origins` everything.

use crate::limiter::Origins;
use actix_cors::Cors;
use actix_web::http::{
    Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName},
};

/// How long a browser may remember what it was allowed, in seconds.
const MAX_AGE_S: usize = 600;

/// For the whole app. There are no cookies, so that none are allowed to come along.
pub fn cors(origins: Origins) -> Cors {
    Cors::default()
        .allowed_origin_fn(move |origin, request| {
            let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
            origin.to_str().is_ok_and(|origin| origins.allows(origin, host))
        })
        .allowed_methods([Method::GET, Method::POST, Method::DELETE])
        .allowed_headers([ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName::from_static("last-event-id")])
        .max_age(MAX_AGE_S)
}
