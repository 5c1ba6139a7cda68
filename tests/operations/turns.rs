//! Turns that an operator stops.

use super::audited;
use crate::harness::TestApp;
use serde_json::{Value, json};

#[actix_web::rt::test(system = "crate::harness::System")]
async fn operator_cancels_the_turn_of_any_user() {
    let app = TestApp::scripted(100_000, 20).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = app.socket().signed_in(&user).await;
    let first = socket.start(json!({"type": "message", "message": "A secret"})).await;
    let frames = socket.read_tokens(first.clone(), 3).await;
    let path = format!("/api/v1/turns/{}/cancel", first["turn_id"].as_str().unwrap());
    let (status, answer) = app.post(&path, Some(&operator), &Value::Null).await;
    assert_eq!((status, answer), (200, json!({"turn_id": first["turn_id"], "cancelled": true})));
    let turn = socket.rest_of_turn(frames).await;
    assert_eq!(turn.terminal["finish_reason"], "cancelled");
    assert_eq!(app.history(&user, &turn.conversation_id).await[1]["content"], turn.text);
    // It has ended, and is known for a while.
    let (status, answer) = app.post(&path, Some(&operator), &Value::Null).await;
    assert_eq!((status, &answer["cancelled"]), (200, &json!(false)));
    let (status, answer) =
        app.post("/api/v1/turns/01890a5d-ac96-774b-bcce-b302099a8057/cancel", Some(&operator), &Value::Null).await;
    assert_eq!((status, &answer["code"]), (404, &json!("NOT_FOUND")));

    let (_, page) = app.get("/api/v1/audit", Some(&operator)).await;
    assert_eq!(page["entries"][0]["detail"], json!({"user_id": null, "conversation_id": null, "session_id": null}));
    assert_eq!(
        page["entries"][2]["detail"],
        json!({"user_id": user.id, "conversation_id": turn.conversation_id, "session_id": turn.conversation_id})
    );
    assert!(!page.to_string().contains("secret"), "{page}");
    let done = ("cancel_turn".to_owned(), first["turn_id"].clone(), "done".to_owned());
    let unknown = ("cancel_turn".to_owned(), json!("01890a5d-ac96-774b-bcce-b302099a8057"), "NOT_FOUND".to_owned());
    assert_eq!(audited(&app, &operator, 9).await, [unknown, done.clone(), done]);
    socket.close().await;
}
