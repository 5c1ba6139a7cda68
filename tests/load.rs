//! The load generator against the real server: its numbers must be what happened.

use crate::harness::{Program, TestApp, eventually, holds};
use assert_cmd::Command;
use serde_json::Value;
use std::{path::Path, process::Output, sync::Arc, time::Duration};
use switchboard_client::{Account, Client, ClientError, Connector, Event, Question};
use switchboard_load::{Plan, Report};
use switchboard_protocol::Dialect;
use tokio_util::sync::CancellationToken;

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
        max_failures: 0.0,
        allow_remote: false,
    }
}

async fn run(plan: Plan) -> Report {
    switchboard_load::run(plan, None, CancellationToken::new(), |_| {}).await.unwrap()
}

fn latency(report: &Report, name: &str) -> (u64, f64) {
    let latency = report.latencies.iter().find(|latency| latency.name == name).unwrap();
    (latency.count, latency.p50)
}

#[actix_web::rt::test(system = "crate::harness::System")]
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
        assert!(report.is_success(), "{:?}", report.problems);
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn errors_are_counted_by_their_code() {
    let app = TestApp::start().await;
    let report = run(Plan { turns: Some(2), fail_after: Some(3), ..plan(&app) }).await;
    assert_eq!((report.turns.complete, report.turns.failed, report.transcripts.verified), (0, 16, 0));
    assert_eq!(report.errors.values().sum::<u64>(), 16);
    let codes: Vec<_> = report.errors.keys().map(String::as_str).collect();
    assert!(codes == ["TURN_INTERRUPTED"] || codes == ["UPSTREAM_UNAVAILABLE"], "{codes:?}");
    assert!(report.turns.failed_as_planned == 16 && report.is_success(), "{:?}", report.problems);
    assert_numbers_are_sound(&report);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn an_answer_survives_every_cut() {
    let app = TestApp::start().await;
    let report = run(Plan { turns: Some(2), reconnects: 3.0, ..plan(&app) }).await;
    assert_eq!((report.turns.complete, report.transcripts.verified, report.transcripts.wrong), (16, 16, 0));
    // Cuts at one place are one cut.
    assert!((16..=48).contains(&report.connections.resumes), "{}", report.connections.resumes);
    assert_eq!(latency(&report, "cut to resumed").0, report.connections.resumes);
    assert_eq!(report.tokens.received, 16 * 30, "a token was counted twice, or not at all");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn slow_readers_lose_nothing() {
    let app = TestApp::start().await;
    let slow = Plan { connections: 3, turns: Some(1), tokens: 2_000, token_bytes: 1_000, interval_ms: 0, ..plan(&app) };
    let report = run(Plan { slow_readers: 2, ..slow }).await;
    assert_eq!((report.transcripts.verified, report.tokens.received), (3, 6_000));
    assert_eq!(latency(&report, "whole turn").0, 1, "who reads slowly says nothing of the server's pace");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn duration_bounds_the_load() {
    let app = TestApp::start().await;
    let report = run(Plan { turns: None, duration_s: Some(1), tokens: 5, interval_ms: 0, ..plan(&app) }).await;
    assert!(report.turns.complete > 8 && report.is_success(), "{:?} {:?}", report.turns, report.problems);
    assert!(report.seconds < 10.0, "{}", report.seconds);
}

#[actix_web::rt::test(system = "crate::harness::System")]
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
            _ => {}
        }
    };
    assert_eq!(steps, ["starting", "routing", "retrieval", "generating"]);
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
}

#[actix_web::rt::test(system = "crate::harness::System")]
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
}

/// No number of a report is negative, infinite, or none at all.
fn assert_numbers_are_sound(report: &Report) {
    fn walk(path: &str, value: &Value) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| walk(&format!("{path}.{name}"), value)),
            Value::Array(items) => items.iter().for_each(|value| walk(path, value)),
            Value::Number(number) => assert!(number.as_f64().unwrap() >= 0.0, "{path} = {number}"),
            // A number that is not finite would be written as null.
            Value::Null => {
                let may_be_absent = ["_s", "steady_us_per_token", "turns", "fail_after", "server", "server_resident"];
                assert!(may_be_absent.iter().any(|name| path.ends_with(name)), "{path} is null");
            }
            Value::String(_) | Value::Bool(_) => {}
        }
    }
    walk("report", &serde_json::to_value(report).unwrap());
    let (mut text, mut page) = (Vec::new(), Vec::new());
    switchboard_load::write_text(report, &mut text).unwrap();
    switchboard_load::write_html(report, &mut page).unwrap();
    let text = String::from_utf8(text).unwrap();
    for word in text.split(|c: char| c.is_whitespace() || c == ',') {
        assert!(!word.starts_with('-') && word != "NaN" && word != "inf", "{word:?} in {text}");
    }
    assert!(!String::from_utf8(page).unwrap().contains("NaN"));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_load_from_an_exempt_address_is_held_to_no_limit_of_a_user() {
    let app = TestApp::with(|config| {
        config.limits.exempt_addresses = vec!["127.0.0.0/8".to_owned()];
        config.limits.connections_per_address = 1;
        config.limits.connections_per_user = 1;
        config.limits.registrations_per_minute_per_address = 1;
        config.workflow.max_running_turns_per_user = 1;
    })
    .await;
    let report =
        run(Plan { connections: 24, turns: Some(1), tokens: 20, interval_ms: 40, users: 3, ..plan(&app) }).await;
    assert_eq!((report.turns.complete, report.turns.failed), (24, 0), "{:?}", report.error_texts);
    assert!(report.is_success(), "{:?}", report.problems);
    assert_numbers_are_sound(&report);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn turns_that_fail_make_the_load_fail_unless_they_may() {
    let app = TestApp::with(|config| config.workflow.max_running_turns_per_user = 2).await;
    let plan = Plan { connections: 10, turns: Some(1), tokens: 100, interval_ms: 20, ..plan(&app) };
    let report = run(plan.clone()).await;
    let failed = report.turns.failed;
    assert!(failed > 0 && report.errors.get("OVERLOADED") == Some(&failed), "{:?}", report.errors);
    assert_eq!(report.problems, [format!("{failed} of 10 turns failed (--max-failures allows 0 %)")]);
    assert!(report.error_texts["OVERLOADED"].contains("Too many of your questions"), "{:?}", report.error_texts);
    assert!(report.advice.iter().any(|advice| advice.contains("limits.exempt_addresses")), "{:?}", report.advice);
    assert_numbers_are_sound(&report);
    let report = run(Plan { max_failures: 90.0, ..plan }).await;
    assert!(report.turns.failed > 0 && report.is_success(), "{:?}", report.problems);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_load_without_a_single_success_has_sound_numbers() {
    let app = TestApp::start().await;
    // The server refuses such a script.
    let report = run(Plan { turns: Some(1), tokens: 100_000_000, ..plan(&app) }).await;
    assert_eq!((report.turns.complete, report.turns.failed, report.tokens.received), (0, 8, 0));
    assert!(report.error_texts["INVALID_FIELD"].contains("metadata.script.tokens"), "{:?}", report.error_texts);
    assert!(!report.is_success());
    assert_numbers_are_sound(&report);
    let report = run(Plan { turns: Some(0), duration_s: Some(1), ..plan(&app) }).await;
    assert!(report.turns.started == 0 && report.is_success(), "{:?}", report.problems);
    assert_numbers_are_sound(&report);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_server_that_is_not_scripted_is_noticed() {
    let app = TestApp::with(|config| config.provider.kind = switchboard::config::ProviderKind::Extractive).await;
    let report = run(Plan { connections: 2, turns: Some(1), tokens: 3_000, ..plan(&app) }).await;
    assert_eq!((report.turns.complete, report.turns.off_script), (2, 2));
    assert!(report.advice.iter().any(|advice| advice.contains("provider.kind")), "{:?}", report.advice);
}

/// `switchboard load` as a process, in a thread of its own.
async fn switchboard_load(folder: &Path, url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.current_dir(folder).env_remove("SWITCHBOARD_TOKEN").args(["load", "--url", url]).args(arguments);
    actix_web::rt::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_failed_load_ends_with_1_and_says_why_on_stderr() {
    let app = TestApp::with(|config| config.workflow.max_running_turns_per_user = 1).await;
    let arguments = ["-c", "4", "--users", "1", "--tokens", "100", "--interval-ms", "20", "--json", "report.json"];
    let output = switchboard_load(app.folder.path(), &app.url, &arguments).await;
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(out.contains("FAILED: 3 of 4 turns failed"), "{out}");
    assert!(err.contains("error: the load failed:\n  3 of 4 turns failed"), "{err}");
    assert!(err.contains("OVERLOADED × 3: Too many of your questions") && err.contains("exempt_addresses"), "{err}");
    let report: Value = serde_json::from_slice(&std::fs::read(app.folder.path().join("report.json")).unwrap()).unwrap();
    assert_eq!((&report["errors"]["OVERLOADED"], report["problems"].as_array().unwrap().len()), (&3.into(), 1));

    let refused = switchboard_load(app.folder.path(), &app.url, &["-c", "2", "--token", "x.y.z"]).await;
    let err = text(&refused.stderr);
    assert!(refused.status.code() == Some(1) && err.contains("INVALID_TOKEN") && !err.contains("x.y.z"), "{err}");
    let nobody = switchboard_load(app.folder.path(), "ws://127.0.0.1:1", &["-c", "2"]).await;
    let err = text(&nobody.stderr);
    assert!(nobody.status.code() == Some(1) && err.contains("127.0.0.1:1") && err.contains("refused"), "{err}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_server_that_dies_makes_the_load_fail() {
    for arguments in [["--turns", "0", "--duration", "60"].as_slice(), &["--tokens", "10000", "--interval-ms", "50"]] {
        let mut server = Program::start(&[]);
        let operator = server.operator().await;
        let folder = tempfile::TempDir::new().unwrap();
        let arguments: Vec<_> = ["-c", "4", "--users", "1"].iter().chain(arguments).copied().collect();
        let is_idle = arguments.contains(&"0");
        let url = server.url.clone();
        let load = switchboard_load(folder.path(), &url, &arguments);
        let kill = async {
            let wanted = if is_idle { ("connections", 4) } else { ("running_turns", 4) };
            let url = format!("{url}/api/v1/connections/stats");
            eventually(async || {
                let request = reqwest::Client::new().get(&url).bearer_auth(&operator.access_token);
                let stats: Value = request.send().await.unwrap().json().await.unwrap();
                let count = stats.get(wanted.0).or(stats["turns"].get(wanted.0)).and_then(Value::as_u64);
                holds(count == Some(wanted.1), stats)
            })
            .await;
            // Long enough for the load to have begun what it does.
            tokio::time::sleep(Duration::from_millis(2_000)).await;
            server.kill();
        };
        let (output, ()) = tokio::join!(load, kill);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{out}{err}");
        assert!(err.contains("the server's process ended during the load"), "{out}{err}");
        assert!(err.contains(if is_idle { "4 of 4 connections were lost" } else { "4 of 4 turns failed" }), "{err}");
        assert!(!out.contains("NaN") && !out.contains(" -"), "{out}");
        let _ = server.ended().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn an_interrupted_load_reports_what_happened() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.current_dir(app.folder.path()).env_remove("SWITCHBOARD_TOKEN").args(["load", "--url", &app.url]);
    command.args(["-c", "4", "--users", "1", "--tokens", "10000", "--interval-ms", "50"]).kill_on_drop(true);
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let pid = child.id().unwrap().to_string();
    app.stats_when(&operator, |stats| stats["running_turns"] == 4).await;
    assert!(tokio::process::Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let output = tokio::time::timeout(Duration::from_secs(20), child.wait_with_output()).await.unwrap().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(130), "{out}{err}");
    assert!(out.contains("4 unfinished") && out.contains("interrupted: the report covers"), "{out}");
    assert!(err.contains("error: interrupted") && !err.contains("FAILED"), "{err}");
    app.turns().interrupt_all();
}

#[test]
fn wrong_arguments_exit_with_2() {
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
    assert!(refused(&["--duration", "0"]).contains("--duration"));
    assert!(refused(&["--max-failures", "101"]).contains("--max-failures"));
}
