//! A turn in memory: its log and the subscriptions to it.
//!
//! The log is the source of truth, and a subscription is a cursor in it. A live subscription receives events through its
//! mailbox; a lagging one (after a reconnect, or because its client reads slowly) reads the backlog from the log, with
//! tokens joined. Resume, several tabs and slow readers all use this one mechanism.

mod cursor;
mod encoder;
mod entry;
mod failure;
mod log;
mod reader;
mod stored_items;
mod subscriber;
mod subscription;
mod tokens;

pub use cursor::Cursor;
pub use encoder::{Encoder, ReplayStart, SubscribedAs};
pub use entry::{Entries, Entry, Item, Progress, TurnEnd};
pub use failure::{FailureMapping, TurnFailure};
pub use log::{TurnLog, TurnSubject};
pub use reader::TurnReader;
pub use subscriber::{Mailbox, Subscriber, TurnEvent, TurnSink};
pub use subscription::{Outbox, Outgoing, SubscribedTurn, Subscription, SubscriptionOptions};
pub use tokens::Tokens;
