//! The HTTP interface: what a request passes through, and what answers it.
//!
//! | module | contents |
//! | --- | --- |
//! | `state` | the services of the application, and the extractor of those that a handler names |
//! | `extract` | extractors: the caller, their address, JSON bodies, query parameters |
//! | `middleware` | what every request passes through before its handler, and every response after it |
//! | `routes` | the public API, one file per noun |
//! | `operator` | the API for operators, one file per noun |
//! | `pages` | the pages for people and the documentation of the API |
//! | `error` | responses for errors of all of them |
//! | `rules` | rules that settings set for requests |
//! | `exempt` | routes that the request limits do not count |

mod error;
mod exempt;
mod extract;
mod middleware;
mod operator;
mod pages;
mod routes;
mod rules;
mod state;
#[cfg(test)]
mod tests;

pub use rules::{HostCheck, JsonLimit, ScrapeRules};
pub use state::{AppState, WorkerState, passage_url};

use actix_web::{
    App, Error,
    body::MessageBody,
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    middleware::from_fn,
    web,
};
use std::sync::Arc;

/// Builds the application of a worker thread: state, middleware and routes.
///
/// A request passes through the middleware from the last line to the first.
pub fn application(
    state: WorkerState,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let origins = Arc::clone(&state.app.origins);
    App::new()
        .wrap(from_fn(middleware::count_requests))
        .wrap(from_fn(middleware::limit_requests))
        .wrap(middleware::cors(origins))
        .wrap(from_fn(middleware::refuse_preflights))
        .wrap(from_fn(middleware::check_host))
        .wrap(from_fn(middleware::keep_reserve))
        .wrap(error::error_bodies())
        .wrap(middleware::default_headers())
        .wrap(from_fn(middleware::answer_head))
        .wrap(from_fn(middleware::hold_bodies))
        .app_data(web::Data::new(state))
        .configure(routes)
}

/// Registers every route.
fn routes(cfg: &mut web::ServiceConfig) {
    cfg.configure(routes::routes).configure(operator::routes).configure(pages::routes).configure(error::configure);
}
