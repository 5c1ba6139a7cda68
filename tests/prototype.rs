//! The nine published end-to-end tests of the Python prototype, against the program as it comes: no setting is changed.

use crate::harness::{Program, TestSocket, TestUser};
use serde_json::{Value, json};

const EMAIL: &str = "test_ws@genai.auto";
const PASSWORD: &str = "TestWS123";

/// Posts to `/api/v1/auth/<path>`.
async fn post(program: &Program, path: &str, body: &Value) -> (u16, Value) {
    let request = reqwest::Client::new().post(format!("{}/api/v1/auth/{path}", program.url));
    let answer = request.json(body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Makes the account of the tests, which may exist already, and signs in to it.
async fn sign_in(program: &Program) -> TestUser {
    let account = json!({"email": EMAIL, "password": PASSWORD, "name": "WS Test User"});
    let (status, answer) = post(program, "register", &account).await;
    assert!(status == 201 || (status == 409 && answer["code"] == "EMAIL_TAKEN"), "{status} {answer}");
    let (status, answer) = post(program, "login", &json!({"email": EMAIL, "password": PASSWORD})).await;
    assert_eq!(status, 200, "{answer}");
    TestUser::from_answer(&answer)
}

/// A program, and a socket that has authenticated by a message.
async fn authenticated() -> (Program, TestSocket) {
    let program = Program::with_defaults();
    let user = sign_in(&program).await;
    let mut socket = program.socket().connect().await;
    socket.send(json!({"type": "auth", "token": user.access_token})).await;
    assert_eq!(socket.expect("auth_success").await["user"]["email"], EMAIL);
    (program, socket)
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn test_1_an_account_is_registered_and_signed_in_to() {
    let program = Program::with_defaults();
    let account = json!({"email": EMAIL, "password": PASSWORD, "name": "WS Test User"});
    let (status, answer) = post(&program, "register", &account).await;
    assert_eq!((status, &answer["user"]["name"]), (201, &json!("WS Test User")), "{answer}");
    let user = sign_in(&program).await;
    assert_eq!(user.email, EMAIL);
    assert_eq!(json!(user.id), answer["user"]["id"]);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn test_2_a_socket_connects_without_authentication() {
    let program = Program::with_defaults();
    let mut socket = program.socket().connect().await;
    socket.expect_nothing().await;
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn test_3_a_message_authenticates() {
    let (_program, mut socket) = authenticated().await;
    socket.expect_nothing().await;
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn test_4_an_invalid_token_gives_auth_error() {
    let program = Program::with_defaults();
    let mut socket = program.socket().connect().await;
    socket.send(json!({"type": "auth", "token": "invalid_token"})).await;
    let error = socket.expect("auth_error").await;
    assert_eq!(error["code"], "INVALID_TOKEN", "{error}");
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn test_5_a_message_without_authentication_gives_auth_required() {
    let program = Program::with_defaults();
    let mut socket = program.socket().connect().await;
    socket.send(json!({"type": "message", "message": "Hello"})).await;
    socket.expect_error("AUTH_REQUIRED").await;
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn test_6_an_answer_is_streamed_from_the_first_step_to_the_end() {
    let (_program, mut socket) = authenticated().await;
    let turn = socket.ask("What are the engine specifications?").await;
    assert_eq!(turn.steps, ["starting", "agent_routing", "rag_retrieval", "generating"]);
    assert!(!turn.tokens.is_empty() && !turn.text.is_empty(), "{turn:?}");
    assert_eq!(turn.terminal["type"], "complete");
    assert_eq!(turn.terminal["finish_reason"], "stop");
    assert_eq!(turn.terminal["metadata"]["agent"], "specs");
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn test_7_an_empty_message_gives_empty_message() {
    let (_program, mut socket) = authenticated().await;
    socket.send(json!({"type": "message", "message": ""})).await;
    socket.expect_error("EMPTY_MESSAGE").await;
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn test_8_several_messages_are_answered_on_one_connection() {
    let (_program, mut socket) = authenticated().await;
    let mut conversation_id = Value::Null;
    for message in ["What is the engine power?", "How often should I change the oil?", "The engine is overheating"] {
        let mut frame = json!({"type": "message", "message": message});
        if conversation_id.is_string() {
            frame["session_id"] = conversation_id.clone();
        }
        let turn = socket.turn(frame).await;
        assert_eq!(turn.terminal["type"], "complete", "{message}: {}", turn.terminal);
        assert!(conversation_id.is_null() || conversation_id == turn.conversation_id, "{message}");
        conversation_id = turn.conversation_id.into();
    }
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn test_9_the_test_page_is_served_with_its_title_and_script() {
    let program = Program::with_defaults();
    let page = reqwest::get(format!("{}/ws/test", program.url)).await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let text = page.text().await.unwrap();
    assert!(text.contains("<title>WebSocket Chat Test</title>"), "no title");
    assert!(text.contains("<script") && text.contains("new WebSocket("), "no script");
}
