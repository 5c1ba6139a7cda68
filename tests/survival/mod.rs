//! Durability under injected failures: the program killed at any moment, and a store that
//! cannot write.

#![expect(clippy::print_stdout, reason = "the seed of a run has to be seen, to repeat it")]

mod budgets;
mod crash;
mod events;
mod storage;
