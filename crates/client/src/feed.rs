//! An operator's socket: what the server tells of itself each second, and one connection that is watched.

use super::{
    Account, ClientError, Connection, Connector,
    connection::{auth_error, auth_frame, server_error},
    frame::Frame,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// The server says something each second. One that says nothing for so long is lost.
const MAX_SILENCE: Duration = Duration::from_secs(15);

pub struct Feed {
    connection: Connection,
    account: Account,
    /// The one that was sent last.
    token: String,
    /// Its end was announced, and there is no other one yet.
    is_expiring: bool,
}

impl Feed {
    /// Connects and signs in.
    ///
    /// # Errors
    /// When there is no connection, the account is refused (it must be an operator's), or too many operators are there.
    pub async fn open(connector: &Connector, account: Account) -> Result<Self, ClientError> {
        let token = account.access_token().await?;
        let connection = connector.open_ops(&token).await?;
        Ok(Self { connection, account, token, is_expiring: false })
    }

    /// Follows one connection, instead of another one.
    ///
    /// # Errors
    /// When the socket has ended.
    pub async fn watch(&mut self, connection_id: &str) -> Result<(), ClientError> {
        self.connection.send(json!({"type": "watch", "connection_id": connection_id}).to_string()).await
    }

    /// The next frame that is not about signing in: the account is renewed on the way, as far as it can be.
    ///
    /// # Errors
    /// When the socket has ended or is silent, and when the server refuses something.
    pub async fn next(&mut self) -> Result<Value, ClientError> {
        loop {
            let text = timeout(MAX_SILENCE, self.connection.next()).await;
            let text = text.map_err(|_| ClientError::Timeout("the feed"))??;
            let frame: Value = serde_json::from_str(&text).map_err(|error| ClientError::Protocol(error.to_string()))?;
            match frame["type"].as_str().unwrap_or_default() {
                "auth_success" => {}
                "auth_expiring" => {
                    self.is_expiring = true;
                    self.renew().await?;
                }
                "auth_error" => {
                    let refused = Frame::parse(&text).map_err(|error| ClientError::Protocol(error.to_string()))?;
                    return Err(auth_error(&refused));
                }
                "error" => return Err(ClientError::Server(server_error(&text))),
                _ => {
                    self.renew().await?;
                    return Ok(frame);
                }
            }
        }
    }

    /// Says goodbye, and waits for the answer.
    ///
    /// # Errors
    /// When there was none.
    pub async fn close(self) -> Result<(), ClientError> {
        self.connection.close().await
    }

    /// Sends a new token once there is one. A renewal that fails for now is tried again with the next frame.
    async fn renew(&mut self) -> Result<(), ClientError> {
        if !self.is_expiring {
            return Ok(());
        }
        let token = self.account.access_token().await?;
        // The same token again would end no later, and be warned of again at once.
        if token == self.token {
            return Ok(());
        }
        self.connection.send(auth_frame(&token)).await?;
        self.token = token;
        self.is_expiring = false;
        Ok(())
    }
}
