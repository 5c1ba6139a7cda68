//! A log whose reader has stopped reading or has gone, or whose disk is full.

use super::{NO_SEED, Program, SCRIPTED, command};
use crate::harness::{ReservedPort, eventually};
use serde_json::json;
use std::{
    io::{BufRead, BufReader, Write},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const TRACE: (&str, &str) = ("SWITCHBOARD__LOG__LEVEL", "trace");
const PATIENCE: Duration = Duration::from_secs(240);

/// The value of `switchboard_log_lines_lost_total`.
async fn lost_lines(http: &reqwest::Client, program: &Program) -> u64 {
    let page = http.get(format!("{}/metrics", program.url)).send().await.unwrap().text().await.unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("switchboard_log_lines_lost_total "));
    line.unwrap_or_else(|| panic!("no such metric in {page}")).parse().unwrap()
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_nothing() {
    let folder = TempDir::new().unwrap();
    let (reader, log) = std::io::pipe().unwrap();
    let mut program = Program::serve_logging_to(folder.path(), log, &[SCRIPTED, NO_SEED, TRACE]).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let (began, http) = (Instant::now(), reqwest::Client::new());
    let health = async || http.get(format!("{}/health", program.url)).send().await.unwrap().status();
    let mut lost = 0;
    while lost == 0 {
        let statuses = futures_util::future::join_all((0..100).map(|_| health())).await;
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        lost = lost_lines(&http, &program).await;
        assert!(began.elapsed() < PATIENCE, "no line was dropped");
    }
    let mut socket = program.socket().signed_in(&user).await;
    assert_eq!(socket.ask("Hello?").await.terminal["type"], "complete");

    // The reader goes on: the log says that lines are missing, and how many.
    let reading = std::thread::spawn(move || {
        let notice = BufReader::new(&reader).lines().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("dropped ")?;
            let (count, rest) = rest.split_once(' ')?;
            (rest == "log lines because the log's reader was too slow").then(|| count.parse::<u64>().unwrap())
        });
        (notice, reader)
    });
    while !reading.is_finished() {
        // It is a line of the log itself, and follows when there is something to log.
        assert_eq!(health().await, 200);
        assert!(began.elapsed() < PATIENCE, "nothing about lines that are missing");
    }
    let (dropped, reader) = reading.join().unwrap();
    assert!(dropped.is_some_and(|dropped| dropped >= lost), "{dropped:?} of {lost}");

    // Nobody reads again, and it is asked to end.
    program.terminate().await;
    assert_eq!(socket.expect_close().await, 1001);
    drop(socket);
    assert_eq!(program.exit_code().await, Some(0));
    drop(reader);
}

#[tokio::test]
async fn a_reader_that_has_gone_stops_nothing() {
    let folder = TempDir::new().unwrap();
    let (reader, log) = std::io::pipe().unwrap();
    let mut program = Program::serve_logging_to(folder.path(), log, &[SCRIPTED, NO_SEED, TRACE]).await;
    drop(reader);
    serves_and_ends(&mut program).await;
}

#[tokio::test]
async fn a_full_disk_for_the_log_stops_nothing() {
    let folder = TempDir::new().unwrap();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut program = Program::serve_logging_to(folder.path(), full, &[SCRIPTED, NO_SEED, TRACE]).await;
    serves_and_ends(&mut program).await;
}

async fn serves_and_ends(program: &mut Program) {
    let user = program.sign_in("register", "ada@example.org").await;
    let (status, answer) = program.post("/api/v1/chat", Some(&user), &json!({"message": "Hello?"})).await;
    assert_eq!(status, 200, "{answer}");
    assert!(lost_lines(&reqwest::Client::new(), program).await > 0);
    program.terminate().await;
    assert_eq!(program.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_full_stdout_does_not_keep_the_server_from_serving() {
    let folder = TempDir::new().unwrap();
    let (_reader, mut stdout) = std::io::pipe().unwrap();
    // As much as fits: the largest pipe that an ordinary user may have is smaller than this.
    let (filled, mut filling) = (std::sync::mpsc::channel(), stdout.try_clone().unwrap());
    std::thread::spawn(move || {
        while filling.write_all(&[b'x'; 4096]).is_ok() {
            let _ = filled.0.send(());
        }
    });
    while filled.1.recv_timeout(Duration::from_millis(500)).is_ok() {}
    stdout.flush().unwrap();
    let port = ReservedPort::new();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut serve = command(folder.path(), &["serve", "--port", &port.to_string()], &[SCRIPTED, NO_SEED]);
    let child = serve.stdout(stdout).stderr(log).spawn().unwrap();
    let mut program = Program { url: format!("http://127.0.0.1:{port}"), child };
    eventually(async || reqwest::get(format!("{}/health", program.url)).await).await;
    program.terminate().await;
    assert_eq!(program.exit_code().await, Some(0));
}
