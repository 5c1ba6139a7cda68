//! Registers an account, asks one question and prints the answer as it arrives. The client resumes by itself after a lost
//! connection. To run it: `cargo run -p switchboard-client --example ask -- http://127.0.0.1:8000`.

use std::{env, error::Error, io, io::Write, sync::Arc};
use switchboard_client::{Account, Client, Connector, Event, Question};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).or_else(|| env::var("SWITCHBOARD_URL").ok());
    let connector = Connector::new(url.as_deref().unwrap_or("http://127.0.0.1:8000"))?;
    // To use an existing account, call `Account::sign_in`.
    let (name, password) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4().to_string());
    let account = Account::register(&connector, "Guest", &format!("{name}@example.org"), &password).await?;
    let mut client = Client::connect(connector, Arc::new(account)).await?;

    let mut answer = client.ask(Question::new("What is the engine power?")).await?;
    let mut stdout = io::stdout();
    while let Some(event) = answer.next().await? {
        match event {
            Event::Token { text, .. } => write!(stdout, "{text}")?,
            Event::Complete { finish_reason, .. } => writeln!(stdout, "\n({finish_reason}; SHA-256 verified)")?,
            _ => {}
        }
        stdout.flush()?;
    }
    client.close().await?;
    Ok(())
}
