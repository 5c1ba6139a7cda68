//! The operator's socket: statistics of the server every second, and the events of one watched connection.

use super::{
    Account, ClientError, Connection, Connector,
    connection::{auth_error, auth_frame, server_error},
    frame::Frame,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// Time without a frame after which the connection is considered lost. The server sends one every second.
const MAX_SILENCE: Duration = Duration::from_secs(15);

/// An operator's authenticated socket.
pub struct Feed {
    connection: Connection,
    account: Account,
    /// Token that was sent last.
    token: String,
    /// Its expiry was announced, and it has not been replaced yet.
    is_expiring: bool,
}

impl Feed {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// When the server cannot be reached, the account is no operator's, or too many operators are connected.
    pub async fn open(connector: &Connector, account: Account) -> Result<Self, ClientError> {
        let token = account.access_token().await?;
        let connection = connector.open_ops(&token).await?;
        Ok(Self { connection, account, token, is_expiring: false })
    }

    /// Watches a connection; replaces the previously watched one.
    ///
    /// # Errors
    /// When the socket was closed or lost.
    pub async fn watch(&mut self, connection_id: &str) -> Result<(), ClientError> {
        self.connection.send(json!({"type": "watch", "connection_id": connection_id}).to_string()).await
    }

    /// Returns the next frame that is not about authentication. Renews the access token meanwhile.
    ///
    /// # Errors
    /// When the socket was closed, lost or silent, or the server sent an error.
    pub async fn next(&mut self) -> Result<Value, ClientError> {
        loop {
            let text = timeout(MAX_SILENCE, self.connection.next()).await;
            let text = text.map_err(|_| ClientError::Timeout("the next frame"))??;
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

    /// Performs the closing handshake.
    ///
    /// # Errors
    /// When the server does not complete it in time.
    pub async fn close(self) -> Result<(), ClientError> {
        self.connection.close().await
    }

    /// Sends a new token once there is one. A failed renewal is retried with the next frame.
    async fn renew(&mut self) -> Result<(), ClientError> {
        if !self.is_expiring {
            return Ok(());
        }
        let token = self.account.access_token().await?;
        // Sending the same token again would only trigger the same warning.
        if token == self.token {
            return Ok(());
        }
        self.connection.send(auth_frame(&token)).await?;
        self.token = token;
        self.is_expiring = false;
        Ok(())
    }
}
