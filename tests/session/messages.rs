//! Messages and the turns they start.

use crate::harness::TestApp;
use serde_json::json;

#[actix_web::test]
async fn a_question_is_answered_step_by_step_and_token_by_token() {
    let app = TestApp::scripted(20, 1).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let turn = socket.ask("What is the engine power?").await;
    assert_eq!(turn.steps, ["starting", "agent_routing", "rag_retrieval", "generating"]);
    assert_eq!(turn.tokens.len(), 20);
    assert_eq!(turn.terminal["finish_reason"], "stop");
    assert_eq!(turn.terminal["metadata"]["agent"], "specs");
    socket.close().await;
    app.finish().await;
}

#[actix_web::test]
async fn an_empty_message_is_refused() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    socket.send(json!({"type": "message", "message": " \n "})).await;
    socket.expect_error("EMPTY_MESSAGE").await;
    socket.close().await;
    app.finish().await;
}
