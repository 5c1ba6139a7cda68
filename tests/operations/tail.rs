//! `switchboard ops tail`: events of a running server, on a shell.

use super::{
    connection_of,
    shell::{ops, run},
};
use crate::harness::{Program, TestApp, TestUser, token::access_token};
use serde_json::{Value, json};
use std::{process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// Time limit for a line, and for its end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running `switchboard ops tail`.
struct Tail {
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Tail {
    fn start(url: &str, token: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command.args(["ops", "--url", url, "tail"]).args(arguments).env("SWITCHBOARD_TOKEN", token);
        command.env_remove("RUST_LOG").kill_on_drop(true);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines: Some(lines) }
    }

    /// The next line that is so.
    async fn line(&mut self, is_right: impl Fn(&str) -> bool) -> String {
        let lines = self.lines.as_mut().unwrap();
        for _ in 0..200 {
            let line = timeout(PATIENCE, lines.next_line()).await.expect("it says nothing").unwrap().expect("it ended");
            if is_right(&line) {
                return line;
            }
        }
        panic!("it says other things");
    }

    /// Its exit code and what it says at its end, and the lines until then.
    async fn ended(mut self) -> (Option<i32>, String, Vec<String>) {
        let mut rest = Vec::new();
        if let Some(lines) = &mut self.lines {
            while let Some(line) = timeout(PATIENCE, lines.next_line()).await.expect("it does not end").unwrap() {
                rest.push(line);
            }
        }
        let mut err = String::new();
        let told = self.child.stderr.take().unwrap();
        timeout(PATIENCE, BufReader::new(told).read_to_string(&mut err)).await.expect("it does not end").unwrap();
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it does not end").unwrap();
        (status.code(), err, rest)
    }

    fn interrupt(&self) {
        let id = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    }
}

fn operator_token(operator: &TestUser, seconds: i64) -> String {
    access_token(operator, seconds, |claims| claims["role"] = json!("operator"))
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn tail_prints_statistics_each_second() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let socket = app.socket().signed_in(&user).await;
    connection_of(&app, &operator, &user).await;
    let tail = run(&app, &operator, &["tail", "--count", "4"]).await;
    let lines: Vec<Vec<&str>> = tail.ok().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines.len(), &lines[0][..3]), (5, &["TIME", "CONNECTIONS", "AUTH"][..]), "{}", tail.out);
    assert_eq!(lines[4][1..3], ["1", "1"], "{}", tail.out);
    let mut times: Vec<_> = lines[1..].iter().map(|line| line[0]).collect();
    times.dedup();
    assert!(times.len() >= 3, "{}", tail.out);

    let signed_in = ["--email", &operator.email, "--password-stdin", "tail", "--json", "--count", "2"];
    let tail = ops(&app, None, &signed_in).await;
    let frames: Vec<Value> = tail.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(frames.len() == 2 && frames.iter().all(|frame| frame["type"] == "stats"), "{}", tail.out);
    assert_eq!(frames[1]["connections"], 1);
    assert_eq!(run(&app, &operator, &["tail", "--count", "0"]).await.code, Some(2));
    socket.close().await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn tail_prints_operator_actions_until_its_reader_leaves() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let mut plain = Tail::start(&app.url, &operator.access_token, &[]);
    let mut as_json = Tail::start(&app.url, &operator.access_token, &["--json"]);
    plain.line(|line| line.as_bytes()[2] == b':').await;
    as_json.line(|line| line.contains("\"stats\"")).await;
    let told = app.post("/api/v1/notices", Some(&operator), &json!({"message": "Tea time."})).await;
    assert_eq!(told.0, 200, "{}", told.1);
    let line = plain.line(|line| line.contains("audit: ")).await;
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[1..5], ["audit:", &operator.email, "notice", "done"], "{line}");
    let line = as_json.line(|line| line.contains("\"audit\"")).await;
    let frame: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&frame["type"], &frame["entries"][0]["action"]), (&json!("audit"), &json!("notice")));

    plain.interrupt();
    let (code, err, _) = plain.ended().await;
    assert_eq!((code, err.as_str()), (Some(0), ""));
    as_json.lines = None;
    let (code, err, _) = as_json.ended().await;
    assert_eq!((code, err.as_str()), (Some(0), ""));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn tail_follows_a_connection_until_it_closes() {
    const SECRET: &str = "the walrus sings at midnight";
    let app = TestApp::scripted(30, 10).await;
    let (user, operator) = (app.user().await, app.operator().await);
    let mut chat = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let id = connection_of(&app, &operator, &user).await;
    let mut tail = Tail::start(&app.url, &operator.access_token, &[&id]);
    let counted = Tail::start(&app.url, &operator.access_token, &[&id, "--json", "--count", "1"]);
    // Nothing is said before something passes: only frames that come after the watch has begun are told.
    let mut asked = 0;
    let (mut told, mut passed) = (String::new(), false);
    while !passed {
        asked += 1;
        chat.send(json!({"type": "ping", "id": asked})).await;
        chat.expect("pong").await;
        let soon = timeout(Duration::from_millis(500), tail.line(|line| line.contains("pong")));
        passed = soon.await.is_ok();
        assert!(asked < 60, "nothing is told");
    }
    let frame = json!({"type": "message", "message": SECRET});
    let bytes = frame.to_string().len().to_string();
    let answer = chat.turn(frame).await;
    let message = tail.line(|line| line.contains("message")).await;
    let words: Vec<_> = message.split_whitespace().collect();
    assert_eq!(words[1..], ["in", "message", &bytes, "-"], "{message}");
    let last = answer.tokens.last().unwrap()["seq"].to_string();
    let is_last = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        words[1..3] == ["out", "token"] && words[4] == last
    };
    told.push_str(&tail.line(is_last).await);
    chat.close().await;
    let (code, err, rest) = tail.ended().await;
    told.push_str(&rest.concat());
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains(&format!("the connection {id} has ended")), "{err}");
    assert!(!told.contains("walrus"), "{told}");

    let (code, err, lines) = counted.ended().await;
    assert_eq!((code, lines.len()), (Some(0), 1), "{err}");
    let frames: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&frames["type"], &frames["connection_id"]), (&json!("frames"), &json!(id)));
    let gone = run(&app, &operator, &["tail", &id]).await;
    assert_eq!((gone.code, gone.out.as_str()), (Some(1), ""));
    assert!(gone.err.contains(&format!("there is no connection {id}")), "{}", gone.err);
    let no_id = run(&app, &operator, &["tail", "x"]).await;
    assert!(no_id.code == Some(2) && no_id.err.contains("`switchboard ops connections`"), "{}", no_id.err);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn tail_reports_a_missing_role() {
    let app = TestApp::start().await;
    let (user, operator) = (app.user().await, app.operator().await);
    assert_eq!(ops(&app, None, &["tail"]).await.code, Some(2));
    let refused = run(&app, &user, &["tail"]).await;
    assert!(refused.code == Some(1) && refused.out.is_empty() && refused.err.contains("FORBIDDEN"), "{}", refused.err);
    assert!(refused.err.contains("switchboard user set-role EMAIL operator"), "{}", refused.err);
    assert!(!refused.err.contains("expire"), "{}", refused.err);
    let forged = ops(&app, Some("x.y.z"), &["tail"]).await;
    assert!(forged.code == Some(1) && forged.err.contains("INVALID_TOKEN") && !forged.err.contains("x.y.z"));
    // The warning of the end is answered with nothing, for there is nothing newer.
    let (code, err, lines) = Tail::start(&app.url, &operator_token(&operator, 4), &[]).ended().await;
    assert!(code == Some(1) && err.contains("4401") && err.contains("signed out"), "{code:?} {err}");
    assert!(lines.len() >= 2, "{lines:?}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn tail_ends_with_the_server() {
    let program = Program::start(&[]);
    let operator = program.operator().await;
    let url = program.url.clone();
    let mut tail = Tail::start(&url, &operator.access_token, &[]);
    tail.line(|line| line.starts_with("TIME")).await;
    drop(program);
    let (code, err, _) = tail.ended().await;
    assert!(code == Some(1) && err.contains("lost the connection to the server"), "{code:?} {err}");
    let (code, err, _) = Tail::start(&url, &operator.access_token, &[]).ended().await;
    assert!(code == Some(1) && err.contains("cannot reach the server"), "{code:?} {err}");
}
