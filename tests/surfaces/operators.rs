//! The surfaces for operators: `/ws/ops`, and the bodies of the routes for connections and the audit.

use super::Recording;
use crate::harness::{TestApp, TestSocket, TestUser};
use serde_json::{Value, json};

/// The next frame of this type.
async fn next_of(socket: &mut TestSocket, frame_type: &str) -> Value {
    loop {
        let frame = socket.next().await;
        if frame["type"] == frame_type {
            return frame;
        }
    }
}

async fn connected(app: &TestApp, user: &TestUser) -> TestSocket {
    app.socket().header("user-agent", "a browser").subprotocols("chat.v2").signed_in(user).await
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn frames_of_ops_match_the_snapshot() {
    let app = TestApp::scripted(3, 1).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut chat = connected(&app, &user).await;
    let mut recording = Recording::default();
    // From its first sample on there is a history.
    let mut earlier = app.ops_socket().signed_in(&operator).await;
    next_of(&mut earlier, "stats").await;
    earlier.close().await;

    let mut socket = app.ops_socket().connect().await;
    recording.section("authentication");
    socket.send(json!({"type": "auth", "token": operator.access_token})).await;
    for frame_type in ["auth_success", "history"] {
        let frame = next_of(&mut socket, frame_type).await;
        recording.shape("<", &frame);
    }
    recording.section("samples");
    let frame = next_of(&mut socket, "stats").await;
    recording.shape("<", &frame);
    recording.section("view");
    let view = json!({"type": "view", "id": 1, "sort": "opened_at_ms", "order": "desc", "offset": 0, "limit": 10});
    recording.line(">", &view);
    socket.send(view).await;
    let table = next_of(&mut socket, "connections").await;
    recording.shape("<", &table);
    recording.section("watch");
    let (_, list) = app.get("/api/v1/connections", Some(&operator)).await;
    let watch = json!({"type": "watch", "connection_id": list["connections"][0]["id"]});
    recording.line(">", &watch);
    socket.send(watch).await;
    let frame = next_of(&mut socket, "connection").await;
    recording.shape("<", &frame);
    chat.ask("What is the engine power?").await;
    let frame = next_of(&mut socket, "frames").await;
    recording.shape("<", &frame);
    recording.section("audit");
    app.post("/api/v1/notices", Some(&operator), &json!({"message": "Tea at five."})).await;
    let frame = next_of(&mut socket, "audit").await;
    recording.line("<", &frame);
    recording.section("errors");
    for wrong in [
        json!({"type": "nothing"}),
        json!({"type": "view", "sort": "x"}),
        json!({"type": "watch", "connection_id": "x"}),
    ] {
        recording.line(">", &wrong);
        socket.send(wrong).await;
        let error = next_of(&mut socket, "error").await;
        recording.line("<", &error);
    }
    insta::assert_snapshot!("ops", recording.text);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn bodies_for_operators_match_the_snapshot() {
    let app = TestApp::scripted(3, 1).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut chat = connected(&app, &user).await;
    chat.ask("What is the engine power?").await;
    let mut recording = Recording::default();
    let (_, list) = app.get("/api/v1/connections", Some(&operator)).await;
    let id = list["connections"][0]["id"].as_str().unwrap();
    for path in ["/api/v1/connections", &format!("/api/v1/connections/{id}"), "/api/v1/connections/stats"] {
        let (status, body) = app.get(path, Some(&operator)).await;
        recording.section(&path.replace(id, "{id}"));
        recording.shape(&format!("< {status}"), &body);
    }
    recording.section("kick");
    let kick = json!({"reason": "Go away."});
    let (status, body) = app.post(&format!("/api/v1/connections/{id}/kick"), Some(&operator), &kick).await;
    recording.line(&format!("< {status}"), &body);
    assert_eq!(chat.expect_close().await, 4403);
    recording.section("/api/v1/audit");
    let is_done = |page: &Value| page["entries"][0]["outcome"] == "done";
    let page = app.get_when("/api/v1/audit", &operator, is_done).await;
    recording.line("< 200", &page);
    insta::assert_snapshot!("operators", recording.text);
}
