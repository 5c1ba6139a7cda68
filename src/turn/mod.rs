//! A turn while it is in memory: its log, and those who follow it.
//!
//! The log is the truth, and a follower is a cursor in it. Live tokens reach a follower through its mailbox; a follower
//! that is behind (it was away, it reads slowly, it came late) reads what it missed from the log, joined. Resume, several
//! tabs and slow readers are this one mechanism.

mod cursor;
mod failure;
mod log;
mod reader;
mod subscriber;
mod subscription;

pub use cursor::Cursor;
pub use failure::TurnFailure;
pub use log::{Missed, Progress, Tokens, TurnEnd, TurnLog, TurnSubject};
pub use reader::TurnReader;
pub use subscriber::{Mailbox, Subscriber, TurnEvent, TurnEventKind, TurnSink};
pub use subscription::{FailureMapping, Outbox, Outgoing, Style, SubscribedTurn, Subscription};
