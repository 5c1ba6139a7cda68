//! The pages for people: chat, operators, and the documentation of the API.

mod files;
mod openapi;
mod static_file;
mod swagger_ui;

#[cfg(test)]
pub use openapi::document_of_the_api;

use actix_web::web;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.configure(openapi::routes).configure(files::routes);
}
