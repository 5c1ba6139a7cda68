//! Readers of HTTP answers that are slow when the server is asked to stop.

use super::{NO_SEED, Program, SCRIPTED};
use crate::harness::{TestUser, eventually, holds};
use serde_json::json;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A connection of which the kernel keeps little that was not read.
async fn connect(program: &Program) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(program.url.strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap()
}

/// Asks for an answer of 400 KB as events, and reads nothing of it.
async fn ask(program: &Program, user: &TestUser) -> TcpStream {
    let script = json!({"script": {"tokens": 400, "interval_ms": 0, "token_bytes": 1000}});
    let body = json!({"message": "Hi", "metadata": script}).to_string();
    let request = format!(
        "POST /api/v1/chat HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nAccept: text/event-stream\r\n\
         Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        user.access_token,
        body.len()
    );
    let mut stream = connect(program).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Waits until `turns` turns have ended.
async fn turns_ended(program: &Program, turns: usize) {
    eventually(async || {
        let page = reqwest::get(format!("{}/metrics", program.url)).await.unwrap().text().await.unwrap();
        let ended: f64 = page
            .lines()
            .filter(|line| line.starts_with("switchboard_turns_ended_total{"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        holds(ended as usize == turns, format!("{ended} of {turns} turns have ended"))
    })
    .await;
}

/// Reads slowly to the end.
async fn read_slowly(mut stream: TcpStream) -> String {
    let (mut answer, mut bytes) = (Vec::new(), vec![0; 16 * 1024]);
    while let Ok(read @ 1..) = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await.expect("no end") {
        answer.extend_from_slice(&bytes[..read]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn slow_readers_get_their_last_event() {
    let folder = TempDir::new().unwrap();
    let mut program = Program::serve(folder.path(), &[SCRIPTED, NO_SEED]).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let mut readers = Vec::new();
    for _ in 0..4 {
        readers.push(ask(&program, &user).await);
    }
    // Answers of another route, more of them than the kernel keeps.
    let mut page = connect(&program).await;
    for _ in 0..8 {
        page.write_all(b"GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    }
    turns_ended(&program, 4).await;
    program.terminate().await;
    let pages = tokio::spawn(read_slowly(page));
    for reader in readers {
        // One after the other: the last one is far behind when the first has all.
        let answer = read_slowly(reader).await;
        assert!(answer.contains("\"type\":\"complete\"") && answer.ends_with("0\r\n\r\n"), "{}", &answer[..200]);
    }
    let pages = pages.await.unwrap();
    let lengths: Vec<usize> = pages.split("HTTP/1.1 200 OK").skip(1).map(str::len).collect();
    assert!(lengths.len() == 8 && lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
    assert_eq!(program.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_reader_that_never_reads_does_not_keep_the_server_from_ending() {
    let folder = TempDir::new().unwrap();
    let settings = [SCRIPTED, NO_SEED, ("SWITCHBOARD__SERVER__DRAIN_TIMEOUT_S", "1")];
    let mut program = Program::serve(folder.path(), &settings).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let reader = ask(&program, &user).await;
    turns_ended(&program, 1).await;
    let asked = Instant::now();
    program.terminate().await;
    assert_eq!(program.exit_code().await, Some(0));
    let took = asked.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(17), "{took:?}");
    drop(reader);
}
