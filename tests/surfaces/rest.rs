//! `POST /api/v1/chat` as a whole and as events, the conversations, and the errors of REST.

use super::Recording;
use crate::harness::{TestApp, TestUser};
use reqwest::Method;
use serde_json::{Value, json};

const UNKNOWN: &str = "01930a5d-ac96-774b-bcce-b302099a8057";

async fn app() -> TestApp {
    TestApp::scripted(3, 1).await
}

async fn request(
    recording: &mut Recording,
    app: &TestApp,
    (method, path): (Method, &str),
    user: Option<&TestUser>,
    body: Option<&Value>,
) -> Value {
    let mut request = app.http.request(method.clone(), format!("{}{path}", app.url));
    if let Some(user) = user {
        request = request.bearer_auth(&user.access_token);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let answer = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    let path = recording.redacted_text("", path);
    recording.line(&format!("> {method} {path}"), body.unwrap_or(&Value::Null));
    recording.line(&format!("< {status}"), &answer);
    answer
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn whole_answers_match_the_snapshot() {
    let app = app().await;
    let (user, mut recording) = (app.user().await, Recording::default());
    let chat = (Method::POST, "/api/v1/chat");
    recording.section("answer");
    let question = json!({"message": "What is the engine power?", "client_message_id": "m-1"});
    let answer = request(&mut recording, &app, chat.clone(), Some(&user), Some(&question)).await;
    recording.section("question that is sent again");
    request(&mut recording, &app, chat.clone(), Some(&user), Some(&question)).await;
    recording.section("answer that fails");
    let failing = json!({"message": "Break.", "metadata": {"script": {"tokens": 3, "fail_after": 1}}});
    request(&mut recording, &app, chat, Some(&user), Some(&failing)).await;
    recording.section("turn that has ended is cancelled");
    let path = format!("/api/v1/chat/{}/cancel", answer["turn_id"].as_str().unwrap());
    request(&mut recording, &app, (Method::POST, &path), Some(&user), None).await;
    insta::assert_snapshot!("rest_chat", recording.text);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn conversations_match_the_snapshot() {
    let app = app().await;
    let (user, mut recording) = (app.user().await, Recording::default());
    let question = json!({"message": "What is the engine power?", "client_message_id": "m-1"});
    let (_, answer) = app.post("/api/v1/chat", Some(&user), &question).await;
    let conversation = format!("/api/v1/conversations/{}", answer["conversation_id"].as_str().unwrap());
    for (method, path) in [
        (Method::GET, "/api/v1/conversations".to_owned()),
        (Method::GET, format!("{conversation}/messages")),
        (Method::DELETE, conversation.clone()),
        (Method::GET, format!("{conversation}/messages")),
    ] {
        request(&mut recording, &app, (method, &path), Some(&user), None).await;
    }
    insta::assert_snapshot!("conversations", recording.text);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn events_match_the_snapshot() {
    let app = app().await;
    let (user, mut recording) = (app.user().await, Recording::default());
    let question = json!({"message": "What is the engine power?", "client_message_id": "m-1"});
    recording.section("answer");
    let events = app.events(&user, &question, None).await.unwrap().rest().await;
    for event in &events {
        recording.line("< id:", &json!(event.id));
        recording.line("< data:", &event.frame);
    }
    recording.section("rest of an answer, after the first token");
    let first_token = events.iter().find(|event| event.frame["type"] == "token").unwrap();
    for event in app.events(&user, &json!({}), Some(&first_token.id)).await.unwrap().rest().await {
        recording.line("< id:", &json!(event.id));
        recording.line("< data:", &event.frame);
    }
    recording.section("answer that fails");
    let failing = json!({"message": "Break.", "metadata": {"script": {"tokens": 3, "fail_after": 1}}});
    for event in app.events(&user, &failing, None).await.unwrap().rest().await {
        recording.line("< id:", &json!(event.id));
        recording.line("< data:", &event.frame);
    }
    insta::assert_snapshot!("events", recording.text);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn errors_match_the_snapshot() {
    let app = app().await;
    let (user, mut recording) = (app.user().await, Recording::default());
    let (get, post) = (Method::GET, Method::POST);
    let conversation = format!("/api/v1/conversations/{UNKNOWN}/messages");
    let account = |email: &str, password: &str| json!({"email": email, "password": password, "name": "Ada"});
    for (request_line, is_signed_in, body) in [
        ((get.clone(), "/api/v1/conversations"), false, None),
        ((get.clone(), "/api/v1/connections"), true, None),
        ((get.clone(), "/api/v1/nothing"), true, None),
        ((Method::PUT, "/api/v1/chat"), true, None),
        ((get.clone(), "/api/v1/conversations?limit=0"), true, None),
        ((get.clone(), conversation.as_str()), true, None),
        ((get, "/ws/chat"), true, None),
        ((post.clone(), "/api/v1/chat"), true, Some(json!([]))),
        ((post.clone(), "/api/v1/chat"), true, Some(json!({}))),
        ((post.clone(), "/api/v1/chat"), true, Some(json!({"message": " "}))),
        ((post.clone(), "/api/v1/chat"), true, Some(json!({"message": "Hi", "session_id": "x"}))),
        ((post.clone(), "/api/v1/chat"), true, Some(json!({"message": "Hi", "conversation_id": UNKNOWN}))),
        ((post.clone(), "/api/v1/auth/register"), false, Some(account("no address", "correct horse battery staple"))),
        ((post.clone(), "/api/v1/auth/register"), false, Some(account("ada@example.org", "password"))),
        ((post.clone(), "/api/v1/auth/login"), false, Some(account("nobody@example.org", "wrong password"))),
        ((post, "/api/v1/auth/refresh"), false, Some(json!({"refresh_token": "x"}))),
    ] {
        request(&mut recording, &app, request_line, is_signed_in.then_some(&user), body.as_ref()).await;
    }
    insta::assert_snapshot!("rest_errors", recording.text);
}
