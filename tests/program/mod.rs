//! `switchboard serve` as a process: where it says it is, what it logs, and how it ends and begins again.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails its test by panicking")]

mod backup;
mod life;
mod log_reader;
mod logs;
mod open_files;
mod pauses;
mod slow_readers;
mod warnings;

use crate::harness::{PASSWORD, SocketBuilder, TestUser};
use serde_json::{Value, json};
use std::{path::Path, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

pub const SCRIPTED: (&str, &str) = ("SWITCHBOARD__PROVIDER__KIND", "scripted");
pub const NO_SEED: (&str, &str) = ("SWITCHBOARD__KNOWLEDGE__SEED", "false");

const PATIENCE: Duration = Duration::from_secs(20);

/// A running `switchboard serve`; it is killed with the test.
pub struct Program {
    pub url: String,
    pub child: Child,
}

fn command(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.args(arguments);
    prepared(command, folder, settings)
}

/// In a folder of its own, with these settings and no others.
fn prepared(mut command: Command, folder: &Path, settings: &[(&str, &str)]) -> Command {
    command.current_dir(folder).env_remove("RUST_LOG").kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SWITCHBOARD__") {
            command.env_remove(name);
        }
    }
    command.envs(settings.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `switchboard serve` in a shell, after this script.
fn shell(folder: &Path, script: &str, settings: &[(&str, &str)]) -> Command {
    let mut shell = Command::new("sh");
    let script = format!(r#"{script}; exec "$0" serve --port 0"#);
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_switchboard")]);
    prepared(shell, folder, settings)
}

/// Sends a request on a connection of its own, and returns the answer once it is whole or the connection ends.
async fn exchange(program: &Program, request: &str) -> String {
    let mut stream = TcpStream::connect(program.url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut answer, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        let read = timeout(PATIENCE, stream.read(&mut bytes)).await.expect("no answer").unwrap();
        answer.extend_from_slice(&bytes[..read]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let is_whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            length.is_some_and(|length: usize| body.len() >= length)
        });
        if read == 0 || is_whole {
            return text;
        }
    }
}

impl Program {
    pub async fn serve(folder: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start(folder, command(folder, &["serve", "--port", "0"], settings)).await
    }

    /// The same; a file that may not grow does not end it, as a full disk does not.
    pub async fn serve_with_limited_files(folder: &Path, settings: &[(&str, &str)]) -> Self {
        // A signal that is ignored stays ignored.
        Self::serve_after(folder, r#"trap "" XFSZ"#, settings).await
    }

    /// The same, after a shell has done something, such as set a limit.
    pub async fn serve_after(folder: &Path, script: &str, settings: &[(&str, &str)]) -> Self {
        Self::start(folder, shell(folder, script, settings)).await
    }

    /// A new account with the role `operator`, signed in.
    pub async fn operator(&self, folder: &Path, email: &str) -> TestUser {
        self.sign_in("register", email).await;
        let output = command(folder, &["user", "set-role", email, "operator"], &[]).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.sign_in("login", email).await
    }

    /// The same; its log goes to `log`.
    pub async fn serve_logging_to(folder: &Path, log: impl Into<Stdio>, settings: &[(&str, &str)]) -> Self {
        Self::spawn(folder, command(folder, &["serve", "--port", "0"], settings), log.into()).await
    }

    async fn start(folder: &Path, command: Command) -> Self {
        let log = std::fs::File::create(folder.join("log")).unwrap();
        Self::spawn(folder, command, log.into()).await
    }

    async fn spawn(folder: &Path, mut command: Command, log: Stdio) -> Self {
        let mut child = command.stderr(log).spawn().unwrap();
        // It holds its own copy of what the log goes to: a pipe would never end otherwise.
        drop(command);
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        timeout(PATIENCE, out.read_line(&mut line)).await.expect("it does not say where it is").unwrap();
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .unwrap_or_else(|| panic!("no address in {line:?}: {:?}", std::fs::read_to_string(folder.join("log"))));
        Self { url: url.trim_end_matches('/').to_owned(), child }
    }

    /// Asks it to stop, as a service manager does.
    pub async fn terminate(&mut self) {
        self.signal("TERM").await;
    }

    /// Sends it a signal, such as `HUP`.
    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().await.unwrap().success());
    }

    /// Its exit code.
    pub async fn exit_code(&mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait()).await.expect("it does not end").unwrap().code()
    }

    pub async fn post(&self, path: &str, user: Option<&TestUser>, body: &Value) -> (u16, Value) {
        let mut request = reqwest::Client::new().post(format!("{}{path}", self.url)).json(body);
        if let Some(user) = user {
            request = request.bearer_auth(&user.access_token);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub async fn get(&self, path: &str, user: &TestUser) -> (u16, Value) {
        let request = reqwest::Client::new().get(format!("{}{path}", self.url)).bearer_auth(&user.access_token);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub async fn sign_in(&self, how: &str, email: &str) -> TestUser {
        let (status, answer) =
            self.post(&format!("/api/v1/auth/{how}"), None, &json!({"email": email, "password": PASSWORD})).await;
        assert!(status < 300, "{answer}");
        TestUser::from_answer(&answer)
    }

    pub fn socket(&self) -> SocketBuilder {
        SocketBuilder::new(&self.url)
    }
}

/// The exit code and the error output of a start that must fail.
async fn refused(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut child = command(folder, arguments, settings).spawn().unwrap();
    let mut text = String::new();
    timeout(PATIENCE, child.stderr.take().unwrap().read_to_string(&mut text)).await.expect("it goes on").unwrap();
    (child.wait().await.unwrap().code(), text)
}
