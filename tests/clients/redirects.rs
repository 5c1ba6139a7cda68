//! A server that redirects gets what was sent to it; the target of the redirect gets nothing.

use crate::harness::PASSWORD;
use assert_cmd::Command;
use std::sync::{Arc, Mutex};
use switchboard_client::{Account, Client, ClientError, Connector};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// A server that answers every request with `answer`, and keeps what it was sent.
async fn server(answer: String) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&received);
    actix_web::rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            log.lock().unwrap().extend_from_slice(&buffer[..read]);
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (format!("http://{address}"), received)
}

/// A server that redirects every request with `status` to a path below `target`.
async fn redirecting(status: u16, target: &str) -> String {
    let answer = format!("HTTP/1.1 {status} Elsewhere\r\nlocation: {target}/elsewhere\r\ncontent-length: 0\r\n\r\n");
    server(answer).await.0
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn credentials_do_not_follow_a_redirect() {
    let (target, received) = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned()).await;
    for status in [301, 302, 303, 307, 308] {
        let connector = Connector::new(&redirecting(status, &target).await).unwrap();
        let named = |error: ClientError| {
            assert!(error.to_string().contains(&format!("redirects to {target}/elsewhere")), "{status}: {error}");
        };
        named(Account::sign_in(&connector, "ada@example.org", PASSWORD).await.err().unwrap());
        named(Account::register(&connector, "Ada", "ada@example.org", PASSWORD).await.err().unwrap());
        let account = Account::from_token(&connector, "a.secret.token".to_owned());
        named(account.request(reqwest::Method::GET, "connections", None).await.err().unwrap());
        named(Client::connect(connector, Arc::new(account)).await.err().unwrap());
    }
    assert!(received.lock().unwrap().is_empty(), "{}", String::from_utf8_lossy(&received.lock().unwrap()));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_command_line_names_the_target_and_sends_it_nothing() {
    let (target, received) = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned()).await;
    let url = redirecting(307, &target).await;
    for arguments in [
        ["ops", "stats", "--token", "a.secret.token"].as_slice(),
        &["ops", "tail", "--token", "a.secret.token"],
        &["ops", "stats", "--email", "ada@example.org", "--password-stdin"],
        &["load", "-c", "2", "--token", "a.secret.token"],
        &["load", "-c", "2"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command.env_remove("SWITCHBOARD_TOKEN").args(arguments).args(["--url", &url]);
        command.write_stdin(format!("{PASSWORD}\n"));
        let output = actix_web::rt::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {err}");
        assert!(err.contains(&format!("redirects to {target}/elsewhere")), "{arguments:?}: {err}");
        assert!(!err.contains("a.secret.token") && !err.contains(PASSWORD), "{err}");
    }
    assert!(received.lock().unwrap().is_empty(), "{}", String::from_utf8_lossy(&received.lock().unwrap()));
}
