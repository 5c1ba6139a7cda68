//! The HTTP interface: what a request passes through, and what answers it.
//!
//! | module | contents |
//! | --- | --- |
//! | `extract` | extractors: the caller, their address, JSON bodies, query parameters |
//! | `middleware` | what every request passes through before its handler, and every response after it |
//! | `routes` | the public API, one file per noun |
//! | `operator` | the API for operators, one file per noun |
//! | `pages` | the pages for people and the documentation of the API |
//! | `error` | responses for errors of all of them |
//! | `exempt` | routes that the request limits do not count |

mod error;
mod exempt;
mod extract;
mod middleware;
mod operator;
mod pages;
mod routes;
#[cfg(test)]
mod tests;

pub use error::error_bodies;
pub use extract::JsonLimit;
pub use middleware::{
    HostCheck, answer_head, check_host, cors, default_headers, hold_bodies, keep_reserve, limit_requests,
    refuse_preflights,
};
pub use routes::ScrapeRules;

use actix_web::web;

/// Registers every route. Handlers receive their services as `web::Data`.
pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.configure(routes::routes).configure(operator::routes).configure(pages::routes).configure(error::configure);
}
