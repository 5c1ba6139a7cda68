//! Tokens that are good no more before their time.

use super::audited;
use crate::harness::{PASSWORD, TestApp, TestUser, eventually, holds, token};
use serde_json::{Value, json};
use std::time::Duration;

/// The code that a REST route and a socket answer to a user's access token; `None` when it is good.
async fn refusal(app: &TestApp, user: &TestUser) -> Option<String> {
    let (status, me) = app.get("/api/v1/auth/me", Some(user)).await;
    let rest = (status != 200).then(|| me["code"].as_str().unwrap().to_owned());
    let mut socket = app.socket().query(&format!("token={}", user.access_token)).connect().await;
    let frame = socket.next().await;
    let socket_code = (frame["type"] != "auth_success").then(|| frame["code"].as_str().unwrap().to_owned());
    socket.close().await;
    assert_eq!(rest, socket_code);
    rest
}

async fn kick(app: &TestApp, operator: &TestUser, user: &TestUser) -> Value {
    let (status, answer) = app.post(&format!("/api/v1/users/{}/kick", user.id), Some(operator), &Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn revocation_invalidates_all_tokens_but_allows_a_new_sign_in() {
    let app = TestApp::start().await;
    let (user, other, operator) = (app.user().await, app.user().await, app.operator().await);
    let second = app.sign_in(&user.email, PASSWORD).await;
    let (_, ticket) = app.post("/api/v1/auth/ws-ticket", Some(&user), &json!({})).await;
    let mut socket = app.socket().signed_in(&user).await;
    assert_eq!(kick(&app, &operator, &user).await, json!({"kicked": 1, "revoked": true}));
    // At once, as often as one likes: the time at which a token is issued does not count.
    let again = app.sign_in(&user.email, PASSWORD).await;
    assert_eq!(refusal(&app, &again).await, None);
    assert_eq!(socket.expect_close_reason().await, (4403, "closed by an operator".to_owned()));

    for old in [&user, &second] {
        assert_eq!(refusal(&app, old).await.as_deref(), Some("EXPIRED_TOKEN"));
        let (status, answer) =
            app.post("/api/v1/auth/refresh", None, &json!({"refresh_token": old.refresh_token})).await;
        assert_eq!((status, &answer["code"]), (401, &json!("EXPIRED_TOKEN")));
    }
    let ticket = format!("ticket={}", ticket["ticket"].as_str().unwrap());
    let mut late = app.socket().query(&ticket).connect().await;
    assert_eq!(late.expect("auth_error").await["code"], "EXPIRED_TOKEN");
    // Nor does an old token renew a socket, nor open a stream.
    late.sign_in(&again).await;
    late.send(json!({"type": "auth", "token": user.access_token})).await;
    assert_eq!(late.expect("auth_error").await["code"], "EXPIRED_TOKEN");
    assert_eq!(app.post("/api/v1/chat", Some(&user), &json!({"message": "Hi"})).await.0, 401);
    late.close().await;

    assert_eq!(refusal(&app, &other).await, None);
    // So is one of version 0.1.0, which has no generation.
    let old = TestUser {
        access_token: token::access_token(&user, 60, |claims| claims["iat"] = json!(token::unix_now() - 5)),
        ..user.clone()
    };
    assert_eq!(refusal(&app, &old).await.as_deref(), Some("EXPIRED_TOKEN"));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn revocation_ends_an_event_stream_and_its_turn_continues() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let question = json!({"message": "Hi", "metadata": {"script": {"tokens": 100, "interval_ms": 20}}});
    let mut events = app.events(&user, &question, None).await.unwrap();
    let first = events.next().await.unwrap();
    kick(&app, &operator, &user).await;
    let mut last = first.clone();
    while let Some(event) = events.next().await {
        last = event;
    }
    assert_eq!((&last.frame["type"], &last.frame["code"]), (&json!("error"), &json!("EXPIRED_TOKEN")));
    assert_eq!(last.frame.get("turn_id"), None, "it is not the end of the turn");

    // Who signs in again finds the turn, and goes on behind the last event.
    let again = app.sign_in(&user.email, PASSWORD).await;
    let mut events = app.events(&again, &Value::Null, Some(&last.id)).await.unwrap();
    while let Some(event) = events.next().await {
        last = event;
    }
    assert_eq!(last.frame["type"], "complete");
    assert_eq!(last.id.split(':').next(), first.id.split(':').next());
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_revocation_survives_a_restart() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    kick(&app, &operator, &user).await;
    let again = app.sign_in(&user.email, PASSWORD).await;
    let url = app.database_url().to_owned();
    app.stop().await;
    let next = TestApp::with(|config| config.database.url = url).await;
    assert_eq!(refusal(&next, &user).await.as_deref(), Some("EXPIRED_TOKEN"));
    assert_eq!((refusal(&next, &again).await, refusal(&next, &operator).await), (None, None));
    assert_eq!(audited(&next, &operator, 1).await[0].2, "done");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn sign_out_ends_one_sign_in_only() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let elsewhere = app.sign_in(&user.email, PASSWORD).await;
    // One tab has renewed the sign-in, the other has not.
    let (status, answer) = app.post("/api/v1/auth/refresh", None, &json!({"refresh_token": user.refresh_token})).await;
    assert_eq!(status, 200, "{answer}");
    let renewed = TestUser::from_answer(&answer);
    let (_, ticket) = app.post("/api/v1/auth/ws-ticket", Some(&user), &json!({})).await;
    let mut sockets = [app.socket().signed_in(&user).await, app.socket().signed_in(&renewed).await];
    let mut bystander = app.socket().signed_in(&elsewhere).await;
    let question = json!({"message": "Hi", "metadata": {"script": {"tokens": 200, "interval_ms": 20}}});
    let mut events = app.events(&renewed, &question, None).await.unwrap();
    events.next().await.unwrap();

    let (status, _) = app.post("/api/v1/auth/logout", None, &json!({"refresh_token": renewed.refresh_token})).await;
    assert_eq!(status, 204);
    for over in [&user, &renewed] {
        assert_eq!(refusal(&app, over).await.as_deref(), Some("EXPIRED_TOKEN"));
    }
    for socket in &mut sockets {
        assert_eq!(socket.expect_close().await, 4401);
    }
    let mut last = json!(null);
    while let Some(event) = events.next().await {
        last = event.frame;
    }
    assert_eq!((&last["type"], &last["code"]), (&json!("error"), &json!("EXPIRED_TOKEN")));
    let ticket = format!("ticket={}", ticket["ticket"].as_str().unwrap());
    let mut late = app.socket().query(&ticket).connect().await;
    assert_eq!(late.expect("auth_error").await["code"], "EXPIRED_TOKEN");
    late.close().await;
    assert_eq!(refusal(&app, &elsewhere).await, None);
    bystander.expect_nothing().await;
    bystander.close().await;
    app.turns().interrupt_all();

    // Also after a restart.
    app.idle().await;
    app.stop().await;
    let url = app.database_url().to_owned();
    let next = TestApp::with(|config| config.database.url = url).await;
    assert_eq!(refusal(&next, &renewed).await.as_deref(), Some("EXPIRED_TOKEN"));
    assert_eq!(refusal(&next, &elsewhere).await, None);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn sign_out_of_an_operator_closes_their_feed() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let elsewhere = app.sign_in(&operator.email, PASSWORD).await;
    let mut feed = app.ops_socket().signed_in(&operator).await;
    let mut other = app.ops_socket().signed_in(&elsewhere).await;
    app.post("/api/v1/auth/logout", None, &json!({"refresh_token": operator.refresh_token})).await;
    assert_eq!(feed.expect_close().await, 4401);
    other.expect("history").await;
    drop((feed, other));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn late_reuse_of_a_refresh_token_ends_its_family() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let body = json!({"refresh_token": user.refresh_token});
    let (_, answer) = app.post("/api/v1/auth/refresh", None, &body).await;
    let renewed = TestUser::from_answer(&answer);
    let mut socket = app.socket().signed_in(&renewed).await;
    assert_eq!(app.post("/api/v1/auth/refresh", None, &body).await.0, 200);
    socket.expect_nothing().await;
    app.pass_refresh_grace();
    let (status, answer) = app.post("/api/v1/auth/refresh", None, &body).await;
    assert_eq!((status, &answer["code"]), (401, &json!("EXPIRED_TOKEN")));
    assert_eq!(socket.expect_close().await, 4401);
    refused_in_time(&app, &renewed).await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn unknown_user_cannot_be_revoked() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let nobody = "01890a5d-ac96-774b-bcce-b302099a8057";
    let (status, answer) = app.post(&format!("/api/v1/users/{nobody}/kick"), Some(&operator), &json!({})).await;
    assert_eq!((status, &answer["code"]), (404, &json!("NOT_FOUND")));
    let failed = ("kick_user".to_owned(), json!(nobody), "NOT_FOUND".to_owned());
    assert_eq!(audited(&app, &operator, 9).await, [failed]);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn an_operator_may_sign_themselves_out() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    assert_eq!(kick(&app, &operator, &operator).await["revoked"], true);
    assert_eq!(app.get("/api/v1/audit", Some(&operator)).await.0, 401);
    let again = app.sign_in(&operator.email, PASSWORD).await;
    assert_eq!(audited(&app, &again, 9).await.len(), 1);
}

/// Asks until the token is refused, which takes as long as the server takes to look at the database.
async fn refused_in_time(app: &TestApp, user: &TestUser) {
    eventually(async || {
        let (status, _) = app.get("/api/v1/auth/me", Some(user)).await;
        holds(status != 200, "the token is still good")
    })
    .await;
    assert_eq!(refusal(app, user).await.as_deref(), Some("EXPIRED_TOKEN"));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn role_removed_on_the_shell_invalidates_tokens() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    app.set_role(&operator, "user");
    refused_in_time(&app, &operator).await;
    // The sign-in itself stays, with fewer rights.
    let (status, answer) =
        app.post("/api/v1/auth/refresh", None, &json!({"refresh_token": operator.refresh_token})).await;
    assert_eq!((status, &answer["user"]["role"]), (200, &json!("user")));
    let renewed = TestUser::from_answer(&answer);
    assert_eq!(app.get("/api/v1/connections", Some(&renewed)).await.0, 403);
    // What is gained takes nothing from anybody.
    app.set_role(&renewed, "operator");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(refusal(&app, &renewed).await, None);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn password_set_on_the_shell_closes_connections() {
    let app = TestApp::start().await;
    let (user, other) = (app.user().await, app.user().await);
    let mut socket = app.socket().signed_in(&user).await;
    let mut bystander = app.socket().signed_in(&other).await;
    app.set_password(&user, "another battery staple");
    // The client is to renew its token, which it cannot.
    assert_eq!(socket.expect_close().await, 4401);
    refused_in_time(&app, &user).await;
    let again = app.sign_in(&user.email, "another battery staple").await;
    assert_eq!(refusal(&app, &again).await, None);
    bystander.expect_nothing().await;
    bystander.close().await;
}
