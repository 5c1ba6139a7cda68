//! Notices from operators to connected users.

use super::audited;
use crate::harness::{TestApp, Transcript};
use serde_json::{Value, json};

#[actix_web::rt::test(system = "crate::harness::System")]
async fn notice_reaches_every_connection() {
    let app = TestApp::scripted(50, 20).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut busy = app.socket().signed_in(&user).await;
    let mut idle = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let mut nobody = app.socket().subprotocols("chat.v2").connect().await;
    let first = busy.start(json!({"type": "message", "message": "Hi"})).await;
    app.stats_when(&operator, |stats| stats["connections"] == 3).await;
    let message = "Back at 18:00.\n🚗 \"quoted\"";
    let (status, answer) = app.post("/api/v1/notices", Some(&operator), &json!({"message": message})).await;
    assert_eq!((status, answer), (200, json!({"connections": 3, "sessions": 3})));
    let wanted = json!({"type": "notice", "message": message, "level": "info"});
    assert_eq!((idle.expect("notice").await, nobody.expect("notice").await), (wanted.clone(), wanted.clone()));
    // In the middle of a turn it breaks nothing.
    let mut frames = vec![first];
    frames.extend(busy.frames_of_turns(1).await);
    let notices: Vec<Value> = frames.extract_if(.., |frame| frame["type"] == "notice").collect();
    assert_eq!(notices, [wanted]);
    assert_eq!(Transcript::check(frames).terminal["finish_reason"], "stop");
    for socket in [busy, idle, nobody] {
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn notice_can_target_one_user_and_be_a_warning() {
    let app = TestApp::start().await;
    let (user, other, operator) = (app.user().await, app.user().await, app.operator().await);
    let mut socket = app.socket().signed_in(&user).await;
    let mut bystander = app.socket().signed_in(&other).await;
    let body = json!({"message": "Slow down.", "level": "warning", "user_id": user.id});
    let (status, answer) = app.post("/api/v1/notices", Some(&operator), &body).await;
    assert_eq!((status, answer), (200, json!({"connections": 1, "sessions": 1})));
    assert_eq!(socket.expect("notice").await["level"], "warning");
    bystander.expect_nothing().await;
    assert_eq!(audited(&app, &operator, 9).await, [("notice".to_owned(), json!(user.id), "done".to_owned())]);
    for (body, field) in [
        (json!({}), "message"),
        (json!({"message": " "}), "message"),
        (json!({"message": "\u{1b}[31m"}), "message"),
        (json!({"message": "x".repeat(1_001)}), "message"),
        (json!({"message": "x", "level": "loud"}), "level"),
        (json!({"message": "x", "user_id": "me"}), "user_id"),
    ] {
        let (status, answer) = app.post("/api/v1/notices", Some(&operator), &body).await;
        assert_eq!((status, &answer["code"]), (422, &json!("INVALID_FIELD")), "{body}");
        assert!(answer["error"].as_str().unwrap().contains(field), "{answer}");
    }
    socket.expect_nothing().await;
    assert_eq!(audited(&app, &operator, 9).await.len(), 1);
    socket.close().await;
    bystander.close().await;
}
