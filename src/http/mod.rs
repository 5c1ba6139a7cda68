//! HTTP: routes, extractors, and how an error looks in an answer.

pub mod auth;
pub mod error;
mod identity;
mod json;

pub use error::ErrorBody;
pub use identity::require_operator;
pub use json::{Json, JsonLimit};
