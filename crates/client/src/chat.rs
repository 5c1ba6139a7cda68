//! A client that stays signed in over many connections, one at a time, and asks one question at a time.

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

/// The first wait before connecting again, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// What to ask.
#[derive(Clone, Debug)]
pub struct Question {
    pub text: String,
    /// The conversation to go on with; a new one without.
    pub conversation_id: Option<String>,
    /// Names the message, so that it can be sent again after a cut.
    pub client_message_id: String,
    /// Stored with the turn.
    pub metadata: Map<String, Value>,
    /// Time limit for the whole answer; then it is stopped, and [`Answer::next`] fails with [`ClientError::Timeout`]. Without, the
    /// question waits as long as the client may reconnect.
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
    /// No connection, and no further attempt: the error of the call says why.
    Closed,
}

pub struct Client {
    connector: Connector,
    account: Arc<Account>,
    /// None after a cut.
    connection: Option<Connection>,
    /// Failed tries to connect since the last that succeeded.
    failures: u32,
    /// When the server asked to come back.
    reconnect_at: Option<Instant>,
    /// Of connections that are gone.
    received_bytes: u64,
    on_notice: Option<OnNotice>,
    on_status: Option<OnStatus>,
    /// On its way while the connection is read: a slow or failing renewal holds nothing up.
    renewal: Option<Renewal>,
}

type OnNotice = Box<dyn FnMut(Notice<'_>) + Send>;
type OnStatus = Box<dyn FnMut(&Status) + Send>;
type Renewal = Pin<Box<dyn Future<Output = Result<String, ClientError>> + Send>>;

/// What an operator tells people.
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
    /// When there is no connection, or it is refused.
    pub async fn connect(connector: Connector, account: Arc<Account>) -> Result<Self, ClientError> {
        Ok(Self::connect_timed(connector, account).await?.0)
    }

    /// The same, and when the upgrade was answered, and when the session was authenticated.
    ///
    /// # Errors
    /// When there is no connection, or it is refused.
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

    /// What becomes of notices. They come at any time: while an answer is read, and in [`Client::idle`] and [`Client::stay`].
    pub fn on_notice(&mut self, show: impl FnMut(Notice<'_>) + Send + 'static) {
        self.on_notice = Some(Box::new(show));
    }

    /// Registers a callback for changes of the connection's status.
    pub fn on_status(&mut self, tell: impl FnMut(&Status) + Send + 'static) {
        self.on_status = Some(Box::new(tell));
    }

    fn tell_status(&mut self, status: Status) {
        if let Some(tell) = &mut self.on_status {
            tell(&status);
        }
    }

    /// Asks, and reads the answer with [`Answer::next`].
    ///
    /// # Errors
    /// When the connection has ended for good.
    pub async fn ask(&mut self, question: Question) -> Result<Answer<'_>, ClientError> {
        Answer::start(self, question).await
    }

    /// Stays connected until `until`, with nothing asked: answers pings, keeps the proof fresh. Returns early when the
    /// connection ends; the next question makes a new one. Needed wherever a client pauses: who answers no ping is
    /// taken for dead.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn idle(&mut self, until: Instant) -> Result<(), ClientError> {
        tokio::select! {
            error = self.stay() => Err(error),
            () = sleep_until(until) => Ok(()),
        }
    }

    /// [`Client::idle`] without an end; may be dropped at any time.
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

    /// The bytes of all text frames so far.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes + self.connection.as_ref().map_or(0, Connection::received_bytes)
    }

    /// Cuts the connection without a goodbye, as a network does.
    pub fn cut(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.received_bytes += connection.received_bytes();
        }
    }

    /// Says goodbye, and waits for the answer.
    ///
    /// # Errors
    /// When there was none.
    pub async fn close(mut self) -> Result<(), ClientError> {
        match self.connection.take() {
            Some(connection) => connection.close().await,
            None => Ok(()),
        }
    }

    /// The next frame; a connection that ended is let go of.
    pub(super) async fn receive(&mut self) -> Result<Utf8Bytes, ClientError> {
        let received = self.next_frame().await;
        if received.is_err() {
            self.cut();
        }
        received
    }

    /// Reads the connection, and renews its proof meanwhile. May be dropped at any time.
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
            // When the server refuses, what runs goes on until the token ends.
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

    /// Whether there is a connection; after a cut, the next question makes a new one.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Connects again, after the wait that the server asked for, or else one that grows with every failure.
    pub(super) async fn reconnect(&mut self) -> Result<(), ClientError> {
        loop {
            let delay = match self.reconnect_at.take() {
                Some(at) => at.saturating_duration_since(Instant::now()),
                None if self.failures > 0 => backoff(self.failures, fastrand::f64()),
                None => Duration::ZERO,
            };
            if !delay.is_zero() {
                self.tell_status(Status::Reconnecting { attempt: self.failures, delay });
                sleep(delay).await;
            }
            self.tell_status(Status::Connecting { attempt: self.failures });
            match self.connector.open(&self.account).await {
                Ok(opened) => {
                    self.connection = Some(opened.connection);
                    self.failures = 0;
                    self.renewal = None;
                    self.tell_status(Status::Open);
                    return Ok(());
                }
                Err(error) if error.may_reconnect() && self.failures < self.connector.max_reconnects => {
                    self.failures += 1;
                    self.reconnect_at = error.retry_after().map(|wait| Instant::now() + wait);
                }
                Err(error) => {
                    self.tell_status(Status::Closed);
                    return Err(error);
                }
            }
        }
    }

    /// Proves again who is talking, with a token that is good for a while.
    pub(super) async fn authenticate(&mut self) -> Result<(), ClientError> {
        let token = self.account.access_token().await?;
        self.send(auth_frame(&token)).await
    }

    /// The connection was lost, not cut by us: the next one waits a little.
    pub(super) fn note_loss(&mut self) {
        self.failures += 1;
    }

    /// Handles what is about no turn.
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
                if let Some(show) = &mut self.on_notice {
                    show(Notice {
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

/// The wait before try `failures`, with `chance` from 0 to 1: half of it to all of it.
fn backoff(failures: u32, chance: f64) -> Duration {
    let doubled = BACKOFF.0.saturating_mul(2_u32.saturating_pow(failures - 1));
    doubled.min(BACKOFF.1).mul_f64(0.5 + chance / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound() {
        assert_eq!(backoff(1, 1.0), Duration::from_millis(500));
        assert_eq!(backoff(1, 0.0), Duration::from_millis(250));
        assert_eq!(backoff(3, 1.0), Duration::from_secs(2));
        assert_eq!(backoff(30, 1.0), Duration::from_secs(30));
    }

    #[test]
    fn a_question_says_what_it_has() {
        let mut question = Question::new("Hello");
        let frame: Value = serde_json::from_str(&question.frame()).unwrap();
        assert_eq!((frame.get("conversation_id"), frame.get("metadata")), (None, None));
        question.conversation_id = Some("c".to_owned());
        question.metadata.insert("script".to_owned(), json!({"tokens": 3}));
        let frame: Value = serde_json::from_str(&question.frame()).unwrap();
        assert_eq!((&frame["conversation_id"], &frame["metadata"]["script"]["tokens"]), (&"c".into(), &3.into()));
    }
}
