//! A server that stops.

use crate::harness::{PASSWORD, Program, TestApp, TestSocket, Transcript, is_terminal};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use switchboard::config::Config;
use tokio_tungstenite::tungstenite::Message;

/// All that still comes: frames, then the code of the close frame.
async fn to_the_end(mut socket: TestSocket) -> (Vec<Value>, u16) {
    let mut frames = Vec::new();
    loop {
        match socket.next_message().await {
            Message::Text(text) => frames.push(socket.read(&text)),
            Message::Close(reason) => return (frames, reason.map_or(1005, |reason| reason.code.into())),
            _ => {}
        }
    }
}

fn drain_after(seconds: u64) -> impl FnOnce(&mut Config) {
    move |config| {
        config.server.drain_timeout_s = seconds;
        config.workflow.max_running_turns_per_user = 0;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn five_hundred_running_turns_end_or_are_interrupted_once() {
    const SOCKETS: usize = 50;
    const TURNS: usize = 10;
    let app = TestApp::with(drain_after(8)).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut readers = Vec::new();
    for n in 0..SOCKETS {
        let mut socket = app.socket().subprotocols(["chat.v1", "chat.v2"][n % 2]).signed_in(&user).await;
        for turn in 0..TURNS {
            // Every other socket's turns can end in time.
            let script = if n % 4 < 2 {
                json!({"tokens": 20, "interval_ms": 150})
            } else {
                json!({"tokens": 100_000, "interval_ms": 400})
            };
            let id = format!("{n}.{turn}");
            socket.send(json!({"type": "message", "message": "Hi", "client_message_id": id, "metadata": {"script": script}})).await;
        }
        readers.push(actix_web::rt::spawn(to_the_end(socket)));
    }
    app.stats_when(&operator, |stats| stats["started_turns"] == SOCKETS * TURNS).await;
    let began = Instant::now();
    app.stop().await;
    assert!(began.elapsed() < Duration::from_secs(13), "{:?}", began.elapsed());

    let (mut complete, mut interrupted) = (0, Vec::new());
    for reader in readers {
        let (mut frames, code) = reader.await.unwrap();
        assert_eq!(code, 1001);
        let last_frame = frames.pop().unwrap();
        assert_eq!(last_frame["type"], "going_away", "{last_frame}");
        assert!((500..5_000).contains(&last_frame["reconnect_after_ms"].as_u64().unwrap()), "{last_frame}");
        let ends: Vec<_> = frames.iter().filter(|frame| is_terminal(frame)).cloned().collect();
        assert_eq!(ends.len(), TURNS, "each turn ends once");
        for end in ends {
            let turn = Transcript::of_turn(&frames, &end["turn_id"]);
            match end["type"].as_str().unwrap() {
                "complete" => complete += 1,
                _ => {
                    assert_eq!(end["code"], "TURN_INTERRUPTED", "{end}");
                    interrupted.push(turn);
                }
            }
        }
    }
    assert_eq!((complete, interrupted.len()), (26 * TURNS, 24 * TURNS));

    // The next server has what there was of the interrupted answers.
    let url = app.database_url().to_owned();
    let next = TestApp::with(|config| config.database.url = url).await;
    let user = next.sign_in(&user.email, PASSWORD).await;
    for turn in interrupted.iter().step_by(20) {
        let history = next.history(&user, &turn.conversation_id).await;
        assert_eq!(
            (history[1]["content"].as_str().unwrap(), &history[1]["finish_reason"]),
            (&*turn.text, &json!("error"))
        );
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_server_that_stops_refuses_new_work_and_lets_turns_end() {
    let app = TestApp::with(|config| {
        drain_after(20)(config);
        (config.provider.scripted.tokens, config.provider.scripted.interval_ms) = (40, 50);
    })
    .await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut busy = app.socket().signed_in(&user).await;
    let first = busy.start(json!({"type": "message", "message": "Hi"})).await;
    let idle = app.socket().signed_in(&user).await;
    assert_eq!(app.post("/api/v1/drain", Some(&user), &Value::Null).await.0, 403);
    assert_eq!(app.get("/health/ready", None).await.0, 200);

    let (status, answer) = app.post("/api/v1/drain", Some(&operator), &Value::Null).await;
    assert_eq!((status, answer), (202, json!({"connections": 2, "sessions": 2, "running_turns": 1})));
    let (status, ready) = app.get("/health/ready", None).await;
    assert_eq!((status, &ready["reason"]), (503, &json!("the server is draining")));
    let (status, refusal) = app.socket().try_connect().await.err().expect("no new sockets");
    assert_eq!((status, &refusal["code"], &refusal["retry_after_ms"]), (503, &json!("OVERLOADED"), &json!(5_000)));
    let (status, refusal) = app.post("/api/v1/chat", Some(&user), &json!({"message": "Hi"})).await;
    assert_eq!((status, &refusal["code"]), (503, &json!("OVERLOADED")));

    // Who has nothing to wait for goes first; who has may not begin anything else.
    let (frames, code) = to_the_end(idle).await;
    assert_eq!((frames[0]["type"].as_str(), frames.len(), code), (Some("going_away"), 1, 1001));
    busy.send(json!({"type": "message", "message": "And then?"})).await;
    let (mut frames, code) = to_the_end(busy).await;
    assert_eq!((frames.pop().unwrap()["type"].as_str(), code), (Some("going_away"), 1001));
    let refused = frames.iter().position(|frame| frame["type"] == "error").expect("the second message is refused");
    assert_eq!(frames.remove(refused)["code"], "OVERLOADED");
    frames.insert(0, first);
    assert_eq!(Transcript::check(frames).terminal["finish_reason"], "stop");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn an_idle_program_stops_at_once_and_well() {
    let mut program = Program::start(&[]);
    let user = program.user().await;
    let mut socket = program.socket().signed_in(&user).await;
    let began = Instant::now();
    program.terminate();
    assert_eq!(socket.expect_close().await, 1001);
    assert_eq!(program.ended().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_second_signal_does_not_wait_for_turns() {
    let settings = [("provider.scripted.tokens", "100000"), ("provider.scripted.interval_ms", "20")];
    let mut program = Program::start(&settings);
    let user = program.user().await;
    let mut socket = program.socket().signed_in(&user).await;
    socket.start(json!({"type": "message", "message": "Hi"})).await;
    program.terminate();
    // The first signal has been heard when there are no new sockets any more.
    while program.socket().try_connect().await.is_ok() {}
    assert!(socket.next().await["turn_id"].is_string(), "the turn goes on");
    let began = Instant::now();
    program.terminate();
    program.ended().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
