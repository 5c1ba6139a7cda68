//! The chat client: one connection and one question at a time. Reconnects, and renews its authentication.

use super::{
    Account, Answer, ClientError, Connection, Connector, Frame, Opened,
    connection::{auth_error, auth_frame},
};
use serde_json::{Map, Value, json};
use std::{
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Initial and maximum delay before a reconnection attempt.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A message to the assistant, with its options.
#[derive(Clone, Debug)]
pub struct Question {
    pub text: String,
    /// The conversation to continue; `None` starts a new one.
    pub conversation_id: Option<String>,
    /// Idempotency key: the message can be sent again after a lost connection without starting a second turn.
    pub client_message_id: String,
    /// Stored with the turn.
    pub metadata: Map<String, Value>,
    /// Time limit for the whole answer. When it is exceeded, the turn is cancelled and [`Answer::next`] fails with
    /// [`ClientError::Timeout`]. `None` waits as long as reconnecting succeeds.
    pub timeout: Option<Duration>,
}

/// Status of a client's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// An attempt to connect, counted from 0.
    Connecting { attempt: u32 },
    /// Connected and signed in.
    Open,
    /// The last attempt failed, or the connection was lost: the next attempt comes after `delay`.
    Reconnecting { attempt: u32, delay: Duration },
    /// Reconnecting was given up; the pending call returns the error.
    Closed,
}

/// A signed-in client of one server.
pub struct Client {
    connector: Connector,
    account: Arc<Account>,
    /// `None` after the connection was lost.
    connection: Option<Connection>,
    /// Failed attempts since the last successful one.
    failures: u32,
    /// Time of the next attempt, if the server specified one.
    reconnect_at: Option<Instant>,
    /// Bytes received on previous connections.
    received_bytes: u64,
    on_notice: Option<OnNotice>,
    on_status: Option<OnStatus>,
    /// Renewal of the access token, polled while the connection is read so that a slow one delays nothing.
    renewal: Option<Renewal>,
}

type OnNotice = Box<dyn FnMut(Notice<'_>) + Send>;
type OnStatus = Box<dyn FnMut(&Status) + Send>;
type Renewal = Pin<Box<dyn Future<Output = Result<String, ClientError>> + Send>>;

/// A message from an operator to connected users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice<'a> {
    /// Plain text, which may have line breaks.
    pub message: &'a str,
    /// `info` or `warning`.
    pub level: &'a str,
}

impl Question {
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            conversation_id: None,
            client_message_id: uuid::Uuid::new_v4().to_string(),
            metadata: Map::new(),
            timeout: None,
        }
    }

    pub(super) fn frame(&self) -> String {
        let mut frame = json!({"type": "message", "message": self.text, "client_message_id": self.client_message_id});
        if let Some(id) = &self.conversation_id {
            frame["conversation_id"] = id.as_str().into();
        }
        if !self.metadata.is_empty() {
            frame["metadata"] = Value::Object(self.metadata.clone());
        }
        frame.to_string()
    }
}

impl Client {
    /// Connects and signs in.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the connection.
    pub async fn connect(connector: Connector, account: Arc<Account>) -> Result<Self, ClientError> {
        Ok(Self::connect_timed(connector, account).await?.0)
    }

    /// Like [`Client::connect`]; also returns when the upgrade completed and when the connection was authenticated.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the connection.
    pub async fn connect_timed(
        connector: Connector,
        account: Arc<Account>,
    ) -> Result<(Self, Instant, Instant), ClientError> {
        let Opened { connection, connected_at, authenticated_at } = connector.open(&account).await?;
        let client = Self {
            connector,
            account,
            connection: Some(connection),
            failures: 0,
            reconnect_at: None,
            received_bytes: 0,
            on_notice: None,
            on_status: None,
            renewal: None,
        };
        Ok((client, connected_at, authenticated_at))
    }

    /// Registers a callback for notices. They arrive at any time: while an answer is read, and in [`Client::idle`] and
    /// [`Client::stay`].
    pub fn on_notice(&mut self, callback: impl FnMut(Notice<'_>) + Send + 'static) {
        self.on_notice = Some(Box::new(callback));
    }

    /// Registers a callback for changes of the connection's status.
    pub fn on_status(&mut self, callback: impl FnMut(&Status) + Send + 'static) {
        self.on_status = Some(Box::new(callback));
    }

    fn report_status(&mut self, status: Status) {
        if let Some(callback) = &mut self.on_status {
            callback(&status);
        }
    }

    /// Sends a question. Read the answer with [`Answer::next`].
    ///
    /// # Errors
    /// When the question could not be sent and reconnecting would not help.
    pub async fn ask(&mut self, question: Question) -> Result<Answer<'_>, ClientError> {
        Answer::start(self, question).await
    }

    /// Keeps the connection alive until `until` without asking: answers pings and renews the authentication. Returns early if
    /// the connection ends; the next question opens a new one. Call it whenever the program pauses: the server closes
    /// connections that do not answer pings.
    ///
    /// # Errors
    /// When the connection ended before `until`.
    pub async fn idle(&mut self, until: Instant) -> Result<(), ClientError> {
        tokio::select! {
            error = self.stay() => Err(error),
            () = sleep_until(until) => Ok(()),
        }
    }

    /// Like [`Client::idle`] without a time limit. Cancel-safe.
    pub async fn stay(&mut self) -> ClientError {
        loop {
            if self.connection.is_none() {
                return pending().await;
            }
            let handled = match self.next_frame().await {
                Ok(text) => self.on_frame(&text).await,
                Err(error) => Err(error),
            };
            if let Err(error) = handled {
                self.cut();
                return error;
            }
        }
    }

    /// Returns the total size of all received text frames, in bytes.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes + self.connection.as_ref().map_or(0, Connection::received_bytes)
    }

    /// Drops the connection without a close frame, as a network failure does.
    pub fn cut(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.received_bytes += connection.received_bytes();
        }
    }

    /// Performs the closing handshake.
    ///
    /// # Errors
    /// When the server does not complete it in time.
    pub async fn close(mut self) -> Result<(), ClientError> {
        match self.connection.take() {
            Some(connection) => connection.close().await,
            None => Ok(()),
        }
    }

    /// Returns the next frame. Drops a connection that has ended.
    pub(super) async fn receive(&mut self) -> Result<Utf8Bytes, ClientError> {
        let received = self.next_frame().await;
        if received.is_err() {
            self.cut();
        }
        received
    }

    /// Reads the connection and renews its authentication meanwhile. Cancel-safe.
    async fn next_frame(&mut self) -> Result<Utf8Bytes, ClientError> {
        loop {
            let Some(connection) = &mut self.connection else {
                return Err(ClientError::Closed { code: 1006, reason: String::new() });
            };
            let renewed = tokio::select! {
                biased;
                received = connection.next() => return received,
                renewed = async {
                    match &mut self.renewal {
                        Some(renewal) => renewal.await,
                        None => pending().await,
                    }
                } => renewed,
            };
            self.renewal = None;
            // After a failed renewal, the connection works until the token expires.
            if let Ok(token) = renewed {
                connection.send(auth_frame(&token)).await?;
            }
        }
    }

    pub(super) async fn send(&mut self, frame: String) -> Result<(), ClientError> {
        let Some(connection) = &mut self.connection else {
            return Err(ClientError::Closed { code: 1006, reason: String::new() });
        };
        let sent = connection.send(frame).await;
        if sent.is_err() {
            self.cut();
        }
        sent
    }

    /// Whether there is a connection. If not, the next question opens one.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Reconnects after the delay that the server specified, or with exponential backoff.
    pub(super) async fn reconnect(&mut self) -> Result<(), ClientError> {
        loop {
            let delay = match self.reconnect_at.take() {
                Some(at) => at.saturating_duration_since(Instant::now()),
                None if self.failures > 0 => backoff(self.failures, fastrand::f64()),
                None => Duration::ZERO,
            };
            if !delay.is_zero() {
                self.report_status(Status::Reconnecting { attempt: self.failures, delay });
                sleep(delay).await;
            }
            self.report_status(Status::Connecting { attempt: self.failures });
            match self.connector.open(&self.account).await {
                Ok(opened) => {
                    self.connection = Some(opened.connection);
                    self.failures = 0;
                    self.renewal = None;
                    self.report_status(Status::Open);
                    return Ok(());
                }
                Err(error) if error.may_reconnect() && self.failures < self.connector.max_reconnects => {
                    self.failures += 1;
                    self.reconnect_at = error.retry_after().map(|wait| Instant::now() + wait);
                }
                Err(error) => {
                    self.report_status(Status::Closed);
                    return Err(error);
                }
            }
        }
    }

    /// Authenticates the connection again with a valid token.
    pub(super) async fn authenticate(&mut self) -> Result<(), ClientError> {
        let token = self.account.access_token().await?;
        self.send(auth_frame(&token)).await
    }

    /// Counts a lost connection as a failure, so that the next attempt is delayed.
    pub(super) fn note_loss(&mut self) {
        self.failures += 1;
    }

    /// Handles a frame that belongs to no turn.
    pub(super) async fn on_frame(&mut self, text: &str) -> Result<(), ClientError> {
        let frame = Frame::parse(text).map_err(|error| ClientError::Protocol(error.to_string()))?;
        match &*frame.kind {
            "auth_expiring" => {
                if self.renewal.is_none() {
                    let (account, old) = (Arc::clone(&self.account), self.account.current_token().await);
                    self.renewal = Some(Box::pin(async move { account.renewed_token(&old).await }));
                }
                Ok(())
            }
            "auth_error" => Err(auth_error(&frame)),
            "going_away" => {
                let wait = frame.reconnect_after_ms.map(Duration::from_millis);
                self.reconnect_at = wait.map(|wait| Instant::now() + wait);
                Ok(())
            }
            "notice" => {
                if let Some(callback) = &mut self.on_notice {
                    callback(Notice {
                        message: frame.message.as_deref().unwrap_or_default(),
                        level: frame.level.as_deref().unwrap_or_default(),
                    });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Returns the delay after `failures` failed attempts. `jitter`, from 0 to 1, selects between half of the delay and all of it.
fn backoff(failures: u32, jitter: f64) -> Duration {
    let doubled = BACKOFF.0.saturating_mul(2_u32.saturating_pow(failures - 1));
    doubled.min(BACKOFF.1).mul_f64(0.5 + jitter / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_a_maximum() {
        assert_eq!(backoff(1, 1.0), Duration::from_millis(500));
        assert_eq!(backoff(1, 0.0), Duration::from_millis(250));
        assert_eq!(backoff(3, 1.0), Duration::from_secs(2));
        assert_eq!(backoff(30, 1.0), Duration::from_secs(30));
    }

    #[test]
    fn frame_omits_unset_fields() {
        let mut question = Question::new("Hello");
        let frame: Value = serde_json::from_str(&question.frame()).unwrap();
        assert_eq!((frame.get("conversation_id"), frame.get("metadata")), (None, None));
        question.conversation_id = Some("c".to_owned());
        question.metadata.insert("script".to_owned(), json!({"tokens": 3}));
        let frame: Value = serde_json::from_str(&question.frame()).unwrap();
        assert_eq!((&frame["conversation_id"], &frame["metadata"]["script"]["tokens"]), (&"c".into(), &3.into()));
    }
}
