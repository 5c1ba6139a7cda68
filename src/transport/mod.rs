//! Transport: what lies below the actor of a connection, from the listener to whole WebSocket messages.
//!
//! `listener` accepts connections, with the options and counters of `accepted`, within `capacity`. actix-http reads their
//! requests; a connection that asks for an upgrade is served by `upgraded`. Its bytes pass `frame_guard`, are decoded and
//! reassembled (`socket`, `fragments`), and what the actor sends leaves through `response_body`. No other module uses
//! actix-http.

mod accepted;
mod capacity;
mod fragments;
mod frame_guard;
mod handshake;
mod in_flight;
mod listener;
mod response_body;
pub mod socket;
mod upgraded;

pub use accepted::Reserve;
pub use capacity::Capacity;
pub use fragments::{Fragments, WholeMessage};
pub use handshake::check as check_handshake;
pub use in_flight::{InFlight, OpenStream};
pub use listener::{ServerContext, ServerLimits, listen, server};
pub use response_body::{Flow, ResponseBody, SendMore};
