//! What operators see of the live connections.

use crate::harness::{TestApp, TestUser, first};
use serde_json::{Value, json};

async fn counts(app: &TestApp, operator: &TestUser, sessions: u64, closed: u64) -> Value {
    app.stats_when(operator, |stats| stats["sessions"] == sessions && stats["closed"] == closed).await
}

#[actix_web::test]
async fn the_live_connections_are_for_operators() {
    let app = TestApp::start().await;
    let user = app.user().await;
    for path in ["/api/v1/connections", "/api/v1/connections/stats"] {
        let (status, body) = app.get(path, Some(&user)).await;
        assert_eq!((status, body["code"].as_str()), (403, Some("FORBIDDEN")));
        assert_eq!(app.get(path, None).await.0, 401);
    }
    app.finish().await;
}

#[actix_web::test]
async fn statistics_count_users_dialects_and_tokens() {
    let app = TestApp::start().await;
    let (user, other, operator) = (app.user().await, app.user().await, app.operator().await);
    let mut one = app.socket().signed_in(&user).await;
    let mut two = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let three = app.socket().subprotocols("chat.v2").signed_in(&other).await;
    let four = app.socket().connect().await;
    let turn = one.ask("Hi").await;
    two.send(json!({"type": "resume", "session_id": turn.session_id})).await;
    two.frames_of_turns(1).await;
    let stats = app.stats_when(&operator, |stats| stats["running_turns"] == 0).await;
    assert_eq!(
        (&stats["sessions"], &stats["authenticated"], &stats["users"], &stats["tokens_sent"], &stats["started_turns"]),
        (&json!(4), &json!(3), &json!(2), &json!(40), &json!(1)),
        "{stats}"
    );
    assert_eq!(stats["by_user"][0], json!({"user_id": user.id, "sessions": 2}));
    assert_eq!(stats["by_user"][1], json!({"user_id": other.id, "sessions": 1}));
    let by_dialect = json!([{"dialect": "chat.v1", "sessions": 2}, {"dialect": "chat.v2", "sessions": 2}]);
    assert_eq!(stats["by_dialect"], by_dialect);
    for socket in [one, two, three, four] {
        socket.close().await;
    }
    let stats = counts(&app, &operator, 0, 4).await;
    assert_eq!((&stats["authenticated"], &stats["users"], &stats["by_user"]), (&json!(0), &json!(0), &json!([])));
    assert_eq!((&stats["opened"], &stats["tokens_sent"]), (&json!(4), &json!(40)));
    app.finish().await;
}

#[actix_web::test]
async fn every_way_to_end_takes_a_session_off_the_list() {
    let app = TestApp::with(|config| {
        config.session.max_message_bytes = 1_000;
        config.session.max_message_chars = 500;
    })
    .await;
    let (user, operator) = (app.user().await, app.operator().await);
    let staying = app.socket().connect().await;
    // By itself, with and without a goodbye, and as in a crash.
    app.socket().connect().await.close().await;
    counts(&app, &operator, 1, 1).await;
    drop(app.socket().signed_in(&user).await);
    counts(&app, &operator, 1, 2).await;
    app.raw_socket().await.reset();
    counts(&app, &operator, 1, 3).await;
    // With half a frame on its way.
    let mut socket = app.raw_socket().await;
    socket.announce(first::TEXT, 100).await;
    drop(socket);
    counts(&app, &operator, 1, 4).await;
    // In the middle of an answer.
    let mut socket = app.socket().signed_in(&user).await;
    let script = json!({"script": {"tokens": 50, "interval_ms": 10}});
    socket.start(json!({"type": "message", "message": "Hi", "metadata": script})).await;
    drop(socket);
    counts(&app, &operator, 1, 5).await;
    // By the server.
    let wrong: [(u8, &[u8], u16); _] = [
        (first::TEXT, &[b' '; 1_001], 1009),
        (first::BINARY, b"x", 1003),
        (first::TEXT, b"\xff", 1007),
        (first::UNKNOWN, b"x", 1002),
    ];
    for (closed, (first, payload, code)) in (6..).zip(wrong) {
        let mut socket = app.raw_socket().await;
        socket.send(first, payload).await;
        // The session has ended even when the peer reads nothing.
        counts(&app, &operator, 1, closed).await;
        assert_eq!(socket.expect_close().await, code);
    }
    let mut socket = app.socket().connect().await;
    for _ in 0..5 {
        socket.send(json!({"type": "auth", "token": "wrong"})).await;
    }
    assert_eq!(socket.expect_close().await, 4401);
    counts(&app, &operator, 1, 10).await;
    staying.close().await;
    let stats = counts(&app, &operator, 0, 11).await;
    assert_eq!(stats["opened"], 11);
    app.finish().await;
}

#[actix_web::test]
async fn an_entry_says_what_its_session_is_doing() {
    let app = TestApp::scripted(200, 10).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = app.socket().subprotocols("chat.v2").header("user-agent", "tests/1").signed_in(&user).await;
    let first = socket.start(json!({"type": "message", "message": "A secret question"})).await;
    let frames = socket.read_tokens(first.clone(), 3).await;
    let page = app.get_when("/api/v1/connections", &operator, |page| page["connections"][0]["turns"][0] != Value::Null);
    let page = page.await;
    let entry = &page["connections"][0];
    assert_eq!(
        (&entry["user_id"], &entry["dialect"], &entry["address"], &entry["user_agent"]),
        (&json!(user.id), &json!("chat.v2"), &json!("127.0.0.1"), &json!("tests/1"))
    );
    let turn = &entry["turns"][0];
    assert_eq!((&turn["turn_id"], &turn["session_id"]), (&first["turn_id"], &first["session_id"]));
    assert_eq!(turn["step"], "generating");
    assert!(turn["tokens"].as_u64().unwrap() >= 3 && entry["tokens_sent"].as_u64().unwrap() >= 3, "{entry}");
    assert_eq!(entry["frames_received"], 2);
    assert!(!page.to_string().contains("secret"), "{page}");

    socket.send(json!({"type": "cancel", "turn_id": first["turn_id"]})).await;
    let sent = socket.rest_of_turn(frames).await.tokens.len();
    let is_idle = |page: &Value| page["connections"][0]["turns"] == json!([]);
    let page = app.get_when("/api/v1/connections", &operator, is_idle).await;
    assert_eq!(page["connections"][0]["tokens_sent"], sent);
    socket.close().await;
    app.finish().await;
}

#[actix_web::test]
async fn pages_of_connections_cover_each_once() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(app.socket().connect().await);
    }
    counts(&app, &operator, 5, 0).await;
    let (mut seen, mut path) = (Vec::new(), "/api/v1/connections?limit=2".to_owned());
    loop {
        let (status, page) = app.get(&path, Some(&operator)).await;
        assert_eq!(status, 200, "{page}");
        seen.extend(page["connections"].as_array().unwrap().iter().map(|entry| entry["id"].to_string()));
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/connections?limit=2&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
    seen.dedup();
    assert_eq!(seen.len(), 5);
    for limit in ["0", "201"] {
        assert_eq!(app.get(&format!("/api/v1/connections?limit={limit}"), Some(&operator)).await.0, 422);
    }
    for socket in sockets {
        socket.close().await;
    }
    app.finish().await;
}

#[actix_web::test]
async fn a_server_that_stops_says_so_to_every_socket() {
    let app = TestApp::with(|config| {
        config.server.drain_timeout_s = 1;
        (config.provider.scripted.tokens, config.provider.scripted.interval_ms) = (10_000, 5);
    })
    .await;
    let user = app.user().await;
    let mut idle = app.socket().connect().await;
    let mut busy = app.socket().signed_in(&user).await;
    let mut raw = app.raw_socket().await;
    busy.start(json!({"type": "message", "message": "Hi"})).await;
    let read = async {
        assert_eq!(idle.expect_close().await, 1001);
        assert_eq!(busy.expect_close().await, 1001);
        assert_eq!(raw.expect_close().await, 1001);
    };
    let stop = async {
        let started = std::time::Instant::now();
        app.stop().await;
        assert!(started.elapsed().as_secs() < 4, "a socket that nobody closed was waited for");
    };
    tokio::join!(stop, read);
}
