//! Chainlit's protocol: Socket.IO in the text frames of a WebSocket.

use crate::asker::{Answer, Asker, next_text, wrong};
use peers::socket::{TEXT, put_client_frame, write};
use serde_json::{Value, json};
use std::{borrow::Cow, io};
use tokio::net::TcpStream;

const PATH: &str = "/ws/socket.io/?EIO=4&transport=websocket";
// Engine.IO's packets, of one digit, and Socket.IO's within its messages, of two.
const PING: &[u8] = b"2";
const PONG: &str = "3";
const CONNECTED: &[u8] = b"40";
const EVENT: &[u8] = b"42";
const REFUSED: &[u8] = b"44";

impl Asker {
    /// Connects as the page does, and waits until the server has a session.
    pub async fn open_chainlit(&self) -> io::Result<(TcpStream, Vec<u8>)> {
        let (stream, mut input) = self.upgrade(PATH, "").await?;
        let session = json!({
            "sessionId": uuid::Uuid::new_v4().to_string(),
            "clientType": "webapp",
            "userEnv": "{}",
            "chatProfile": "",
            "threadId": "",
        });
        send(&stream, &format!("40{session}")).await?;
        loop {
            let (packet, _) = next_packet(&stream, &mut input).await?;
            if packet.starts_with(REFUSED) {
                return Err(wrong(&String::from_utf8_lossy(&packet)));
            } else if packet.starts_with(CONNECTED) {
                break;
            }
        }
        send(&stream, r#"42["connection_successful"]"#).await?;
        self.tally.borrow_mut().connected += 1;
        Ok((stream, input))
    }

    pub async fn ask_chainlit(&self, stream: &TcpStream) -> io::Result<()> {
        let message = json!({
            "id": uuid::Uuid::new_v4().to_string(),
            "threadId": "",
            "name": "user",
            "type": "user_message",
            "output": self.question(),
            "createdAt": "2026-01-01T00:00:00Z",
        });
        let event = json!(["client_message", { "message": message, "fileReferences": [] }]);
        send(stream, &format!("42{event}")).await
    }

    /// Reads up to the message that repeats the whole answer. Its first token comes with `stream_start`.
    pub async fn read_chainlit(&self, stream: &TcpStream, input: &mut Vec<u8>) -> io::Result<Answer> {
        let (mut answer, mut id) = (Answer::default(), Value::Null);
        loop {
            let (packet, wire_bytes) = next_packet(stream, input).await?;
            let Some(event) = packet.strip_prefix(EVENT) else { continue };
            let (name, data): (Cow<'_, str>, Value) = serde_json::from_slice(event)?;
            let text = |member: &str| data[member].as_str().unwrap_or_default();
            match &*name {
                "stream_start" => {
                    id = data["id"].clone();
                    self.add(&mut answer, text("output"), 1, wire_bytes);
                }
                "stream_token" if data["id"] == id => self.add(&mut answer, text("token"), 1, wire_bytes),
                "new_message" if data["isError"] == true => return Err(wrong(text("output"))),
                "update_message" if data["id"] == id => {
                    if text("output") != answer.text {
                        return Err(wrong("a message that differs from its tokens"));
                    }
                    return Ok(answer);
                }
                _ => {}
            }
        }
    }
}

/// Waits for the next packet and answers pings; returns it and the length of its frame.
async fn next_packet(stream: &TcpStream, input: &mut Vec<u8>) -> io::Result<(Vec<u8>, usize)> {
    loop {
        let (packet, wire_bytes) = next_text(stream, input).await?;
        if packet != PING {
            return Ok((packet, wire_bytes));
        }
        send(stream, PONG).await?;
    }
}

async fn send(stream: &TcpStream, packet: &str) -> io::Result<()> {
    let mut frame = Vec::new();
    put_client_frame(TEXT, packet.as_bytes(), &mut frame);
    write(stream, &frame).await
}
