//! The load generator against the real server: its numbers must be what happened.

use crate::harness::TestApp;
use assert_cmd::Command;
use serde_json::Value;
use std::sync::Arc;
use switchboard::{
    client::{Account, Client, ClientError, Connector, Event, Question},
    load::{self, Plan, Report},
    protocol::Dialect,
};

fn plan(app: &TestApp) -> Plan {
    Plan {
        url: app.url.clone(),
        dialect: Dialect::V2,
        connections: 8,
        rate: 400.0,
        turns: Some(3),
        tokens: 30,
        interval_ms: 5,
        token_bytes: 6,
        fail_after: None,
        duration_s: None,
        think_ms: 0,
        slow_readers: 0,
        reconnects: 0.0,
        seed: 1,
        users: 1,
        allow_remote: false,
    }
}

async fn run(plan: Plan) -> Report {
    load::run(plan, None, |_| {}).await.unwrap()
}

fn latency(report: &Report, name: &str) -> (u64, f64) {
    let latency = report.latencies.iter().find(|latency| latency.name == name).unwrap();
    (latency.count, latency.p50)
}

#[actix_web::test]
async fn every_transcript_is_counted_and_verified() {
    let app = TestApp::start().await;
    for dialect in [Dialect::V1, Dialect::V2] {
        let report = run(Plan { dialect, ..plan(&app) }).await;
        assert_eq!((report.connections.tried, report.connections.opened), (8, 8));
        assert_eq!((report.turns.started, report.turns.complete, report.turns.failed), (24, 24, 0));
        assert_eq!((report.transcripts.verified, report.transcripts.wrong), (24, 0));
        assert_eq!(report.tokens.received, 24 * 30);
        assert!(report.errors.is_empty(), "{:?}", report.errors);
        assert_eq!(report.close_codes.get(&1000), Some(&8), "{:?}", report.close_codes);
        assert_eq!(latency(&report, "first token").0, 24);
        assert_eq!(latency(&report, "between tokens").0, 24 * 29);
        assert_eq!(latency(&report, "behind schedule").0, 24 * 30);
        let (count, turn_ms) = latency(&report, "whole turn");
        // 29 waits of 5 ms.
        assert!(count == 24 && (145.0..1_000.0).contains(&turn_ms), "{turn_ms} ms");
        let server = report.server.as_ref().expect("the server is this process");
        assert_eq!(server.pid, std::process::id());
        assert!(report.is_flawless());
    }
    app.finish().await;
}

#[actix_web::test]
async fn errors_are_counted_by_their_code() {
    let app = TestApp::start().await;
    let report = run(Plan { turns: Some(2), fail_after: Some(3), ..plan(&app) }).await;
    assert_eq!((report.turns.complete, report.turns.failed, report.transcripts.verified), (0, 16, 0));
    assert_eq!(report.errors.values().sum::<u64>(), 16);
    let codes: Vec<_> = report.errors.keys().map(String::as_str).collect();
    assert!(codes == ["TURN_INTERRUPTED"] || codes == ["UPSTREAM_UNAVAILABLE"], "{codes:?}");
    app.finish().await;
}

#[actix_web::test]
async fn an_answer_survives_every_cut() {
    let app = TestApp::start().await;
    let report = run(Plan { turns: Some(2), reconnects: 3.0, ..plan(&app) }).await;
    assert_eq!((report.turns.complete, report.transcripts.verified, report.transcripts.wrong), (16, 16, 0));
    // Cuts at one place are one cut.
    assert!((16..=48).contains(&report.connections.resumes), "{}", report.connections.resumes);
    assert_eq!(latency(&report, "cut to resumed").0, report.connections.resumes);
    assert_eq!(report.tokens.received, 16 * 30, "a token was counted twice, or not at all");
    app.finish().await;
}

#[actix_web::test]
async fn slow_readers_lose_nothing() {
    let app = TestApp::start().await;
    let slow = Plan { connections: 3, turns: Some(1), tokens: 2_000, token_bytes: 1_000, interval_ms: 0, ..plan(&app) };
    let report = run(Plan { slow_readers: 2, ..slow }).await;
    assert_eq!((report.transcripts.verified, report.tokens.received), (3, 6_000));
    assert_eq!(latency(&report, "whole turn").0, 1, "who reads slowly says nothing of the server's pace");
    app.finish().await;
}

#[actix_web::test]
async fn the_time_bounds_the_load() {
    let app = TestApp::start().await;
    let report = run(Plan { turns: None, duration_s: Some(1), tokens: 5, interval_ms: 0, ..plan(&app) }).await;
    assert!(report.turns.complete > 8 && report.is_flawless(), "{:?}", report.turns);
    assert!(report.seconds < 10.0, "{}", report.seconds);
    app.finish().await;
}

#[actix_web::test]
async fn a_client_cancels_and_goes_on_in_its_conversation() {
    let app = TestApp::scripted(1_000, 5).await;
    let connector = Connector::new(&app.url).unwrap();
    let email = "client@example.org";
    let account = Account::register(&connector, "Ada", email, crate::harness::PASSWORD).await.unwrap();
    drop(account);
    let account = Account::sign_in(&connector, email, crate::harness::PASSWORD).await.unwrap();
    let mut client = Client::connect(connector, Arc::new(account)).await.unwrap();

    let mut answer = client.ask(Question::new("Go on until I stop you.")).await.unwrap();
    let mut is_cancelled = false;
    let mut steps = Vec::new();
    let finish_reason = loop {
        match answer.next().await.unwrap().expect("an end before the end") {
            Event::Progress { step } => steps.push(step.to_owned()),
            Event::Token { seqs, .. } if seqs.end >= 5 && !is_cancelled => {
                is_cancelled = true;
                answer.cancel().await.unwrap();
            }
            Event::Complete { response, finish_reason } => {
                assert!(response.starts_with("w"), "{response}");
                break finish_reason;
            }
            Event::Token { .. } | Event::Resumed { .. } => {}
        }
    };
    assert_eq!(steps, ["starting", "agent_routing", "rag_retrieval", "generating"]);
    assert_eq!(finish_reason, "cancelled");
    assert!(answer.transcript().next_seq() < 900);

    let mut next = Question::new("And again?");
    next.conversation_id = answer.conversation_id().map(str::to_owned);
    next.metadata.insert("script".to_owned(), serde_json::json!({"tokens": 3}));
    let transcript = client.ask(next).await.unwrap().finish().await.unwrap();
    assert_eq!(transcript.next_seq(), 3);
    client.close().await.unwrap();

    let connector = Connector::new(&app.url).unwrap();
    let nobody = Arc::new(Account::from_token(&connector, "nonsense".to_owned()));
    let refused = Client::connect(connector, nobody).await.err().unwrap();
    assert!(matches!(&refused, ClientError::Auth { code, .. } if code == "INVALID_TOKEN"), "{refused}");
    app.finish().await;
}

#[actix_web::test]
async fn the_program_reports_as_text_json_and_page() {
    let app = TestApp::start().await;
    let (json, page) = (app.folder.path().join("report.json"), app.folder.path().join("report.html"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command
        .current_dir(app.folder.path())
        .args(["load", "--url", &app.url, "-c", "4", "--users", "1", "--tokens", "7"]);
    command.arg("--json").arg(&json).arg("--html").arg(&page);
    let output = actix_web::rt::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (text, progress) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{text}{progress}");
    assert!(text.contains("4 verified by seq and SHA-256, 0 wrong"), "{text}");
    assert!(text.contains("errors       none"), "{text}");
    assert!(progress.contains("open"), "{progress}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!((&report["turns"]["complete"], &report["tokens"]["received"]), (&4.into(), &28.into()));
    assert_eq!(report["server"]["pid"], std::process::id());
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.matches("<svg").count() >= 6 && page.trim_end().ends_with("</html>"));
    assert!(!page.contains("src=") && !page.contains("href="), "the page needs something else");
    app.finish().await;
}

#[test]
fn what_is_asked_for_wrongly_ends_with_2() {
    let folder = tempfile::TempDir::new().unwrap();
    let refused = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        let output =
            command.current_dir(folder.path()).arg("load").args(arguments).assert().code(2).get_output().clone();
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["--url", "ws://192.0.2.1:8000"]).contains("--allow-remote"));
    assert!(refused(&["--url", "ftp://127.0.0.1"]).contains("ws://"));
    assert!(refused(&["--connections", "0"]).contains("--connections"));
    assert!(refused(&["--duration", "1000000"]).contains("--duration"));
}
