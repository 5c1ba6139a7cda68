//! Resume at awkward moments.

use crate::harness::{TestApp, Transcript, conversation_of, in_v2_names, is_terminal};
use serde_json::{Value, json};

fn of_type<'a>(frames: &'a [Value], frame_type: &'a str) -> impl Iterator<Item = &'a Value> {
    frames.iter().filter(move |frame| frame["type"] == frame_type)
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn live_tokens_wait_for_the_replay() {
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
async fn several_resumes_of_one_turn_are_answered_in_order() {
    // Longer than the test takes on any machine: it is cancelled.
    let app = TestApp::scripted(100_000, 5).await;
    let user = app.user().await;
    let mut socket = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let started = socket.start(json!({"type": "message", "message": "Hi"})).await;
    socket.read_tokens(started.clone(), 10).await;
    let (conversation_id, turn_id) = (conversation_of(&started), &started["turn_id"]);
    for last_seq in [3, 9, -1] {
        let frame = json!({"type": "resume", "session_id": conversation_id, "turn_id": turn_id, "last_seq": last_seq});
        socket.send(frame).await;
    }
    let mut frames = Vec::new();
    while of_type(&frames, "resumed").count() < 3 || frames.last().unwrap()["type"] != "token" {
        frames.push(socket.next().await);
    }
    socket.send(json!({"type": "cancel", "turn_id": turn_id})).await;
    frames.extend(socket.frames_of_turns(1).await);
    socket.expect_nothing().await;

    let answers: Vec<_> = of_type(&frames, "resumed").map(|frame| frame["from_seq"].as_i64().unwrap()).collect();
    assert_eq!(answers, [4, 10, 0]);
    assert_eq!(frames.iter().filter(|frame| is_terminal(frame)).count(), 1, "one end, however often it is resumed");
    // After each `resumed`, tokens go on from there without a gap.
    let mut next = None;
    for frame in &frames {
        match frame["type"].as_str().unwrap() {
            "resumed" => next = frame["from_seq"].as_i64(),
            "token" if next.is_some() => {
                let seq = frame["seq"].as_i64().unwrap();
                assert_eq!(Some(frame["first_seq"].as_i64().unwrap_or(seq)), next, "{frame}");
                next = Some(seq + 1);
            }
            _ => {}
        }
    }
    let last = frames.iter().rposition(|frame| frame["type"] == "resumed").unwrap();
    let whole = Transcript::check(frames[last + 1..].to_vec());
    assert_eq!(whole.terminal["finish_reason"], "cancelled");
    assert_eq!(app.history(&user, &whole.conversation_id).await[1]["content"], whole.text);
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
        assert_eq!((&resumed.text, in_v2_names(&resumed.terminal)), (&wanted.text, in_v2_names(&wanted.terminal)));
        other.close().await;
        before = turn;
    }
    assert!(caught > 0, "no resume met the turn that started");
    socket.close().await;
}
