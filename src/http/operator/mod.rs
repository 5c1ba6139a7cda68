//! The API for operators: one file per noun. Every route requires an operator's token.

pub mod audit;
pub mod connections;
pub mod drain;
pub mod notices;
pub mod settings;
mod text;
pub mod turns;
pub mod user_list;
pub mod users;
mod ws;

use actix_web::web;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.configure(ws::routes)
        .configure(connections::routes)
        .configure(users::routes)
        .configure(user_list::routes)
        .configure(turns::routes)
        .configure(notices::routes)
        .configure(drain::routes)
        .configure(settings::routes)
        .configure(audit::routes);
}
