//! When an operator's socket has to go.

use super::{next_of, ops};
use crate::harness::TestApp;
use serde_json::json;
use std::time::{Duration, Instant};

#[actix_web::rt::test(system = "crate::harness::System")]
async fn kicking_a_user_closes_their_operator_connections() {
    let app = TestApp::start().await;
    let (operator, other) = (app.operator().await, app.operator().await);
    let mut chat = app.socket().signed_in(&operator).await;
    let (mut first, mut second) = (ops(&app, &operator).await, ops(&app, &operator).await);
    let mut bystander = ops(&app, &other).await;
    app.stats_when(&other, |stats| stats["operators"] == 3 && stats["connections"] == 1).await;
    let path = format!("/api/v1/users/{}/kick", operator.id);
    let body = json!({"reason": "Tea time.", "revoke_tokens": false});
    let (status, answer) = app.post(&path, Some(&other), &body).await;
    assert_eq!((status, answer), (200, json!({"kicked": 3, "revoked": false})));
    for socket in [&mut first, &mut second] {
        assert_eq!(socket.expect_close_reason().await, (4403, "Tea time.".to_owned()));
    }
    assert_eq!(chat.expect_close().await, 4403);
    while next_of(&mut bystander, "stats").await["operators"] != 1 {}

    // The tokens are as good as before; now they are not.
    let mut again = ops(&app, &operator).await;
    assert_eq!(app.post(&path, Some(&other), &json!({})).await.1["revoked"], true);
    // The socket may find out about its token before it is told of the kick.
    let code = again.expect_close().await;
    assert!(code == 4403 || code == 4401, "{code}");
    let mut late = app.ops_socket().query(&format!("token={}", operator.access_token)).connect().await;
    assert_eq!(late.expect("auth_error").await["code"], "EXPIRED_TOKEN");
    drop((first, second, again, late, bystander));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn losing_the_role_closes_the_connection() {
    let app = TestApp::start().await;
    let (operator, other) = (app.operator().await, app.operator().await);
    let (mut socket, mut bystander) = (ops(&app, &operator).await, ops(&app, &other).await);
    app.set_role(&operator, "user");
    assert_eq!(socket.expect_close().await, 4401);
    next_of(&mut bystander, "stats").await;
    drop((socket, bystander));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn stopping_server_closes_operator_connections_at_once() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let mut unknown = app.ops_socket().connect().await;
    let mut sockets = vec![ops(&app, &operator).await, ops(&app, &operator).await];
    // One that stays is watched further on.
    assert_eq!(app.post("/api/v1/drain", Some(&operator), &json!({"then": "stay"})).await.0, 202);
    app.get_when("/api/v1/drain", &operator, |answer| answer["phase"] == "drained").await;
    while next_of(&mut sockets[0], "stats").await["draining"] != true {}
    sockets.push(ops(&app, &operator).await);

    let asked = Instant::now();
    assert_eq!(app.post("/api/v1/drain", Some(&operator), &json!({"then": "stop"})).await.0, 202);
    let mut waits = Vec::new();
    for socket in sockets.iter_mut().chain([&mut unknown]) {
        let wait = next_of(socket, "going_away").await["reconnect_after_ms"].as_u64().unwrap();
        assert!((500..5_000).contains(&wait), "{wait}");
        waits.push(wait);
        assert_eq!(socket.expect_close().await, 1001);
    }
    app.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(3), "it took {:?}", asked.elapsed());
    waits.dedup();
    assert!(waits.len() > 1, "all come back at once: {waits:?}");
}
