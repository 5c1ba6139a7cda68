//! Signs of life.

use crate::harness::{TestApp, first};
use std::time::Instant;

async fn app() -> TestApp {
    TestApp::with(|config| {
        config.session.heartbeat_interval_s = 1;
        config.session.heartbeat_timeout_s = 2;
    })
    .await
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn silent_peer_is_closed_and_responding_peer_stays() {
    let app = app().await;
    let operator = app.operator().await;
    let mut silent = app.raw_socket().await;
    let mut alive = app.raw_socket().await;
    let opened = Instant::now();
    for _ in 0..3 {
        let ping = alive.next().await;
        assert_eq!(ping.first, first::PING);
        alive.send(first::PONG, &ping.payload).await;
    }
    // Answers with something else are signs of life, too.
    alive.send(first::TEXT, br#"{"type":"ping"}"#).await;
    assert_eq!(alive.next().await.payload, br#"{"type":"pong"}"#);

    assert_eq!(silent.next().await.first, first::PING);
    assert_eq!(silent.expect_close().await, 4408);
    assert!((2_000..4_500).contains(&opened.elapsed().as_millis()), "{:?}", opened.elapsed());
    let stats = app.stats_when(&operator, |stats| stats["connections"] == 1).await;
    assert_eq!((&stats["opened"], &stats["closed"]), (&2.into(), &1.into()));
    drop(alive);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_ping_is_answered_with_its_payload() {
    let app = TestApp::start().await;
    let mut socket = app.raw_socket().await;
    for payload in [&b""[..], b"hello", &[0xff; 125]] {
        socket.send(first::PING, payload).await;
        let pong = socket.next().await;
        assert_eq!((pong.first, &pong.payload[..]), (first::PONG, payload));
    }
    // A pong that nobody asked for is nothing.
    socket.send(first::PONG, b"unasked").await;
    socket.send(first::PING, b"next").await;
    assert_eq!(socket.next().await.payload, b"next");
    drop(socket);
}
