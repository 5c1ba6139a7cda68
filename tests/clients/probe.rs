//! A published client, driven by a test: `probe.mjs`, `probe.py`, and the same in Rust. Each says what it tells an application.

use super::{node, python, repository};
use serde_json::{Value, json};
use std::{process::Stdio, sync::Arc, time::Duration};
use switchboard::client::{Account, Client, ClientError, Connector, Question};
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
    questions: UnboundedSender<Value>,
    news: UnboundedReceiver<Value>,
    _child: Option<Child>,
    task: JoinHandle<()>,
}

impl Probe {
    pub fn start(language: Language, url: &str, token: &str, life: Life) -> Self {
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
                connector.ping_after = Duration::from_millis(life.ping_after_ms);
                connector.pong_within = Duration::from_millis(life.pong_within_ms);
                let account = Account::from_token(&connector, token.to_owned());
                let task = tokio::spawn(in_rust(connector, account, asked, said));
                return Self { questions, news, _child: None, task };
            }
        };
        command.args([url, token]).args([life.ping_after_ms, life.pong_within_ms].map(|ms| ms.to_string()));
        command.kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let task = tokio::spawn(in_lines(child.stdin.take().unwrap(), child.stdout.take().unwrap(), asked, said));
        Self { questions, news, _child: Some(child), task }
    }

    /// Asks a scripted model for so many tokens.
    pub fn ask(&self, tokens: u32, interval_ms: u32) {
        let metadata = json!({"script": {"tokens": tokens, "interval_ms": interval_ms}});
        self.questions.send(json!({"message": "Go on.", "metadata": metadata})).unwrap();
    }

    pub async fn next(&mut self) -> Value {
        let news = timeout(PATIENCE, self.news.recv()).await.expect("the client is silent");
        news.expect("the client has ended")
    }

    /// What is said until an answer ends: its text and its code.
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
    loop {
        let question = tokio::select! {
            Some(question) = asked.recv() => question,
            _ = client.stay() => continue,
        };
        let metadata = question["metadata"].as_object().unwrap().clone();
        let question = Question { metadata, ..Question::new(question["message"].as_str().unwrap()) };
        let mut answer = client.ask(question).await.unwrap();
        let code = loop {
            match answer.next().await {
                Ok(Some(_)) => {
                    let frame: Value = serde_json::from_str(answer.frame()).unwrap();
                    say(json!({"frame": frame, "text": answer.transcript().text()}));
                }
                Ok(None) => break Value::Null,
                Err(ClientError::Server(error)) => break error.code.into(),
                Err(error) => break error.to_string().into(),
            }
        };
        say(json!({"end": {"text": answer.transcript().text(), "code": code}}));
    }
}
