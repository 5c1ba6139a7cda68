//! A WebSocket client that reads like the protocol.

use super::{TestUser, TurnNumbers};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{net::IpAddr, time::Duration};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async, connect_async,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        handshake::client::Request,
        http::{HeaderName, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::CloseFrame,
    },
};

/// Time limit for a frame: a real model on a busy machine takes a while.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection that is yet to be made.
pub struct SocketBuilder {
    request: Request,
    receive_buffer: Option<u32>,
    source: Option<IpAddr>,
}

pub struct TestSocket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The subprotocol that the server chose.
    pub subprotocol: Option<String>,
    numbers: TurnNumbers,
}

/// All frames of one turn, held against the rules of a turn.
#[derive(Debug)]
pub struct Transcript {
    pub turn_id: String,
    /// Id of the conversation.
    pub conversation_id: String,
    pub steps: Vec<String>,
    pub progress: Vec<Value>,
    pub tokens: Vec<Value>,
    /// The model's reasoning, joined.
    pub reasoning: String,
    pub parts: Vec<Value>,
    /// The tokens, joined.
    pub text: String,
    /// `complete` or `error`.
    pub terminal: Value,
}

impl SocketBuilder {
    pub fn new(url: &str) -> Self {
        Self::at(url, "/ws/chat")
    }

    /// Another WebSocket than the chat's.
    pub fn at(url: &str, path: &str) -> Self {
        let url = format!("{}{path}", url.replacen("http", "ws", 1));
        Self { request: url.into_client_request().unwrap(), receive_buffer: None, source: None }
    }

    /// Adds to the URL, such as `token=…`.
    pub fn query(mut self, query: &str) -> Self {
        *self.request.uri_mut() = format!("{}?{query}", self.request.uri()).parse().unwrap();
        self
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        self
    }

    pub fn subprotocols(mut self, offer: &str) -> Self {
        self.request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(offer).unwrap());
        self
    }

    /// The kernel takes only so many bytes for this client, and the rest waits at the server.
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Connects from this address of the machine.
    pub fn from(mut self, address: IpAddr) -> Self {
        self.source = Some(address);
        self
    }

    pub async fn connect(self) -> TestSocket {
        self.try_connect().await.unwrap()
    }

    /// # Errors
    /// The status and the body of a refused upgrade.
    pub async fn try_connect(self) -> Result<TestSocket, (u16, Value)> {
        let connected = match (self.receive_buffer, self.source) {
            (None, None) => connect_async(self.request).await,
            (buffer, source) => {
                let address = self.request.uri().authority().unwrap().as_str().parse().unwrap();
                let socket = TcpSocket::new_v4().unwrap();
                if let Some(bytes) = buffer {
                    socket.set_recv_buffer_size(bytes).unwrap();
                }
                if let Some(source) = source {
                    socket.bind((source, 0).into()).unwrap();
                }
                let stream = socket.connect(address).await.unwrap();
                client_async(self.request, MaybeTlsStream::Plain(stream)).await
            }
        };
        match connected {
            Ok((stream, response)) => {
                let subprotocol = response.headers().get(SEC_WEBSOCKET_PROTOCOL);
                let subprotocol = subprotocol.map(|value| value.to_str().unwrap().to_owned());
                Ok(TestSocket { stream, subprotocol, numbers: TurnNumbers::default() })
            }
            Err(tungstenite::Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                Err((response.status().as_u16(), serde_json::from_slice(body).unwrap_or(Value::Null)))
            }
            Err(error) => panic!("no connection: {error}"),
        }
    }

    /// Connects in the classic dialect and signs in with a message.
    pub async fn signed_in(self, user: &TestUser) -> TestSocket {
        let mut socket = self.connect().await;
        socket.sign_in(user).await;
        socket
    }
}

impl TestSocket {
    pub async fn send(&mut self, frame: Value) {
        self.send_message(Message::text(frame.to_string())).await;
    }

    /// Sends a text that need not be a frame.
    pub async fn send_text(&mut self, text: String) {
        self.send_message(Message::text(text)).await;
    }

    /// Sends frames in one write, so that the server has all of them before it answers the first.
    pub async fn send_at_once(&mut self, frames: impl IntoIterator<Item = Value>) {
        for frame in frames {
            self.stream.feed(Message::text(frame.to_string())).await.unwrap();
        }
        self.stream.flush().await.unwrap();
    }

    pub async fn send_message(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    /// The next frame, whatever it is. One that names its turn by number also gets the ids.
    pub async fn next(&mut self) -> Value {
        let mut frame = self.next_as_sent().await;
        self.numbers.resolve(&mut frame);
        frame
    }

    /// The next frame, exactly as the server sent it.
    pub async fn next_as_sent(&mut self) -> Value {
        // For the frame, not for each message: a server that only pings would be waited for without end.
        let frame = async {
            loop {
                match self.next_message().await {
                    Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                    Message::Ping(_) | Message::Pong(_) => {}
                    other => panic!("a frame was expected, not {other:?}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, frame).await.expect("no frame came in time")
    }

    /// The next frame, unless none comes until then.
    pub async fn next_before(&mut self, moment: std::time::Instant) -> Option<Value> {
        tokio::time::timeout_at(moment.into(), self.next()).await.ok()
    }

    /// The next frame of a server that is gone: what was on its way.
    pub async fn next_or_end(&mut self) -> Option<Value> {
        loop {
            match tokio::time::timeout(PATIENCE, self.stream.next()).await.expect("the socket stays open")? {
                Ok(Message::Text(text)) => return Some(self.read(&text)),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Reads a text frame. One that names its turn by number also gets the ids.
    pub fn read(&mut self, text: &str) -> Value {
        let mut frame = serde_json::from_str(text).unwrap();
        self.numbers.resolve(&mut frame);
        frame
    }

    /// The next WebSocket message, control frames among them.
    pub async fn next_message(&mut self) -> Message {
        let message = tokio::time::timeout(PATIENCE, self.stream.next()).await.expect("no message came in time");
        message.expect("the socket ended").unwrap()
    }

    /// The next frame, which must be of this type.
    pub async fn expect(&mut self, frame_type: &str) -> Value {
        let frame = self.next().await;
        assert_eq!(frame["type"], frame_type, "{frame}");
        frame
    }

    /// The next frame, which must be an error of this code.
    pub async fn expect_error(&mut self, code: &str) -> Value {
        let frame = self.expect("error").await;
        assert_eq!(frame["code"], code, "{frame}");
        frame
    }

    /// The connection ends, with a close frame or without; frames before that are passed over.
    pub async fn expect_end(&mut self) {
        tokio::time::timeout(PATIENCE, self.read_to_end()).await.expect("the connection did not end in time");
    }

    /// Reads until the connection ends, however long that takes.
    pub async fn read_to_end(&mut self) {
        while let Some(Ok(_)) = self.stream.next().await {}
    }

    /// The code of the close frame; frames before it are passed over.
    pub async fn expect_close(&mut self) -> u16 {
        loop {
            if let Message::Close(reason) = self.next_message().await {
                return reason.map_or(1005, |reason| reason.code.into());
            }
        }
    }

    /// Code and text of the close frame; frames before it are passed over.
    pub async fn expect_close_reason(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(reason) = self.next_message().await {
                let reason = reason.expect("a close frame with a code");
                return (reason.code.into(), reason.reason.to_string());
            }
        }
    }

    pub async fn sign_in(&mut self, user: &TestUser) {
        self.send(json!({"type": "auth", "token": user.access_token})).await;
        let frame = self.expect("auth_success").await;
        assert_eq!(frame["user"]["id"], user.id);
    }

    /// Sends a frame that starts a turn; returns the first frame of the turn.
    pub async fn start(&mut self, frame: Value) -> Value {
        self.send(frame).await;
        let first = self.expect("progress").await;
        assert_eq!(first["step"], "starting", "{first}");
        first
    }

    /// Reads until so many tokens of a turn that has begun are there; returns all the frames, `first` before them. On a busy machine
    /// tokens share frames.
    pub async fn read_tokens(&mut self, first: Value, count: u64) -> Vec<Value> {
        let mut frames = vec![first];
        while frames.last().and_then(|frame| frame["seq"].as_u64()).is_none_or(|seq| seq + 1 < count) {
            let frame = self.next().await;
            assert!(!is_terminal(&frame), "the turn ended before its token {count}: {frame}");
            frames.push(frame);
        }
        frames
    }

    /// Reads on to the end of a turn of which some frames are there.
    pub async fn rest_of_turn(&mut self, mut frames: Vec<Value>) -> Transcript {
        while !frames.last().is_some_and(is_terminal) {
            frames.push(self.next().await);
        }
        Transcript::check(frames)
    }

    /// All frames up to the end of so many turns.
    pub async fn frames_of_turns(&mut self, turns: usize) -> Vec<Value> {
        let mut frames = Vec::new();
        while frames.iter().filter(|frame| is_terminal(frame)).count() < turns {
            frames.push(self.next().await);
        }
        frames
    }

    /// Makes sure that nothing but what has been read was sent: whatever else there is comes before this pong.
    pub async fn expect_nothing(&mut self) {
        self.send(json!({"type": "ping", "id": "nothing before this"})).await;
        let pong = self.expect("pong").await;
        assert_eq!(pong["id"], "nothing before this");
    }

    /// Asks in a new conversation, and reads the answer to its end.
    pub async fn ask(&mut self, text: &str) -> Transcript {
        self.turn(json!({"type": "message", "message": text})).await
    }

    /// Sends a frame that starts a turn, and reads the turn to its end.
    pub async fn turn(&mut self, frame: Value) -> Transcript {
        self.send(frame).await;
        self.rest_of_turn(Vec::new()).await
    }

    /// Closes with a code and returns the code of the reply.
    pub async fn close_with(mut self, code: u16) -> u16 {
        let reason = CloseFrame { code: code.into(), reason: "".into() };
        self.stream.send(Message::Close(Some(reason))).await.unwrap();
        self.expect_close().await
    }

    /// Closes and waits for the reply.
    pub async fn close(mut self) {
        self.stream.close(None).await.unwrap();
        while let Some(Ok(_)) = self.stream.next().await {}
    }
}

/// Whether a frame ends a turn.
pub fn is_terminal(frame: &Value) -> bool {
    frame["type"] == "complete" || frame["type"] == "error"
}

/// The id of the conversation that a frame is about, under the name of its dialect.
pub fn conversation_of(frame: &Value) -> &Value {
    if frame["conversation_id"].is_null() { &frame["session_id"] } else { &frame["conversation_id"] }
}

/// A frame of either dialect under the names of `chat.v2`.
pub fn in_v2_names(frame: &Value) -> Value {
    let mut frame = frame.clone();
    let fields = frame.as_object_mut().expect("a frame is an object");
    // Only in `chat.v2`, and `turn` differs between connections.
    fields.remove("turn");
    fields.remove("index");
    if let Some(id) = fields.remove("session_id") {
        fields.insert("conversation_id".to_owned(), id);
    }
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut)
        && let Some(name) = metadata.remove("agent")
    {
        metadata.insert("specialist".to_owned(), name);
    }
    frame
}

impl Transcript {
    /// The frames of one turn among those of several.
    pub fn of_turn(frames: &[Value], turn_id: &Value) -> Self {
        Self::check(frames.iter().filter(|frame| frame["turn_id"] == *turn_id).cloned().collect())
    }

    /// Holds the frames of one turn against the rules: one terminal frame at the end, one turn, seqs without gaps, and
    /// tokens that are the response. Heartbeats may come between.
    pub fn check(mut frames: Vec<Value>) -> Self {
        frames.retain(|frame| frame["type"] != "heartbeat");
        let terminal = frames.pop().expect("a turn has frames");
        let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        check_indices(&frames, &terminal);
        let mut of_type = |frame_type| frames.extract_if(.., |frame| frame["type"] == frame_type).collect::<Vec<_>>();
        let [progress, reasoning, parts, tokens] = ["progress", "reasoning", "part", "token"].map(&mut of_type);
        assert!(frames.is_empty(), "{frames:?}");
        let mut next_seq = 0;
        let mut text = String::new();
        for frame in &tokens {
            assert_eq!(frame["turn_id"], terminal["turn_id"], "{frame}");
            let seq = frame["seq"].as_u64().unwrap();
            assert_eq!(frame["first_seq"].as_u64().unwrap_or(seq), next_seq, "{frame}");
            next_seq = seq + 1;
            text.push_str(frame["token"].as_str().unwrap());
            if let Some(partial) = frame["partial_response"].as_str() {
                assert_eq!(partial, text);
            }
        }
        if terminal["type"] == "complete" {
            assert_eq!(terminal["response"], text);
            assert_eq!(terminal["seq"].as_i64().unwrap(), i64::try_from(next_seq).unwrap() - 1);
            let hash: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(terminal["sha256"], hash);
        }
        Self {
            turn_id: text_of(&terminal["turn_id"]),
            conversation_id: text_of(conversation_of(&terminal)),
            steps: progress.iter().map(|frame| text_of(&frame["step"])).collect(),
            progress,
            tokens,
            reasoning: reasoning.iter().map(|frame| text_of(&frame["delta"])).collect(),
            parts,
            text,
            terminal,
        }
    }
}

/// Holds the indices of a turn's frames against the rules: each entry has one, tokens count without showing theirs. A replay from the
/// store skips steps and reasoning, which leaves gaps; `chat.v1` has no indices.
fn check_indices(frames: &[Value], terminal: &Value) {
    let skips_entries = !frames.iter().any(|frame| frame["step"] == "routing");
    let mut next = None;
    for frame in frames.iter().chain([terminal]) {
        let Some(index) = frame["index"].as_u64() else {
            next = next.map(|next| next + tokens_of(frame));
            continue;
        };
        if let Some(next) = next {
            assert!(index == next || (skips_entries && index > next), "entry {next} is missing before {frame}");
        }
        next = Some(index + 1);
    }
}

/// The number of tokens that a frame joins.
fn tokens_of(frame: &Value) -> u64 {
    let seq = frame["seq"].as_u64().filter(|_| frame["type"] == "token");
    seq.map_or(0, |seq| seq + 1 - frame["first_seq"].as_u64().unwrap_or(seq))
}
