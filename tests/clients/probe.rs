//! A published client, driven by a test: `probe.mjs`, `probe.py`, and the same in Rust. Each says what it tells an application.

use super::{node, python, repository};
use serde_json::{Value, json};
use std::{process::Stdio, sync::Arc, time::Duration};
use switchboard_client::{Account, Client, ClientError, Connector, Question, Status};
use switchboard_protocol::Dialect;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub enum Language {
    JavaScript,
    Python,
    Rust,
}

/// When a connection is given up, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pub ping_after_ms: u64,
    pub pong_within_ms: u64,
}

impl Life {
    /// So that no connection is given up while a test looks.
    pub const LONG: Self = Self { ping_after_ms: 20_000, pong_within_ms: 10_000 };
}

pub struct Probe {
    language: Language,
    /// The client's latest line, for the message of a test that fails.
    latest: Value,
    questions: UnboundedSender<Value>,
    news: UnboundedReceiver<Value>,
    _child: Option<Child>,
    task: JoinHandle<()>,
}

impl Probe {
    /// With an access token that is never renewed.
    pub fn start(language: Language, url: &str, token: &str, life: Life) -> Self {
        Self::start_as(language, url, &json!({"access_token": token}), life)
    }

    /// With an account, as the server answers who registers.
    pub fn start_as(language: Language, url: &str, account: &Value, life: Life) -> Self {
        Self::start_in(Dialect::V2, language, url, account, life)
    }

    /// The same, in this dialect.
    pub fn start_in(dialect: Dialect, language: Language, url: &str, account: &Value, life: Life) -> Self {
        let (questions, asked) = unbounded_channel();
        let (said, news) = unbounded_channel();
        let mut command = match language {
            Language::JavaScript => node([repository("tests/clients/probe.mjs")]),
            Language::Python => {
                let mut command = Command::new(python());
                command.arg(repository("tests/clients/probe.py"));
                command
            }
            Language::Rust => {
                let mut connector = Connector::new(url).unwrap();
                connector.dialect = dialect;
                connector.ping_after = Duration::from_millis(life.ping_after_ms);
                connector.pong_within = Duration::from_millis(life.pong_within_ms);
                let text = |name: &str| account[name].as_str().unwrap_or_default().to_owned();
                let account = match account["expires_in"].as_u64() {
                    Some(life_s) => Account::from_tokens(
                        &connector,
                        text("access_token"),
                        text("refresh_token"),
                        Duration::from_secs(life_s),
                    ),
                    None => Account::from_token(&connector, text("access_token")),
                };
                let task = tokio::spawn(in_rust(connector, account, asked, said));
                return Self { language, latest: Value::Null, questions, news, _child: None, task };
            }
        };
        command
            .args([url, &account.to_string()])
            .args([life.ping_after_ms, life.pong_within_ms].map(|ms| ms.to_string()))
            .arg(dialect.subprotocol());
        command.kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let task = tokio::spawn(in_lines(child.stdin.take().unwrap(), child.stdout.take().unwrap(), asked, said));
        Self { language, latest: Value::Null, questions, news, _child: Some(child), task }
    }

    /// Asks a scripted model for so many tokens.
    pub fn ask(&self, tokens: u32, interval_ms: u32) {
        let metadata = json!({"script": {"tokens": tokens, "interval_ms": interval_ms}});
        self.questions.send(json!({"message": "Go on.", "metadata": metadata})).unwrap();
    }

    /// The same, with more fields of the question.
    pub fn ask_with(&self, tokens: u32, interval_ms: u32, fields: Value) {
        let metadata = json!({"script": {"tokens": tokens, "interval_ms": interval_ms}});
        let mut question = json!({"message": "Look ", "metadata": metadata});
        question.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.questions.send(question).unwrap();
    }

    /// Opens a conversation of which `last` is the last turn that is known.
    pub fn open(&self, last: &Value) {
        let place = json!({"session_id": last["session_id"], "turn_id": last["turn_id"], "last_seq": last["seq"]});
        self.questions.send(json!({"open": place})).unwrap();
    }

    /// The client's next line; changes of its status are skipped.
    pub async fn next(&mut self) -> Value {
        loop {
            let news = self.next_of_all().await;
            if news.get("status").is_none() {
                return news;
            }
        }
    }

    /// Waits for a status.
    pub async fn status(&mut self, is_wanted: impl Fn(&str, u64) -> bool) {
        loop {
            let news = self.next_of_all().await;
            let status = &news["status"];
            if status["state"].as_str().is_some_and(|state| is_wanted(state, status["attempt"].as_u64().unwrap())) {
                return;
            }
        }
    }

    async fn next_of_all(&mut self) -> Value {
        let (language, latest) = (self.language, &self.latest);
        let Ok(news) = timeout(PATIENCE, self.news.recv()).await else {
            panic!("the {language:?} client was silent for {PATIENCE:?} after {latest}");
        };
        let Some(news) = news else { panic!("the {language:?} client ended after {latest}") };
        self.latest = news.clone();
        news
    }

    /// Reads to the end of an answer, and returns its text and its code.
    pub async fn end(&mut self) -> (String, Value) {
        loop {
            let mut news = self.next().await;
            if let Some(end) = news.get_mut("end") {
                return (end["text"].as_str().unwrap().to_owned(), end["code"].take());
            }
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn in_lines(
    mut input: tokio::process::ChildStdin,
    output: tokio::process::ChildStdout,
    mut asked: UnboundedReceiver<Value>,
    said: UnboundedSender<Value>,
) {
    let mut lines = BufReader::new(output).lines();
    loop {
        tokio::select! {
            Some(question) = asked.recv() => input.write_all(format!("{question}\n").as_bytes()).await.unwrap(),
            line = lines.next_line() => match line.unwrap() {
                Some(line) => drop(said.send(serde_json::from_str(&line).unwrap())),
                None => return,
            },
        }
    }
}

async fn in_rust(
    connector: Connector,
    account: Account,
    mut asked: UnboundedReceiver<Value>,
    said: UnboundedSender<Value>,
) {
    let say = move |news| drop(said.send(news));
    let mut client = Client::connect(connector, Arc::new(account)).await.unwrap();
    let tell = say.clone();
    client.on_notice(move |notice| tell(json!({"notice": {"message": notice.message, "level": notice.level}})));
    let tell = say.clone();
    client.on_status(move |status| {
        let (state, attempt) = match status {
            Status::Connecting { attempt } => ("connecting", *attempt),
            Status::Open => ("open", 0),
            Status::Reconnecting { attempt, .. } => ("reconnecting", *attempt),
            Status::Closed => ("closed", 0),
        };
        tell(json!({"status": {"state": state, "attempt": attempt}}));
    });
    loop {
        let question = tokio::select! {
            Some(question) = asked.recv() => question,
            _ = client.stay() => continue,
        };
        let metadata = question["metadata"].as_object().unwrap().clone();
        let limit = question["timeout_ms"].as_u64().map(Duration::from_millis);
        let question = Question { metadata, timeout: limit, ..Question::new(question["message"].as_str().unwrap()) };
        let mut answer = client.ask(question).await.unwrap();
        let code = loop {
            match answer.next().await {
                Ok(Some(_)) => {
                    let frame: Value = serde_json::from_str(answer.frame()).unwrap();
                    say(json!({"frame": frame, "text": answer.transcript().text()}));
                }
                Ok(None) => break Value::Null,
                Err(ClientError::Server(error) | ClientError::Refused { error, .. }) => break error.code.into(),
                Err(ClientError::Timeout("the whole answer")) => break "TIMEOUT".into(),
                Err(error) => break error.to_string().into(),
            }
        };
        say(json!({"end": {"text": answer.transcript().text(), "code": code}}));
    }
}
