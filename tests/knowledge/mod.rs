//! The knowledge base from outside: what operators put in is what users get answers from.

use crate::harness::TestApp;
use serde_json::json;
use switchboard::config::ProviderKind;

async fn app() -> TestApp {
    TestApp::with(|config| {
        config.provider.kind = ProviderKind::Extractive;
        config.knowledge.seed = true;
    })
    .await
}

#[actix_web::test]
async fn the_first_question_has_a_real_answer() {
    let app = app().await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let turn = socket.ask("What is the engine power?").await;
    assert_eq!(turn.terminal["type"], "complete", "{}", turn.terminal);
    assert!(turn.tokens.len() > 10, "{} tokens", turn.tokens.len());
    for fact in ["180 kW", "(engine-and-performance.md)"] {
        assert!(turn.text.contains(fact), "{}", turn.text);
    }
    let metadata = &turn.terminal["metadata"];
    assert_eq!(metadata["model"], "extractive");
    assert_eq!(metadata["sources"][0]["source"], "engine-and-performance.md");
    assert!(metadata["sources"][0]["score"].as_f64().is_some_and(|score| score > 0.5), "{metadata}");
    assert!(metadata["usage"]["completion_tokens"].as_u64().is_some_and(|tokens| tokens > 10), "{metadata}");
    socket.close().await;
    app.finish().await;
}

#[actix_web::test]
async fn a_follow_up_goes_on_from_the_question_before() {
    let app = app().await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let first = socket.ask("What is the maximum torque of the petrol engine?").await;
    assert!(first.text.contains("370 Nm"), "{}", first.text);
    let follow_up = json!({"type": "message", "message": "And the hybrid?", "session_id": first.session_id});
    let second = socket.turn(follow_up).await;
    assert!(second.text.contains("320 Nm") && !second.text.contains("370 Nm"), "{}", second.text);
    socket.close().await;
    app.finish().await;
}

#[actix_web::test]
async fn a_document_that_an_operator_uploads_answers_the_next_question() {
    let app = app().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = app.socket().signed_in(&user).await;
    let question = "What is the torque of a Frobnitz clamp?";
    assert!(!socket.ask(question).await.text.contains("17 Nm"));

    let form = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"clamp.md\"\r\n\r\n\
                # Frobnitz clamp\n\nThe torque of a Frobnitz clamp is 17 Nm.\r\n--x--\r\n";
    let response = app
        .http
        .post(format!("{}/api/v1/documents", app.url))
        .bearer_auth(&operator.access_token)
        .header("Content-Type", "multipart/form-data; boundary=x")
        .body(form)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 201);
    let document: serde_json::Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();

    let answer = socket.ask(question).await;
    assert!(answer.text.contains("17 Nm") && answer.text.contains("(clamp.md)"), "{}", answer.text);

    let path = format!("/api/v1/documents/{}", document["id"].as_str().unwrap());
    assert_eq!(app.delete(&path, Some(&user)).await.0, 403);
    assert_eq!(app.delete(&path, Some(&operator)).await.0, 204);
    assert!(!socket.ask(question).await.text.contains("17 Nm"));
    socket.close().await;
    app.finish().await;
}

#[actix_web::test]
async fn users_search_and_only_operators_write() {
    let app = app().await;
    let user = app.user().await;
    let search = json!({"query": "tyre pressure", "collections": ["maintenance"], "limit": 2});
    let (status, found) = app.post("/api/v1/documents/search", Some(&user), &search).await;
    assert_eq!(status, 200);
    assert_eq!(found["passages"][0]["title"], "Brakes and tyres › Tyre pressure");
    assert!(found["passages"].as_array().is_some_and(|passages| passages.len() <= 2));
    let document = json!({"source": "a.md", "text": "Blue."});
    let (status, refused) = app.post("/api/v1/documents", Some(&user), &document).await;
    assert_eq!((status, &refused["code"]), (403, &json!("FORBIDDEN")));
    assert_eq!(app.get("/api/v1/documents", None).await.0, 401);
    let (_, list) = app.get("/api/v1/documents", Some(&user)).await;
    assert_eq!(list["documents"].as_array().map(Vec::len), Some(8));
    app.finish().await;
}
