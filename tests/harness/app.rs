//! The real server, as `switchboard serve` composes it, in a folder of its own.

use super::{eventually, raw_socket::RawSocket, socket::SocketBuilder, system::Server};
use assert_cmd::Command;
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use switchboard::{
    app::Application,
    config::{Config, LimitsConfig, ProviderKind, ScriptedConfig},
    registry::ConnectionRegistry,
    workflow::Turns,
};
use tempfile::TempDir;

/// Key with which the server signs its tokens.
pub const JWT_SECRET: &str = "the secret of the black-box tests";
pub const PASSWORD: &str = "correct horse battery staple";

/// Time that something may take that is not measured.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server. [`System`](super::System) checks it for leaks at the end of the test, and stops it.
pub struct TestApp {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    /// Its working folder.
    pub folder: Arc<TempDir>,
    pub http: reqwest::Client,
    server: Server,
    database_url: String,
}

/// State of a server that has to be gone once all clients are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leftovers {
    pub sessions: usize,
    pub running: usize,
    pub retained: usize,
}

/// A user with an account.
#[derive(Clone, Debug)]
pub struct TestUser {
    pub id: String,
    pub email: String,
    pub access_token: String,
    pub refresh_token: String,
}

impl TestApp {
    /// A server whose model says twenty tokens at once.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server whose model says `tokens` tokens, one each `interval_ms`.
    pub async fn scripted(tokens: u32, interval_ms: u64) -> Self {
        Self::with(|config| {
            config.provider.scripted = ScriptedConfig { tokens, interval_ms, ..ScriptedConfig::default() };
        })
        .await
    }

    /// A server with other settings.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = TempDir::new().unwrap();
        let mut config = Config::default();
        config.server.port = 0;
        config.server.workers = 1;
        config.data_dir = folder.path().join("data");
        config.auth.jwt_secret = Some(JWT_SECRET.into());
        config.database.url = format!("sqlite://{}", folder.path().join("data/switchboard.db").display());
        config.provider.kind = ProviderKind::Scripted;
        config.provider.scripted.interval_ms = 0;
        // Loading the documents takes longer than most tests; those that need them switch it on.
        config.knowledge.seed = false;
        // The program that runs is the tests, which read no documents.
        config.knowledge.extract_program = Some(env!("CARGO_BIN_EXE_switchboard").into());
        // Tests come from one address, and faster than people.
        config.limits = LimitsConfig {
            logins_per_minute_per_address: 0,
            logins_per_minute_per_account: 0,
            registrations_per_minute_per_address: 0,
            frames_per_s: 0,
            requests_per_s_per_user: 0,
            requests_per_s_per_address: 0,
            ..LimitsConfig::default()
        };
        change(&mut config);
        let database_url = config.database.url.clone();
        let application = Application::build(config).await.unwrap();
        let url = format!("http://{}", application.address());
        let server = Server::new(application.handle(), folder);
        actix::spawn(application.run());
        Self { url, folder: Arc::clone(&server.folder), http: reqwest::Client::new(), server, database_url }
    }

    /// Waits until no client is connected by WebSocket and no turn runs.
    pub async fn idle(&self) {
        self.server.idle(PATIENCE).await;
    }

    /// Stops the server with whatever is running, as a signal does.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Lets the time pass for which a used refresh token returns the same tokens.
    pub fn pass_refresh_grace(&self) {
        let path = self.database_url.trim_start_matches("sqlite://");
        SqliteConnection::establish(path)
            .unwrap()
            .batch_execute(
                "PRAGMA busy_timeout = 20000; UPDATE used_refresh_tokens SET running_ms = running_ms - 10001;",
            )
            .unwrap();
    }

    /// Where its database is: another server can go on with it.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Signs in to an account that is there.
    pub async fn sign_in(&self, email: &str, password: &str) -> TestUser {
        let (status, answer) =
            self.post("/api/v1/auth/login", None, &json!({"email": email, "password": password})).await;
        assert_eq!(status, 200, "{answer}");
        TestUser::from_answer(&answer)
    }

    /// A new account, signed in.
    pub async fn user(&self) -> TestUser {
        self.user_called("Ada").await
    }

    /// A new account with this name, signed in.
    pub async fn user_called(&self, name: &str) -> TestUser {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let email = format!("user{}@example.org", COUNT.fetch_add(1, Ordering::Relaxed));
        let body = json!({"email": email, "password": PASSWORD, "name": name});
        let (status, answer) = self.post("/api/v1/auth/register", None, &body).await;
        assert_eq!(status, 201, "{answer}");
        TestUser::from_answer(&answer)
    }

    /// A new account with the role `operator`, given by the program itself, as on a shell.
    pub async fn operator(&self) -> TestUser {
        let user = self.user().await;
        self.set_role(&user, "operator");
        let body = json!({"email": user.email, "password": PASSWORD});
        let (status, answer) = self.post("/api/v1/auth/login", None, &body).await;
        assert_eq!(status, 200, "{answer}");
        TestUser::from_answer(&answer)
    }

    /// Changes what somebody may do, by the program itself, as on a shell.
    pub fn set_role(&self, user: &TestUser, role: &str) {
        Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .current_dir(self.folder.path())
            .args(["user", "set-role", &user.email, role, "--database-url", &self.database_url])
            .assert()
            .success();
    }

    /// `switchboard user lock` or `unlock`, by the program itself, as on a shell.
    pub fn user_command(&self, command: &str, user: &TestUser) {
        Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .current_dir(self.folder.path())
            .args(["user", command, &user.email, "--database-url", &self.database_url])
            .assert()
            .success();
    }

    /// Sets a new password, by the program itself, as on a shell.
    pub fn set_password(&self, user: &TestUser, password: &str) {
        Command::new(env!("CARGO_BIN_EXE_switchboard"))
            .current_dir(self.folder.path())
            .args(["user", "set-password", &user.email, "--password-stdin", "--database-url", &self.database_url])
            .write_stdin(format!("{password}\n"))
            .assert()
            .success();
    }

    pub async fn get(&self, path: &str, user: Option<&TestUser>) -> (u16, Value) {
        self.request(reqwest::Method::GET, path, user, None).await
    }

    pub async fn post(&self, path: &str, user: Option<&TestUser>, body: &Value) -> (u16, Value) {
        self.request(reqwest::Method::POST, path, user, Some(body)).await
    }

    pub async fn patch(&self, path: &str, user: Option<&TestUser>, body: &Value) -> (u16, Value) {
        self.request(reqwest::Method::PATCH, path, user, Some(body)).await
    }

    pub async fn delete(&self, path: &str, user: Option<&TestUser>) -> (u16, Value) {
        self.request(reqwest::Method::DELETE, path, user, None).await
    }

    async fn request(
        &self,
        method: reqwest::Method,
        path: &str,
        user: Option<&TestUser>,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(user) = user {
            request = request.bearer_auth(&user.access_token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let value =
            if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        (status, value)
    }

    /// Statistics of the connections, as operators see them, once they satisfy a condition.
    pub async fn stats_when(&self, operator: &TestUser, is_right: impl Fn(&Value) -> bool) -> Value {
        self.get_when("/api/v1/connections/stats", operator, is_right).await
    }

    /// Asks for something until the answer is right.
    pub async fn get_when(&self, path: &str, user: &TestUser, is_right: impl Fn(&Value) -> bool) -> Value {
        eventually(async || {
            let (status, answer) = self.get(path, Some(user)).await;
            assert_eq!(status, 200, "{answer}");
            if is_right(&answer) { Ok(answer) } else { Err(answer) }
        })
        .await
    }

    /// The messages of a conversation, as its owner reads them.
    pub async fn history(&self, user: &TestUser, conversation_id: &str) -> Vec<Value> {
        let (status, answer) = self.get(&format!("/api/v1/conversations/{conversation_id}/messages"), Some(user)).await;
        assert_eq!(status, 200, "{answer}");
        answer["messages"].as_array().unwrap().clone()
    }

    /// Lets go of the logs that are older than their retention, and tells what is left of everything.
    pub async fn sweep(&self) -> Leftovers {
        self.server.handle.turns.sweep();
        let turns = self.server.handle.turns.stats();
        let sessions = self.server.handle.registry.stats().await.unwrap().sessions;
        Leftovers { sessions, running: turns.running_turns, retained: turns.retained_turns }
    }

    /// The server's own table of turns.
    pub fn turns(&self) -> Arc<Turns> {
        Arc::clone(&self.server.handle.turns)
    }

    /// A connection that writes its own frames.
    pub async fn raw_socket(&self) -> RawSocket {
        RawSocket::connect(&self.url).await
    }

    /// An operators' socket that is yet to connect.
    pub fn ops_socket(&self) -> SocketBuilder {
        SocketBuilder::at(&self.url, "/ws/ops")
    }

    /// A socket that is yet to connect.
    pub fn socket(&self) -> SocketBuilder {
        SocketBuilder::new(&self.url)
    }
}

impl TestUser {
    pub fn from_answer(answer: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            id: text(&answer["user"]["id"]),
            email: text(&answer["user"]["email"]),
            access_token: text(&answer["access_token"]),
            refresh_token: text(&answer["refresh_token"]),
        }
    }
}
