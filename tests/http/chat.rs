//! `POST /api/v1/chat` with the whole answer, and how a turn is stopped.

use super::{Answer, post};
use crate::harness::TestApp;
use serde_json::json;

const CHAT: &str = "/api/v1/chat";

#[actix_web::rt::test(system = "crate::harness::System")]
async fn answer_without_streaming_is_one_object() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let answer = post(&app, CHAT, Some(&user), &json!({"message": "What is the engine power?"})).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let body = &answer.body;
    assert_eq!((&body["type"], &body["finish_reason"], &body["seq"]), (&json!("complete"), &json!("stop"), &json!(19)));
    for field in ["response", "session_id", "turn_id", "message_id", "sha256"] {
        assert!(body[field].is_string(), "{field}: {body}");
    }
    assert_eq!((&body["metadata"]["agent"], &body["metadata"]["model"]), (&json!("specs"), &json!("scripted")));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn invalid_question_is_refused_with_a_reason() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    for (body, status, code, named) in [
        (json!({"message": " \n"}), 422, "EMPTY_MESSAGE", ""),
        (json!({"message": "x".repeat(8_001)}), 413, "MESSAGE_TOO_LONG", "8000"),
        (json!({}), 422, "INVALID_FIELD", "`message`"),
        (json!([]), 400, "INVALID_JSON", ""),
        (json!({"message": 1}), 422, "INVALID_FIELD", "`message`"),
        (json!({"message": "Hi", "session_id": "x"}), 422, "INVALID_FIELD", "`session_id`"),
        (json!({"message": "Hi", "session_id": id}), 404, "NOT_FOUND", ""),
        (json!({"message": "Hi", "client_message_id": ""}), 422, "INVALID_FIELD", "`client_message_id`"),
        (json!({"message": "Hi", "metadata": {"script": {"x": 1}}}), 422, "INVALID_FIELD", "`metadata.script.x`"),
    ] {
        let answer = post(&app, CHAT, Some(&user), &body).await;
        answer.assert_error(status, code);
        assert!(answer.reason().contains(named), "{}", answer.reason());
    }
    let raw = |content_type: &str, body: String| {
        let request = app.http.post(format!("{}{CHAT}", app.url)).bearer_auth(&user.access_token);
        Answer::of(request.header("content-type", content_type).body(body))
    };
    raw("application/json", " ".repeat(140_000)).await.assert_error(413, "MESSAGE_TOO_LONG");
    raw("text/plain", json!({"message": "Hi"}).to_string()).await.assert_error(400, "INVALID_JSON");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn model_failure_returns_bad_gateway() {
    let app = TestApp::with(|config| config.provider.scripted.fail_after = Some(0)).await;
    let user = app.user().await;
    post(&app, CHAT, Some(&user), &json!({"message": "Hi"})).await.assert_error(502, "UPSTREAM_UNAVAILABLE");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn conversation_runs_one_turn_and_a_repeated_message_returns_it() {
    let app = TestApp::start().await;
    let (user, other) = (app.user().await, app.user().await);
    let first = post(&app, CHAT, Some(&user), &json!({"message": "Hi"})).await.body;
    let conversation_id = &first["session_id"];
    let slow = json!({"message": "Hi", "session_id": conversation_id, "client_message_id": "m1",
        "metadata": {"script": {"tokens": 1_000, "interval_ms": 20}}});
    let mut stream = app.events(&user, &slow, None).await.unwrap();
    let turn_id = stream.next().await.unwrap().frame["turn_id"].clone();

    let another = json!({"message": "And now?", "session_id": conversation_id});
    let refused = post(&app, CHAT, Some(&user), &another).await;
    refused.assert_error(409, "TURN_IN_PROGRESS");
    assert_eq!(refused.body["retryable"], true);
    post(&app, CHAT, Some(&other), &another).await.assert_error(403, "FORBIDDEN");
    // Sent again after a cut: its turn, not a second one.
    let mut again = app.events(&user, &slow, None).await.unwrap();
    assert_eq!(again.next().await.unwrap().frame["turn_id"], turn_id);

    let cancel = format!("{CHAT}/{}/cancel", turn_id.as_str().unwrap());
    let nothing = json!({});
    post(&app, &cancel, Some(&other), &nothing).await.assert_error(403, "FORBIDDEN");
    let delete = format!("/api/v1/conversations/{}", conversation_id.as_str().unwrap());
    let deleted = super::send(&app, reqwest::Method::DELETE, &delete, Some(&user), None).await;
    deleted.assert_error(409, "TURN_IN_PROGRESS");
    let cancelled = post(&app, &cancel, Some(&user), &nothing).await;
    assert_eq!((cancelled.status, cancelled.body), (200, json!({"turn_id": turn_id, "cancelled": true})));
    for stream in [stream, again] {
        let end = stream.rest().await.pop().unwrap().frame;
        assert_eq!((&end["type"], &end["finish_reason"]), (&json!("complete"), &json!("cancelled")));
    }
    app.idle().await;
    assert_eq!(post(&app, &cancel, Some(&user), &nothing).await.body["cancelled"], false);
    let whole = post(&app, CHAT, Some(&user), &slow).await.body;
    assert_eq!((&whole["turn_id"], &whole["finish_reason"]), (&turn_id, &json!("cancelled")));
    let unknown = "/api/v1/chat/01890a5d-ac96-774b-bcce-b302099a8057/cancel";
    post(&app, unknown, Some(&user), &nothing).await.assert_error(410, "RESUME_UNAVAILABLE");
}
