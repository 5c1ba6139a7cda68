//! Clients of `chat.v1`: the two programs that the report of the Python prototype shows, and the published clients in that dialect.

use super::{
    app, node,
    probe::{Language, Life, Probe},
    python, repository, run,
};
use crate::harness::{Fate, FrameProxy, TestApp};
use serde_json::Value;
use switchboard_protocol::Dialect;
use tokio::process::Command;

#[actix_web::rt::test(system = "crate::harness::System")]
async fn programs_of_the_prototype_print_the_answer() {
    let app = app().await;
    let mut python = Command::new(python());
    python.arg(repository("tests/clients/prototype/chat.py"));
    let javascript = node([repository("tests/clients/prototype/chat_web_socket.mjs")]);
    for mut program in [javascript, python] {
        let user = app.user().await;
        let url = app.url.replacen("http", "ws", 1) + "/ws/chat";
        let printed = run(program.args([&url, &user.access_token])).await;
        let (_, conversations) = app.get("/api/v1/conversations", Some(&user)).await;
        let id = conversations["conversations"][0]["session_id"].as_str().unwrap();
        let history = app.history(&user, id).await;
        assert!(!printed.is_empty());
        assert_eq!(printed, history[1]["content"].as_str().unwrap(), "{program:?}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn published_clients_resume_in_chat_v1() {
    let app = TestApp::start().await;
    for language in [Language::JavaScript, Language::Python, Language::Rust] {
        let mut was_cut = false;
        let proxy = FrameProxy::start(&app.url, move |frame| {
            let is_cut = !was_cut && frame["seq"] == 3;
            was_cut |= is_cut;
            assert!(frame.get("turn").is_none() && frame.get("index").is_none(), "{frame}");
            if is_cut { Fate::IsTheLast } else { Fate::Passes }
        })
        .await;
        let user = app.user().await;
        let account = serde_json::json!({"access_token": user.access_token});
        let life = Life { ping_after_ms: 150, pong_within_ms: 150 };
        let mut probe = Probe::start_in(Dialect::V1, language, &proxy.url, &account, life);
        probe.ask(8, 20);
        let (text, code) = probe.end().await;
        let want: String = (0..8).map(|n| format!("w{n:04} ")).collect();
        assert_eq!((text, code), (want, Value::Null), "{language:?}");
        assert_eq!(proxy.opened().len(), 2, "{language:?}");
    }
}
