//! Kicks: operators close connections of users.

use super::{audited, connection_of};
use crate::harness::{TestApp, conversation_of, is_terminal};
use serde_json::{Value, json};

#[actix_web::rt::test(system = "crate::harness::System")]
async fn kicked_connection_is_closed_with_the_reason_and_may_reconnect() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = app.socket().signed_in(&user).await;
    let mut bystander = app.socket().connect().await;
    let id = connection_of(&app, &operator, &user).await;
    let path = format!("/api/v1/connections/{id}/kick");
    let (status, answer) = app.post(&path, Some(&operator), &json!({"reason": "Please stop that."})).await;
    assert_eq!((status, answer), (200, json!({"kicked": 1})));
    assert_eq!(socket.expect_close_reason().await, (4403, "Please stop that.".to_owned()));
    // It is gone at once, and cannot be kicked twice.
    let (status, answer) = app.post(&path, Some(&operator), &Value::Null).await;
    assert_eq!((status, &answer["code"]), (404, &json!("NOT_FOUND")));
    bystander.expect_nothing().await;
    app.socket().signed_in(&user).await.close().await;

    let entry = |outcome: &str| ("kick_connection".to_owned(), json!(id), outcome.to_owned());
    assert_eq!(audited(&app, &operator, 9).await, [entry("NOT_FOUND"), entry("done")]);
    bystander.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn kick_reason_is_optional_and_truncated_to_a_close_frame() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    for (reason, wanted) in [
        (Value::Null, "closed by an operator".to_owned()),
        (json!({}), "closed by an operator".to_owned()),
        (json!({"reason": "é".repeat(300)}), format!("{}…", "é".repeat(60))),
    ] {
        // Both dialects, and one that writes its own frames: what is too long would break the protocol.
        let mut socket = app.socket().subprotocols("chat.v2").signed_in(&user).await;
        let id = connection_of(&app, &operator, &user).await;
        let (status, answer) = app.post(&format!("/api/v1/connections/{id}/kick"), Some(&operator), &reason).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(socket.expect_close_reason().await, (4403, wanted));
        app.idle().await;
    }
    let id = app.socket().signed_in(&user).await;
    let path = format!("/api/v1/connections/{}/kick", connection_of(&app, &operator, &user).await);
    for reason in [json!(""), json!("bell \u{7}"), json!("x".repeat(1_001)), json!(7)] {
        let (status, answer) = app.post(&path, Some(&operator), &json!({"reason": reason})).await;
        assert_eq!((status, &answer["code"]), (422, &json!("INVALID_FIELD")), "{reason}");
        assert!(answer["error"].as_str().unwrap().contains("reason"), "{answer}");
    }
    id.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn turn_continues_after_its_connection_is_kicked() {
    let app = TestApp::scripted(60, 20).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = app.socket().signed_in(&user).await;
    let first = socket.start(json!({"type": "message", "message": "Hi"})).await;
    let mut frames = socket.read_tokens(first, 3).await;
    let id = connection_of(&app, &operator, &user).await;
    app.post(&format!("/api/v1/connections/{id}/kick"), Some(&operator), &Value::Null).await;
    while let Some(frame) = socket.next_or_end().await {
        frames.push(frame);
    }
    assert!(!frames.iter().any(is_terminal), "{frames:?}");

    let last = frames.iter().rfind(|frame| frame["type"] == "token").unwrap();
    let mut again = app.socket().signed_in(&user).await;
    let resume = json!({"type": "resume", "session_id": conversation_of(last), "turn_id": last["turn_id"], "last_seq": last["seq"]});
    again.send(resume).await;
    again.expect("resumed").await;
    assert_eq!(again.rest_of_turn(frames).await.terminal["finish_reason"], "stop");
    again.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn kicked_peer_that_does_not_read_leaves_the_list_at_once() {
    let app = TestApp::scripted(20_000, 0).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut stuck = app.socket().receive_buffer(4_096).signed_in(&user).await;
    stuck.send(json!({"type": "message", "message": "Hi", "metadata": {"script": {"token_bytes": 200}}})).await;
    app.stats_when(&operator, |stats| stats["behind"] == 1).await;
    let id = connection_of(&app, &operator, &user).await;
    let (status, answer) = app.post(&format!("/api/v1/connections/{id}/kick"), Some(&operator), &Value::Null).await;
    assert_eq!((status, answer), (200, json!({"kicked": 1})));
    let stats = app.get("/api/v1/connections/stats", Some(&operator)).await.1;
    assert_eq!((&stats["connections"], &stats["behind"]), (&json!(0), &json!(0)));
    // Reading on, it comes to the end.
    stuck.expect_end().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn kicking_a_user_closes_all_their_connections() {
    let app = TestApp::start().await;
    let (user, other, operator) = (app.user().await, app.user().await, app.operator().await);
    let mut sockets = Vec::new();
    for dialect in ["chat.v1", "chat.v2", "chat.v2"] {
        sockets.push(app.socket().subprotocols(dialect).signed_in(&user).await);
    }
    let mut bystander = app.socket().signed_in(&other).await;
    let path = format!("/api/v1/users/{}/kick", user.id);
    let body = json!({"reason": "Tea time.", "revoke_tokens": false});
    let (status, answer) = app.post(&path, Some(&operator), &body).await;
    assert_eq!((status, answer), (200, json!({"kicked": 3, "revoked": false})));
    for socket in &mut sockets {
        assert_eq!(socket.expect_close_reason().await, (4403, "Tea time.".to_owned()));
    }
    bystander.expect_nothing().await;
    // The tokens are as good as before.
    app.socket().signed_in(&user).await.close().await;
    assert_eq!(app.post(&path, Some(&operator), &body).await.1, json!({"kicked": 0, "revoked": false}));
    assert_eq!(audited(&app, &operator, 9).await.len(), 2);
    bystander.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn streaming_answer_is_a_connection_that_a_kick_ends() {
    let app = TestApp::scripted(60, 20).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut events = app.events(&user, &json!({"message": "Hi"}), None).await.unwrap();
    let first = events.next().await.unwrap();
    let page = app.get("/api/v1/connections?kind=stream", Some(&operator)).await.1;
    let stream = &page["connections"][0];
    assert_eq!((&page["total"], &stream["kind"], &stream["state"]), (&json!(1), &json!("stream"), &json!("streaming")));
    assert_eq!(stream["user"]["id"], user.id);
    assert_eq!(stream["turns"][0]["turn_id"], first.frame["turn_id"], "{stream}");
    // Lists and counts without a kind are about chat connections, as in earlier versions.
    assert_eq!(app.get("/api/v1/connections", Some(&operator)).await.1["total"], 0);
    let stats = app.get("/api/v1/connections/stats", Some(&operator)).await.1;
    let streams = json!({"kind": "stream", "connections": 1, "authenticated": 1});
    assert!(stats["connections"] == 0 && stats["by_kind"].as_array().unwrap().contains(&streams), "{stats}");

    let path = format!("/api/v1/connections/{}/kick", stream["id"].as_str().unwrap());
    let (status, answer) = app.post(&path, Some(&operator), &json!({"reason": "Tea time."})).await;
    assert_eq!((status, answer), (200, json!({"kicked": 1})));
    let mut last = first.clone();
    while let Some(event) = events.next().await {
        last = event;
    }
    assert_eq!((&last.frame["code"], &last.frame["error"]), (&json!("FORBIDDEN"), &json!("Tea time.")));
    assert_eq!(last.frame.get("turn_id"), None, "it is not the end of the turn");
    assert_eq!(app.get("/api/v1/connections?kind=all", Some(&operator)).await.1["total"], 0);

    // The turn goes on, and the tokens are as good as before.
    let mut events = app.events(&user, &Value::Null, Some(&first.id)).await.unwrap();
    while let Some(event) = events.next().await {
        last = event;
    }
    assert_eq!(last.frame["type"], "complete");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn answer_in_one_piece_is_a_connection_that_a_kick_ends() {
    let app = TestApp::scripted(10_000, 20).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let question = json!({"message": "Hi"});
    let answer = app.post("/api/v1/chat", Some(&user), &question);
    let kick = async {
        let has_turn = |page: &Value| page["connections"][0]["turns"][0]["head_seq"].as_i64() > Some(0);
        let page = app.get_when("/api/v1/connections?kind=stream", &operator, has_turn).await;
        let stream = &page["connections"][0];
        assert_eq!((&page["total"], &stream["user"]["id"]), (&json!(1), &json!(user.id)));
        let path = format!("/api/v1/connections/{}/kick", stream["id"].as_str().unwrap());
        assert_eq!(app.post(&path, Some(&operator), &json!({"reason": "Tea time."})).await.1, json!({"kicked": 1}));
        stream["turns"][0]["turn_id"].clone()
    };
    let ((status, error), turn_id) = futures_util::join!(answer, kick);
    assert_eq!((status, &error["code"], &error["error"]), (403, &json!("FORBIDDEN"), &json!("Tea time.")));
    // The turn goes on until it is cancelled.
    let path = format!("/api/v1/chat/{}/cancel", turn_id.as_str().unwrap());
    assert_eq!(app.post(&path, Some(&user), &json!({})).await.1["cancelled"], true);
}
