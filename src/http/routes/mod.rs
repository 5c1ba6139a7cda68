//! The public API: one file per noun, each with its routes, bodies and OpenAPI descriptions.

pub mod auth;
pub mod chat;
pub mod conversation_events;
pub mod conversations;
pub mod documents;
pub mod feedback;
pub mod health;
pub mod metrics;
pub mod starters;
pub mod ws;

use actix_web::web;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.configure(ws::routes)
        .configure(chat::routes)
        .configure(conversation_events::routes)
        .configure(conversations::routes)
        .configure(feedback::routes)
        .configure(auth::routes)
        .configure(documents::routes)
        .configure(health::routes)
        .configure(metrics::routes)
        .configure(starters::routes);
}
