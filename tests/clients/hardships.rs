//! Failures that every published client has to survive: a server that goes away or is killed, a network that loses frames or falls silent.

use super::probe::{Language, Life, Probe};
use crate::{
    harness::{Fate, FrameProxy, TestApp},
    program::{NO_SEED, Program, SCRIPTED},
};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use switchboard::config::Reasoning;
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Amount by which a timer may fire early.
const TIMER_SLACK: Duration = Duration::from_millis(5);
const ALL: [Language; 3] = [Language::JavaScript, Language::Python, Language::Rust];

/// The text of the last answer in the only conversation of its owner.
fn last_answer(messages: &[Value]) -> &str {
    let answer = messages.last().unwrap();
    assert_eq!(answer["role"], "assistant");
    answer["content"].as_str().unwrap()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn clients_report_notices_and_reconnect_after_the_announced_delay() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    for language in ALL {
        let told: Arc<Mutex<Option<(Instant, Duration)>>> = Arc::default();
        let note = Arc::clone(&told);
        let proxy = FrameProxy::start(&app.url, move |frame| {
            if frame["type"] == "going_away" {
                let wait = Duration::from_millis(frame["reconnect_after_ms"].as_u64().unwrap());
                *note.lock().unwrap() = Some((Instant::now(), wait));
            }
            Fate::Passes
        })
        .await;
        let user = app.user().await;
        let mut probe = Probe::start(language, &proxy.url, &user.access_token, Life::LONG);
        probe.ask(3, 0);
        assert_eq!(probe.end().await.1, Value::Null, "{language:?}");

        let notice = json!({"message": "Tea\nat five.", "level": "warning"});
        let (status, sent) = app.post("/api/v1/notices", Some(&operator), &notice).await;
        assert_eq!((status, &sent["sessions"]), (200, &json!(1)), "{language:?}");
        assert_eq!(probe.next().await, json!({"notice": notice}), "{language:?}");

        let (status, _) = app.post("/api/v1/drain", Some(&operator), &json!({"then": "stay"})).await;
        assert_eq!(status, 202);
        app.stats_when(&operator, |stats| stats["connections"] == 0).await;
        assert_eq!(app.delete("/api/v1/drain", Some(&operator)).await.0, 200);
        probe.ask(3, 0);
        assert_eq!(probe.end().await.1, Value::Null, "{language:?}");
        let (told_at, wait) = told.lock().unwrap().expect("it was told to go");
        let [_, back_at] = proxy.opened()[..] else { panic!("{language:?}: {:?}", proxy.opened()) };
        let waited = back_at - told_at;
        assert!(waited + TIMER_SLACK >= wait, "{language:?} came back after {waited:?}, not {wait:?}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn clients_reconnect_after_silence_and_resume_the_turn() {
    let app = TestApp::start().await;
    for language in ALL {
        let proxy = FrameProxy::start(&app.url, {
            let mut was_silent = false;
            move |frame| {
                if was_silent || frame["type"] != "token" || frame["seq"].as_u64() < Some(3) {
                    return Fate::Passes;
                }
                was_silent = true;
                Fate::IsTheLast
            }
        })
        .await;
        let user = app.user().await;
        let life = Life { ping_after_ms: 150, pong_within_ms: 150 };
        let mut probe = Probe::start(language, &proxy.url, &user.access_token, life);
        probe.ask(30, 10);
        let mut resumed_at = Value::Null;
        let end = loop {
            let mut news = probe.next().await;
            if news["frame"]["type"] == "resumed" {
                resumed_at = news["frame"]["from_seq"].take();
            }
            if let Some(end) = news.get_mut("end") {
                break end.take();
            }
        };
        assert_eq!((&end["code"], &resumed_at), (&Value::Null, &json!(3)), "{language:?}");
        assert_eq!(proxy.opened().len(), 2, "{language:?}");
    }
}

/// The connection falls silent within the reasoning, and again within the answer; every frame of the turn comes twice.
#[actix_web::rt::test(system = "crate::harness::System")]
async fn clients_pass_reasoning_on_once_and_apart_from_the_answer() {
    let app = TestApp::with(|config| config.workflow.reasoning = Reasoning::Shown).await;
    for language in ALL {
        // Later tokens may share a frame.
        let mut cuts = VecDeque::from([("reasoning", "index", 8), ("token", "seq", 4)]);
        let proxy = FrameProxy::start(&app.url, move |frame| {
            let is_cut = |(frame_type, field, from): &(&str, &str, u64)| {
                frame["type"] == *frame_type && frame[field].as_u64() >= Some(*from)
            };
            if cuts.front().is_some_and(is_cut) {
                cuts.pop_front();
                return Fate::IsTheLast;
            }
            match frame["type"].as_str() {
                Some("progress" | "reasoning" | "token") => Fate::ComesTwice,
                _ => Fate::Passes,
            }
        })
        .await;
        let user = app.user().await;
        let life = Life { ping_after_ms: 150, pong_within_ms: 150 };
        let mut probe = Probe::start(language, &proxy.url, &user.access_token, life);
        let script = json!({"reasoning_tokens": 8, "tokens": 10, "interval_ms": 20});
        probe.ask_with(0, 0, json!({"metadata": {"script": script}}));
        let (mut reasoning, mut steps) = (String::new(), Vec::new());
        let end = loop {
            let mut news = probe.next().await;
            if let Some(end) = news.get_mut("end") {
                break end.take();
            }
            let frame = &news["frame"];
            reasoning.push_str(frame["delta"].as_str().unwrap_or_default());
            steps.extend(frame["step"].as_str().map(str::to_owned));
        };
        let words = |count: u32| (0..count).map(|n| format!("w{n:04} ")).collect::<String>();
        assert_eq!((&end["code"], end["text"].as_str()), (&Value::Null, Some(words(10).as_str())), "{language:?}");
        assert_eq!(reasoning, words(8), "{language:?}");
        assert_eq!(steps, ["starting", "routing", "retrieval", "generating", "thinking"], "{language:?}");
        assert_eq!(proxy.opened().len(), 3, "{language:?}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn clients_resume_when_a_heartbeat_shows_lost_tokens() {
    let app = TestApp::with(|config| config.session.heartbeat_interval_s = 1).await;
    for language in ALL {
        let proxy = FrameProxy::start(&app.url, {
            // Until it is asked for, all behind the beginning is lost: nothing but a heartbeat can tell.
            let mut was_asked = false;
            move |frame| {
                was_asked |= frame["type"] == "resumed";
                let is_lost = !was_asked && frame["type"] == "token" && frame["seq"].as_u64() > Some(9);
                if is_lost { Fate::IsLost } else { Fate::Passes }
            }
        })
        .await;
        let user = app.user().await;
        let mut probe = Probe::start(language, &proxy.url, &user.access_token, Life::LONG);
        probe.ask(60, 50);
        assert_eq!(probe.end().await.1, Value::Null, "{language:?}");
        assert_eq!(proxy.opened().len(), 1, "{language:?}");
    }
}

/// Node 20 sometimes reports nothing when a connection ends before its upgrade is answered, which happens while a server restarts
/// behind a proxy. Only the client's own deadline ends such an attempt.
#[actix_web::rt::test(system = "crate::harness::System")]
async fn javascript_client_retries_an_upgrade_without_an_answer() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = app.url.trim_start_matches("http://").to_owned();
    let network = actix_web::rt::spawn(async move {
        let _silent = [listener.accept().await.unwrap(), listener.accept().await.unwrap()];
        let mut connections = JoinSet::new();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let server = server.clone();
            connections.spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    let life = Life { pong_within_ms: 1_000, ..Life::LONG };
    let mut probe = Probe::start(Language::JavaScript, &url, &user.access_token, life);
    probe.ask(3, 0);
    assert_eq!(probe.end().await.1, Value::Null);
    network.abort();
}

#[tokio::test]
async fn clients_drop_the_tokens_that_a_killed_server_lost() {
    // Tokens that share frames: the server seldom loses whole ones.
    let settings = [SCRIPTED, NO_SEED, ("SWITCHBOARD__SESSION__COALESCE_MS", "100")];
    let folder = TempDir::new().unwrap();
    let mut program = Program::serve(folder.path(), &settings).await;
    for language in ALL {
        let user = program.sign_in("register", &format!("{language:?}@example.org")).await;
        let proxy = FrameProxy::start(&program.url, |_| Fate::Passes).await;
        let mut probe = Probe::start(language, &proxy.url, &user.access_token, Life::LONG);
        probe.ask(100_000, 5);
        let mut longest = 0;
        while longest < 1_000 {
            longest = probe.next().await["text"].as_str().unwrap().len();
        }
        proxy.lead_to(None);
        program.child.kill().await.unwrap();
        program = Program::serve(folder.path(), &settings).await;
        proxy.lead_to(Some(&program.url));
        let (text, code) = probe.end().await;
        assert_eq!(code, "TURN_INTERRUPTED", "{language:?}");
        let (_, conversations) = program.get("/api/v1/conversations", &user).await;
        let conversation_id = conversations["conversations"][0]["session_id"].as_str().unwrap();
        let (_, history) = program.get(&format!("/api/v1/conversations/{conversation_id}/messages"), &user).await;
        assert_eq!(text, last_answer(history["messages"].as_array().unwrap()), "{language:?}");
    }
}
