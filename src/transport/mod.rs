//! Transport: what lies below the actor of a connection, from the listener to whole WebSocket messages.
//!
//! `listener` accepts connections, with the options and counters of `accepted`, within `capacity`. actix-http reads their
//! requests, and `refusal` answers what is none; a connection that asks for an upgrade is served by `upgraded`. `socket` reads
//! its bytes (`read_buffer`), decodes them (`decoder`) and calls the actor, whose frames collect in `socket_context` until the
//! connection takes them. No other module uses actix-http.

mod accepted;
mod capacity;
mod decoder;
mod handover;
mod handshake;
mod in_flight;
mod listener;
mod read_buffer;
mod refusal;
pub mod socket;
mod socket_context;
mod upgraded;

pub use accepted::Reserve;
pub use capacity::Capacity;
pub use decoder::Decoder;
pub use handshake::check as check_handshake;
pub use in_flight::{InFlight, OpenStream};
pub use listener::{ServerContext, ServerLimits, listen, server};
