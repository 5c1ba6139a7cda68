//! What operators see live: `/ws/ops`, the feed behind the page `/ops`.
//!
//! `state` decides, without sockets; `actor` carries out. What is the same for all is read once, in `feed`, and turned into
//! charts by `history`; which sockets are open is in `sockets`. Steering is done over REST.

mod actor;
mod feed;
mod frames;
mod history;
mod sockets;
mod state;

pub use actor::{OpsContext, OpsOpening, upgrade};
pub use feed::Feed;
pub use frames::OpsClientFrame;
pub use history::{Columns, Sample};
pub use sockets::{OpsCommand, OpsRegistration, OpsSockets};
