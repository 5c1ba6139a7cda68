//! Values of the metrics, as events happen.

use crate::{
    harness::{PASSWORD, TestApp, TestSocket, conversation_of},
    metrics::page::Page,
};
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use serde_json::{Value, json};
use switchboard::config::{ProviderKind, Routing};

fn question(script: Value) -> Value {
    json!({"type": "message", "message": "What is the engine power?", "metadata": {"script": script}})
}

fn socket_errors(page: &Page, code: &str) -> f64 {
    page.of(&format!("switchboard_errors_total{{surface=\"socket\",code=\"{code}\"}}"))
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_turn_is_seen_from_the_question_to_the_end() {
    let app = TestApp::scripted(20, 0).await;
    let user = app.user().await;
    let page = app.metrics().await;
    assert_eq!(page.of("switchboard_auth_attempts_total{way=\"register\",result=\"success\"}"), 1.0);
    assert_eq!(page.of("switchboard_password_hash_seconds_count"), 1.0);
    assert!(page.of("switchboard_password_hash_seconds_sum") > 0.001);
    assert_eq!((page.of("switchboard_tokens_total"), page.of("switchboard_accepting")), (0.0, 1.0));

    let mut socket = app.socket().subprotocols("chat.v2").connect().await;
    let open = |state: &str| format!("switchboard_connections{{state=\"{state}\",dialect=\"chat.v2\"}}");
    app.metrics_when(|page| page.of(&open("unauthenticated")) == 1.0).await;
    socket.sign_in(&user).await;
    let page = app.metrics_when(|page| page.of(&open("idle")) == 1.0).await;
    // The older names stay until 1.0.
    let older = page.of("switchboard_sessions{state=\"idle\",dialect=\"chat.v2\"}");
    assert_eq!((older, page.of("switchboard_sessions_opened_total")), (page.of(&open("idle")), 1.0));
    assert_eq!((page.of("switchboard_users"), page.of("switchboard_connections_opened_total")), (1.0, 1.0));
    assert_eq!(page.of("switchboard_auth_attempts_total{way=\"socket\",result=\"success\"}"), 1.0);
    assert_eq!(page.of("switchboard_connection_auth_seconds_count"), 1.0);

    let turn = socket.turn(question(json!({"tokens": 20, "interval_ms": 0}))).await;
    let specialist = turn.terminal["metadata"]["specialist"].as_str().unwrap();
    let page = app.metrics().await;
    assert_eq!((page.of("switchboard_tokens_total"), page.of("switchboard_tokens_sent_total")), (20.0, 20.0));
    assert_eq!(page.of("switchboard_first_token_seconds_count"), 1.0);
    assert_eq!(page.of("switchboard_token_interval_seconds_count"), 19.0);
    assert_eq!((page.of("switchboard_turn_seconds_count"), page.of("switchboard_turns_started_total")), (1.0, 1.0));
    let ended = format!("switchboard_turns_ended_total{{specialist=\"{specialist}\",finish_reason=\"stop\"}}");
    assert_eq!((page.of(&ended), page.sum("switchboard_turns_ended_total", &[])), (1.0, 1.0));
    for step in ["admit", "classify", "retrieve", "generate", "record"] {
        assert_eq!(page.of(&format!("switchboard_turn_step_seconds_count{{step=\"{step}\"}}")), 1.0, "{step}");
    }
    assert!(page.of("switchboard_first_token_seconds_sum") <= page.of("switchboard_turn_seconds_sum"));
    let commits = page.of("switchboard_store_commit_seconds_count");
    assert!(commits >= 3.0 && page.of("switchboard_store_changes_total") >= commits, "{page:#?}");
    assert_eq!((page.of("switchboard_turns_retained"), page.of("switchboard_turns_running")), (1.0, 0.0));

    // One that runs, and is cancelled.
    let first = socket.start(question(json!({"tokens": 1_000, "interval_ms": 10}))).await;
    let page = app.metrics_when(|page| page.of(&open("streaming")) == 1.0).await;
    assert_eq!(page.of("switchboard_turns_running"), 1.0);
    socket.send(json!({"type": "cancel", "turn_id": first["turn_id"]})).await;
    socket.rest_of_turn(vec![first]).await;
    let page = app.metrics().await;
    assert_eq!(page.sum("switchboard_turns_ended_total", &["finish_reason=\"cancelled\""]), 1.0);

    assert_eq!(socket.close_with(1000).await, 1000);
    let page = app.metrics_when(|page| page.sum("switchboard_connections", &[]) == 0.0).await;
    assert_eq!(page.of("switchboard_connections_closed_total{by=\"client\",code=\"1000\",reason=\"\"}"), 1.0);
    assert_eq!(page.sum("switchboard_connections_closed_total", &[]), 1.0);
    assert!(page.of("process_resident_memory_bytes") > 1e6 && page.of("process_open_fds") > 5.0, "{page:#?}");
    assert!(page.of("process_cpu_seconds_total") > 0.0 && page.of("process_threads") > 1.0);
    app.turns().drain();
    assert_eq!(app.metrics().await.of("switchboard_accepting"), 0.0);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn failed_authentication_is_counted_by_reason() {
    let app = TestApp::with(|config| config.limits.connections_per_user = 1).await;
    let user = app.user().await;
    let mut socket = app.socket().connect().await;
    for _ in 0..5 {
        socket.send(json!({"type": "auth", "token": "wrong"})).await;
    }
    assert_eq!(socket.expect_close().await, 4401);
    let page = app.metrics_when(|page| page.sum("switchboard_connections", &[]) == 0.0).await;
    assert_eq!(page.of("switchboard_auth_attempts_total{way=\"socket\",result=\"invalid_token\"}"), 5.0);
    assert_eq!(socket_errors(&page, "INVALID_TOKEN"), 5.0);
    let closed = "switchboard_connections_closed_total{by=\"server\",code=\"4401\",reason=\"too_many_auth_failures\"}";
    assert_eq!((page.of(closed), page.of("switchboard_connection_auth_seconds_count")), (1.0, 0.0));

    // More sockets than a user may have; a socket that is cut; a code of the client's own.
    let first = app.socket().signed_in(&user).await;
    let mut second = app.socket().connect().await;
    second.send(json!({"type": "auth", "token": user.access_token})).await;
    assert_eq!(second.expect_close().await, 1013);
    drop(first);
    let lost = "switchboard_connections_closed_total{by=\"client\",code=\"1006\",reason=\"\"}";
    let page = app.metrics_when(|page| page.of(lost) == 1.0).await;
    assert_eq!(page.of("switchboard_auth_attempts_total{way=\"socket\",result=\"limited\"}"), 1.0);
    assert_eq!(page.of("switchboard_limit_hits_total{limit=\"connections_per_user\"}"), 1.0);
    app.socket().connect().await.close_with(4999).await;
    let other = "switchboard_connections_closed_total{by=\"client\",code=\"other\",reason=\"\"}";
    assert_eq!(app.metrics().await.of(other), 1.0);

    let login = |password: &str| json!({"email": user.email, "password": password});
    assert_eq!(app.post("/api/v1/auth/login", None, &login("not the password")).await.0, 401);
    assert_eq!(app.post("/api/v1/auth/login", None, &login(PASSWORD)).await.0, 200);
    let refresh = json!({"refresh_token": "no token"});
    assert_eq!(app.post("/api/v1/auth/refresh", None, &refresh).await.0, 401);
    assert_eq!(app.get("/nowhere", None).await.0, 404);
    assert_eq!(app.delete("/health", None).await.0, 405);
    let page = app.metrics().await;
    for attempt in [
        "\"login\",result=\"invalid_credentials\"",
        "\"login\",result=\"success\"",
        "\"refresh\",result=\"invalid_token\"",
    ] {
        assert_eq!(page.of(&format!("switchboard_auth_attempts_total{{way={attempt}}}")), 1.0, "{attempt}");
    }
    for code in ["INVALID_CREDENTIALS", "NOT_FOUND", "METHOD_NOT_ALLOWED", "INVALID_TOKEN"] {
        assert_eq!(page.of(&format!("switchboard_errors_total{{surface=\"http\",code=\"{code}\"}}")), 1.0, "{code}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn kick_is_counted_as_its_own_close_reason() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut socket = app.socket().signed_in(&user).await;
    let (_, list) = app.get("/api/v1/connections", Some(&operator)).await;
    let id = list["connections"][0]["id"].as_str().unwrap();
    let (status, answer) = app.post(&format!("/api/v1/connections/{id}/kick"), Some(&operator), &json!({})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(socket.expect_close().await, 4403);
    let kicked = "switchboard_connections_closed_total{by=\"server\",code=\"4403\",reason=\"kicked\"}";
    assert_eq!(
        app.metrics_when(|page| page.of(kicked) == 1.0).await.sum("switchboard_connections_closed_total", &[]),
        1.0
    );
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn model_failure_is_counted_once_for_all_subscribers() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let conversation_id = socket.turn(question(json!({"tokens": 1}))).await.conversation_id;
    let mut other = app.socket().signed_in(&user).await;
    other.send(json!({"type": "resume", "session_id": conversation_id, "last_seq": -1})).await;
    other.expect("resumed").await;
    other.frames_of_turns(1).await;
    let mut broken = question(json!({"tokens": 9, "fail_after": 3}));
    broken["session_id"] = json!(conversation_id);
    assert_eq!(socket.turn(broken).await.terminal["code"], "TURN_INTERRUPTED");
    other.frames_of_turns(1).await;
    let page = app.metrics().await;
    assert_eq!(page.of("switchboard_provider_errors_total{task=\"generate\",kind=\"broken\"}"), 1.0);
    assert_eq!(page.sum("switchboard_provider_errors_total", &[]), 1.0);
    assert_eq!(page.of("switchboard_errors_total{surface=\"turn\",code=\"TURN_INTERRUPTED\"}"), 1.0);
    assert_eq!(page.sum("switchboard_errors_total", &[]), 1.0);
    assert_eq!(page.sum("switchboard_turns_ended_total", &["finish_reason=\"error\""]), 1.0);
    assert_eq!(page.of("switchboard_tokens_total"), 4.0);
    socket.close().await;
    other.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn unreachable_model_fails_classification_and_generation() {
    let app = TestApp::with(|config| {
        config.provider.kind = ProviderKind::Openai;
        // Nobody listens at the port of `discard`.
        config.provider.base_url = "http://127.0.0.1:9/v1".to_owned();
        config.workflow.routing = Routing::Model;
    })
    .await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    assert_eq!(socket.ask("What is the engine power?").await.terminal["code"], "UPSTREAM_UNAVAILABLE");
    let page = app.metrics().await;
    for task in ["classify", "generate"] {
        let failures = format!("switchboard_provider_errors_total{{task=\"{task}\",kind=\"unavailable\"}}");
        assert_eq!(page.of(&failures), 1.0, "{task}");
    }
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn resumes_have_an_outcome() {
    let app = TestApp::start().await;
    let (user, stranger) = (app.user().await, app.user().await);
    let mut socket = app.socket().signed_in(&user).await;
    let first = socket.start(question(json!({"tokens": 100_000, "interval_ms": 5}))).await;
    let resume =
        |frame: &Value| json!({"type": "resume", "session_id": conversation_of(frame), "turn_id": frame["turn_id"]});
    let mut second = app.socket().signed_in(&user).await;
    second.send(resume(&first)).await;
    second.expect("resumed").await;
    socket.send(json!({"type": "cancel", "turn_id": first["turn_id"]})).await;
    let turn = second.frames_of_turns(1).await;
    assert_eq!(turn.last().unwrap()["finish_reason"], "cancelled");
    second.send(resume(&first)).await;
    second.expect("resumed").await;
    second.frames_of_turns(1).await;
    let id = uuid::Uuid::now_v7();
    second.send(json!({"type": "resume", "session_id": id, "turn_id": id})).await;
    second.expect_error("RESUME_UNAVAILABLE").await;
    let mut third = app.socket().signed_in(&stranger).await;
    third.send(resume(&first)).await;
    third.expect_error("FORBIDDEN").await;
    let mut fourth = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    for last_position in [0, 9] {
        let conversation_id = conversation_of(&first);
        fourth
            .send(json!({"type": "resume", "conversation_id": conversation_id, "last_position": last_position}))
            .await;
        assert_eq!(fourth.expect("resumed").await["from_position"], 0);
        while fourth.next().await["kind"] != "turn_ended" {}
    }
    let page = app.metrics().await;
    for outcome in ["live", "replayed", "unavailable", "refused", "events", "snapshot"] {
        assert_eq!(page.of(&format!("switchboard_resumes_total{{outcome=\"{outcome}\"}}")), 1.0, "{outcome}");
    }
    for socket in [second, third, fourth] {
        socket.close().await;
    }
    drop(socket);
}

/// A peer that reads nothing, in a conversation where much is said.
async fn stuck(app: &TestApp, user: &crate::harness::TestUser) -> (TestSocket, TestSocket) {
    let mut owner = app.socket().subprotocols("chat.v2").signed_in(user).await;
    let conversation_id = owner.turn(question(json!({"tokens": 2}))).await.conversation_id;
    let mut stuck = app.socket().receive_buffer(4_096).subprotocols("chat.v2").signed_in(user).await;
    stuck.send(json!({"type": "resume", "session_id": conversation_id, "last_seq": 0})).await;
    stuck.frames_of_turns(1).await;
    let mut long = question(json!({"tokens": 10_000, "token_bytes": 100, "interval_ms": 0}));
    long["session_id"] = json!(conversation_id);
    owner.turn(long).await;
    (owner, stuck)
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn lagging_reader_is_counted_until_it_is_live() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let (owner, mut stuck) = stuck(&app, &user).await;
    let behind = |page: &Page| {
        let of = |state| page.sum("switchboard_connections", &[state]);
        of("state=\"behind\"") + of("state=\"stalled\"")
    };
    let page = app.metrics_when(|page| behind(page) == 1.0).await;
    assert!(page.of("switchboard_mailbox_full_total") >= 1.0, "{page:#?}");
    let waiting = page.of("switchboard_waiting_bytes");
    assert!((100_000.0..=1_000_000.0).contains(&waiting), "{waiting} bytes wait");
    stuck.frames_of_turns(1).await;
    let page = app.metrics_when(|page| behind(page) == 0.0).await;
    assert_eq!(page.of("switchboard_waiting_bytes"), 0.0);
    stuck.close().await;
    owner.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_reader_that_is_given_up_is_counted() {
    let app = TestApp::with(|config| config.session.write_stall_timeout_s = 1).await;
    let user = app.user().await;
    let (owner, mut stuck) = stuck(&app, &user).await;
    let page = app.metrics_when(|page| page.of("switchboard_connections_stalled_total") == 1.0).await;
    assert_eq!(page.sum("switchboard_connections", &[]), 1.0);
    stuck.expect_end().await;
    owner.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_store_that_cannot_write_is_counted() {
    let app = TestApp::with(|config| config.database.busy_timeout_ms = 50).await;
    let user = app.user().await;
    let mut socket = app.socket().signed_in(&user).await;
    let before = app.metrics().await;
    assert_eq!(before.sum("switchboard_store_errors_total", &[]), 0.0);
    let first = socket.start(question(json!({"tokens": 10, "interval_ms": 20}))).await;
    let mut lock = SqliteConnection::establish(app.database_url().trim_start_matches("sqlite://")).unwrap();
    lock.batch_execute("BEGIN IMMEDIATE").unwrap();
    let turn = socket.rest_of_turn(vec![first]).await;
    assert_eq!(turn.terminal["metadata"]["stored"], false, "{:?}", turn.terminal);
    socket.turn(question(json!({}))).await;
    let page = app.metrics().await;
    assert!(page.of("switchboard_store_errors_total{operation=\"write\"}") >= 1.0, "{page:#?}");
    assert_eq!(page.of("switchboard_answers_unstored"), 1.0);
    assert_eq!(socket_errors(&page, "OVERLOADED"), 1.0);
    lock.batch_execute("ROLLBACK").unwrap();
    app.metrics_when(|page| page.of("switchboard_answers_unstored") == 0.0).await;
    // What is refused rightly is no failure of the store.
    let before = app.metrics().await.sum("switchboard_store_errors_total", &[]);
    let body = json!({"email": user.email, "password": PASSWORD});
    assert_eq!(app.post("/api/v1/auth/register", None, &body).await.0, 409);
    assert_eq!(app.metrics().await.sum("switchboard_store_errors_total", &[]), before);
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn client_input_creates_no_metric_series() {
    let app = TestApp::with(|config| config.limits.frame_burst = 500).await;
    let series = |page: &Page| page.samples.keys().cloned().collect::<Vec<_>>();
    let before = series(&app.metrics().await);
    let user = app.user().await;
    for (code, agent) in [(1000, "curl"), (3000, "x\"}\n"), (4242, "switchboard_up 1")] {
        let builder = app.socket().header("user-agent", &agent.replace('\n', " "));
        let mut socket = builder.query(&format!("code={code}")).connect().await;
        socket.send_text("{\"type\": \"nonsense\"}".to_owned()).await;
        socket.expect_error("UNKNOWN_TYPE").await;
        socket.sign_in(&user).await;
        let mut asked = question(json!({"tokens": 1}));
        asked["metadata"]["agent"] = json!("a specialist of my own");
        asked["client_message_id"] = json!(format!("m-{code}"));
        socket.turn(asked).await;
        socket.close_with(code).await;
    }
    for path in ["/nowhere", "/metrics/x", "/api/v1/conversations/x\"}/messages", "/metrics?limit={}"] {
        app.get(path, Some(&user)).await;
    }
    app.idle().await;
    let after = app.metrics().await;
    assert_eq!(series(&after), before);
    assert!(after.samples.len() < 1_000, "{} series", after.samples.len());
    let text = app.http.get(format!("{}/metrics", app.url)).send().await.unwrap().text().await.unwrap();
    for secret in [&user.id, &user.email, &user.access_token] {
        assert!(!text.contains(secret.as_str()));
    }
}
