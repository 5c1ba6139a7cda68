//! The ways to prove who is talking, and what happens to those who do not.

use crate::harness::TestApp;
use serde_json::json;

#[actix_web::test]
async fn a_message_without_authentication_is_refused() {
    let app = TestApp::start().await;
    let mut socket = app.socket().connect().await;
    socket.send(json!({"type": "message", "message": "Hi", "client_message_id": "m1"})).await;
    let error = socket.expect_error("AUTH_REQUIRED").await;
    assert_eq!((&error["client_message_id"], &error["retryable"]), (&json!("m1"), &json!(false)));
    socket.close().await;
    app.finish().await;
}
