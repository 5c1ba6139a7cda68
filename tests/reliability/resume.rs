//! Resume at awkward moments.

use crate::harness::{TestApp, Transcript, conversation_of, is_terminal};
use serde_json::{Value, json};

fn of_type<'a>(frames: &'a [Value], frame_type: &'a str) -> impl Iterator<Item = &'a Value> {
    frames.iter().filter(move |frame| frame["type"] == frame_type)
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn live_tokens_wait_behind_the_replay() {
    // Tokens come all the time, so that some come while the replay is put together.
    let app = TestApp::scripted(3_000, 1).await;
    let user = app.user().await;
    let mut first = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let started = first.start(json!({"type": "message", "message": "Hi"})).await;
    let mut later = Vec::new();
    for seen in [0_i64, 5, 100, 300, 600] {
        while first.next().await["seq"].as_i64().is_none_or(|seq| seq < seen) {}
        let mut socket = app.socket().subprotocols("chat.v2").signed_in(&user).await;
        socket.send(json!({"type": "resume", "session_id": conversation_of(&started), "last_seq": seen - 1})).await;
        let resumed = socket.expect("resumed").await;
        assert_eq!(resumed["from_seq"], seen);
        later.push((seen, socket));
    }
    for (seen, mut socket) in later {
        let mut next = seen;
        let terminal = loop {
            let frame = socket.next().await;
            if is_terminal(&frame) {
                break frame;
            }
            if frame["type"] == "token" {
                let seq = frame["seq"].as_i64().unwrap();
                assert_eq!(frame["first_seq"].as_i64().unwrap_or(seq), next, "a gap, or a token twice");
                next = seq + 1;
            }
        };
        assert_eq!((&terminal["finish_reason"], &terminal["seq"]), (&json!("stop"), &json!(next - 1)));
        socket.close().await;
    }
    first.frames_of_turns(1).await;
    first.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn several_resumes_of_one_turn_on_one_socket_each_go_on_from_where_they_say() {
    let app = TestApp::scripted(300, 5).await;
    let user = app.user().await;
    let mut socket = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let started = socket.start(json!({"type": "message", "message": "Hi"})).await;
    let frames = socket.read_tokens(started.clone(), 10).await;
    for last_seq in [3, 9, -1] {
        let (conversation_id, turn_id) = (conversation_of(&started), &started["turn_id"]);
        let frame = json!({"type": "resume", "session_id": conversation_id, "turn_id": turn_id, "last_seq": last_seq});
        socket.send(frame).await;
    }
    let rest = socket.frames_of_turns(1).await;
    assert_eq!(of_type(&rest, "resumed").count(), 3);
    assert_eq!(rest.iter().filter(|frame| is_terminal(frame)).count(), 1, "one end, however often it is resumed");
    // As the protocol says to clients: what is not above the last seq is skipped.
    let mut kept = Vec::new();
    let mut next = 0;
    for frame in frames.iter().chain(&rest).filter(|frame| frame["type"] == "token" || is_terminal(frame)) {
        let seq = frame["seq"].as_i64().unwrap();
        if is_terminal(frame) {
            kept.push(frame.clone());
        } else if seq >= next {
            let first_seq = frame["first_seq"].as_i64().unwrap_or(seq);
            assert!(first_seq <= next, "a gap before {frame}");
            if first_seq == next {
                kept.push(frame.clone());
                next = seq + 1;
            }
        }
    }
    assert_eq!(Transcript::check(kept).text.len(), 1_800);
    // Behind the last `resumed` the answer comes whole, and nothing from before gets between.
    let last = rest.iter().rposition(|frame| frame["type"] == "resumed").unwrap();
    assert_eq!(rest[last]["from_seq"], 0);
    Transcript::check(rest[last + 1..].to_vec());
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_turn_can_be_resumed_while_it_starts() {
    let app = TestApp::scripted(50, 2).await;
    let user = app.user().await;
    let mut socket = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let mut before = socket.ask("Hi").await;
    let mut caught = 0;
    for _ in 0..15 {
        let mut other = app.socket().subprotocols("chat.v2").signed_in(&user).await;
        socket.send(json!({"type": "message", "message": "Go on", "session_id": before.conversation_id})).await;
        other.send(json!({"type": "resume", "session_id": before.conversation_id})).await;
        let turn = Transcript::check(socket.frames_of_turns(1).await);
        // Not yet on its way, on its way to the disk, or running: it is this turn or the one before it, whole in any case.
        // Its first frames may come before `resumed`, which then goes on behind them.
        let (mut frames, mut resumed_id) = (Vec::new(), Value::Null);
        while !frames.iter().any(|frame| is_terminal(frame) && frame["turn_id"] == resumed_id) {
            let frame = other.next().await;
            if frame["type"] == "resumed" {
                resumed_id = frame["turn_id"].clone();
            } else {
                frames.push(frame);
            }
        }
        let resumed = Transcript::of_turn(&frames, &resumed_id);
        let wanted = if resumed_id == turn.turn_id { &turn } else { &before };
        caught += u32::from(resumed_id == turn.turn_id);
        assert_eq!((&resumed.text, &resumed.terminal), (&wanted.text, &wanted.terminal));
        other.close().await;
        before = turn;
    }
    assert!(caught > 0, "no resume met the turn that started");
    socket.close().await;
}
