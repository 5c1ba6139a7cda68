//! Peers that stop reading: what they cost, what others notice, what they get when they go on.

use crate::harness::{Program, SocketBuilder, TestApp, TestSocket, TestUser, eventually, holds};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Tokens of the long answer.
const TOKENS: u32 = 10_000;
const MIB: u64 = 1024 * 1024;

/// A socket of a peer whose kernel takes little, in a conversation that it follows. It reads only what it is told to.
async fn subscriber(socket: SocketBuilder, user: &TestUser, conversation_id: &str) -> TestSocket {
    let mut socket = socket.receive_buffer(4_096).subprotocols("chat.v2").signed_in(user).await;
    socket.send(json!({"type": "resume", "session_id": conversation_id, "last_seq": 0})).await;
    socket.frames_of_turns(1).await;
    socket
}

fn long(conversation_id: &str) -> Value {
    let script = json!({"tokens": TOKENS, "token_bytes": 100, "interval_ms": 0});
    json!({"type": "message", "message": "Go on", "session_id": conversation_id, "metadata": {"script": script}})
}

fn small() -> Value {
    json!({"type": "message", "message": "Hi", "metadata": {"script": {"tokens": 2, "interval_ms": 0}}})
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn stalled_readers_cost_little_memory_and_catch_up_later() {
    let program = Program::start(&[("session.write_stall_timeout_s", "60")]);
    let user = program.user().await;
    let mut owner = program.socket().subprotocols("chat.v2").signed_in(&user).await;
    let conversation_id = owner.turn(small()).await.conversation_id;
    let mut stuck = Vec::new();
    for _ in 0..40 {
        stuck.push(subscriber(program.socket(), &user, &conversation_id).await);
    }
    // Warms up: the memory that a turn of this size needs is allocated before it is measured.
    let mut other = program.socket().subprotocols("chat.v2").signed_in(&user).await;
    let elsewhere = other.turn(small()).await.conversation_id;
    other.turn(long(&elsewhere)).await;
    let before = program.resident_bytes();

    let turn = owner.turn(long(&conversation_id)).await;
    assert_eq!(turn.text.len(), TOKENS as usize * 100);
    let grown = program.resident_bytes().saturating_sub(before);
    // The answer is 1 MB; kept for each of them it would be 40, and as much again for its `complete`.
    assert!(grown < 12 * MIB, "{grown} bytes more");

    // Others are answered as ever.
    let asked = Instant::now();
    other.turn(small()).await;
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());

    for mut socket in stuck {
        let late = socket.rest_of_turn(Vec::new()).await;
        assert_eq!((late.text, late.terminal), (turn.text.clone(), turn.terminal.clone()));
    }
}

/// Events are read from the store as the client reads them: neither texts nor turns pile up for a connection.
#[actix_web::rt::test(system = "crate::harness::System")]
async fn readers_of_events_that_stall_cost_little_memory_and_miss_nothing() {
    const STUCK: usize = 16;
    const TURNS: i64 = 40;
    let program = Program::start(&[("session.write_stall_timeout_s", "120")]);
    let user = program.user().await;
    let mut owner = program.socket().subprotocols("chat.v2").signed_in(&user).await;
    let id = owner.turn(small()).await.conversation_id;
    let long = |conversation_id: &str| {
        let script = json!({"tokens": 75, "token_bytes": 1_000, "interval_ms": 0});
        json!({"type": "message", "message": "Go on", "session_id": conversation_id, "metadata": {"script": script}})
    };
    // Warms up: the memory that turns of this size need is allocated before it is measured.
    let elsewhere = owner.turn(small()).await.conversation_id;
    for _ in 0..10 {
        owner.turn(long(&elsewhere)).await;
    }
    let mut stuck = Vec::new();
    for _ in 0..STUCK {
        let mut socket = program.socket().receive_buffer(4_096).subprotocols("chat.v2").signed_in(&user).await;
        socket.send(json!({"type": "resume", "conversation_id": id, "last_position": 4})).await;
        assert_eq!(socket.expect("resumed").await["head"], 4);
        stuck.push(socket);
    }
    let before = program.resident_bytes();
    for _ in 0..TURNS {
        owner.turn(long(&id)).await;
    }
    let grown = program.resident_bytes().saturating_sub(before);
    // The texts of these turns are 3 MB. Kept for each connection they would be 48, and as much again for their frames.
    assert!(grown < 30 * MIB, "{grown} bytes more");
    let head = 4 + 4 * TURNS;
    for mut socket in stuck {
        let mut position = 4;
        while position < head {
            let frame = socket.next().await;
            if frame["type"] == "event" {
                position += 1;
                assert_eq!(frame["position"], position, "{frame}");
            }
        }
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn events_of_many_conversations_cost_a_reader_that_stalls_one_page() {
    const CONVERSATIONS: usize = 30;
    const STUCK: usize = 12;
    let program = Program::start(&[("session.write_stall_timeout_s", "120")]);
    let user = program.user().await;
    let mut owner = program.socket().subprotocols("chat.v2").signed_in(&user).await;
    let mut ids = Vec::new();
    for _ in 0..CONVERSATIONS {
        let id = owner.turn(small()).await.conversation_id;
        let script = json!({"tokens": 200, "token_bytes": 1_000, "interval_ms": 0});
        owner
            .turn(json!({"type": "message", "message": "Go on", "session_id": id, "metadata": {"script": script}}))
            .await;
        ids.push(id);
    }
    let before = program.resident_bytes();
    let mut stuck = Vec::new();
    for _ in 0..STUCK {
        let mut socket = program.socket().receive_buffer(4_096).subprotocols("chat.v2").signed_in(&user).await;
        let resume = |id| json!({"type": "resume", "conversation_id": id, "last_position": 0});
        socket.send_at_once(ids.iter().map(resume)).await;
        assert_eq!(socket.expect("resumed").await["head"], 8);
        stuck.push(socket);
    }
    // The server handles this turn after the requests of the stuck connections.
    owner.turn(small()).await;
    let grown = program.resident_bytes().saturating_sub(before);
    // A page of each conversation is 200 kB: kept for all of them, it would be 72 MB.
    assert!(grown < 30 * MIB, "{grown} bytes more");
    for mut socket in stuck {
        let mut seen = 0;
        while seen < 8 * CONVERSATIONS {
            seen += usize::from(socket.next().await["type"] == "event");
        }
    }
}

/// Whether something waits for a connection.
fn is_lagging(connection: &Value) -> bool {
    ["lagging", "stalled"].contains(&connection["state"].as_str().unwrap())
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn peer_that_never_reads_again_is_removed() {
    let app = TestApp::with(|config| config.session.write_stall_timeout_s = 1).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut owner = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let conversation_id = owner.turn(small()).await.conversation_id;
    let mut stuck = subscriber(app.socket(), &user, &conversation_id).await;
    let asked = Instant::now();
    let waiting_of = |list: &Value| {
        let connections = list["connections"].as_array().unwrap().iter().filter(|one| is_lagging(one));
        connections.filter_map(|one| one["bytes_waiting"].as_u64()).max().unwrap_or_default()
    };
    // Meanwhile, since it is removed a second later.
    let (turn, behind) = tokio::join!(
        owner.turn(long(&conversation_id)),
        app.get_when("/api/v1/connections", &operator, |list| waiting_of(list) >= 100_000),
    );
    assert_eq!(turn.terminal["finish_reason"], "stop");
    assert!(waiting_of(&behind) <= 1_000_000, "{behind}");

    let stats = app.stats_when(&operator, |stats| stats["connections"] == 1).await;
    assert_eq!((&stats["stalled"], &stats["lagging"]), (&1.into(), &0.into()));
    assert_eq!(stats["max_waiting_bytes"], 80 * 1024);
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    // Who reads gets on, and who was given up finds its connection at an end.
    owner.turn(small()).await;
    owner.close().await;
    stuck.expect_end().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn reader_of_events_that_never_reads_again_is_removed() {
    let app = TestApp::with(|config| config.session.write_stall_timeout_s = 1).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut owner = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let id = owner.turn(small()).await.conversation_id;
    owner.turn(long(&id)).await;
    owner.turn(long(&id)).await;
    // Events alone: no turn is running.
    let mut stuck = app.socket().receive_buffer(4_096).subprotocols("chat.v2").signed_in(&user).await;
    stuck.send(json!({"type": "resume", "conversation_id": id, "last_position": 0})).await;
    let stats = app.stats_when(&operator, |stats| stats["connections"] == 1).await;
    assert_eq!((&stats["stalled"], &stats["lagging"]), (&1.into(), &0.into()));
    stuck.expect_end().await;
    let mut again = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    again.send(json!({"type": "resume", "conversation_id": id, "last_position": 0})).await;
    assert_eq!(again.expect("resumed").await["head"], 12);
    for position in 1..=12 {
        assert_eq!(again.next().await["position"], position);
    }
    again.close().await;
    owner.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_connection_of_a_peer_that_never_reads_ends() {
    let program = Program::start(&[("session.write_stall_timeout_s", "1")]);
    let user = program.user().await;
    let mut owner = program.socket().subprotocols("chat.v2").signed_in(&user).await;
    let conversation_id = owner.turn(small()).await.conversation_id;
    // What the program opens for itself by and by is open then.
    owner.turn(long(&conversation_id)).await;
    let before = program.open_files();
    let stuck = subscriber(program.socket(), &user, &conversation_id).await;
    assert_eq!(program.open_files(), before + 1);
    owner.turn(long(&conversation_id)).await;
    eventually(async || holds(program.open_files() <= before, "the connection is still there")).await;
    drop(stuck);
    owner.turn(small()).await;
}
