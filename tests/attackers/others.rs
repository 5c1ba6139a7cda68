//! Access to the data of other users: every route and every frame that names a conversation, a turn or a message, and every route
//! of operators. The API's own document says which routes there are; one that nobody tries here fails the test.

use crate::harness::{TestApp, TestUser, conversation_of};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const NOWHERE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// A request, with `{session_id}` and the like where an id goes.
struct Attempt {
    method: &'static str,
    path: &'static str,
    body: Value,
}

const fn attempt(method: &'static str, path: &'static str) -> Attempt {
    Attempt { method, path, body: Value::Null }
}

async fn try_it(app: &TestApp, attempt: &Attempt, ids: &[(&str, &str)], user: Option<&TestUser>) -> (u16, Value) {
    let path = ids.iter().fold(attempt.path.to_owned(), |path, (name, id)| path.replace(name, id));
    let mut request = app.http.request(attempt.method.to_uppercase().parse().unwrap(), format!("{}{path}", app.url));
    if let Some(user) = user {
        request = request.bearer_auth(&user.access_token);
    }
    if !attempt.body.is_null() {
        request = request.json(&attempt.body);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
}

/// The operations of the document that `is_wanted`, as `get /path`.
async fn operations(app: &TestApp, is_wanted: impl Fn(&str, &Value) -> bool) -> BTreeSet<String> {
    let (_, document) = app.get("/api/openapi.json", None).await;
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if is_wanted(path, operation) {
                found.insert(format!("{method} {path}"));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

fn tried<'a>(attempts: impl IntoIterator<Item = &'a Attempt>) -> BTreeSet<String> {
    attempts.into_iter().map(|attempt| format!("{} {}", attempt.method, attempt.path)).collect()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn no_route_reveals_data_of_another_user() {
    let app = TestApp::scripted(200, 20).await;
    let (ada, eve) = (app.user().await, app.user().await);
    let mut socket = app.socket().signed_in(&ada).await;
    let ended = socket
        .turn(json!({"type": "message", "message": "My secret", "metadata": {"script": {"interval_ms": 0}}}))
        .await;
    let running = socket.start(json!({"type": "message", "message": "Another secret"})).await;
    let ids = |frame: &Value| [("session_id", "turn_id")].map(|(a, b)| (text(&frame[a]), text(&frame[b])))[0].clone();

    let attempts = [
        attempt("get", "/api/v1/conversations/{conversation_id}/messages"),
        attempt("get", "/api/v1/conversations/{conversation_id}/events"),
        attempt("delete", "/api/v1/conversations/{conversation_id}"),
        Attempt { body: json!({"title": "Taken over"}), ..attempt("patch", "/api/v1/conversations/{conversation_id}") },
        attempt("post", "/api/v1/chat/{turn_id}/cancel"),
        attempt("post", "/api/v1/turns/{turn_id}/cancel"),
    ];
    let wanted = operations(&app, |path, _| path.contains("{conversation_id}") || path.contains("{turn_id}")).await;
    assert_eq!(tried(&attempts), wanted, "every route that names a conversation or a turn is tried");
    for (conversation_id, turn_id) in [ids(&ended.terminal), ids(&running)] {
        let ids = [("{conversation_id}", conversation_id.as_str()), ("{turn_id}", turn_id.as_str())];
        for attempt in &attempts {
            let (status, answer) = try_it(&app, attempt, &ids, Some(&eve)).await;
            assert_eq!((status, &answer["code"]), (403, &json!("FORBIDDEN")), "{} {answer}", attempt.path);
            assert!(!answer.to_string().contains("secret"), "{answer}");
            assert_eq!(try_it(&app, attempt, &ids, None).await.0, 401, "{}", attempt.path);
        }
        // The routes that name them in the body or in a header.
        let message = json!({"message": "Go on", "session_id": conversation_id});
        let (status, answer) = app.post("/api/v1/chat", Some(&eve), &message).await;
        assert_eq!((status, &answer["code"]), (403, &json!("FORBIDDEN")), "{answer}");
        let resumed = app
            .http
            .post(format!("{}/api/v1/chat", app.url))
            .bearer_auth(&eve.access_token)
            .header("Last-Event-ID", format!("{turn_id}:0"))
            .header("Accept", "text/event-stream");
        assert_eq!(resumed.send().await.unwrap().status().as_u16(), 403);
    }
    // Her own list has nothing of it, and his has all of it.
    assert_eq!(app.get("/api/v1/conversations", Some(&eve)).await.1["conversations"], json!([]));
    let (_, list) = app.get("/api/v1/conversations", Some(&ada)).await;
    assert_eq!(list["conversations"].as_array().unwrap().len(), 2);
    assert_eq!(app.history(&ada, &ended.conversation_id).await.len(), 2);
    socket.send(json!({"type": "cancel", "turn_id": running["turn_id"]})).await;
    let mut all = socket.frames_of_turns(1).await;
    assert_eq!(all.pop().unwrap()["finish_reason"], "cancelled", "nobody had cancelled it before");
    socket.close().await;
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn no_frame_reveals_data_of_another_user() {
    let app = TestApp::scripted(200, 20).await;
    let (ada, eve) = (app.user().await, app.user().await);
    let mut owner = app.socket().signed_in(&ada).await;
    let script = json!({"script": {"interval_ms": 0}});
    let frame = json!({"type": "message", "message": "A secret", "client_message_id": "m1", "metadata": script});
    let ended = owner.turn(frame).await.terminal;
    let running = owner.start(json!({"type": "message", "message": "Another", "client_message_id": "m2"})).await;
    let mut socket = app.socket().signed_in(&eve).await;
    for of in [&ended, &running] {
        let (conversation_id, turn_id) = (conversation_of(of), &of["turn_id"]);
        for frame in [
            json!({"type": "resume", "session_id": conversation_id}),
            json!({"type": "resume", "session_id": conversation_id, "turn_id": turn_id}),
            json!({"type": "resume", "session_id": conversation_id, "turn_id": turn_id, "last_seq": 3}),
            json!({"type": "resume", "session_id": NOWHERE, "turn_id": turn_id}),
            json!({"type": "cancel", "turn_id": turn_id}),
            json!({"type": "message", "message": "Go on", "session_id": conversation_id}),
            // An id of a message is its sender's: another user finds no turn by it.
            json!({"type": "message", "message": "Go on", "session_id": conversation_id, "client_message_id": "m1"}),
            json!({"type": "message", "message": "Go on", "session_id": conversation_id, "client_message_id": "m2"}),
        ] {
            socket.send(frame.clone()).await;
            let error = socket.expect_error("FORBIDDEN").await;
            assert!(!error.to_string().contains("secret"), "{frame}: {error}");
        }
    }
    // The same id of a message in no conversation: a turn of her own.
    let frame = json!({"type": "message", "message": "Mine", "client_message_id": "m1", "metadata": script});
    let own = socket.turn(frame).await;
    assert_ne!(own.conversation_id, text(conversation_of(&ended)));
    // A token of another user does not turn the socket over.
    socket.send(json!({"type": "auth", "token": ada.access_token})).await;
    assert_eq!(socket.expect("auth_error").await["code"], "INVALID_TOKEN");
    socket.expect_nothing().await;

    owner.send(json!({"type": "cancel", "turn_id": running["turn_id"]})).await;
    assert_eq!(owner.rest_of_turn(vec![running]).await.terminal["finish_reason"], "cancelled");
    socket.close().await;
    owner.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn attempts_of_another_user_do_not_block_a_conversation() {
    const QUESTIONS: usize = 20;
    let app = TestApp::scripted(2, 0).await;
    let (ada, eve) = (app.user().await, app.user().await);
    let mut owner = app.socket().subprotocols("chat.v2").signed_in(&ada).await;
    let mut other = app.socket().subprotocols("chat.v2").signed_in(&eve).await;
    let id = owner.ask("Begin").await.conversation_id;
    let go_on = json!({"type": "message", "message": "Go on", "conversation_id": id});
    let asks = async {
        for _ in 0..QUESTIONS {
            // Fails at `TURN_IN_PROGRESS`, which a reservation by another user would cause.
            owner.turn(go_on.clone()).await;
        }
    };
    let attempts = async {
        for _ in 0..QUESTIONS {
            other.send(go_on.clone()).await;
            other.send(json!({"type": "resume", "conversation_id": id, "last_position": 0})).await;
            other.expect_error("FORBIDDEN").await;
            other.expect_error("FORBIDDEN").await;
            let (status, _) = app.delete(&format!("/api/v1/conversations/{id}"), Some(&eve)).await;
            assert_eq!(status, 403);
        }
    };
    tokio::join!(asks, attempts);
    // A connection that was refused is subscribed to nothing.
    owner.turn(go_on).await;
    other.expect_nothing().await;
    assert_eq!(app.history(&ada, &id).await.len(), 2 * (QUESTIONS + 2));
    other.close().await;
    owner.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn operator_routes_require_the_operator_role() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let document = json!({"source": "a.md", "text": "Blue."});
    let attempts = [
        attempt("get", "/api/v1/connections"),
        attempt("get", "/api/v1/connections/stats"),
        attempt("get", "/api/v1/connections/{id}"),
        attempt("post", "/api/v1/connections/{id}/kick"),
        attempt("get", "/api/v1/users"),
        attempt("post", "/api/v1/users/{id}/kick"),
        attempt("post", "/api/v1/users/{id}/lock"),
        attempt("delete", "/api/v1/users/{id}/lock"),
        attempt("post", "/api/v1/turns/{turn_id}/cancel"),
        Attempt { method: "post", path: "/api/v1/notices", body: json!({"message": "Hi"}) },
        attempt("get", "/api/v1/settings"),
        Attempt { method: "patch", path: "/api/v1/settings", body: json!({"limits": {"frames_per_s": 9}}) },
        attempt("get", "/api/v1/audit"),
        attempt("get", "/api/v1/drain"),
        attempt("delete", "/api/v1/drain"),
        Attempt { method: "post", path: "/api/v1/documents", body: document },
        attempt("delete", "/api/v1/documents/{id}"),
        // The last one: the server takes nothing new behind it.
        attempt("post", "/api/v1/drain"),
    ];
    let is_operators = |path: &str, operation: &Value| {
        let id = operation["operationId"].as_str().unwrap_or_default();
        operation["tags"][0] == "operators" || path.contains("documents") && !is_for_readers(id)
    };
    assert_eq!(tried(&attempts), operations(&app, is_operators).await, "every route of operators is tried");
    let ids = [("{id}", NOWHERE), ("{turn_id}", NOWHERE)];
    let forged = crate::harness::token::access_token(&user, 60, |claims| claims["role"] = json!("Operator"));
    let forged = TestUser { access_token: forged, ..user.clone() };
    for attempt in &attempts {
        let (status, answer) = try_it(&app, attempt, &ids, Some(&user)).await;
        assert_eq!((status, &answer["code"]), (403, &json!("FORBIDDEN")), "{}", attempt.path);
        assert_eq!(try_it(&app, attempt, &ids, None).await.0, 401, "{}", attempt.path);
        assert_eq!(try_it(&app, attempt, &ids, Some(&forged)).await.0, 401, "{}", attempt.path);
        let (status, _) = try_it(&app, attempt, &ids, Some(&operator)).await;
        assert!(![401, 403].contains(&status), "{}: {status}", attempt.path);
    }
}

/// Routes of the knowledge base that every signed-in user may call.
fn is_for_readers(operation_id: &str) -> bool {
    ["list_documents", "get_document", "search_documents"].contains(&operation_id)
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn every_private_route_requires_a_token() {
    const PUBLIC: [&str; 8] = [
        "get /health",
        "get /health/ready",
        // From this host, that is; tests/metrics/access.rs tries the others.
        "get /metrics",
        "post /api/v1/auth/login",
        "post /api/v1/auth/logout",
        "post /api/v1/auth/refresh",
        "post /api/v1/auth/register",
        "get /api/v1/starters",
    ];
    let app = TestApp::start().await;
    let all = operations(&app, |_, _| true).await;
    assert!(PUBLIC.iter().all(|public| all.contains(*public)), "{all:?}");
    for operation in all.iter().filter(|operation| !PUBLIC.contains(&operation.as_str())) {
        let (method, path) = operation.split_once(' ').unwrap();
        let path = path.replace("{id}", NOWHERE).replace("{conversation_id}", NOWHERE).replace("{turn_id}", NOWHERE);
        let request = app.http.request(method.to_uppercase().parse().unwrap(), format!("{}{path}", app.url));
        let response = request.json(&json!({})).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 401, "{operation}");
    }
}
