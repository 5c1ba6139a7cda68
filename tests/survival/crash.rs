//! `kill -9`, again and again at random moments, and a client that holds the server to what it promised.

use crate::{
    harness::{TestSocket, TestUser, conversation_of},
    program::{NO_SEED, Program, SCRIPTED},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Kills of the server, unless `SWITCHBOARD_SURVIVAL_ROUNDS` asks for more.
const ROUNDS: u32 = 10;
/// Turns that run when the server is killed.
const TURNS: usize = 6;
/// Slack for a busy machine, on which the disk and the clock are shared.
const SLACK: Duration = Duration::from_millis(700);

/// Numbers that look random and come from one seed, which is printed: the same seed kills at the same moments.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("SURVIVAL_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
        // Shown when the test fails.
        println!("SURVIVAL_SEED={seed}");
        Self(seed)
    }

    /// Below `bound` (splitmix64).
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) % bound
    }
}

/// The client's knowledge of one turn.
#[derive(Default)]
struct Seen {
    question: String,
    turn_id: Option<String>,
    conversation_id: Option<String>,
    /// Each with when it came.
    tokens: Vec<(String, Instant)>,
    terminal: Option<Value>,
}

impl Seen {
    fn text(&self) -> String {
        self.tokens.iter().map(|(token, _)| token.as_str()).collect()
    }

    fn take(&mut self, frame: &Value) {
        self.turn_id = Some(text_of(&frame["turn_id"]));
        self.conversation_id = Some(text_of(conversation_of(frame)));
        match frame["type"].as_str() {
            Some("token") => {
                let seq = usize::try_from(frame["seq"].as_u64().unwrap()).unwrap();
                let first = frame["first_seq"].as_u64().map_or(seq, |first| usize::try_from(first).unwrap());
                assert_eq!(first, self.tokens.len(), "a gap, or a token twice: {frame}");
                // The scripted model's tokens are all of one size, so that joined ones can be told apart.
                let joined = text_of(&frame["token"]);
                let size = joined.len() / (seq + 1 - first);
                let now = Instant::now();
                self.tokens.extend((0..=seq - first).map(|n| (joined[n * size..(n + 1) * size].to_owned(), now)));
            }
            Some("complete" | "error") => {
                assert!(self.terminal.is_none(), "a second end: {frame}");
                let mut terminal = frame.clone();
                // Another one on each connection, unlike the index.
                terminal.as_object_mut().unwrap().remove("turn");
                self.terminal = Some(terminal);
            }
            _ => {}
        }
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn kill_9_loses_nothing_that_was_promised() {
    let mut dice = Dice::new();
    let folder = TempDir::new().unwrap();
    let mut program = Program::serve(folder.path(), &[SCRIPTED, NO_SEED]).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let rounds = std::env::var("SWITCHBOARD_SURVIVAL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        let mut turns: HashMap<String, Seen> = HashMap::new();
        let mut socket = program.socket().subprotocols("chat.v2").signed_in(&user).await;
        let interval_ms = [1, 3, 10, 30][dice.below(4) as usize];
        let tokens = 20 + dice.below(600);
        for n in 0..TURNS {
            let id = format!("round-{round}-{n}");
            let script = json!({"tokens": tokens, "interval_ms": interval_ms});
            let question = format!("What is {id}?");
            socket
                .send(json!({
                    "type": "message", "message": question, "client_message_id": id, "metadata": {"script": script},
                }))
                .await;
            turns.insert(id, Seen { question, ..Seen::default() });
        }
        let kill_at = Instant::now() + Duration::from_millis(dice.below(2_500));
        let mut ids = HashMap::new();
        while let Some(frame) = socket.next_before(kill_at).await {
            take(&mut turns, &mut ids, &frame);
        }
        program.child.kill().await.unwrap();
        let killed_at = Instant::now();
        // What was on its way arrives, and counts as seen.
        while let Some(frame) = socket.next_or_end().await {
            take(&mut turns, &mut ids, &frame);
        }

        program = Program::serve(folder.path(), &[SCRIPTED, NO_SEED]).await;
        let mut socket = program.socket().subprotocols("chat.v2").signed_in(&user).await;
        for (id, mut seen) in turns {
            let place = format!("round {round}, {id}");
            hold_to_promise(&program, &mut socket, &user, &id, &mut seen, killed_at, &place).await;
        }
        socket.close().await;
    }
}

fn take(turns: &mut HashMap<String, Seen>, ids: &mut HashMap<String, String>, frame: &Value) {
    if frame["step"] == "starting" {
        ids.insert(text_of(&frame["turn_id"]), text_of(&frame["client_message_id"]));
    }
    let id = ids.get(&text_of(&frame["turn_id"])).unwrap_or_else(|| panic!("of which turn? {frame}"));
    turns.get_mut(id).unwrap().take(frame);
}

async fn hold_to_promise(
    program: &Program,
    socket: &mut TestSocket,
    user: &TestUser,
    id: &str,
    seen: &mut Seen,
    killed_at: Instant,
    place: &str,
) {
    let again = json!({"type": "message", "message": seen.question, "client_message_id": id});
    let resume = match (&seen.turn_id, &seen.conversation_id) {
        (Some(turn_id), Some(conversation_id)) => {
            let last_seq = i64::try_from(seen.tokens.len()).unwrap() - 1;
            json!({"type": "resume", "session_id": conversation_id, "turn_id": turn_id, "last_seq": last_seq})
        }
        // It was never told of its turn: it sends the message again, as the docs say.
        _ => again.clone(),
    };
    socket.send(resume).await;
    let mut first = socket.next().await;
    if first["type"] == "progress" {
        // The message had not been accepted: it begins now, and ends.
        assert!(seen.turn_id.is_none(), "{place}: a question was lost: {first}");
        while first["type"] != "complete" {
            assert_ne!(first["type"], "error", "{place}: {first}");
            seen.take(&first);
            first = socket.next().await;
        }
        seen.take(&first);
    } else {
        assert_eq!(first["type"], "resumed", "{place}: {first}");
        let from_seq = usize::try_from(first["from_seq"].as_u64().unwrap()).unwrap();
        assert!(from_seq <= seen.tokens.len(), "{place}: {first}");
        for (seq, (_, came_at)) in seen.tokens.iter().enumerate().skip(from_seq) {
            let age = killed_at.saturating_duration_since(*came_at);
            assert!(age < Duration::from_millis(500) + SLACK, "{place}: token {seq} was {age:?} old and not kept");
        }
        seen.tokens.truncate(from_seq);
        let told_of_end = seen.terminal.take();
        loop {
            let frame = socket.next().await;
            seen.take(&frame);
            if seen.terminal.is_some() {
                break;
            }
        }
        let terminal = seen.terminal.as_ref().unwrap();
        if let Some(told) = told_of_end {
            assert_eq!(&told, terminal, "{place}: the end changed");
        }
        let state = if terminal["type"] == "complete" { "complete" } else { "interrupted" };
        assert_eq!(first["state"], state, "{place}");
    }
    let terminal = seen.terminal.clone().unwrap();
    let text = seen.text();
    match terminal["type"].as_str() {
        Some("complete") => assert_eq!(terminal["response"], text, "{place}"),
        _ => assert_eq!(terminal["code"], "TURN_INTERRUPTED", "{place}: {terminal}"),
    }

    // The same message again, whatever became of it, is the same turn.
    socket.send(again).await;
    let resumed = socket.expect("resumed").await;
    assert_eq!(resumed["turn_id"], terminal["turn_id"], "{place}");
    let mut replayed = Seen::default();
    while replayed.terminal.is_none() {
        replayed.take(&socket.next().await);
    }
    assert_eq!(replayed.text(), text, "{place}: the replay differs");
    assert_eq!(replayed.terminal.as_ref(), Some(&terminal), "{place}");

    // One question and one answer in the history, as they were seen.
    let conversation_id = seen.conversation_id.as_ref().unwrap();
    let (status, history) = program.get(&format!("/api/v1/conversations/{conversation_id}/messages"), user).await;
    assert_eq!(status, 200, "{place}: {history}");
    let messages = history["messages"].as_array().unwrap_or_else(|| panic!("{history}"));
    assert_eq!(messages.len(), 2, "{place}: {history}");
    assert_eq!((&messages[0]["role"], &messages[0]["content"]), (&json!("user"), &json!(seen.question)), "{place}");
    assert_eq!((&messages[1]["role"], &messages[1]["content"]), (&json!("assistant"), &json!(text)), "{place}");
    let reason = if terminal["type"] == "complete" { "stop" } else { "error" };
    assert_eq!(messages[1]["finish_reason"], reason, "{place}");
    if !text.is_empty() && reason == "error" {
        assert_eq!(messages[1]["metadata"]["model"], "scripted", "{place}: what is known of the answer was kept");
    }
}
