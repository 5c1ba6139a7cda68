//! The job that every peer does: a scripted answer, streamed in frames of the same shape as Switchboard's `chat.v2`.
//!
//! What is shared here is what is not measured: reading the question, and the text of the frames. A peer keeps no log, no
//! store and no registry, checks no token, and routes and looks up nothing. How frames come and go is each peer's own.

pub mod answer;
pub mod handshake;
pub mod socket;
pub mod upstream;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::{fmt::Write, future::Future, net::SocketAddr, pin::Pin, time::Duration};
use tokio::time::{Instant, Sleep, sleep_until};
use uuid::Uuid;

/// As many as Switchboard has on two cores.
pub const WORKER_THREADS: usize = 2;
/// The longest answer, in bytes.
const MAX_ANSWER_BYTES: u64 = 4 * 1024 * 1024;

pub const SUBPROTOCOL: &str = "chat.v2";
pub const PATH: &str = "/ws/chat";
/// Any token will do: a peer knows nobody.
pub const AUTH_SUCCESS: &str = r#"{"type":"auth_success","message":"Authentication successful","user":{"id":"018f0000-0000-7000-8000-000000000000","email":"load@example.org","name":"Load"},"expires_at":4102444800}"#;

/// Runs a peer at the address that is the program's only argument.
///
/// # Panics
/// When there is none, or nothing can listen there.
pub fn run<F: Future<Output = std::io::Result<()>>>(serve: impl FnOnce(SocketAddr) -> F) {
    let address = std::env::args().nth(1).and_then(|text| text.parse().ok()).expect("usage: PEER 127.0.0.1:PORT");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build();
    runtime.expect("the runtime starts").block_on(serve(address)).expect("the address is free");
}

/// What a client says, as far as a peer listens.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    Auth,
    Message {
        client_message_id: String,
        #[serde(default)]
        metadata: Metadata,
    },
    #[serde(other)]
    Other,
}

#[derive(Default, Deserialize)]
pub struct Metadata {
    #[serde(default)]
    script: Script,
}

/// The pace and size of an answer.
#[derive(Clone, Copy, Deserialize)]
#[serde(default)]
struct Script {
    tokens: u32,
    interval_ms: u64,
    token_bytes: u32,
}

impl Default for Script {
    fn default() -> Self {
        Self { tokens: 20, interval_ms: 20, token_bytes: 6 }
    }
}

impl Request {
    /// `None` for what is no request at all.
    pub fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

/// A scripted answer on its way.
pub struct Turn {
    turn_id: Uuid,
    conversation_id: Uuid,
    client_message_id: String,
    script: Script,
    said: u32,
    response: String,
    /// Token n is due n intervals after the first, whatever delayed those before it.
    timer: Option<Pin<Box<Sleep>>>,
    next: Next,
}

#[derive(Clone, Copy, PartialEq)]
enum Next {
    Progress,
    Token,
    End,
}

impl Turn {
    /// The turn that a message starts. `None` when it is refused: its answer would be too long.
    pub fn start(client_message_id: String, metadata: Metadata) -> Option<Self> {
        let script = metadata.script;
        if u64::from(script.tokens) * u64::from(script.token_bytes) > MAX_ANSWER_BYTES {
            return None;
        }
        Some(Self {
            turn_id: Uuid::new_v4(),
            conversation_id: Uuid::new_v4(),
            client_message_id,
            script,
            said: 0,
            response: String::new(),
            timer: (script.interval_ms > 0).then(|| Box::pin(sleep_until(Instant::now()))),
            next: Next::Progress,
        })
    }

    /// Waits until the next frame is due. May be dropped and called again.
    pub async fn due(&mut self) {
        if self.next == Next::Token
            && let Some(timer) = &mut self.timer
        {
            timer.as_mut().await;
        }
    }

    /// Writes the next frame; `false` when it is the last one.
    pub fn write(&mut self, frame: &mut String) -> bool {
        let (turn_id, conversation_id) = (self.turn_id, self.conversation_id);
        let written = match self.next {
            Next::Progress => {
                self.next = if self.script.tokens == 0 { Next::End } else { Next::Token };
                let id = serde_json::Value::from(self.client_message_id.as_str());
                write!(
                    frame,
                    r#"{{"type":"progress","step":"starting","message":"Starting","session_id":"{conversation_id}","turn_id":"{turn_id}","client_message_id":{id}}}"#
                )
            }
            Next::Token => self.write_token(frame),
            Next::End => {
                let (response, last_seq) = (&self.response, i64::from(self.said) - 1);
                let mut sha256 = String::with_capacity(64);
                for byte in Sha256::digest(response.as_bytes()) {
                    let _ = write!(sha256, "{byte:02x}");
                }
                let _ = write!(
                    frame,
                    r#"{{"type":"complete","response":"{response}","session_id":"{conversation_id}","metadata":{{}},"turn_id":"{turn_id}","message_id":"{turn_id}","seq":{last_seq},"finish_reason":"stop","sha256":"{sha256}"}}"#
                );
                return false;
            }
        };
        written.expect("writing to a string does not fail");
        true
    }

    fn write_token(&mut self, frame: &mut String) -> std::fmt::Result {
        if let Some(timer) = &mut self.timer {
            let next = timer.deadline() + Duration::from_millis(self.script.interval_ms);
            timer.as_mut().reset(next);
        }
        let (seq, from) = (self.said, self.response.len());
        // `w`, the number, a space: the text of Switchboard's scripted provider.
        let digits = (self.script.token_bytes as usize).saturating_sub(2);
        write!(self.response, "w{seq:0digits$} ")?;
        self.said += 1;
        if self.said == self.script.tokens {
            self.next = Next::End;
        }
        let (token, turn_id, conversation_id) = (&self.response[from..], self.turn_id, self.conversation_id);
        write!(
            frame,
            r#"{{"type":"token","token":"{token}","turn_id":"{turn_id}","session_id":"{conversation_id}","seq":{seq}}}"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_whole() {
        let text = br#"{"type":"message","message":"?","client_message_id":"a\"b","metadata":{"script":{"tokens":2,"interval_ms":1,"token_bytes":8}}}"#;
        let Some(Request::Message { client_message_id, metadata }) = Request::parse(text) else { panic!("no message") };
        let mut turn = Turn::start(client_message_id, metadata).unwrap();
        let mut frames = Vec::new();
        loop {
            turn.due().await;
            let mut frame = String::new();
            let goes_on = turn.write(&mut frame);
            frames.push(serde_json::from_str::<serde_json::Value>(&frame).unwrap());
            if !goes_on {
                break;
            }
        }
        assert_eq!((&frames[0]["type"], &frames[0]["client_message_id"]), (&"progress".into(), &"a\"b".into()));
        assert_eq!((&frames[1]["token"], &frames[2]["token"]), (&"w000000 ".into(), &"w000001 ".into()));
        assert_eq!((&frames[3]["response"], &frames[3]["seq"]), (&"w000000 w000001 ".into(), &1.into()));
        assert_eq!(frames.len(), 4);
    }

    #[test]
    fn what_is_no_message_starts_nothing() {
        assert!(matches!(Request::parse(br#"{"type":"auth","token":"x"}"#), Some(Request::Auth)));
        assert!(matches!(Request::parse(br#"{"type":"ping"}"#), Some(Request::Other)));
        assert!(Request::parse(b"{").is_none());
        let long = br#"{"type":"message","client_message_id":"","metadata":{"script":{"tokens":4000000000,"token_bytes":64}}}"#;
        let Some(Request::Message { client_message_id, metadata }) = Request::parse(long) else { panic!("no message") };
        assert!(Turn::start(client_message_id, metadata).is_none());
    }
}
