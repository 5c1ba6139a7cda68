//! No word is lost: each test makes a failure happen.

mod drain;
mod frames;
mod resume;
mod slow_reader;
mod watch;
