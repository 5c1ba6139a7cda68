//! A client that only knows `docs/WEBSOCKET.md`: it reconnects, resumes, sends again, and holds what it gets against the
//! rules of a turn. Its waits are shorter than those of the document, so that a test does not take minutes.

use crate::harness::{TestUser, TurnNumbers, conversation_of, is_terminal};
use fastrand::Rng;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};
use switchboard::{turn::TurnLog, workflow::Turns};
use tokio::{
    net::TcpStream,
    time::{interval, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        http::{
            HeaderValue,
            header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
        },
    },
};

/// The first wait before a connection is tried again, and the longest one.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(300));
const PING_INTERVAL: Duration = Duration::from_millis(150);
/// A socket on which nothing came for so long is given up.
const SILENCE: Duration = Duration::from_millis(1_200);

/// The conversations of one user, for the user's other tabs.
pub type Shared = Arc<Mutex<Book>>;

#[derive(Default)]
pub struct Book {
    pub conversation_ids: Vec<String>,
    /// Whether all has been said.
    pub is_finished: bool,
}

/// One tab: one socket at a time.
pub struct Client {
    pub proxy: SocketAddr,
    pub user: TestUser,
    pub dialect: Option<&'static str>,
    pub rng: Rng,
    pub book: Shared,
    /// Its conversations; none for a tab that only looks on.
    pub conversations: Vec<Conversation>,
    pub looks_on: bool,
    pub turns: HashMap<String, Turn>,
    pub connections: u32,
    /// The server's table, only to take note of the logs.
    pub table: Arc<Turns>,
    /// The logs of the turns it saw, without holding them.
    pub logs: Vec<Weak<TurnLog>>,
}

#[derive(Default)]
pub struct Conversation {
    pub conversation_id: Option<String>,
    /// Questions to come, the last one first.
    pub plans: Vec<Plan>,
    /// The current question, until its terminal frame.
    asked: Option<Asked>,
}

pub struct Plan {
    pub script: Value,
    /// So many tokens in, the answer is not wanted any more.
    pub cancel_after: Option<i64>,
}

struct Asked {
    client_message_id: String,
    frame: Value,
    cancel_after: Option<i64>,
    turn_id: Option<String>,
}

/// A turn as far as this tab has seen it.
#[derive(Clone, Debug)]
pub struct Turn {
    pub conversation_id: String,
    pub last_seq: i64,
    /// Indices of the entries other than tokens; none in `chat.v1`.
    pub indices: BTreeSet<i64>,
    /// Entries that are known come again.
    repeats_entries: bool,
    /// Whether the turn may have been read from the store, which keeps only the first step, and no reasoning.
    skips_entries: bool,
    pub text: String,
    pub terminal: Option<Value>,
    /// Replays that were asked for though the end was known: each brings the terminal frame once more.
    replays: u32,
    /// A tab that looks on asked for a conversation's latest turn, and was told of this one at the same time.
    is_replayed: bool,
}

type Socket = WebSocketStream<TcpStream>;
/// The socket is of no use any more.
struct Cut;

impl Conversation {
    pub fn new(plans: Vec<Plan>) -> Self {
        Self { plans, ..Self::default() }
    }
}

impl Client {
    /// Talks until everything is said and answered.
    pub async fn run(mut self) -> Self {
        let mut attempt = 0;
        while !self.is_done() {
            if let Ok(Ok(mut socket)) = timeout(SILENCE, self.connect()).await {
                self.connections += 1;
                let Err(Cut) = self.converse(&mut socket, &mut attempt).await else { break };
            }
            let longest = BACK_OFF.0.saturating_mul(1 << attempt.min(10)).min(BACK_OFF.1);
            sleep(longest.mul_f64(0.5 + self.rng.f64() / 2.0)).await;
            attempt += 1;
        }
        lock(&self.book).is_finished |= !self.looks_on;
        self
    }

    fn is_done(&self) -> bool {
        let said =
            self.conversations.iter().all(|conversation| conversation.asked.is_none() && conversation.plans.is_empty());
        said && self.turns.values().all(|turn| turn.terminal.is_some())
            && (!self.looks_on || lock(&self.book).is_finished)
    }

    async fn connect(&mut self) -> Result<Socket, Cut> {
        let stream = TcpStream::connect(self.proxy).await.map_err(|_| Cut)?;
        stream.set_nodelay(true).map_err(|_| Cut)?;
        let token = &self.user.access_token;
        let proof = self.rng.u32(0..4);
        let query = if proof == 0 { format!("?token={token}") } else { String::new() };
        let mut request = format!("ws://{}/ws/chat{query}", self.proxy).into_client_request().unwrap();
        if proof == 1 {
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
        }
        let offer = match (self.dialect, proof) {
            (Some(dialect), 2) => Some(format!("{dialect}, bearer.{token}")),
            (dialect, _) => dialect.map(str::to_owned),
        };
        let is_proved = proof < 2 || (proof == 2 && offer.is_some());
        if let Some(offer) = offer {
            request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(&offer).unwrap());
        }
        let (mut socket, _) = client_async(request, stream).await.map_err(|_| Cut)?;
        if !is_proved {
            send(&mut socket, json!({"type": "auth", "token": token})).await?;
        }
        Ok(socket)
    }

    /// `Ok` when everything is done.
    async fn converse(&mut self, socket: &mut Socket, attempt: &mut u32) -> Result<(), Cut> {
        let mut pings = interval(PING_INTERVAL);
        let mut is_signed_in = false;
        let mut numbers = TurnNumbers::default();
        let mut opened = Vec::new();
        let mut silent_for = Duration::ZERO;
        loop {
            tokio::select! {
                message = socket.next() => {
                    silent_for = Duration::ZERO;
                    let text = match message {
                        Some(Ok(Message::Text(text))) => text,
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                        _ => return Err(Cut),
                    };
                    let mut frame: Value = serde_json::from_str(&text).unwrap();
                    numbers.resolve(&mut frame);
                    if frame["type"] == "auth_success" {
                        *attempt = 0;
                        is_signed_in = true;
                        self.resume_all(socket).await?;
                    } else {
                        self.take(frame, socket).await?;
                    }
                    if is_signed_in {
                        self.ask_next(socket).await?;
                    }
                }
                _ = pings.tick() => {
                    silent_for += PING_INTERVAL;
                    if silent_for >= SILENCE {
                        return Err(Cut);
                    }
                    send(socket, json!({"type": "ping"})).await?;
                    if is_signed_in && self.looks_on {
                        self.open_new(socket, &mut opened).await?;
                    }
                    if self.is_done() {
                        let _ = timeout(SILENCE, socket.close(None)).await;
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Rule 4: resume what runs, send again what nobody confirmed.
    async fn resume_all(&mut self, socket: &mut Socket) -> Result<(), Cut> {
        for (turn_id, turn) in self.turns.iter().filter(|(_, turn)| turn.terminal.is_none()) {
            send(socket, resume(turn_id, turn)).await?;
        }
        let asked = self.conversations.iter().filter_map(|conversation| conversation.asked.as_ref());
        for asked in asked.filter(|asked| asked.turn_id.is_none()) {
            send(socket, asked.frame.clone()).await?;
        }
        Ok(())
    }

    /// A tab that looks on opens what the other one has begun, on each socket anew.
    async fn open_new(&mut self, socket: &mut Socket, opened: &mut Vec<String>) -> Result<(), Cut> {
        let known = lock(&self.book).conversation_ids.clone();
        for conversation_id in known {
            if opened.contains(&conversation_id) {
                continue;
            }
            opened.push(conversation_id.clone());
            // The latest it knows: a turn that runs is resumed already, and its conversation followed.
            let latest = self
                .turns
                .iter()
                .filter(|(_, turn)| turn.conversation_id == conversation_id)
                .max_by_key(|(id, _)| (*id).clone());
            match latest {
                Some((_, turn)) if turn.terminal.is_none() => {}
                Some((turn_id, turn)) => send(socket, resume(turn_id, turn)).await?,
                None => send(socket, json!({"type": "resume", "session_id": conversation_id})).await?,
            }
        }
        Ok(())
    }

    async fn ask_next(&mut self, socket: &mut Socket) -> Result<(), Cut> {
        for conversation in self.conversations.iter_mut().filter(|conversation| conversation.asked.is_none()) {
            // Not all at once: a pause now and then leaves room for the end of a turn to be the last frame of a socket.
            let Some(plan) = conversation.plans.pop() else { continue };
            let client_message_id = format!("{:016x}", self.rng.u64(..));
            let mut frame = json!({
                "type": "message", "message": format!("Question {client_message_id}"),
                "client_message_id": client_message_id, "metadata": {"script": plan.script},
            });
            if let Some(conversation_id) = &conversation.conversation_id {
                frame["session_id"] = json!(conversation_id);
            }
            let cancel_after = plan.cancel_after;
            conversation.asked = Some(Asked { client_message_id, frame: frame.clone(), cancel_after, turn_id: None });
            send(socket, frame).await?;
        }
        Ok(())
    }

    async fn take(&mut self, frame: Value, socket: &mut Socket) -> Result<(), Cut> {
        let text = |name: &str| frame[name].as_str().map(str::to_owned);
        let (turn_id, conversation_id) = (text("turn_id"), conversation_of(&frame).as_str().map(str::to_owned));
        if let (Some(id), Some(turn_id)) = (text("client_message_id"), &turn_id) {
            self.confirm(&id, turn_id, conversation_id.as_deref().unwrap());
        }
        match (frame["type"].as_str().unwrap(), turn_id) {
            // A run that takes long gets heartbeats.
            ("pong" | "heartbeat", _) => {}
            ("progress" | "resumed", Some(turn_id)) => {
                if !self.turns.contains_key(&turn_id) {
                    let log = self.table.find(turn_id.parse().unwrap()).await;
                    self.logs.extend(log.iter().map(Arc::downgrade));
                }
                let is_new = !self.turns.contains_key(&turn_id);
                let turn = self.turns.entry(turn_id).or_insert_with(|| Turn {
                    conversation_id: conversation_id.unwrap(),
                    last_seq: -1,
                    indices: BTreeSet::new(),
                    repeats_entries: false,
                    skips_entries: true,
                    text: String::new(),
                    terminal: None,
                    replays: 0,
                    is_replayed: false,
                });
                if frame["type"] == "progress" {
                    turn.take_index(&frame);
                    turn.skips_entries &= frame["step"] != "routing";
                } else {
                    turn.repeats_entries = frame["index"].as_i64() <= turn.indices.last().copied();
                    turn.skips_entries |= frame["state"] != "streaming";
                }
                // A turn that another connection announced meanwhile, or a message that was sent again, comes from its start.
                if frame["type"] == "resumed" && !is_new {
                    turn.is_replayed = frame["from_seq"].as_i64().unwrap() <= turn.last_seq;
                    turn.replays += u32::from(turn.terminal.is_some());
                }
            }
            ("reasoning", Some(turn_id)) => {
                let turn = self.turns.get_mut(&turn_id).expect("a turn begins with progress or resumed");
                turn.take_index(&frame);
            }
            ("token", Some(turn_id)) => {
                let turn = self.turns.get_mut(&turn_id).expect("a turn begins with progress or resumed");
                if turn.is_replayed && first_seq(&frame) <= turn.last_seq {
                    // Rule 5: nothing new, or not only new.
                    if frame["seq"].as_i64() > Some(turn.last_seq) {
                        send(socket, resume(&turn_id, turn)).await?;
                    }
                    return Ok(());
                }
                if let Some(gap) = turn.append(&frame) {
                    panic!("{gap}: {frame}, after {}", turn.last_seq);
                }
                let last_seq = turn.last_seq;
                let asked = self.conversations.iter_mut().filter_map(|conversation| conversation.asked.as_mut());
                for asked in asked.filter(|asked| asked.turn_id.as_ref() == Some(&turn_id)) {
                    if asked.cancel_after.take_if(|after| *after <= last_seq).is_some() {
                        send(socket, json!({"type": "cancel", "turn_id": turn_id})).await?;
                    }
                }
            }
            (_, Some(turn_id)) if is_terminal(&frame) => self.end(&turn_id, frame),
            ("error", None) => {
                assert_eq!(frame["retryable"], true, "{frame}");
                sleep(Duration::from_millis(20)).await;
                let asked = self.conversations.iter().filter_map(|conversation| conversation.asked.as_ref());
                for asked in asked.filter(|asked| frame["client_message_id"] == asked.client_message_id) {
                    send(socket, asked.frame.clone()).await?;
                }
            }
            _ => panic!("not in the document: {frame}"),
        }
        Ok(())
    }

    /// A frame told the turn of a message.
    fn confirm(&mut self, client_message_id: &str, turn_id: &str, conversation_id: &str) {
        for conversation in &mut self.conversations {
            if let Some(asked) =
                conversation.asked.as_mut().filter(|asked| asked.client_message_id == client_message_id)
            {
                assert!(asked.turn_id.as_deref().is_none_or(|known| known == turn_id), "a message became two turns");
                asked.turn_id = Some(turn_id.to_owned());
                assert!(conversation.conversation_id.as_deref().is_none_or(|known| known == conversation_id));
                if conversation.conversation_id.is_none() {
                    conversation.conversation_id = Some(conversation_id.to_owned());
                    lock(&self.book).conversation_ids.push(conversation_id.to_owned());
                }
            }
        }
    }

    fn end(&mut self, turn_id: &str, mut terminal: Value) {
        // Another one on each connection.
        terminal.as_object_mut().unwrap().remove("turn");
        let turn = self.turns.get_mut(turn_id).expect("a turn begins with progress or resumed");
        turn.check_end(&terminal);
        match &turn.terminal {
            None => turn.terminal = Some(terminal),
            Some(known) => {
                assert_eq!(*known, terminal);
                assert!(turn.replays > 0, "a second terminal frame: {terminal}");
                turn.replays -= 1;
            }
        }
        for conversation in &mut self.conversations {
            conversation.asked.take_if(|asked| asked.turn_id.as_deref() == Some(turn_id));
        }
    }
}

impl Turn {
    /// Records an entry other than a token. A known entry may come again only after a `resumed` from before it.
    fn take_index(&mut self, frame: &Value) {
        if let Some(index) = frame["index"].as_i64() {
            let last = self.indices.last().copied().unwrap_or(-1);
            assert!(index > last || self.repeats_entries, "an entry came twice: {frame}, after {last}");
            assert!(index <= last || self.terminal.is_none(), "an entry after the end: {frame}");
            self.indices.insert(index);
        }
    }

    /// Rule 5; returns what is wrong.
    fn append(&mut self, frame: &Value) -> Option<&'static str> {
        let seq = frame["seq"].as_i64().unwrap();
        let first_seq = first_seq(frame);
        if first_seq <= self.last_seq {
            return Some("a duplicate");
        }
        if first_seq > self.last_seq + 1 {
            return Some("a gap");
        }
        if self.terminal.is_some() {
            return Some("a token behind the end");
        }
        self.text.push_str(frame["token"].as_str().unwrap());
        self.last_seq = seq;
        let partial = frame["partial_response"].as_str();
        partial.is_some_and(|partial| partial != self.text).then_some("another partial_response")
    }

    fn check_end(&self, terminal: &Value) {
        if let (Some(end), false) = (terminal["index"].as_i64(), self.skips_entries) {
            let entries = i64::try_from(self.indices.range(..end).count()).unwrap() + self.last_seq + 1;
            assert_eq!(entries, end, "every entry has come: {:?}, {terminal}", self.indices);
        }
        if terminal["type"] == "complete" {
            assert_eq!(terminal["response"], self.text);
            assert_eq!(terminal["seq"], self.last_seq);
            let hash: String = Sha256::digest(&self.text).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(terminal["sha256"], hash);
        } else {
            let code = terminal["code"].as_str().unwrap();
            assert!(["TURN_INTERRUPTED", "UPSTREAM_UNAVAILABLE"].contains(&code), "{terminal}");
        }
    }
}

fn first_seq(frame: &Value) -> i64 {
    frame["first_seq"].as_i64().or(frame["seq"].as_i64()).unwrap()
}

fn resume(turn_id: &str, turn: &Turn) -> Value {
    let mut frame =
        json!({"type": "resume", "session_id": turn.conversation_id, "turn_id": turn_id, "last_seq": turn.last_seq});
    if let Some(last) = turn.indices.last() {
        frame["last_index"] = json!(last);
    }
    frame
}

async fn send(socket: &mut Socket, frame: Value) -> Result<(), Cut> {
    match timeout(SILENCE, socket.send(Message::text(frame.to_string()))).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Cut),
    }
}

pub fn lock(book: &Shared) -> std::sync::MutexGuard<'_, Book> {
    book.lock().unwrap()
}
