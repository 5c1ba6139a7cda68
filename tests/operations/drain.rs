//! A server that is emptied, and takes new work again.

use super::audited;
use crate::harness::{PASSWORD, Program, TestApp, TestUser};
use serde_json::{Value, json};

async fn ready(app: &TestApp) -> u16 {
    app.get("/health/ready", None).await.0
}

async fn status(app: &TestApp, operator: &TestUser) -> (Value, Value) {
    let (status, answer) = app.get("/api/v1/drain", Some(operator)).await;
    assert_eq!(status, 200, "{answer}");
    (answer["phase"].clone(), answer["then"].clone())
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn drain_can_be_undone_while_a_turn_runs() {
    for then in ["stop", "stay"] {
        let app = TestApp::scripted(60, 20).await;
        let (user, operator) = (app.user().await, app.operator().await);
        let mut busy = app.socket().signed_in(&user).await;
        let mut idle = app.socket().connect().await;
        let first = busy.start(json!({"type": "message", "message": "Hi"})).await;
        assert_eq!(status(&app, &operator).await, (json!("open"), Value::Null));

        let (code, answer) = app.post("/api/v1/drain", Some(&operator), &json!({"then": then})).await;
        assert_eq!((code, answer), (202, json!({"connections": 2, "sessions": 2, "running_turns": 1})));
        assert_eq!(status(&app, &operator).await, (json!("draining"), json!(then)));
        assert_eq!((ready(&app).await, app.socket().try_connect().await.err().unwrap().0), (503, 503));
        assert_eq!(idle.expect_close().await, 1001);

        let (code, answer) = app.delete("/api/v1/drain", Some(&operator)).await;
        assert_eq!((code, answer), (200, json!({"connections": 1, "sessions": 1, "running_turns": 1})));
        assert_eq!((status(&app, &operator).await.0, ready(&app).await), (json!("open"), 200));
        let mut frames = vec![first];
        frames.extend(busy.frames_of_turns(1).await);
        assert_eq!(crate::harness::Transcript::check(frames).terminal["finish_reason"], "stop");
        // Nobody is told to go any more, and there is new work.
        busy.turn(json!({"type": "message", "message": "And then?", "metadata": {"script": {"tokens": 1}}})).await;
        app.socket().signed_in(&user).await.ask("Who is new?").await;
        busy.expect_nothing().await;
        busy.close().await;
        let entries = audited(&app, &operator, 2).await;
        assert_eq!((entries[0].0.as_str(), entries[1].0.as_str()), ("undrain", "drain"));
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn drained_server_that_stays_answers_until_the_drain_is_undone() {
    let app = TestApp::with(|config| {
        config.server.drain_timeout_s = 1;
        (config.provider.scripted.tokens, config.provider.scripted.interval_ms) = (100_000, 20);
    })
    .await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut busy = app.socket().signed_in(&user).await;
    busy.start(json!({"type": "message", "message": "Hi"})).await;
    assert_eq!(app.post("/api/v1/drain", Some(&operator), &json!({"then": "stay"})).await.0, 202);
    let ended = busy.frames_of_turns(1).await.pop().unwrap();
    assert_eq!(ended["code"], "TURN_INTERRUPTED");
    assert_eq!(busy.expect_close().await, 1001);
    let is_empty = |answer: &Value| answer["phase"] == "drained" && answer["connections"] == 0;
    app.get_when("/api/v1/drain", &operator, is_empty).await;
    // It runs on: people sign in, and get no further.
    let user = app.sign_in(&user.email, PASSWORD).await;
    assert_eq!((ready(&app).await, app.socket().try_connect().await.err().unwrap().0), (503, 503));
    assert_eq!(app.post("/api/v1/chat", Some(&user), &json!({"message": "Hi"})).await.0, 503);
    assert_eq!(app.post("/api/v1/drain", Some(&operator), &json!({"then": "stay"})).await.0, 202);

    assert_eq!(app.delete("/api/v1/drain", Some(&operator)).await.0, 200);
    assert_eq!(ready(&app).await, 200);
    let script = json!({"type": "message", "message": "Hi", "metadata": {"script": {"tokens": 60}}});
    let mut socket = app.socket().signed_in(&user).await;
    // The next drain has all its time again.
    let first = socket.start(script).await;
    assert_eq!(app.post("/api/v1/drain", Some(&operator), &json!({"then": "stay"})).await.0, 202);
    socket.read_tokens(first, 20).await;
    assert_eq!(app.delete("/api/v1/drain", Some(&operator)).await.0, 200);
    assert_eq!(socket.frames_of_turns(1).await.pop().unwrap()["finish_reason"], "stop");
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn drain_accepts_only_known_next_steps() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    for then in [json!(5), json!("soap"), json!(true), json!(["stay"])] {
        let (code, answer) = app.post("/api/v1/drain", Some(&operator), &json!({"then": then})).await;
        assert_eq!((code, &answer["code"]), (422, &json!("INVALID_FIELD")), "{then}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains("`then`"), "{then}: {answer}");
    }
    assert_eq!(status(&app, &operator).await, (json!("open"), Value::Null));
    assert_eq!(app.post("/api/v1/drain", Some(&operator), &json!({"then": null})).await.0, 202);
    assert_eq!(status(&app, &operator).await.1, json!("stop"));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn drained_server_that_stays_can_be_stopped() {
    let mut program = Program::start(&[]);
    let operator = program.operator().await;
    let request = |method: reqwest::Method, body: Value| {
        let request = reqwest::Client::new().request(method, format!("{}/api/v1/drain", program.url));
        let request = request.bearer_auth(&operator.access_token).json(&body);
        async { request.send().await.unwrap().status().as_u16() }
    };
    let (post, delete) = (reqwest::Method::POST, reqwest::Method::DELETE);
    assert_eq!(request(post.clone(), json!({"then": "stay"})).await, 202);
    assert_eq!(request(delete, Value::Null).await, 200);
    program.socket().connect().await.close().await;
    assert_eq!(request(post.clone(), json!({"then": "stay"})).await, 202);
    assert_eq!(request(post, json!({"then": "soap"})).await, 422);
    program.terminate();
    assert_eq!(program.ended().await.code(), Some(0));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn drain_by_an_operator_ends_the_program() {
    let mut program = Program::start(&[]);
    let operator = program.operator().await;
    let mut socket = program.socket().connect().await;
    let request = reqwest::Client::new().post(format!("{}/api/v1/drain", program.url));
    let answer = request.bearer_auth(&operator.access_token).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 202);
    assert_eq!(socket.expect_close().await, 1001);
    assert_eq!(program.ended().await.code(), Some(0));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn drain_by_signal_cannot_be_undone() {
    let app = TestApp::scripted(100, 20).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut busy = app.socket().signed_in(&user).await;
    busy.start(json!({"type": "message", "message": "Hi"})).await;
    let undo = async {
        app.get_when("/api/v1/drain", &operator, |answer| answer["phase"] == "draining").await;
        let (status, answer) = app.delete("/api/v1/drain", Some(&operator)).await;
        assert_eq!((status, &answer["code"]), (503, &json!("OVERLOADED")));
        assert_eq!(busy.frames_of_turns(1).await.pop().unwrap()["finish_reason"], "stop");
        assert_eq!(busy.expect_close().await, 1001);
    };
    tokio::join!(app.stop(), undo);
}
