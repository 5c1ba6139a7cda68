//! `chat.v1` and `chat.v2` over a WebSocket.

use super::{Recording, frozen};
use crate::{
    harness::{TestApp, TestSocket, TestUser, token},
    provider::upstream::{Upstream, answers},
};
use serde_json::{Value, json};
use switchboard::config::{ProviderKind, Reasoning};

/// Neither of a conversation nor of a turn.
const UNKNOWN: &str = "01930a5d-ac96-774b-bcce-b302099a8057";

fn question(text: &str, script: &Value) -> Value {
    json!({"type": "message", "message": text, "metadata": {"script": script}})
}

/// Every exchange of a dialect, as text.
async fn recorded(dialect: &str) -> String {
    let app = TestApp::with(|config| {
        (config.provider.scripted.tokens, config.provider.scripted.interval_ms) = (3, 1);
        config.session.heartbeat_interval_s = 1;
        config.session.coalesce_ms = 0;
    })
    .await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut recording = Recording::default();
    let mut socket = app.socket().subprotocols(dialect).connect().await;
    authentication(&mut recording, &mut socket, &user).await;
    let ended = turns(&mut recording, &mut socket).await;
    errors(&mut recording, &mut socket).await;
    if dialect == "chat.v2" {
        recording.section("heartbeat while a turn runs");
        heartbeat(&mut recording, &mut socket).await;
    }
    recording.section("turn that another connection starts");
    let mut other = app.socket().subprotocols(dialect).signed_in(&user).await;
    let conversation = ended.get("conversation_id").unwrap_or(&ended["session_id"]);
    // Slow enough that the announcement is there before the second token: tokens that come before it share a frame.
    let mut slow = question("And the torque?", &json!({"interval_ms": 500}));
    slow["conversation_id"] = conversation.clone();
    other.turn(slow).await;
    recording.rest_of_turn(&mut socket).await;
    other.close().await;

    if dialect == "chat.v2" {
        recording.section("conversation events");
        conversation_events(&mut recording, &app, &user, conversation).await;
        // The turn there, announced to this connection.
        socket.frames_of_turns(1).await;
    }
    recording.section("notice");
    app.post("/api/v1/notices", Some(&operator), &json!({"message": "Tea at five."})).await;
    recording.exchange(&mut socket, json!({"type": "ping", "id": 7}), 2).await;
    recording.section("token that expires soon");
    let ending = token::access_token(&user, 2, |_| {});
    recording.exchange(&mut socket, json!({"type": "auth", "token": ending}), 2).await;
    recording.section("drain");
    app.post("/api/v1/drain", Some(&operator), &json!({"then": "stay"})).await;
    let frame = super::next(&mut socket).await;
    recording.line("<", &frame);
    let (code, reason) = socket.expect_close_reason().await;
    recording.line("< close", &json!({"code": code, "reason": reason}));
    recording.section("turn of a model that reasons and cites");
    reasoning_and_parts(&mut recording, dialect).await;
    recording.text
}

async fn authentication(recording: &mut Recording, socket: &mut TestSocket, user: &TestUser) {
    recording.section("authentication");
    recording.exchange(socket, json!({"type": "message", "message": "Too early."}), 1).await;
    recording.exchange(socket, json!({"type": "auth", "token": "x"}), 1).await;
    recording.exchange(socket, json!({"type": "auth", "token": user.access_token}), 1).await;
}

/// Returns the end of the first turn.
async fn turns(recording: &mut Recording, socket: &mut TestSocket) -> Value {
    recording.section("turn");
    let first = json!({"type": "message", "message": "What is the engine power?", "client_message_id": "m-1"});
    let ended = recording.turn(socket, first.clone()).await;
    recording.section("message that is sent again");
    recording.turn(socket, first).await;
    recording.section("resume");
    let resume = json!({"type": "resume", "session_id": ended.get("session_id").unwrap_or(&ended["conversation_id"]),
        "turn_id": ended["turn_id"], "last_seq": 0});
    recording.turn(socket, resume).await;
    recording.section("cancelled turn");
    let mut frame =
        recording.exchange(socket, question("Slowly.", &json!({"tokens": 2, "interval_ms": 60_000})), 1).await;
    let turn_id = frame["turn_id"].clone();
    while frame["type"] != "token" {
        frame = super::next(socket).await;
        recording.line("<", &frame);
    }
    recording.turn(socket, json!({"type": "cancel", "turn_id": turn_id})).await;
    recording.section("turn that fails");
    recording.turn(socket, question("Break.", &json!({"tokens": 3, "fail_after": 1}))).await;
    ended
}

async fn errors(recording: &mut Recording, socket: &mut TestSocket) {
    recording.section("errors");
    for frame in [
        json!([]),
        json!({"type": "typing"}),
        json!({"type": "message"}),
        json!({"type": "message", "message": " ", "client_message_id": "m-2"}),
        json!({"type": "message", "message": "x".repeat(8_001)}),
        json!({"type": "message", "message": "Hi", "session_id": UNKNOWN}),
        json!({"type": "resume", "session_id": UNKNOWN}),
        json!({"type": "resume", "session_id": UNKNOWN, "last_seq": -2}),
        json!({"type": "cancel", "turn_id": UNKNOWN}),
        json!({"type": "ping", "id": "x".repeat(500)}),
    ] {
        let short = frame.to_string().len() < 300;
        recording.line(">", &if short { frame.clone() } else { json!("a frame that is too long to show") });
        socket.send(frame).await;
        let answer = super::next(socket).await;
        recording.line("<", &answer);
    }
}

async fn conversation_events(recording: &mut Recording, app: &TestApp, user: &TestUser, conversation: &Value) {
    let script = json!({"tokens": 1, "fail_after": 1});
    let failing = json!({"message": "Break.", "conversation_id": conversation, "metadata": {"script": script}});
    app.post("/api/v1/chat", Some(user), &failing).await;
    let mut socket = app.socket().subprotocols("chat.v2").signed_in(user).await;
    // Three turns of four events each.
    let resume =
        |last_position: i64| json!({"type": "resume", "conversation_id": conversation, "last_position": last_position});
    recording.exchange(&mut socket, resume(0), 13).await;
    recording.exchange(&mut socket, resume(10), 3).await;
    recording.line(">", &json!("a position that the server does not have"));
    socket.send(resume(99)).await;
    let resumed = super::next(&mut socket).await;
    recording.line("<", &resumed);
    for _ in 0..12 {
        super::next(&mut socket).await;
    }
    let mut invalid = resume(0);
    invalid["last_seq"] = json!(0);
    recording.exchange(&mut socket, invalid, 1).await;
    socket.close().await;
}

async fn reasoning_and_parts(recording: &mut Recording, dialect: &str) {
    let cited = json!({"choices": [{"message": {
        "content": "Fine.", "reasoning_content": "Hm.",
        "annotations": [{"type": "url_citation", "url_citation": {"url": "https://example.com/", "title": "Engines"}}],
    }, "finish_reason": "stop"}]});
    let body = cited.to_string();
    let upstream = Upstream::answering(move |_| answers("200 OK", "content-type: application/json\r\n", &body)).await;
    let app = TestApp::with(|config| {
        config.provider.kind = ProviderKind::Openai;
        config.provider.base_url = upstream.base_url();
        config.provider.model = "test-model".to_owned();
        config.workflow.reasoning = Reasoning::Shown;
    })
    .await;
    let user = app.user().await;
    let mut socket = app.socket().subprotocols(dialect).signed_in(&user).await;
    recording.turn(&mut socket, json!({"type": "message", "message": "Hello?"})).await;
    socket.close().await;
}

async fn heartbeat(recording: &mut Recording, socket: &mut TestSocket) {
    socket.send(question("Slowly.", &json!({"tokens": 2, "interval_ms": 60_000}))).await;
    let turn_id = loop {
        let frame = socket.next().await;
        if frame["type"] == "heartbeat" && frame["turns"][0]["seq"] == 0 {
            recording.line("<", &frame);
            break frame["turns"][0]["turn_id"].clone();
        }
    };
    socket.send(json!({"type": "cancel", "turn_id": turn_id})).await;
    socket.frames_of_turns(1).await;
}

/// Compares with the snapshot. A dialect may gain frames and fields, and the snapshot with it.
fn match_snapshot(name: &str, recording: &str) {
    frozen::check(&name.replace('_', "."), recording);
    let mut settings = insta::Settings::clone_current();
    settings.set_description("This dialect is frozen: frames and fields may be added, never removed or renamed.");
    settings.bind(|| insta::assert_snapshot!(name, recording));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn frames_of_chat_v1_match_the_snapshot() {
    match_snapshot("chat_v1", &recorded("chat.v1").await);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn frames_of_chat_v2_match_the_snapshot() {
    match_snapshot("chat_v2", &recorded("chat.v2").await);
}
