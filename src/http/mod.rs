//! HTTP: routes, extractors, pages, and how an error looks in an answer. A file for each noun of the API.

mod accepted;
mod auth;
mod chat;
mod client_address;
mod connections;
mod conversations;
mod cors;
mod documents;
mod drain;
mod error;
mod headers;
mod health;
mod identity;
mod in_flight;
mod json;
mod openapi;
mod ops;
mod page;
mod pages;
mod query;
mod ws;

pub use accepted::set_options;
pub use client_address::client_address;
pub use cors::cors;
pub use drain::StopRequest;
pub use error::{ErrorBody, error_bodies};
pub use headers::security_headers;
pub use identity::require_operator;
pub use in_flight::{InFlight, count_requests};
pub use json::{Body, Json, JsonLimit};
pub use page::PageQuery;
pub use query::Query;

use actix_web::web;

/// Mounts every route. The services that the handlers name come as `web::Data`.
pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.configure(ws::routes)
        .configure(ops::routes)
        .configure(chat::routes)
        .configure(conversations::routes)
        .configure(auth::routes)
        .configure(documents::routes)
        .configure(connections::routes)
        .configure(drain::routes)
        .configure(health::routes)
        .configure(openapi::routes)
        .configure(pages::routes)
        .configure(error::configure);
}
