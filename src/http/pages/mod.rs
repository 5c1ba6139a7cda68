//! The pages for people: chat, operators, documents, and the documentation of the API.

mod document;
mod files;
mod markdown;
mod openapi;
mod static_file;
mod swagger_ui;

#[cfg(test)]
pub use openapi::document_of_the_api;

use actix_web::web;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.configure(openapi::routes).configure(files::routes).configure(document::routes);
}
