//! Middleware, in a file each. `app` wraps them around the routes and says why in that order.

pub mod cors;
mod count;
mod head;
mod headers;
mod host;
mod request_rate;
mod reserve;
mod unread_body;

pub use cors::{cors, refuse_preflights};
pub use count::count_requests;
pub use head::answer_head;
pub use headers::default_headers;
pub use host::check_host;
pub use request_rate::limit_requests;
pub use reserve::keep_reserve;
pub use unread_body::hold_bodies;
