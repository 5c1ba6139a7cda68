//! A turn in memory: its log and the subscriptions to it.
//!
//! The log is the source of truth, and a subscription is a cursor in it. A live subscription receives events through its
//! mailbox; a lagging one (after a reconnect, or because its client reads slowly) reads the backlog from the log, with
//! tokens joined. Resume, several tabs and slow readers all use this one mechanism.

mod cursor;
mod failure;
mod log;
mod reader;
mod subscriber;
mod subscription;

pub use cursor::Cursor;
pub use failure::TurnFailure;
pub use log::{Backlog, Progress, Tokens, TurnEnd, TurnLog, TurnSubject};
pub use reader::TurnReader;
pub use subscriber::{Mailbox, Subscriber, TurnEvent, TurnEventKind, TurnSink};
pub use subscription::{FailureMapping, FrameOptions, Outbox, Outgoing, SubscribedTurn, Subscription};
