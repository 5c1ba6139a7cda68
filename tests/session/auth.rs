//! The ways to prove who is talking, and what happens to those who do not.

use crate::harness::{TestApp, TestSocket, TestUser, token};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

async fn expect_success(socket: &mut TestSocket, user: &TestUser) {
    let frame = socket.expect("auth_success").await;
    assert_eq!(frame["user"], json!({"id": user.id, "email": user.email, "name": "Ada"}));
    assert!(frame["expires_at"].as_i64().unwrap() > token::unix_now());
}

async fn expect_failure(socket: &mut TestSocket, code: &str) {
    let frame = socket.expect("auth_error").await;
    assert_eq!(frame["code"], code, "{frame}");
    assert!(!frame["message"].as_str().unwrap().is_empty());
}

fn auth(token: &str) -> Value {
    json!({"type": "auth", "token": token})
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_message_without_authentication_is_refused() {
    let app = TestApp::start().await;
    let mut socket = app.socket().connect().await;
    socket.send(json!({"type": "message", "message": "Hi", "client_message_id": "m1"})).await;
    let error = socket.expect_error("AUTH_REQUIRED").await;
    assert_eq!((&error["client_message_id"], &error["retryable"]), (&json!("m1"), &json!(false)));
    let id = uuid::Uuid::now_v7();
    for frame in [json!({"type": "resume", "session_id": id}), json!({"type": "cancel", "turn_id": id})] {
        socket.send(frame).await;
        socket.expect_error("AUTH_REQUIRED").await;
    }
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn every_authentication_method_is_accepted() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let token = &user.access_token;
    let ways = [
        ("in the URL", app.socket().query(&format!("token={token}"))),
        ("in the URL, with a scheme", app.socket().query(&format!("token=Bearer%20{token}"))),
        ("in the URL, with a scheme and a plus", app.socket().query(&format!("token=Bearer+{token}"))),
        ("in a header", app.socket().header("authorization", &format!("Bearer {token}"))),
        ("beside chat.v1", app.socket().subprotocols(&format!("chat.v1, bearer.{token}"))),
        ("beside chat.v2", app.socket().subprotocols(&format!("bearer.{token}, chat.v2"))),
    ];
    for (way, builder) in ways {
        let mut socket = builder.connect().await;
        expect_success(&mut socket, &user).await;
        assert_eq!(socket.ask("Hi").await.terminal["finish_reason"], "stop", "{way}");
        socket.close().await;
    }
    let mut socket = app.socket().connect().await;
    socket.send(auth(&format!("Bearer {token}"))).await;
    expect_success(&mut socket, &user).await;
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn ticket_opens_one_connection() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let (status, answer) = app.post("/api/v1/auth/ws-ticket", Some(&user), &Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    let query = format!("ticket={}", answer["ticket"].as_str().unwrap());
    let mut first = app.socket().query(&query).connect().await;
    expect_success(&mut first, &user).await;
    let mut second = app.socket().query(&query).connect().await;
    expect_failure(&mut second, "INVALID_TOKEN").await;
    // The socket stays open for another try.
    second.sign_in(&user).await;
    first.close().await;
    second.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn expired_ticket_is_refused() {
    let app = TestApp::with(|config| config.auth.ws_ticket_ttl_s = 1).await;
    let user = app.user().await;
    let (_, answer) = app.post("/api/v1/auth/ws-ticket", Some(&user), &Value::Null).await;
    // A time that passes is what is tested here.
    tokio::time::sleep(Duration::from_millis(1_010)).await;
    let mut socket = app.socket().query(&format!("ticket={}", answer["ticket"].as_str().unwrap())).connect().await;
    expect_failure(&mut socket, "INVALID_TOKEN").await;
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn invalid_access_token_is_refused() {
    let app = TestApp::start().await;
    let user = app.user().await;
    // What the forgeries are made from is sound.
    let mut socket = app.socket().connect().await;
    socket.send(auth(&token::access_token(&user, 60, |_| {}))).await;
    expect_success(&mut socket, &user).await;
    socket.close().await;

    let claim = |name: &'static str, value: Value| token::access_token(&user, 60, |claims| claims[name] = value);
    let mut tampered = user.access_token.clone();
    tampered.replace_range(0..4, "ffff");
    let forgeries = [
        ("no token", String::new(), "INVALID_TOKEN"),
        ("not a JWT", "let me in".to_owned(), "INVALID_TOKEN"),
        ("another key", token::token_of_another_key(&user), "INVALID_TOKEN"),
        ("another algorithm", token::token_of_another_algorithm(&user), "INVALID_TOKEN"),
        ("no signature", token::unsigned_token(&user), "INVALID_TOKEN"),
        ("another audience", claim("aud", json!("somewhere")), "INVALID_TOKEN"),
        ("another issuer", claim("iss", json!("somebody")), "INVALID_TOKEN"),
        ("no end", claim("exp", Value::Null), "INVALID_TOKEN"),
        ("no user", claim("sub", json!("root")), "INVALID_TOKEN"),
        ("a refresh token", user.refresh_token.clone(), "INVALID_TOKEN"),
        ("tampered", tampered, "INVALID_TOKEN"),
        ("too long", "x".repeat(20_000), "INVALID_TOKEN"),
        ("over", token::access_token(&user, -1, |_| {}), "EXPIRED_TOKEN"),
        ("over right now", token::access_token(&user, 0, |_| {}), "EXPIRED_TOKEN"),
    ];
    for (what, forged, code) in forgeries {
        let mut socket = app.socket().connect().await;
        socket.send(auth(&forged)).await;
        let frame = socket.expect("auth_error").await;
        assert_eq!(frame["code"], code, "{what}: {frame}");
        socket.send(json!({"type": "message", "message": "Hi"})).await;
        socket.expect_error("AUTH_REQUIRED").await;
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn five_failed_authentications_close_the_connection() {
    let app = TestApp::start().await;
    let mut socket = app.socket().query("token=wrong").connect().await;
    expect_failure(&mut socket, "INVALID_TOKEN").await;
    for _ in 0..4 {
        socket.send(auth("wrong")).await;
        expect_failure(&mut socket, "INVALID_TOKEN").await;
    }
    assert_eq!(socket.expect_close().await, 4401);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn unauthenticated_connection_is_closed_at_the_deadline() {
    let app = TestApp::with(|config| config.session.auth_deadline_s = 1).await;
    let user = app.user().await;
    let opened = Instant::now();
    let mut silent = app.socket().connect().await;
    let mut failing = app.socket().query("token=wrong").connect().await;
    let mut signed_in = app.socket().signed_in(&user).await;
    assert_eq!(silent.expect_close().await, 4401);
    assert_eq!(failing.expect_close().await, 4401);
    assert!((900..2_500).contains(&opened.elapsed().as_millis()), "{:?}", opened.elapsed());
    signed_in.expect_nothing().await;
    signed_in.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_token_is_renewed_for_the_same_user_only() {
    let app = TestApp::start().await;
    let (user, other) = (app.user().await, app.user().await);
    let mut socket = app.socket().signed_in(&user).await;
    let renewed = token::access_token(&user, 5_000, |_| {});
    socket.send(auth(&renewed)).await;
    let frame = socket.expect("auth_success").await;
    assert!(frame["expires_at"].as_i64().unwrap() > token::unix_now() + 4_900);

    socket.send(auth(&other.access_token)).await;
    expect_failure(&mut socket, "INVALID_TOKEN").await;
    // It still is the first user's, whose conversation stays readable for that user only.
    let turn = socket.ask("Whose turn is this?").await;
    assert_eq!(app.history(&user, &turn.conversation_id).await.len(), 2);
    let path = format!("/api/v1/conversations/{}/messages", turn.conversation_id);
    assert_eq!(app.get(&path, Some(&other)).await.0, 403);
    socket.close().await;
}
