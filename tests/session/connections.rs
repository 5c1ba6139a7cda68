//! The live connections, as operators see them.

use crate::harness::{TestApp, TestUser, conversation_of, first};
use serde_json::{Value, json};

async fn counts(app: &TestApp, operator: &TestUser, sessions: u64, closed: u64) -> Value {
    app.stats_when(operator, |stats| stats["connections"] == sessions && stats["closed"] == closed).await
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn connection_list_requires_the_operator_role() {
    let app = TestApp::start().await;
    let user = app.user().await;
    for path in ["/api/v1/connections", "/api/v1/connections/stats"] {
        let (status, body) = app.get(path, Some(&user)).await;
        assert_eq!((status, body["code"].as_str()), (403, Some("FORBIDDEN")));
        assert_eq!(app.get(path, None).await.0, 401);
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn statistics_count_users_dialects_and_tokens() {
    let app = TestApp::start().await;
    let (user, other, operator) = (app.user().await, app.user().await, app.operator().await);
    let mut one = app.socket().signed_in(&user).await;
    let mut two = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let three = app.socket().subprotocols("chat.v2").signed_in(&other).await;
    let four = app.socket().connect().await;
    let turn = one.ask("Hi").await;
    two.send(json!({"type": "resume", "session_id": turn.conversation_id})).await;
    two.frames_of_turns(1).await;
    let stats = app.stats_when(&operator, |stats| stats["running_turns"] == 0).await;
    assert_eq!(
        (
            &stats["connections"],
            &stats["authenticated"],
            &stats["users"],
            &stats["tokens_sent"],
            &stats["started_turns"]
        ),
        (&json!(4), &json!(3), &json!(2), &json!(40), &json!(1)),
        "{stats}"
    );
    assert_eq!(stats["by_user"][0], json!({"user_id": user.id, "connections": 2, "sessions": 2}));
    assert_eq!(stats["by_user"][1], json!({"user_id": other.id, "connections": 1, "sessions": 1}));
    let of = |dialect: &str| json!({"dialect": dialect, "connections": 2, "sessions": 2});
    let by_dialect = json!([of("chat.v1"), of("chat.v2")]);
    assert_eq!(stats["by_dialect"], by_dialect);
    for socket in [one, two, three, four] {
        socket.close().await;
    }
    let stats = counts(&app, &operator, 0, 4).await;
    assert_eq!((&stats["authenticated"], &stats["users"], &stats["by_user"]), (&json!(0), &json!(0), &json!([])));
    assert_eq!((&stats["opened"], &stats["tokens_sent"]), (&json!(4), &json!(40)));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn every_kind_of_close_removes_the_connection_from_the_list() {
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
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn list_entry_shows_the_state_of_its_connection() {
    let app = TestApp::scripted(200, 10).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = app.socket().subprotocols("chat.v2").header("user-agent", "tests/1").signed_in(&user).await;
    let first = socket.start(json!({"type": "message", "message": "A secret question"})).await;
    let frames = socket.read_tokens(first.clone(), 3).await;
    let page = app.get_when("/api/v1/connections", &operator, |page| page["connections"][0]["turns"][0] != Value::Null);
    let page = page.await;
    let entry = &page["connections"][0];
    assert_eq!(entry["user"], json!({"id": user.id, "email": user.email, "name": "Ada"}));
    assert_eq!(
        (&entry["dialect"], &entry["address"], &entry["user_agent"], &entry["state"], &entry["violations"]),
        (&json!("chat.v2"), &json!("127.0.0.1"), &json!("tests/1"), &json!("streaming"), &json!(0))
    );
    assert_eq!(entry["conversations"], json!([conversation_of(&first)]));
    let turn = &entry["turns"][0];
    assert_eq!((&turn["turn_id"], &turn["conversation_id"]), (&first["turn_id"], conversation_of(&first)));
    assert_eq!(turn["step"], "generating");
    let (head, written) = (turn["head_seq"].as_i64().unwrap(), turn["written_seq"].as_i64().unwrap());
    assert!(head >= 2 && entry["tokens_sent"].as_u64().unwrap() >= 3, "{entry}");
    assert_eq!(turn["lag"], head - written);
    assert_eq!(
        (&turn["acknowledged_seq"], &entry["ping_ms"]),
        (&json!(-1), &Value::Null),
        "no heartbeat came back yet"
    );
    assert_eq!(entry["frames_received"], 2);
    assert!(!page.to_string().contains("secret"), "{page}");

    let path = format!("/api/v1/connections/{}", entry["id"].as_str().unwrap());
    socket.send(json!({"type": "cancel", "turn_id": first["turn_id"]})).await;
    let sent = socket.rest_of_turn(frames).await.tokens.len();
    let entry = app.get_when(&path, &operator, |entry| entry["turns"] == json!([])).await;
    assert_eq!((&entry["tokens_sent"], &entry["state"]), (&json!(sent), &json!("idle")));
    socket.close().await;
    app.idle().await;
    let (status, gone) = app.get(&path, Some(&operator)).await;
    assert_eq!((status, &gone["code"]), (404, &json!("NOT_FOUND")));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn pong_acknowledges_delivered_tokens() {
    let app = TestApp::with(|config| {
        config.session.heartbeat_interval_s = 1;
        (config.provider.scripted.tokens, config.provider.scripted.interval_ms) = (10_000, 20);
    })
    .await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = app.socket().signed_in(&user).await;
    let first = socket.start(json!({"type": "message", "message": "Hi"})).await;
    // Reading answers the ping, too.
    let frames = socket.read_tokens(first, 75).await;
    let is_acknowledged = |page: &Value| page["connections"][0]["turns"][0]["acknowledged_seq"] != -1;
    let page = app.get_when("/api/v1/connections", &operator, is_acknowledged).await;
    let (entry, turn) = (&page["connections"][0], &page["connections"][0]["turns"][0]);
    let (acknowledged, written) = (turn["acknowledged_seq"].as_i64().unwrap(), turn["written_seq"].as_i64().unwrap());
    // One second's tokens, and not those that were sent behind the ping.
    assert!((10..written).contains(&acknowledged), "{turn}");
    assert!((0.001..20_000.0).contains(&entry["ping_ms"].as_f64().unwrap()), "{entry}");
    drop((socket, frames));
    let turn_id = turn["turn_id"].as_str().unwrap();
    assert_eq!(app.post(&format!("/api/v1/chat/{turn_id}/cancel"), Some(&user), &Value::Null).await.0, 200);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_list_is_filtered_sorted_and_paged() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut sockets = Vec::new();
    for n in 0..5 {
        let socket =
            app.socket().subprotocols(["chat.v1", "chat.v2"][n % 2]).header("user-agent", &format!("tests/{n}"));
        sockets.push(if n == 3 { socket.signed_in(&user).await } else { socket.connect().await });
    }
    counts(&app, &operator, 5, 0).await;
    let list = async |query: &str| {
        let (status, page) = app.get(&format!("/api/v1/connections?{query}"), Some(&operator)).await;
        assert_eq!(status, 200, "{page}");
        let agents = page["connections"].as_array().unwrap().iter();
        let agents: Vec<u64> = agents.map(|one| one["user_agent"].as_str().unwrap()[6..].parse().unwrap()).collect();
        (agents, page["total"].as_u64().unwrap())
    };
    assert_eq!(list("").await, (vec![0, 1, 2, 3, 4], 5));
    assert_eq!(list("limit=2&offset=2").await, (vec![2, 3], 5));
    assert_eq!(list("limit=2&offset=4").await, (vec![4], 5));
    assert_eq!(list("offset=9").await, (vec![], 5));
    assert_eq!(list("sort=user_agent&order=desc&limit=2").await, (vec![4, 3], 5));
    assert_eq!(list("dialect=chat.v2").await, (vec![1, 3], 2));
    assert_eq!(list("state=idle").await, (vec![3], 1));
    assert_eq!(list(&format!("user_id={}", user.id)).await, (vec![3], 1));
    assert_eq!(list(&format!("q={}", user.email.to_uppercase())).await, (vec![3], 1));
    assert_eq!(list("q=tests%2F4&state=unauthenticated").await, (vec![4], 1));
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("offset=-1", "offset"),
        ("sort=price", "sort"),
        ("order=up", "order"),
        ("state=asleep", "state"),
        ("dialect=soap", "dialect"),
        ("user_id=me", "user_id"),
    ] {
        let (status, answer) = app.get(&format!("/api/v1/connections?{query}"), Some(&operator)).await;
        assert_eq!((status, &answer["code"]), (422, &json!("INVALID_FIELD")), "{query}");
        assert!(answer["error"].as_str().unwrap().contains(&format!("`{field}`")), "{query}: {answer}");
    }
    for socket in sockets {
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn stopping_server_sends_going_away_to_every_connection() {
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
