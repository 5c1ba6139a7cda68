//! The reference client of the protocol, for other Rust programs. It keeps the rules of `docs/WEBSOCKET.md`, "How to write
//! a client that reconnects": what it hands out has arrived exactly once, also over cuts.
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
//!         // Show it.
//!         let _ = text;
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
