//! The configurations of `docs/PROXIES.md`, as they stand there, run by the real nginx, HAProxy and Caddy in front of the real
//! server. Only ports, names, certificates and time-outs are others.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails its test by panicking")]

mod proxy;

use crate::harness::{PASSWORD, Program, SocketBuilder, TestSocket, TestUser};
use assert_cmd::Command;
use proxy::{Kind, Proxy};
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Address that may read the metrics, which shows what address the server takes a client for.
const ALLOWED: &str = "127.0.0.77";
/// A client of another address.
const CLIENT: &str = "127.0.0.2";
/// The time-outs of the proxies in these tests, in place of 610 seconds.
const TIMEOUT: &str = "3s";

/// A server as the page says, that pings each second, and a proxy in front.
struct Served {
    proxy: Proxy,
    server: Program,
}

impl Served {
    async fn by(kind: Kind) -> Self {
        let allowed = format!("[\"{ALLOWED}\"]");
        let server = Program::start(&[
            ("server.trusted_proxies", r#"["127.0.0.1", "::1"]"#),
            ("server.allowed_hosts", r#"["chat.example.org"]"#),
            ("metrics.allowed_addresses", &allowed),
            ("session.heartbeat_interval_s", "1"),
            ("session.heartbeat_timeout_s", "5"),
        ]);
        let proxy = Proxy::start(kind, &server.url).await;
        Self { proxy, server }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.proxy.url)
    }

    /// Uploads a document through the proxy; the status.
    async fn upload(&self, operator: &TestUser, bytes: usize) -> u16 {
        // A picture: large to send and quick to read, as the time-outs are short here.
        let picture = "iVBORw0K".repeat(bytes / 8);
        let text = format!("# Clamp\n\nThe torque is 17 Nm.\n\n![](data:image/png;base64,{picture})\n");
        let form = format!(
            "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"clamp.md\"\r\n\r\n{text}\r\n--x--\r\n"
        );
        let request = reqwest::Client::new().post(self.url("/api/v1/documents")).bearer_auth(&operator.access_token);
        let response = request.header("Content-Type", "multipart/form-data; boundary=x").body(form).send().await;
        response.unwrap().status().as_u16()
    }

    /// The status of `/metrics` for a client at `address` that says it is somebody else.
    async fn metrics(&self, address: &str, forged: Option<&str>) -> u16 {
        let client = reqwest::Client::builder().local_address(Some(address.parse().unwrap())).build().unwrap();
        let mut headers = HeaderMap::new();
        if let Some(forged) = forged {
            headers.append("x-forwarded-for", HeaderValue::from_str(forged).unwrap());
            headers.append("x-real-ip", HeaderValue::from_str(forged).unwrap());
        }
        client.get(self.url("/metrics")).headers(headers).send().await.unwrap().status().as_u16()
    }

    async fn socket(&self, user: &TestUser) -> TestSocket {
        SocketBuilder::new(&self.proxy.url).subprotocols("chat.v2").signed_in(user).await
    }
}

async fn a_turn_over_a_websocket(served: &Served) {
    let user = served.server.user().await;
    let mut socket = served.socket(&user).await;
    let script = json!({"script": {"tokens": 100, "interval_ms": 1}});
    let turn = socket.turn(json!({"type": "message", "message": "Hi", "metadata": script})).await;
    let words = turn.text.split_whitespace().count();
    assert_eq!((turn.terminal["type"].as_str(), words), (Some("complete"), 100), "{}", turn.terminal);

    // Nothing is asked for longer than the proxy's time-out; the server's pings keep the connection.
    let until = Instant::now() + Duration::from_secs(5);
    assert_eq!(socket.next_before(until).await, None, "the idle connection said something");
    let turn = socket.turn(json!({"type": "message", "message": "Still there?"})).await;
    assert_eq!(turn.terminal["type"], "complete");
    socket.close().await;
}

/// The turn would take minutes: that its first token arrives, and its end after it was cancelled, shows that nothing is held
/// back.
async fn an_event_stream_unbuffered(served: &Served) {
    let user = served.server.user().await;
    let body = json!({"message": "A long one", "metadata": {"script": {"tokens": 20_000, "interval_ms": 20}}});
    let client = reqwest::Client::new();
    let request = client.post(served.url("/api/v1/chat")).bearer_auth(&user.access_token).json(&body);
    let mut response = request.header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut events = String::new();
    while !events.contains(r#""type":"token""#) {
        let chunk = response.chunk().await.unwrap().expect("the stream ended before its first token");
        events.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let id = events.split("id: ").nth(1).unwrap().split(':').next().unwrap();
    let cancel = client.post(served.url(&format!("/api/v1/chat/{id}/cancel"))).bearer_auth(&user.access_token);
    assert_eq!(cancel.send().await.unwrap().status(), 200);
    while let Some(chunk) = response.chunk().await.unwrap() {
        events.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert!(events.contains(r#""finish_reason":"cancelled""#), "{}", &events[events.len().saturating_sub(500)..]);
}

async fn the_address_of_the_client(served: &Served) {
    assert_eq!(served.metrics(ALLOWED, None).await, 200, "the server does not see the client's address");
    for forged in [ALLOWED, "127.0.0.77, 127.0.0.77", "127.0.0.77, 127.0.0.1", "[::1]", "unknown", "127.0.0.77,"] {
        assert_eq!(served.metrics(CLIENT, Some(forged)).await, 403, "a client may claim to be {forged:?}");
        assert_eq!(served.metrics(ALLOWED, Some(forged)).await, 200, "{forged:?}");
    }
    let operator = served.server.operator().await;
    let builder =
        SocketBuilder::new(&served.proxy.url).from(CLIENT.parse().unwrap()).header("x-forwarded-for", ALLOWED);
    let socket = builder.signed_in(&operator).await;
    let request = reqwest::Client::new().get(served.url("/api/v1/connections")).bearer_auth(&operator.access_token);
    let connections: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(connections["connections"][0]["address"], CLIENT, "{connections}");
    socket.close().await;
}

async fn the_name_of_the_server(served: &Served, kind: Kind) {
    let ask =
        |host: &'static str| reqwest::Client::new().get(served.url("/api/v1/auth/me")).header("host", host).send();
    assert_eq!(ask("chat.example.org").await.unwrap().status(), 401, "the server does not know its name");
    let status = ask("evil.example").await.unwrap().status();
    // Caddy serves the sites that it knows, and has an empty page for others.
    assert_eq!(status, if matches!(kind, Kind::Caddy) { 200 } else { 421 });
}

async fn everything(kind: Kind) {
    let served = Served::by(kind).await;
    the_name_of_the_server(&served, kind).await;
    a_turn_over_a_websocket(&served).await;
    an_event_stream_unbuffered(&served).await;
    the_address_of_the_client(&served).await;
    let operator = served.server.operator().await;
    assert_eq!(served.upload(&operator, 1_200_000).await, 201, "an upload does not pass");
    let head = reqwest::Client::new().head(served.url("/health/ready")).send().await.unwrap();
    assert_eq!(head.status(), 200);
    over_tls(&served).await;
}

/// REST and WebSocket over TLS: the load generator verifies every answer.
async fn over_tls(served: &Served) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.env("SSL_CERT_FILE", &served.proxy.certificate).env_remove("SSL_CERT_DIR").env_remove("SWITCHBOARD_TOKEN");
    command.args(["load", "-c", "4", "--users", "1", "--tokens", "20", "--interval-ms", "1"]);
    command.args(["--url", &served.proxy.secure_url.replacen("https", "wss", 1)]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("4 verified by seq and SHA-256, 0 wrong"), "{text}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn nginx_as_documented() {
    everything(Kind::Nginx).await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn haproxy_as_documented() {
    everything(Kind::Haproxy).await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn caddy_as_documented() {
    everything(Kind::Caddy).await;
}

#[test]
fn the_settings_of_the_server_are_accepted() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("default.toml"), proxy::block("toml")).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    check.current_dir(folder.path()).args(["config", "check", "--config-dir", "."]).assert().success();
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_body_that_is_too_large_is_refused_by_the_proxy_or_the_server() {
    for kind in [Kind::Nginx, Kind::Haproxy, Kind::Caddy] {
        let served = Served::by(kind).await;
        let request = reqwest::Client::new().post(served.url("/api/v1/auth/login")).json(&json!({
            "email": "ada@example.org", "password": PASSWORD, "filler": "x".repeat(12_000_000)
        }));
        // The connection may be closed while the client still sends.
        if let Ok(response) = request.send().await {
            // nginx has a limit of its own. The others pass the body on, and say 502 when the server has refused it and closed
            // the connection before they have read why.
            let status = response.status().as_u16();
            let is_cut_off = status == 502 && !matches!(kind, Kind::Nginx);
            assert!(status == 413 || is_cut_off, "{kind:?}: {status}");
        }
    }
}
