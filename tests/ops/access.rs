//! Authentication and authorisation of operator connections, and their end.

use super::{next_of, ops};
use crate::harness::{
    PASSWORD, TestApp, TestUser,
    token::{access_token, token_of_another_key},
};
use serde_json::json;
use switchboard::limits::MAX_OPS_CONNECTIONS;

fn operator_token(operator: &TestUser, seconds: i64) -> String {
    access_token(operator, seconds, |claims| claims["role"] = json!("operator"))
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn only_operators_are_admitted() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = app.ops_socket().connect().await;
    socket.send(json!({"type": "view", "limit": 10})).await;
    socket.expect_error("AUTH_REQUIRED").await;
    socket.send(json!({"type": "auth", "token": user.access_token})).await;
    assert_eq!(socket.expect("auth_error").await["code"], "FORBIDDEN");
    socket.send(json!({"type": "auth", "token": token_of_another_key(&operator)})).await;
    assert_eq!(socket.expect("auth_error").await["code"], "INVALID_TOKEN");
    // Another try is allowed, as in the chat.
    socket.sign_in(&operator).await;
    next_of(&mut socket, "stats").await;
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn token_may_come_with_the_upgrade_request() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let token = &operator.access_token;
    let (_, ticket) = app.post("/api/v1/auth/ws-ticket", Some(&operator), &json!({})).await;
    let sockets = [
        app.ops_socket().query(&format!("token={token}")),
        app.ops_socket().query(&format!("ticket={}", ticket["ticket"].as_str().unwrap())),
        app.ops_socket().header("authorization", &format!("Bearer {token}")),
        app.ops_socket().subprotocols(&format!("ops.v1, bearer.{token}")),
    ];
    for socket in sockets {
        let mut socket = socket.connect().await;
        assert_eq!(socket.expect("auth_success").await["user"]["id"], operator.id);
        socket.close().await;
    }
    let (status, body) = app.ops_socket().subprotocols("chat.v2").try_connect().await.err().unwrap();
    assert_eq!((status, body["code"].as_str()), (400, Some("UNKNOWN_SUBPROTOCOL")));
    let (status, _) = app.ops_socket().header("origin", "https://evil.example").try_connect().await.err().unwrap();
    assert_eq!(status, 403);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn unauthenticated_operator_connection_is_closed() {
    let app = TestApp::with(|config| config.session.auth_deadline_s = 1).await;
    let mut socket = app.ops_socket().connect().await;
    assert_eq!(socket.expect_close().await, 4401);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn connection_ends_with_its_token() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let mut socket = app.ops_socket().query(&format!("token={}", operator_token(&operator, 2))).connect().await;
    let seconds = next_of(&mut socket, "auth_expiring").await["expires_in"].as_i64().unwrap();
    assert!((0..=2).contains(&seconds), "{seconds}");
    assert_eq!(socket.expect_close().await, 4401);

    let mut socket = app.ops_socket().query(&format!("token={}", operator_token(&operator, 2))).connect().await;
    next_of(&mut socket, "auth_expiring").await;
    socket.send(json!({"type": "auth", "token": operator_token(&operator, 600)})).await;
    next_of(&mut socket, "auth_success").await;
    for _ in 0..4 {
        next_of(&mut socket, "stats").await;
    }
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn number_of_operator_connections_is_bounded() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let mut sockets = Vec::new();
    for _ in 0..MAX_OPS_CONNECTIONS {
        sockets.push(ops(&app, &operator).await);
    }
    // Those who are not signed in take no place.
    let mut one_more = app.ops_socket().connect().await;
    one_more.send(json!({"type": "auth", "token": operator.access_token})).await;
    one_more.expect_error("TOO_MANY_CONNECTIONS").await;
    assert_eq!(one_more.expect_close().await, 1013);
    sockets.pop().unwrap().close().await;
    let again = loop {
        let mut socket = app.ops_socket().connect().await;
        socket.send(json!({"type": "auth", "token": operator.access_token})).await;
        if socket.next().await["type"] == "auth_success" {
            break socket;
        }
    };
    drop((sockets, again));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn operator_connection_is_not_counted_and_survives_a_drain() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let mut socket = ops(&app, &operator).await;
    let stats = next_of(&mut socket, "stats").await;
    assert_eq!((&stats["connections"], &stats["draining"]), (&json!(0), &json!(false)));
    app.turns().drain();
    while next_of(&mut socket, "stats").await["draining"] != json!(true) {}
    let mut late = ops(&app, &operator).await;
    assert_eq!(app.socket().try_connect().await.err().unwrap().0, 503);
    next_of(&mut late, "stats").await;
    assert_eq!(
        app.post("/api/v1/auth/login", None, &json!({"email": operator.email, "password": PASSWORD})).await.0,
        200
    );
    drop((socket, late));
}
