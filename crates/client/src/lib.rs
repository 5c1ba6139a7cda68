//! The Rust client of Switchboard: signs in, asks questions and streams the answers. It reconnects and resumes by itself, so
//! that every token is delivered exactly once, and verifies each complete answer by its SHA-256. The rules it follows are in
//! `docs/WEBSOCKET.md`, "How to write a client that reconnects".
//!
//! Start with an [`Account`] and a [`Client`]; [`Client::ask`] returns an [`Answer`], a stream of [`Event`]s: steps, text, and, apart from
//! the text, reasoning and typed parts. A complete program is in `examples/ask.rs`.
//!
//! ```no_run
//! # async fn example() -> Result<(), switchboard_client::ClientError> {
//! use std::sync::Arc;
//! use switchboard_client::{Account, Client, Connector, Event, Question};
//!
//! let connector = Connector::new("ws://127.0.0.1:8000")?;
//! let account = Account::sign_in(&connector, "ada@example.org", "correct horse battery staple").await?;
//! let mut client = Client::connect(connector, Arc::new(account)).await?;
//! let mut answer = client.ask(Question::new("What is the engine power?")).await?;
//! while let Some(event) = answer.next().await? {
//!     if let Event::Token { text, .. } = event {
//!         print!("{text}");
//!     }
//! }
//! client.close().await?;
//! # Ok(())
//! # }
//! ```

mod account;
mod answer;
mod chat;
mod connection;
mod error;
mod feed;
mod frame;
mod transcript;

pub use account::Account;
pub use answer::{Answer, Event};
pub use chat::{Client, Notice, Question, Status};
pub use connection::{Connection, Connector, Opened};
pub use error::{ClientError, ServerError};
pub use feed::Feed;
pub use frame::{Frame, Head, Text};
pub use transcript::{Transcript, Violation};
