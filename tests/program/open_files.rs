//! The limit of open files, and what still works when clients hold all they may.

use super::{NO_SEED, Program, SCRIPTED, exchange};
use crate::harness::TestUser;
use serde_json::json;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::{net::TcpStream, process::Command};

const PATIENCE: Duration = Duration::from_secs(60);
const ONE_WORKER: (&str, &str) = ("SWITCHBOARD__SERVER__WORKERS", "1");

async fn get(program: &Program, path: &str, user: Option<&TestUser>) -> String {
    let token = user.map(|user| format!("Authorization: Bearer {}\r\n", user.access_token)).unwrap_or_default();
    exchange(program, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{token}\r\n")).await
}

#[tokio::test]
async fn the_soft_limit_is_raised_to_the_hard_one() {
    let folder = TempDir::new().unwrap();
    let program = Program::serve_after(folder.path(), "ulimit -Sn 100; ulimit -Hn 800", &[SCRIPTED, NO_SEED]).await;
    let page = get(&program, "/metrics", None).await;
    assert!(page.lines().any(|line| line == "process_max_fds 800"), "{page}");
    // It says that this is too little, with both numbers and what to do.
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    let warning = log.lines().find(|line| line.contains("limit of open files")).unwrap_or_else(|| panic!("{log}"));
    for words in ["is 800", "server.max_connections = 100000", "in reserve", "LimitNOFILE=", "ulimit"] {
        assert!(warning.contains(words), "{words} is not in {warning}");
    }
}

#[tokio::test]
async fn too_few_files_are_refused_at_the_start() {
    let folder = TempDir::new().unwrap();
    let mut command = super::shell(folder.path(), "ulimit -n 60", &[SCRIPTED, NO_SEED]);
    let output = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && text.contains("the limit of open files is 60"), "{text}");
    let mut check = Command::new("sh");
    check.args(["-c", r#"ulimit -n 60; exec "$0" config check"#, env!("CARGO_BIN_EXE_switchboard")]);
    let checked = super::prepared(check, folder.path(), &[SCRIPTED]).output().await.unwrap();
    let checked = (checked.status.code(), String::from_utf8_lossy(&checked.stderr).into_owned());
    assert!(checked.0 == Some(1) && text.ends_with(&checked.1), "{checked:?} {text}");
}

#[tokio::test]
async fn at_the_limit_health_operators_and_the_database_go_on() {
    let folder = TempDir::new().unwrap();
    let settings = [SCRIPTED, NO_SEED, ONE_WORKER, ("SWITCHBOARD__SERVER__REQUEST_HEAD_TIMEOUT_MS", "1000")];
    let mut program = Program::serve_after(folder.path(), "ulimit -n 160", &settings).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let operator = program.operator(folder.path(), "op@example.org").await;
    // Clients take all connections that they get.
    let mut sockets = Vec::new();
    loop {
        match program.socket().try_connect().await {
            Ok(socket) => sockets.push(socket),
            Err((status, body)) => {
                assert_eq!((status, &body["code"]), (503, &json!("OVERLOADED")), "{body}");
                break;
            }
        }
        assert!(sockets.len() < 160, "more sockets than files");
    }
    assert!(sockets.len() >= 40, "only {} sockets", sockets.len());

    assert!(get(&program, "/health", None).await.starts_with("HTTP/1.1 200"));
    assert!(get(&program, "/health/ready", None).await.starts_with("HTTP/1.1 200"), "the database cannot write");
    assert!(get(&program, "/metrics", None).await.contains("switchboard_connections"));
    for path in ["/ops", "/static/pages/ops/page.js"] {
        assert!(get(&program, path, None).await.starts_with("HTTP/1.1 200"), "{path}");
    }
    let refused = get(&program, "/api/v1/auth/me", Some(&user)).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.to_lowercase().contains("connection: close"), "{refused}");
    assert!(get(&program, "/api/v1/connections", Some(&operator)).await.starts_with("HTTP/1.1 200"));
    let login = json!({"email": "op@example.org", "password": crate::harness::PASSWORD}).to_string();
    let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", login.len());
    let login = format!("POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\n{head}\r\n{login}");
    assert!(exchange(&program, &login).await.starts_with("HTTP/1.1 200"));
    // A client that is there is served, and what it says is stored.
    let mut socket = sockets.pop().unwrap();
    socket.sign_in(&user).await;
    assert_eq!(socket.ask("Hello?").await.terminal["type"], "complete");

    // More connections than there are files, of peers that say nothing: they wait in the system's queue, and nobody spins.
    let address = program.url.strip_prefix("http://").unwrap().to_owned();
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(&address).await.unwrap());
    }
    let (began, before) = (Instant::now(), cpu_ticks(&program));
    tokio::time::sleep(Duration::from_millis(900)).await;
    let ticks = cpu_ticks(&program) - before;
    // A tick is 10 ms.
    assert!(ticks * 10 < began.elapsed().as_millis() as u64 / 2, "{ticks} ticks in {:?}", began.elapsed());
    // The silent ones go when their time is over, and the next health check is answered.
    let answer = tokio::time::timeout(PATIENCE, get(&program, "/health", None)).await.expect("nobody gets through");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop((sockets, silent, socket));
    program.terminate().await;
    assert_eq!(program.exit_code().await, Some(0));
}

/// Processor time that it has used, of users and the system.
fn cpu_ticks(program: &Program) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", program.child.id().unwrap())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
