//! The answer to one question, as it arrives: over cuts, each token once, and verified at the end.

use super::{Client, ClientError, Frame, Question, ServerError, Text, Transcript, connection::auth_error};
use serde_json::json;
use std::{ops::Range, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A turn that is being read.
pub struct Answer<'c> {
    client: &'c mut Client,
    question: Question,
    transcript: Transcript,
    turn_id: Option<String>,
    conversation_id: Option<String>,
    /// Of the latest event.
    frame: Utf8Bytes,
    has_ended: bool,
    was_cancelled: bool,
    /// A `resume` is on its way: until its `resumed`, what comes of this turn will come again.
    is_resuming: bool,
    /// The end of the token was met once: met again without news in between, it is an error.
    was_expired: bool,
    deadline: Option<Instant>,
}

/// News of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A step began.
    Progress { step: &'a str },
    /// New text, and the places of the tokens that it joins.
    Token { text: &'a str, seqs: Range<u32> },
    /// The connection was cut, and is back. A server that was killed may have lost the tokens from `from_seq` on: then they
    /// are gone from [`Answer::transcript`], too.
    Resumed { from_seq: u32 },
    /// The end: all tokens, joined, are what the server wrote.
    Complete { response: &'a str, finish_reason: String },
}

/// An event without what it borrows.
enum News {
    Progress,
    Token { from: usize, seqs: Range<u32> },
    Resumed { from_seq: u32 },
    Complete { finish_reason: String },
}

/// What a frame asks of us.
enum Digested {
    News(News),
    /// Nothing of this turn.
    Other,
    /// Tokens are missing.
    Gap,
    /// The server cannot resume the turn now.
    ResumeIn(Duration),
    /// The question was sent after the token had expired.
    Expired,
}

/// Error codes that refuse a `resume` for now, and for good.
const RESUME_LATER: [&str; 2] = ["RATE_LIMITED", "OVERLOADED"];
const RESUME_NEVER: [&str; 6] =
    ["RESUME_UNAVAILABLE", "FORBIDDEN", "NOT_FOUND", "INVALID_FIELD", "PROCESSING_ERROR", "AUTH_REQUIRED"];
/// Error codes that answer a `cancel` while the turn has not ended.
const NO_END: [&str; 7] =
    ["RATE_LIMITED", "AUTH_EXPIRED", "AUTH_REQUIRED", "RESUME_UNAVAILABLE", "FORBIDDEN", "NOT_FOUND", "INVALID_FIELD"];
/// The wait before another `resume` when the server names none.
const RESUME_WAIT: Duration = Duration::from_secs(1);

impl<'c> Answer<'c> {
    pub(super) async fn start(client: &'c mut Client, question: Question) -> Result<Self, ClientError> {
        let deadline = question.timeout.map(|timeout| Instant::now() + timeout);
        let answer = Self {
            conversation_id: question.conversation_id.clone(),
            client,
            question,
            transcript: Transcript::default(),
            turn_id: None,
            frame: Utf8Bytes::default(),
            has_ended: false,
            was_cancelled: false,
            is_resuming: false,
            was_expired: false,
            deadline,
        };
        if answer.client.is_connected() {
            match answer.client.send(answer.question.frame()).await {
                Err(error) if error.may_reconnect() => answer.client.note_loss(),
                sent => sent?,
            }
        }
        Ok(answer)
    }

    /// The next event; none behind the end. Reconnects and resumes as often as it must.
    ///
    /// # Errors
    /// When the turn was refused or failed, the connection is gone for good, or the answer is not what was written.
    pub async fn next(&mut self) -> Result<Option<Event<'_>>, ClientError> {
        if self.has_ended {
            return Ok(None);
        }
        let news = match self.deadline {
            None => self.read().await,
            Some(deadline) => match timeout_at(deadline, self.read()).await {
                Ok(read) => read,
                Err(_) => Err(self.give_up().await),
            },
        };
        let news = news.inspect_err(|_| self.has_ended = true)?;
        self.was_expired = false;
        Ok(Some(match news {
            News::Progress => {
                let frame = Frame::parse(&self.frame).map_err(against)?;
                // Steps have no escapes: the name stands in the frame as it is.
                let step = frame.step.as_deref().and_then(|step| self.frame.find(step).map(|at| at..at + step.len()));
                Event::Progress { step: step.map_or("", |range| &self.frame[range]) }
            }
            News::Token { from, seqs } => Event::Token { text: &self.transcript.text()[from..], seqs },
            News::Resumed { from_seq } => Event::Resumed { from_seq },
            News::Complete { finish_reason } => {
                self.has_ended = true;
                Event::Complete { response: self.transcript.text(), finish_reason }
            }
        }))
    }

    /// Reads to the end.
    ///
    /// # Errors
    /// As [`Answer::next`].
    pub async fn finish(mut self) -> Result<Transcript, ClientError> {
        while self.next().await?.is_some() {}
        Ok(self.transcript)
    }

    /// Asks the server to stop; the answer still ends in [`Event::Complete`], with `cancelled`.
    ///
    /// # Errors
    /// When the turn has not begun, or the connection is gone for good.
    pub async fn cancel(&mut self) -> Result<(), ClientError> {
        let Some(turn_id) = &self.turn_id else {
            return Err(ClientError::Protocol("the turn has not begun".to_owned()));
        };
        let frame = json!({"type": "cancel", "turn_id": turn_id}).to_string();
        self.was_cancelled = true;
        if !self.client.is_connected() {
            self.come_back().await?;
        }
        self.client.send(frame).await
    }

    /// Nobody waits for the answer any more: the server need not go on with it. A turn that has not begun cannot be named.
    async fn give_up(&mut self) -> ClientError {
        if self.turn_id.is_some() && self.client.is_connected() {
            // Whether it arrives makes no difference to the caller.
            let _ = self.cancel().await;
        }
        ClientError::Timeout("the whole answer")
    }

    /// Cuts the connection, as a network does; [`Answer::next`] comes back.
    pub fn cut(&mut self) {
        self.client.cut();
    }

    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// The frame of the latest event, as it came: JSON.
    pub fn frame(&self) -> &str {
        &self.frame
    }

    /// Of the conversation, once it is known.
    pub fn conversation_id(&self) -> Option<&str> {
        self.conversation_id.as_deref()
    }

    async fn read(&mut self) -> Result<News, ClientError> {
        loop {
            if !self.client.is_connected() {
                self.come_back().await?;
            }
            match self.client.receive().await {
                Ok(frame) => self.frame = frame,
                // The token ended: with another one it goes on, if there is one.
                Err(ClientError::Closed { code: 4401, .. }) if !self.was_expired => {
                    self.was_expired = true;
                    continue;
                }
                Err(error) if error.may_reconnect() => {
                    self.client.note_loss();
                    continue;
                }
                Err(error) => return Err(error),
            }
            match self.digest()? {
                Digested::News(news) => return Ok(news),
                Digested::Gap => self.resume().await?,
                Digested::ResumeIn(wait) => {
                    sleep(wait).await;
                    self.resume().await?;
                }
                Digested::Expired => {
                    self.was_expired = true;
                    self.client.authenticate().await?;
                    self.say_again().await?;
                }
                Digested::Other => {
                    let frame = self.frame.clone();
                    match self.client.on_frame(&frame).await {
                        Err(error) if error.may_reconnect() => self.client.note_loss(),
                        handled => handled?,
                    }
                }
            }
        }
    }

    fn digest(&mut self) -> Result<Digested, ClientError> {
        let frame = Frame::parse(&self.frame).map_err(against)?;
        let is_ours = match (&self.turn_id, &frame.turn_id) {
            (Some(ours), Some(theirs)) => **ours == **theirs,
            _ => false,
        };
        let names_message = frame.client_message_id.as_deref() == Some(self.question.client_message_id.as_str());
        match &*frame.kind {
            "token" | "complete" if is_ours && self.is_resuming => Ok(Digested::Other),
            "token" if is_ours => match self.transcript.push(&frame) {
                Ok(Some(added)) => Ok(Digested::News(News::Token { from: added.from, seqs: added.seqs })),
                Ok(None) => Ok(Digested::Other),
                Err(_) => Ok(Digested::Gap),
            },
            "progress" if is_ours || (self.turn_id.is_none() && names_message) => {
                adopt(&mut self.turn_id, frame.turn_id);
                adopt(&mut self.conversation_id, frame.conversation_id.or(frame.session_id));
                Ok(Digested::News(News::Progress))
            }
            // Without a turn, this answers our message that was sent again.
            "resumed" if is_ours || (self.turn_id.is_none() && names_message) => {
                adopt(&mut self.turn_id, frame.turn_id);
                adopt(&mut self.conversation_id, frame.conversation_id.or(frame.session_id));
                self.is_resuming = false;
                let from_seq = frame.from_seq.and_then(|seq| u32::try_from(seq).ok()).unwrap_or(0);
                if self.transcript.drop_from(from_seq) {
                    return Ok(Digested::Gap);
                }
                Ok(Digested::News(News::Resumed { from_seq }))
            }
            "heartbeat" if !self.is_resuming => {
                let head = frame.turns.iter().find(|head| self.turn_id.as_deref() == Some(&*head.turn_id));
                let is_ahead = head.is_some_and(|head| head.seq >= i64::from(self.transcript.next_seq()));
                Ok(if is_ahead { Digested::Gap } else { Digested::Other })
            }
            "complete" if is_ours => {
                self.transcript.verify(&frame)?;
                let finish_reason = frame.finish_reason.as_deref().unwrap_or_default().to_owned();
                Ok(Digested::News(News::Complete { finish_reason }))
            }
            "error" if self.is_resuming && is_ours => match frame.code.as_deref().unwrap_or_default() {
                code if RESUME_LATER.contains(&code) => Ok(Digested::ResumeIn(retry_after(&frame))),
                code if RESUME_NEVER.contains(&code) => Err(ClientError::Server(error_of(&frame))),
                "AUTH_EXPIRED" => Ok(Digested::Expired),
                // The turn's own end: it comes again after `resumed`.
                _ => Ok(Digested::Other),
            },
            "error" if names_message && frame.code.as_deref() == Some("AUTH_EXPIRED") && !self.was_expired => {
                Ok(Digested::Expired)
            }
            // A cancel that was refused, or came too late, is no end of the turn.
            "error" if is_ours && self.was_cancelled && NO_END.contains(&frame.code.as_deref().unwrap_or_default()) => {
                Ok(Digested::Other)
            }
            // One that names nothing answers a frame that could not be read: the only one that has no answer yet is ours.
            "error" if self.turn_id.is_none() && names_nothing(&frame) => Err(ClientError::Server(error_of(&frame))),
            "error" if is_ours || names_message => Err(ClientError::Server(error_of(&frame))),
            "auth_error" => Err(auth_error(&frame)),
            _ => Ok(Digested::Other),
        }
    }

    /// Connects again, and asks for what is missing; without a turn, for the turn.
    async fn come_back(&mut self) -> Result<(), ClientError> {
        self.client.reconnect().await?;
        self.say_again().await
    }

    /// Asks for what is missing; without a turn, for the turn.
    async fn say_again(&mut self) -> Result<(), ClientError> {
        if self.turn_id.is_some() { self.resume().await } else { self.tell(self.question.frame()).await }
    }

    async fn resume(&mut self) -> Result<(), ClientError> {
        self.is_resuming = true;
        self.tell(self.resume_frame()).await
    }

    /// Sends; a connection that breaks at this is replaced by the next read.
    async fn tell(&mut self, frame: String) -> Result<(), ClientError> {
        match self.client.send(frame).await {
            Err(error) if error.may_reconnect() => {
                self.client.note_loss();
                Ok(())
            }
            sent => sent,
        }
    }

    fn resume_frame(&self) -> String {
        let last_seq = i64::from(self.transcript.next_seq()) - 1;
        let (conversation, turn) = (&self.conversation_id, &self.turn_id);
        json!({"type": "resume", "conversation_id": conversation, "turn_id": turn, "last_seq": last_seq}).to_string()
    }
}

fn names_nothing(frame: &Frame<'_>) -> bool {
    frame.turn_id.is_none()
        && frame.conversation_id.is_none()
        && frame.session_id.is_none()
        && frame.client_message_id.is_none()
}

fn retry_after(frame: &Frame<'_>) -> Duration {
    frame.retry_after_ms.map_or(RESUME_WAIT, Duration::from_millis)
}

fn adopt(known: &mut Option<String>, told: Option<Text<'_>>) {
    if known.is_none() {
        *known = told.as_deref().map(str::to_owned);
    }
}

fn against(error: serde_json::Error) -> ClientError {
    ClientError::Protocol(error.to_string())
}

fn error_of(frame: &Frame<'_>) -> ServerError {
    let text = |text: &Option<Text<'_>>| text.as_deref().unwrap_or_default().to_owned();
    ServerError { code: text(&frame.code), message: text(&frame.error), retry_after_ms: frame.retry_after_ms }
}
