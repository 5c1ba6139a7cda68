//! The wire contract as types: frames, errors, close codes, dialects. `docs/WEBSOCKET.md` is its published form.

mod api_error;
mod error_code;

pub use api_error::ApiError;
pub use error_code::ErrorCode;
