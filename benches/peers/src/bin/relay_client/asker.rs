//! One connection: opens, asks, reads the answer.

use crate::{Plan, Protocol, nth, tally::Tally};
use peers::{
    SUBPROTOCOL,
    answer::{MARK, put_token},
    socket::{CLOSE, PING, PONG, TEXT, find, put_client_frame, read, read_head, readable, take_frame, write},
    upstream::{Upstream, text_of},
};
use serde::Deserialize;
use std::{borrow::Cow, cell::RefCell, io, rc::Rc};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until},
};

pub struct Asker {
    pub plan: Rc<Plan>,
    pub tally: Rc<RefCell<Tally>>,
    pub index: u32,
}

#[derive(Deserialize)]
struct Received<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    token: Cow<'a, str>,
    seq: Option<i64>,
    first_seq: Option<i64>,
    turn: Option<u32>,
    #[serde(borrow, default)]
    turn_id: Cow<'a, str>,
    #[serde(borrow, default)]
    code: Cow<'a, str>,
    response: Option<String>,
}

/// The answer so far.
#[derive(Default)]
pub struct Answer {
    pub text: String,
    next_seq: i64,
    /// `turn` and `turn_id` of the first token, one of which may be absent.
    turn: Option<(Option<u32>, String)>,
    first_token: Option<Instant>,
}

impl Asker {
    /// Returns the connection, to be closed after the measurement; none if it is closed already.
    pub async fn run(self, mut started: watch::Receiver<Option<Instant>>) -> io::Result<Option<TcpStream>> {
        match self.plan.protocol {
            Protocol::WebSocket => {
                let (stream, mut input) = self.open().await?;
                let asked = self.wait(&mut started).await;
                self.ask(&stream).await?;
                let answer = self.read_answer(&stream, &mut input).await?;
                self.count(answer, asked);
                Ok(Some(stream))
            }
            Protocol::Chainlit => {
                let (stream, mut input) = self.open_chainlit().await?;
                let asked = self.wait(&mut started).await;
                self.ask_chainlit(&stream).await?;
                let answer = self.read_chainlit(&stream, &mut input).await?;
                self.count(answer, asked);
                Ok(Some(stream))
            }
            Protocol::OpenAi => {
                let mut upstream = Upstream::connect(self.plan.address).await?;
                self.tally.borrow_mut().connected += 1;
                let asked = self.wait(&mut started).await;
                upstream.ask(&self.question(), &self.plan.token).await?;
                let mut answer = Answer::default();
                while let Some(data) = upstream.next().await? {
                    let wire_bytes = "data: ".len() + data.len() + "\n\n".len();
                    let token = text_of(data)?;
                    if !token.is_empty() {
                        self.add(&mut answer, &token, 1, wire_bytes);
                    }
                }
                self.count(answer, asked);
                Ok(None)
            }
        }
    }

    pub fn question(&self) -> String {
        format!("What is the answer to {MARK}{}, please?", self.number())
    }

    /// The number of the question: ten digits, so that all questions have one length.
    fn number(&self) -> u64 {
        1_000_000_000 + u64::from(self.index)
    }

    /// Opens a WebSocket. Each of the headers ends its line.
    pub async fn upgrade(&self, path: &str, headers: &str) -> io::Result<(TcpStream, Vec<u8>)> {
        let address = self.plan.address;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        write(&stream, request.as_bytes()).await?;
        let mut input = Vec::new();
        let head = read_head(&stream, &mut input).await?;
        if !head.starts_with("HTTP/1.1 101 ") {
            return Err(io::Error::other(head));
        }
        Ok((stream, input))
    }

    /// Upgrades, and waits for `auth_success`.
    async fn open(&self) -> io::Result<(TcpStream, Vec<u8>)> {
        let token = &self.plan.token;
        let headers = format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\nAuthorization: Bearer {token}\r\n");
        let (stream, mut input) = self.upgrade(peers::PATH, &headers).await?;
        loop {
            let (payload, _) = next_text(&stream, &mut input).await?;
            if find(&payload, b"auth_success").is_some() {
                break;
            }
        }
        self.tally.borrow_mut().connected += 1;
        Ok((stream, input))
    }

    /// Waits until this question is due; counts it.
    async fn wait(&self, started: &mut watch::Receiver<Option<Instant>>) -> Instant {
        let from = started.wait_for(Option::is_some).await.ok().and_then(|from| *from).unwrap_or_else(Instant::now);
        sleep_until(from + nth(self.index, self.plan.ask_rate)).await;
        let now = Instant::now();
        self.tally.borrow_mut().asked(now);
        now
    }

    async fn ask(&self, stream: &TcpStream) -> io::Result<()> {
        let id = uuid::Uuid::new_v4().to_string();
        let message = serde_json::json!({ "type": "message", "message": self.question(), "client_message_id": id });
        let mut frame = Vec::new();
        put_client_frame(TEXT, message.to_string().as_bytes(), &mut frame);
        write(stream, &frame).await
    }

    async fn read_answer(&self, stream: &TcpStream, input: &mut Vec<u8>) -> io::Result<Answer> {
        let mut answer = Answer::default();
        loop {
            let (payload, wire_bytes) = next_text(stream, input).await?;
            let frame: Received = serde_json::from_slice(&payload)?;
            match &*frame.r#type {
                "token" => {
                    let seq = frame.seq.ok_or_else(|| wrong("a token without seq"))?;
                    if frame.first_seq.unwrap_or(seq) != answer.next_seq || seq < answer.next_seq {
                        return Err(wrong("a gap in seq"));
                    }
                    let turn = (frame.turn, frame.turn_id.into_owned());
                    if *answer.turn.get_or_insert_with(|| turn.clone()) != turn || turn == (None, String::new()) {
                        return Err(wrong("a token of another turn"));
                    }
                    let tokens = seq + 1 - answer.next_seq;
                    answer.next_seq = seq + 1;
                    self.add(&mut answer, &frame.token, tokens as u64, wire_bytes);
                }
                "complete" => {
                    if frame.response.is_some_and(|response| response != answer.text) {
                        return Err(wrong("a response that differs from its tokens"));
                    }
                    return Ok(answer);
                }
                "error" => return Err(wrong(&frame.code)),
                _ => {}
            }
        }
    }

    pub fn add(&self, answer: &mut Answer, text: &str, tokens: u64, wire_bytes: usize) {
        answer.first_token.get_or_insert_with(Instant::now);
        let last_seq = (answer.text.len() + text.len()) / peers::answer::TOKEN_BYTES;
        answer.text.push_str(text);
        self.tally.borrow_mut().token(tokens, last_seq.saturating_sub(1), wire_bytes);
    }

    fn count(&self, answer: Answer, asked: Instant) {
        let now = Instant::now();
        let mut expected = String::new();
        for index in 0..self.plan.tokens {
            put_token(self.number(), index, &mut expected);
        }
        let streaming_ms = (u64::from(self.plan.tokens).saturating_sub(1) * self.plan.interval_ms) as f64;
        let first = answer.first_token.unwrap_or(now);
        let late_ms = (now.duration_since(first).as_secs_f64() * 1000.0 - streaming_ms).max(0.0);
        let first_ms = first.duration_since(asked).as_secs_f64() * 1000.0;
        self.tally.borrow_mut().ended(now, answer.text == expected, first_ms, late_ms);
    }
}

/// Waits for the next text frame, answers pings; returns its payload and its length with the header.
pub async fn next_text(stream: &TcpStream, input: &mut Vec<u8>) -> io::Result<(Vec<u8>, usize)> {
    loop {
        while let Some(frame) = take_frame(input)? {
            match frame.opcode {
                TEXT => return Ok((frame.payload, frame.wire_bytes)),
                PING => {
                    let mut pong = Vec::new();
                    put_client_frame(PONG, &frame.payload, &mut pong);
                    write(stream, &pong).await?;
                }
                CLOSE => return Err(wrong(&String::from_utf8_lossy(frame.payload.get(2..).unwrap_or_default()))),
                _ => {}
            }
        }
        readable(stream).await?;
        read(stream, input)?;
    }
}

pub fn wrong(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}
