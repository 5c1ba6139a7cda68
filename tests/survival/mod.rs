//! What must not get lost, under failures that are made to happen: the program killed at any moment, and a store that
//! cannot write.

mod crash;
mod storage;
