//! Those who want in, want what is others', or want to harm.

mod documents;
mod forged_tokens;
mod hosts;
mod origins;
mod others;
mod page;
mod prompts;
mod requests;
mod tickets;
