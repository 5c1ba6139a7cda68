//! Extractors: what a handler takes from its request, checked before it runs.

mod client_address;
mod identity;
pub mod json;
mod page;
mod query;

pub use client_address::client_address;
pub use identity::{Operator, is_operator, require_operator};
pub use json::{Json, LongBody, OptionalJson};
pub use page::PageQuery;
pub use query::Query;
