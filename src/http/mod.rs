//! HTTP: middleware, extractors, pages, and one file of routes per noun of the API.

mod audit;
mod auth;
mod chat;
mod client_address;
mod connections;
mod conversations;
mod cors;
mod documents;
mod drain;
mod error;
mod head;
mod headers;
mod health;
mod host;
mod identity;
mod json;
mod metrics;
mod notices;
mod openapi;
mod operator_text;
mod ops;
mod page;
mod pages;
mod query;
mod request_rate;
mod reserve;
mod settings;
mod static_file;
mod swagger_ui;
#[cfg(test)]
mod tests;
mod turns;
mod unread_body;
mod user_list;
mod users;
mod ws;

pub use client_address::client_address;
pub use cors::{cors, refuse_preflights};
pub use error::{ErrorBody, error_bodies};
pub use head::answer_head;
pub use headers::default_headers;
pub use host::{HostCheck, check_host};
pub use identity::{Operator, require_operator};
pub use json::{Json, JsonLimit, LongBody, OptionalJson};
pub use metrics::ScrapeRules;
pub use page::PageQuery;
pub use query::Query;
pub use request_rate::limit_requests;
pub use reserve::keep_reserve;
pub use unread_body::hold_bodies;

use actix_web::web;

/// Registers every route. Handlers receive their services as `web::Data`.
pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.configure(ws::routes)
        .configure(ops::routes)
        .configure(chat::routes)
        .configure(conversations::routes)
        .configure(auth::routes)
        .configure(documents::routes)
        .configure(connections::routes)
        .configure(users::routes)
        .configure(user_list::routes)
        .configure(turns::routes)
        .configure(notices::routes)
        .configure(drain::routes)
        .configure(settings::routes)
        .configure(audit::routes)
        .configure(health::routes)
        .configure(metrics::routes)
        .configure(openapi::routes)
        .configure(pages::routes)
        .configure(error::configure);
}
