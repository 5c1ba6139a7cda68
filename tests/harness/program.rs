//! The program itself, as a process of its own.

use super::{PASSWORD, TestUser, eventually, eventually_within, socket::SocketBuilder};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// Time limit for the program to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `switchboard serve`. Dropping it kills it.
pub struct Program {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    child: Child,
    folder: TempDir,
}

impl Program {
    /// With a scripted model and these settings: names as in `session.coalesce_ms`.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let fixed = [("provider.kind", "scripted"), ("knowledge.seed", "false"), ("server.workers", "1")];
        Self::with(fixed.iter().chain(settings).copied())
    }

    /// With the default configuration: only the port is another, so that tests can run side by side.
    pub fn with_defaults() -> Self {
        Self::with([])
    }

    fn with<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let folder = TempDir::new().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command.current_dir(folder.path()).args(["serve", "--port", "0"]).stdout(Stdio::piped()).stderr(log);
        for (key, value) in settings {
            command.env(format!("SWITCHBOARD__{}", key.to_uppercase().replace('.', "__")), value);
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("an address").to_owned();
        Self { url: url.trim_end_matches('/').to_owned(), child, folder }
    }

    /// A new account, signed in.
    pub async fn user(&self) -> TestUser {
        let email = format!("{}@example.org", uuid::Uuid::now_v7());
        let request = reqwest::Client::new().post(format!("{}/api/v1/auth/register", self.url));
        let answer = request.json(&json!({"email": email, "password": PASSWORD, "name": "Ada"})).send().await.unwrap();
        TestUser::from_answer(&answer.json::<Value>().await.unwrap())
    }

    /// A new account with the role `operator`, signed in.
    pub async fn operator(&self) -> TestUser {
        let user = self.user().await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command.current_dir(self.folder.path()).args(["user", "set-role", &user.email, "operator"]);
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
        let request = reqwest::Client::new().post(format!("{}/api/v1/auth/login", self.url));
        let answer = request.json(&json!({"email": user.email, "password": PASSWORD})).send().await.unwrap();
        TestUser::from_answer(&answer.json::<Value>().await.unwrap())
    }

    /// The log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The same, once it is as it should be: lines are written by a thread of their own.
    pub async fn log_when(&self, is_right: impl Fn(&str) -> bool) -> String {
        eventually(async || {
            let log = self.log();
            if is_right(&log) { Ok(log) } else { Err(log) }
        })
        .await
    }

    pub fn socket(&self) -> SocketBuilder {
        SocketBuilder::new(&self.url)
    }

    /// Memory in use, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most memory in use since [`Self::reset_peak_resident_bytes`], in bytes.
    pub fn peak_resident_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// Forgets how much memory was in use at most, and returns how much is now, in bytes.
    pub fn reset_peak_resident_bytes(&self) -> u64 {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
        self.resident_bytes()
    }

    fn status_bytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its working folder.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Files and connections that it has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    pub fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for the end.
    pub async fn ended(&mut self) -> ExitStatus {
        eventually_within(PATIENCE, async || self.child.try_wait().unwrap().ok_or("it runs")).await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
