//! The streamed answer to one question. Resumes after a lost connection, yields each token once and verifies the whole text.

use super::{Client, ClientError, Frame, Question, ServerError, Text, Transcript, connection::auth_error};
use serde_json::json;
use std::{borrow::Cow, ops::Range, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A turn whose events are being received.
pub struct Answer<'c> {
    client: &'c mut Client,
    question: Question,
    transcript: Transcript,
    turn_id: Option<String>,
    /// Number of the turn on this connection; `None` while it is not known.
    turn: Option<u32>,
    /// Index of the latest progress, reasoning or part.
    last_index: Option<u32>,
    conversation_id: Option<String>,
    /// Frame of the latest event.
    frame: Utf8Bytes,
    has_ended: bool,
    was_cancelled: bool,
    /// A `resume` was sent. Frames of this turn are ignored until `resumed`, because the server sends them again.
    is_resuming: bool,
    /// The access token was found expired. A second time without an event in between is an error.
    was_expired: bool,
    deadline: Option<Instant>,
}

/// An event of an answer. Later versions may add events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A step began.
    Progress { step: &'a str },
    /// New text of the model's reasoning, which is not part of the answer.
    Reasoning { delta: Cow<'a, str> },
    /// A typed part of the answer, as the JSON of its frame; see `part` in `docs/WEBSOCKET.md`. Ignore kinds that you do not know.
    Part { frame: &'a str },
    /// New text, and the range of its tokens' sequence numbers.
    Token { text: &'a str, seqs: Range<u32> },
    /// The connection was lost, and the turn has been resumed. A server that was killed may have lost the tokens from
    /// `from_seq` on; they are then removed from [`Answer::transcript`] as well.
    Resumed { from_seq: u32 },
    /// The end of the answer; the joined tokens have been verified.
    Complete { response: &'a str, finish_reason: String },
}

/// An [`Event`] without borrowed data.
enum OwnedEvent {
    Progress,
    Reasoning,
    Part,
    Token { from: usize, seqs: Range<u32> },
    Resumed { from_seq: u32 },
    Complete { finish_reason: String },
}

/// Next action after a frame.
enum FrameAction {
    Yield(OwnedEvent),
    /// The frame has no event of this turn.
    HandleByClient,
    /// Tokens are missing.
    Resume,
    /// The server cannot resume the turn now.
    ResumeAfter(Duration),
    /// The access token had expired when the server received the frame.
    Authenticate,
}

/// Error codes that refuse a `resume` temporarily and permanently.
const RESUME_LATER: [&str; 2] = ["RATE_LIMITED", "OVERLOADED"];
const RESUME_NEVER: [&str; 6] =
    ["RESUME_UNAVAILABLE", "FORBIDDEN", "NOT_FOUND", "INVALID_FIELD", "PROCESSING_ERROR", "AUTH_REQUIRED"];
/// Error codes that answer a `cancel` while the turn has not ended.
const NO_END: [&str; 7] =
    ["RATE_LIMITED", "AUTH_EXPIRED", "AUTH_REQUIRED", "RESUME_UNAVAILABLE", "FORBIDDEN", "NOT_FOUND", "INVALID_FIELD"];
/// Delay before the next `resume` if the server specifies none.
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
            turn: None,
            last_index: None,
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

    /// Returns the next event, or `None` after the end. Reconnects and resumes when the connection is lost.
    ///
    /// # Errors
    /// When the turn was refused or failed, reconnecting failed, or the answer differs from the server's.
    pub async fn next(&mut self) -> Result<Option<Event<'_>>, ClientError> {
        if self.has_ended {
            return Ok(None);
        }
        let event = match self.deadline {
            None => self.read().await,
            Some(deadline) => match timeout_at(deadline, self.read()).await {
                Ok(read) => read,
                Err(_) => Err(self.give_up().await),
            },
        };
        let event = event.inspect_err(|_| self.has_ended = true)?;
        self.was_expired = false;
        Ok(Some(match event {
            OwnedEvent::Progress => {
                let frame = Frame::parse(&self.frame).map_err(protocol_error)?;
                // Names of steps need no JSON escapes, so the name can be borrowed from the frame.
                let step = frame.step.as_deref().and_then(|step| self.frame.find(step).map(|at| at..at + step.len()));
                Event::Progress { step: step.map_or("", |range| &self.frame[range]) }
            }
            OwnedEvent::Reasoning => {
                let frame = Frame::parse(&self.frame).map_err(protocol_error)?;
                Event::Reasoning { delta: frame.delta.map_or(Cow::Borrowed(""), Text::into_inner) }
            }
            OwnedEvent::Part => Event::Part { frame: &self.frame },
            OwnedEvent::Token { from, seqs } => Event::Token { text: &self.transcript.text()[from..], seqs },
            OwnedEvent::Resumed { from_seq } => Event::Resumed { from_seq },
            OwnedEvent::Complete { finish_reason } => {
                self.has_ended = true;
                Event::Complete { response: self.transcript.text(), finish_reason }
            }
        }))
    }

    /// Reads the answer to its end and returns its transcript.
    ///
    /// # Errors
    /// See [`Answer::next`].
    pub async fn finish(mut self) -> Result<Transcript, ClientError> {
        while self.next().await?.is_some() {}
        Ok(self.transcript)
    }

    /// Asks the server to stop; the answer still ends in [`Event::Complete`], with `cancelled`.
    ///
    /// # Errors
    /// When the turn has not begun, or reconnecting failed.
    pub async fn cancel(&mut self) -> Result<(), ClientError> {
        let Some(turn_id) = &self.turn_id else {
            return Err(ClientError::Protocol("the turn has not begun".to_owned()));
        };
        let frame = json!({"type": "cancel", "turn_id": turn_id}).to_string();
        self.was_cancelled = true;
        if !self.client.is_connected() {
            self.reconnect_and_resume().await?;
        }
        self.client.send(frame).await
    }

    /// Cancels a turn that reached its time limit, if its id is known, and returns the error for the caller.
    async fn give_up(&mut self) -> ClientError {
        if self.turn_id.is_some() && self.client.is_connected() {
            // The caller gets the timeout error whether or not this arrives.
            let _ = self.cancel().await;
        }
        ClientError::Timeout("the whole answer")
    }

    /// Drops the connection without a close frame, as a network failure does; [`Answer::next`] reconnects.
    pub fn cut(&mut self) {
        self.client.cut();
    }

    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// Returns the JSON of the latest event's frame.
    pub fn frame(&self) -> &str {
        &self.frame
    }

    /// Returns the id of the conversation once the server has sent it.
    pub fn conversation_id(&self) -> Option<&str> {
        self.conversation_id.as_deref()
    }

    async fn read(&mut self) -> Result<OwnedEvent, ClientError> {
        loop {
            if !self.client.is_connected() {
                self.reconnect_and_resume().await?;
            }
            match self.client.receive().await {
                Ok(frame) => self.frame = frame,
                // The token expired: reconnect with a renewed one.
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
            match self.evaluate()? {
                FrameAction::Yield(event) => return Ok(event),
                FrameAction::Resume => self.resume().await?,
                FrameAction::ResumeAfter(wait) => {
                    sleep(wait).await;
                    self.resume().await?;
                }
                FrameAction::Authenticate => {
                    self.was_expired = true;
                    self.client.authenticate().await?;
                    self.resume_or_resend().await?;
                }
                FrameAction::HandleByClient => {
                    let frame = self.frame.clone();
                    match self.client.on_frame(&frame).await {
                        Err(error) if error.may_reconnect() => self.client.note_loss(),
                        handled => handled?,
                    }
                }
            }
        }
    }

    fn evaluate(&mut self) -> Result<FrameAction, ClientError> {
        let frame = Frame::parse(&self.frame).map_err(protocol_error)?;
        let is_ours = match (&self.turn_id, &frame.turn_id) {
            (Some(ours), Some(theirs)) => **ours == **theirs,
            (_, None) => frame.turn.is_some() && frame.turn == self.turn,
            _ => false,
        };
        let names_message = frame.client_message_id.as_deref() == Some(self.question.client_message_id.as_str());
        match &*frame.kind {
            "token" | "progress" | "reasoning" | "part" | "complete" if is_ours && self.is_resuming => {
                Ok(FrameAction::HandleByClient)
            }
            "progress" | "reasoning" | "part" if is_ours && self.is_known(frame.index) => {
                Ok(FrameAction::HandleByClient)
            }
            "token" if is_ours => match self.transcript.push(&frame) {
                Ok(Some(added)) => Ok(FrameAction::Yield(OwnedEvent::Token { from: added.from, seqs: added.seqs })),
                Ok(None) => Ok(FrameAction::HandleByClient),
                Err(_) => Ok(FrameAction::Resume),
            },
            "reasoning" | "part" if is_ours => {
                self.last_index = frame.index;
                let event = if &*frame.kind == "part" { OwnedEvent::Part } else { OwnedEvent::Reasoning };
                Ok(FrameAction::Yield(event))
            }
            "progress" if is_ours || (self.turn_id.is_none() && names_message) => {
                (self.turn, self.last_index) = (frame.turn, frame.index);
                set_if_unknown(&mut self.turn_id, frame.turn_id);
                set_if_unknown(&mut self.conversation_id, frame.conversation_id.or(frame.session_id));
                Ok(FrameAction::Yield(OwnedEvent::Progress))
            }
            // If the turn is not known yet, this replies to the repeated message.
            "resumed" if is_ours || (self.turn_id.is_none() && names_message) => {
                set_if_unknown(&mut self.turn_id, frame.turn_id);
                set_if_unknown(&mut self.conversation_id, frame.conversation_id.or(frame.session_id));
                self.is_resuming = false;
                self.turn = frame.turn;
                let last_kept = frame.index.and_then(|index| index.checked_sub(1));
                self.last_index = self.last_index.min(last_kept);
                let from_seq = frame.from_seq.and_then(|seq| u32::try_from(seq).ok()).unwrap_or(0);
                if self.transcript.drop_from(from_seq) {
                    return Ok(FrameAction::Resume);
                }
                Ok(FrameAction::Yield(OwnedEvent::Resumed { from_seq }))
            }
            "heartbeat" if !self.is_resuming => {
                let head = frame.turns.iter().find(|head| self.turn_id.as_deref() == Some(&*head.turn_id));
                let is_ahead = head.is_some_and(|head| head.seq >= i64::from(self.transcript.next_seq()));
                Ok(if is_ahead { FrameAction::Resume } else { FrameAction::HandleByClient })
            }
            "complete" if is_ours => {
                self.transcript.verify(&frame)?;
                let finish_reason = frame.finish_reason.as_deref().unwrap_or_default().to_owned();
                Ok(FrameAction::Yield(OwnedEvent::Complete { finish_reason }))
            }
            "error" if self.is_resuming && is_ours => match frame.code.as_deref().unwrap_or_default() {
                code if RESUME_LATER.contains(&code) => Ok(FrameAction::ResumeAfter(retry_after(&frame))),
                code if RESUME_NEVER.contains(&code) => Err(ClientError::Server(error_of(&frame))),
                "AUTH_EXPIRED" => Ok(FrameAction::Authenticate),
                // The turn itself failed; the server repeats this error after `resumed`.
                _ => Ok(FrameAction::HandleByClient),
            },
            "error" if names_message && frame.code.as_deref() == Some("AUTH_EXPIRED") && !self.was_expired => {
                Ok(FrameAction::Authenticate)
            }
            // A refused or late cancel does not end the turn.
            "error" if is_ours && self.was_cancelled && NO_END.contains(&frame.code.as_deref().unwrap_or_default()) => {
                Ok(FrameAction::HandleByClient)
            }
            // An error without ids replies to a frame that the server could not parse. Only our question is unanswered.
            "error" if self.turn_id.is_none() && has_no_ids(&frame) => Err(ClientError::Server(error_of(&frame))),
            "error" if is_ours || names_message => Err(ClientError::Server(error_of(&frame))),
            "auth_error" => Err(auth_error(&frame)),
            _ => Ok(FrameAction::HandleByClient),
        }
    }

    /// Reconnects, then resumes the turn or sends the question again.
    async fn reconnect_and_resume(&mut self) -> Result<(), ClientError> {
        self.client.reconnect().await?;
        self.resume_or_resend().await
    }

    /// Resumes the turn; sends the question again if the turn is not known yet.
    async fn resume_or_resend(&mut self) -> Result<(), ClientError> {
        if self.turn_id.is_some() { self.resume().await } else { self.send(self.question.frame()).await }
    }

    async fn resume(&mut self) -> Result<(), ClientError> {
        self.is_resuming = true;
        // Another connection numbers its turns anew.
        self.turn = None;
        self.send(self.resume_frame()).await
    }

    /// Sends a frame. If the connection is lost meanwhile, the next read reconnects.
    async fn send(&mut self, frame: String) -> Result<(), ClientError> {
        match self.client.send(frame).await {
            Err(error) if error.may_reconnect() => {
                self.client.note_loss();
                Ok(())
            }
            sent => sent,
        }
    }

    fn resume_frame(&self) -> String {
        let resume = json!({
            "type": "resume",
            "conversation_id": self.conversation_id,
            "turn_id": self.turn_id,
            "last_seq": i64::from(self.transcript.next_seq()) - 1,
            "last_index": self.last_index,
        });
        resume.to_string()
    }

    /// Whether an entry was received before: a `resume` may bring entries again.
    fn is_known(&self, index: Option<u32>) -> bool {
        index.is_some() && index <= self.last_index
    }
}

fn has_no_ids(frame: &Frame<'_>) -> bool {
    frame.turn_id.is_none()
        && frame.conversation_id.is_none()
        && frame.session_id.is_none()
        && frame.client_message_id.is_none()
}

fn retry_after(frame: &Frame<'_>) -> Duration {
    frame.retry_after_ms.map_or(RESUME_WAIT, Duration::from_millis)
}

fn set_if_unknown(known: &mut Option<String>, received: Option<Text<'_>>) {
    if known.is_none() {
        *known = received.as_deref().map(str::to_owned);
    }
}

fn protocol_error(error: serde_json::Error) -> ClientError {
    ClientError::Protocol(error.to_string())
}

fn error_of(frame: &Frame<'_>) -> ServerError {
    let text = |text: &Option<Text<'_>>| text.as_deref().unwrap_or_default().to_owned();
    ServerError { code: text(&frame.code), message: text(&frame.error), retry_after_ms: frame.retry_after_ms }
}
