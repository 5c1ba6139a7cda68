//! Snapshots of every surface: each frame and body as a client sees it, in one file for each surface.
//!
//! `chat.v1` and `chat.v2` are frozen: fields, frame types and values may be added, never removed or renamed (`frozen.rs`).
//!
//! Ids, times, hashes and tokens are replaced, the same id by the same placeholder. After a wanted change,
//! `INSTA_UPDATE=always cargo test --test tests surfaces::` writes the files again; review them like code.

mod chat;
mod frozen;
mod operators;
mod rest;

use crate::harness::{TestSocket, is_terminal};
use serde_json::{Value, json};
use uuid::Uuid;

const UUID_LENGTH: usize = 36;

/// Frames and bodies that were sent and received, with placeholders.
#[derive(Default)]
struct Recording {
    text: String,
    ids: Vec<String>,
}

impl Recording {
    fn section(&mut self, title: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        self.text.push_str(&format!("{gap}# {title}\n"));
    }

    fn line(&mut self, prefix: &str, value: &Value) {
        let value = self.redacted("", value);
        self.text.push_str(prefix);
        if !value.is_null() {
            self.text.push_str(&format!(" {value}"));
        }
        self.text.push('\n');
    }

    /// A frame or body of which only the shape is the same in every run: without its numbers, one element of each list.
    fn shape(&mut self, prefix: &str, value: &Value) {
        self.line(prefix, &shape_of(value));
    }

    /// Sends a frame, and records it with the next `answers` frames.
    async fn exchange(&mut self, socket: &mut TestSocket, frame: Value, answers: usize) -> Value {
        self.line(">", &frame);
        socket.send(frame).await;
        let mut last = Value::Null;
        for _ in 0..answers {
            last = next(socket).await;
            self.line("<", &last);
        }
        last
    }

    /// Sends a frame, and records it with all frames up to the end of a turn, which is returned.
    async fn turn(&mut self, socket: &mut TestSocket, frame: Value) -> Value {
        self.line(">", &frame);
        socket.send(frame).await;
        self.rest_of_turn(socket).await
    }

    async fn rest_of_turn(&mut self, socket: &mut TestSocket) -> Value {
        loop {
            let frame = next(socket).await;
            self.line("<", &frame);
            if is_terminal(&frame) {
                return frame;
            }
        }
    }

    fn redacted(&mut self, key: &str, value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| {
                    let key = if key == "latency_ms" { key } else { name };
                    (name.clone(), self.redacted(key, value))
                });
                fields.collect()
            }
            Value::Array(values) => values.iter().map(|value| self.redacted(key, value)).collect(),
            Value::Null | Value::Bool(_) => value.clone(),
            Value::Number(_) if is_of_time(key) => json!("[time]"),
            // Sums of floats differ in their last digits.
            Value::Number(number) if number.is_f64() => json!((number.as_f64().unwrap() * 1_000.0).round() / 1_000.0),
            Value::Number(_) => value.clone(),
            Value::String(text) => Value::String(self.redacted_text(key, text)),
        }
    }

    fn redacted_text(&mut self, key: &str, text: &str) -> String {
        match key {
            "sha256" => return "[sha256]".to_owned(),
            "ticket" => return "[ticket]".to_owned(),
            "version" => return "[version]".to_owned(),
            _ if text.starts_with("eyJ") && text.matches('.').count() == 2 => return "[token]".to_owned(),
            _ if is_of_time(key) => return "[time]".to_owned(),
            _ => {}
        }
        let mut redacted = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let candidate = rest.get(..UUID_LENGTH).filter(|candidate| Uuid::parse_str(candidate).is_ok());
            if let Some(id) = candidate {
                redacted.push_str(&self.id(id));
                rest = &rest[UUID_LENGTH..];
            } else {
                redacted.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        // Other tests of the process use up numbers.
        match redacted.strip_prefix("user").and_then(|rest| rest.strip_suffix("@example.org")) {
            Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => "[email]".to_owned(),
            _ => redacted,
        }
    }

    fn id(&mut self, id: &str) -> String {
        let known = self.ids.iter().position(|known| known == id);
        let index = known.unwrap_or_else(|| {
            self.ids.push(id.to_owned());
            self.ids.len() - 1
        });
        format!("[id {}]", index + 1)
    }
}

/// The next frame of a chat socket, as sent. Heartbeats come whenever a turn takes long, and have a section of their own.
async fn next(socket: &mut TestSocket) -> Value {
    loop {
        let frame = socket.next_as_sent().await;
        if frame["type"] != "heartbeat" {
            return frame;
        }
    }
}

/// Whether a field is a moment or a duration.
fn is_of_time(key: &str) -> bool {
    key == "at" || key.ends_with("_at") || key.ends_with("_ms") || key == "expires_in"
}

fn shape_of(value: &Value) -> Value {
    match value {
        Value::Number(_) => json!("[number]"),
        Value::Array(values) => values.iter().take(1).map(shape_of).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), shape_of(value))).collect(),
        _ => value.clone(),
    }
}
