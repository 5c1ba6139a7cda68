//! A turn while it is in memory: its log, and those who follow it.
//!
//! The log is the truth, and a follower is a cursor in it. Live tokens reach a follower through its mailbox; a follower
//! that is behind (it was away, it reads slowly, it came late) reads what it missed from the log, joined. Resume, several
//! tabs and slow readers are this one mechanism.

mod follower;
mod following;
mod log;
mod reader;

pub use follower::{Follower, Mailbox, TurnEvent, TurnEventKind, TurnSink};
pub use following::{Cursor, Followed, Following, Outbox, Outgoing, Style};
pub use log::{Missed, Progress, Tokens, TurnEnd, TurnLog, TurnSubject};
pub use reader::TurnReader;
