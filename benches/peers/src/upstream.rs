//! Client of an OpenAI-compatible server, over a bare socket: one request at a time, its events as they arrive.

use crate::socket::{find, read, read_head, readable, write};
use serde::Deserialize;
use std::{borrow::Cow, io, net::SocketAddr};
use tokio::net::TcpStream;

/// Event of an answer.
#[derive(Deserialize)]
pub struct Chunk<'a> {
    #[serde(borrow)]
    pub choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
pub struct Choice<'a> {
    #[serde(borrow)]
    pub delta: Delta<'a>,
}

#[derive(Deserialize)]
pub struct Delta<'a> {
    #[serde(borrow, default)]
    pub content: Cow<'a, str>,
}

/// Connection to the server, which is used again for the next question.
pub struct Upstream {
    stream: TcpStream,
    input: Vec<u8>,
    /// End of the events in `input` that were returned.
    taken: usize,
    /// Bytes of the current HTTP chunk that are still to come, with its line end; 0 before the size of the next one.
    chunk_left: usize,
    /// Body of the answer without the HTTP chunks.
    body: Vec<u8>,
    is_over: bool,
}

impl Upstream {
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::new(), taken: 0, chunk_left: 0, body: Vec::new(), is_over: true })
    }

    /// Asks, and reads the head of the answer.
    pub async fn ask(&mut self, question: &str, token: &str) -> io::Result<()> {
        let body = serde_json::json!({
            "model": "bench",
            "stream": true,
            "messages": [{ "role": "user", "content": question }],
        })
        .to_string();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        write(&self.stream, request.as_bytes()).await?;
        let head = read_head(&self.stream, &mut self.input).await?;
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(io::Error::other(head));
        }
        (self.chunk_left, self.taken, self.is_over) = (0, 0, false);
        self.body.clear();
        Ok(())
    }

    /// Waits for the data of the next event; `None` at the end of the answer. May be dropped and called again.
    pub async fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.body.drain(..self.taken);
        self.taken = 0;
        loop {
            if let Some(end) = find(&self.body, b"\n\n") {
                self.taken = end + 2;
                let line = &self.body[..end];
                let data = line.strip_prefix(b"data: ").ok_or(io::ErrorKind::InvalidData)?;
                return Ok((data != b"[DONE]").then_some(data));
            }
            if self.is_over {
                return Ok(None);
            }
            self.take_chunks()?;
            if find(&self.body, b"\n\n").is_none() && !self.is_over {
                readable(&self.stream).await?;
                read(&self.stream, &mut self.input)?;
            }
        }
    }

    /// Reads what follows the last event, so that the connection can be used again.
    pub async fn finish(&mut self) -> io::Result<()> {
        while !self.is_over {
            self.next().await?;
        }
        Ok(())
    }

    /// Moves what has arrived of the HTTP chunks into the body.
    fn take_chunks(&mut self) -> io::Result<()> {
        let mut at = 0;
        while !self.is_over {
            let rest = &self.input[at..];
            if self.chunk_left == 0 {
                let Some(end) = find(rest, b"\r\n") else { break };
                let size = std::str::from_utf8(&rest[..end]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
                let size = size.ok_or(io::ErrorKind::InvalidData)?;
                if size == 0 && rest.len() < end + 4 {
                    break;
                }
                self.is_over = size == 0;
                self.chunk_left = size + 2;
                at += end + 2;
            } else if rest.is_empty() {
                break;
            } else {
                let count = rest.len().min(self.chunk_left);
                let text = count.min(self.chunk_left.saturating_sub(2));
                self.body.extend_from_slice(&rest[..text]);
                self.chunk_left -= count;
                at += count;
            }
        }
        if self.is_over {
            self.input.clear();
        } else {
            self.input.drain(..at);
        }
        Ok(())
    }
}

/// Returns the text of an event; empty when it has none.
pub fn text_of(data: &[u8]) -> io::Result<Cow<'_, str>> {
    let chunk: Chunk = serde_json::from_slice(data)?;
    Ok(chunk.choices.into_iter().next().map(|choice| choice.delta.content).unwrap_or_default())
}
