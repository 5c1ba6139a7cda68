//! Tests of the published clients: tokens, status, and errors that name nothing.

use super::probe::{Language, Life, Probe};
use crate::harness::{Fate, FrameProxy, PASSWORD, TestApp};
use diesel::{Connection, RunQueryDsl, SqliteConnection, sql_query};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use switchboard::config::ScriptedConfig;
use tokio::net::TcpListener;
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
    },
};

const ALL: [Language; 3] = [Language::JavaScript, Language::Python, Language::Rust];

/// A server whose access tokens live for six seconds.
async fn short_lived() -> TestApp {
    TestApp::with(|config| {
        config.auth.access_token_ttl_s = 6;
        config.database.busy_timeout_ms = 100;
        config.provider.scripted = ScriptedConfig { tokens: 1, ..ScriptedConfig::default() };
    })
    .await
}

/// A new account, as the server answers.
async fn account(app: &TestApp) -> Value {
    let email = format!("{}@example.org", uuid::Uuid::new_v4());
    let body = json!({"email": email, "password": PASSWORD, "name": "Ada"});
    let (status, account) = app.post("/api/v1/auth/register", None, &body).await;
    assert_eq!(status, 201, "{account}");
    account
}

/// Reads up to the first token.
async fn begin(probe: &mut Probe) {
    while probe.next().await["frame"]["type"] != "token" {}
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn temporary_failure_of_a_token_renewal_ends_no_answer() {
    let app = short_lived().await;
    for language in ALL {
        let mut probe = Probe::start_as(language, &app.url, &account(&app).await, Life::LONG);
        probe.ask(200, 50);
        begin(&mut probe).await;
        // Nothing can be written: the server answers renewals with 503.
        let path = app.database_url().strip_prefix("sqlite://").unwrap().to_owned();
        let mut database = SqliteConnection::establish(&path).unwrap();
        sql_query("PRAGMA busy_timeout = 10000").execute(&mut database).unwrap();
        sql_query("BEGIN IMMEDIATE").execute(&mut database).unwrap();
        while probe.next().await["frame"]["seq"].as_u64().unwrap_or_default() < 110 {}
        sql_query("ROLLBACK").execute(&mut database).unwrap();
        let (text, code) = probe.end().await;
        assert_eq!((code, text.len()), (Value::Null, 1_200), "{language:?}");
        // The sign-in goes on with another token.
        probe.ask(1, 0);
        assert_eq!(probe.end().await.1, Value::Null, "{language:?}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn refused_token_renewal_ends_the_sign_in_but_no_running_answer() {
    let app = short_lived().await;
    for language in ALL {
        let mut account = account(&app).await;
        account["refresh_token"] = json!("none of the server's");
        let mut probe = Probe::start_as(language, &app.url, &account, Life::LONG);
        probe.ask(160, 50);
        let (text, code) = probe.end().await;
        assert_eq!((code, text.len()), (Value::Null, 960), "{language:?}");
        probe.ask(1, 0);
        let code = probe.end().await.1;
        assert!(
            ["INVALID_TOKEN", "AUTH_EXPIRED", "EXPIRED_TOKEN"].contains(&code.as_str().unwrap_or_default()),
            "{language:?}: {code}"
        );
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn clients_report_an_unreachable_server_and_time_out() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    for language in ALL {
        let proxy = FrameProxy::start(&app.url, |_| Fate::Passes).await;
        let user = app.user().await;
        let life = Life { ping_after_ms: 5_000, pong_within_ms: 1_000 };
        let mut probe = Probe::start(language, &proxy.url, &user.access_token, life);
        probe.ask(1, 0);
        assert_eq!(probe.end().await.1, Value::Null, "{language:?}");
        proxy.lead_to(None);
        assert_eq!(app.post("/api/v1/drain", Some(&operator), &json!({"then": "stay"})).await.0, 202);
        app.stats_when(&operator, |stats| stats["connections"] == 0).await;
        assert_eq!(app.delete("/api/v1/drain", Some(&operator)).await.0, 200);
        probe.ask_with(1, 0, json!({"timeout_ms": 15_000}));
        probe.status(|state, attempt| state == "reconnecting" && attempt >= 1).await;
        probe.status(|state, _| state == "connecting").await;
        assert_eq!(probe.end().await.1, "TIMEOUT", "{language:?}");
        proxy.lead_to(Some(&app.url));
        probe.ask(1, 0);
        probe.status(|state, _| state == "open").await;
        assert_eq!(probe.end().await.1, Value::Null, "{language:?}");
        // An answer that takes too long is stopped.
        probe.ask_with(100_000, 10, json!({"timeout_ms": 500}));
        assert_eq!(probe.end().await.1, "TIMEOUT", "{language:?}");
        app.stats_when(&operator, |stats| stats["running_turns"] == 0).await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_text_that_was_cut_inside_an_emoji_is_answered() {
    let app = TestApp::start().await;
    for language in [Language::JavaScript, Language::Python] {
        let user = app.user().await;
        let mut probe = Probe::start(language, &app.url, &user.access_token, Life::LONG);
        probe.ask_with(1, 0, json!({"is_cut": true}));
        assert_eq!(probe.next().await["frame"]["question"], "Look \u{fffd}", "{language:?}");
        assert_eq!(probe.end().await.1, Value::Null, "{language:?}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn an_open_conversation_shows_the_turns_of_others() {
    let app = TestApp::start().await;
    for language in [Language::JavaScript, Language::Python] {
        let user = app.user().await;
        let mut asking = app.socket().signed_in(&user).await;
        let first = asking.ask("One").await;
        let mut probe = Probe::start(language, &app.url, &user.access_token, Life::LONG);
        // One that began before it was opened, and one that begins later.
        let ask = |text: &str| json!({"type": "message", "message": text, "session_id": first.conversation_id});
        let second = asking.turn(ask("Two")).await;
        probe.open(&first.terminal);
        assert_eq!(
            probe.next().await,
            json!({"other": {"question": "Two", "text": second.text, "code": null}}),
            "{language:?}"
        );
        let third = asking.turn(ask("Three")).await;
        assert_eq!(
            probe.next().await,
            json!({"other": {"question": "Three", "text": third.text, "code": null}}),
            "{language:?}"
        );
        asking.close().await;
    }
}

/// A server of another make: it answers each message with an error that names nothing.
async fn mute_server() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                #[expect(clippy::result_large_err, reason = "the signature is that of the library")]
                let choose = |_: &Request, mut response: Response| {
                    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("chat.v2"));
                    Ok(response)
                };
                let mut socket = accept_hdr_async(stream, choose).await.unwrap();
                let user = json!({"id": "u", "email": "ada@example.org", "name": "Ada"});
                let welcome =
                    json!({"type": "auth_success", "message": "", "user": user, "expires_at": 4_000_000_000_u32});
                socket.send(Message::text(welcome.to_string())).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() {
                        let error =
                            json!({"type": "error", "error": "No.", "code": "INVALID_JSON", "retryable": false});
                        socket.send(Message::text(error.to_string())).await.unwrap();
                    }
                }
            });
        }
    });
    url
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn error_without_ids_ends_the_oldest_question() {
    let url = mute_server().await;
    for language in ALL {
        let mut probe = Probe::start(language, &url, "x.y.z", Life::LONG);
        for _ in 0..2 {
            probe.ask(1, 0);
            assert_eq!(probe.end().await.1, "INVALID_JSON", "{language:?}");
        }
    }
}
