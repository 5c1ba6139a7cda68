//! The live feed for operators: `/ws/ops`, which the page `/ops` shows.
//!
//! `state` decides without sockets, `actor` executes its effects. `feed` reads the numbers that are the same for everyone once
//! a second and `history` keeps them for the charts. The connections are in the registry, as those of users are. Operators'
//! actions go over REST, not over this feed.

mod actor;
mod feed;
mod frames;
mod history;
mod state;

pub use actor::{OpsContext, OpsOpening, upgrade};
pub use feed::{Feed, FeedSources};
pub use frames::OpsClientFrame;
pub use history::{Columns, Sample};
