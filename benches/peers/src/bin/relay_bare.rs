//! The floor of the relay job: bare sockets on both sides, one task per client, nothing stored or checked.

use peers::{
    AUTH_SUCCESS, handshake, run,
    socket::{CLOSE, Frame, PING, PONG, TEXT, put_frame, read, readable, send, take_frame, write},
    upstream::{Upstream, text_of},
};
use serde::Deserialize;
use std::{fmt::Write, io, net::SocketAddr};
use tokio::net::{TcpListener, TcpStream};

#[derive(Deserialize)]
struct Request {
    r#type: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    client_message_id: String,
}

/// Answer that is being relayed, and the buffers of its frames.
struct Streaming {
    upstream: Upstream,
    seq: u32,
    response: String,
    text: String,
    frame: Vec<u8>,
}

enum Ready {
    Client,
    /// A frame is in the buffer; `true` for the last one.
    Frame(bool),
}

fn main() {
    let upstream = std::env::args().nth(2).and_then(|text| text.parse().ok());
    let upstream = upstream.expect("usage: relay_bare 127.0.0.1:PORT UPSTREAM_ADDRESS");
    run(move |address| serve(address, upstream));
}

async fn serve(address: SocketAddr, upstream: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A peer that is gone is not an error.
            let _ = converse(stream, upstream).await;
        });
    }
}

async fn converse(stream: TcpStream, address: SocketAddr) -> io::Result<()> {
    // In a box that is dropped, so that an idle connection does not keep the buffers of the handshake.
    if !Box::pin(handshake::accept(&stream)).await? {
        return Ok(());
    }
    let mut input = Vec::new();
    let mut idle_upstream = None;
    let mut streaming: Option<Box<Streaming>> = None;
    loop {
        let ready = match &mut streaming {
            None => readable(&stream).await.map(|()| Ready::Client)?,
            Some(current) => tokio::select! {
                biased;
                is_last = current.next() => Ready::Frame(is_last?),
                readable = readable(&stream) => readable.map(|()| Ready::Client)?,
            },
        };
        match ready {
            Ready::Frame(is_last) => {
                if let Some(current) = &mut streaming {
                    write(&stream, &current.frame).await?;
                }
                if is_last && let Some(current) = streaming.take() {
                    idle_upstream = Some(Box::pin(current.finish()).await?);
                }
            }
            Ready::Client if read(&stream, &mut input)? => {
                while let Some(Frame { opcode, payload, .. }) = take_frame(&mut input)? {
                    match opcode {
                        TEXT => {
                            let request: Request = serde_json::from_slice(&payload)?;
                            if request.r#type == "auth" {
                                send(&stream, TEXT, AUTH_SUCCESS.as_bytes()).await?;
                            } else if request.r#type == "message" {
                                let upstream = idle_upstream.take();
                                streaming = Some(Box::pin(start(&stream, request, upstream, address)).await?);
                            }
                        }
                        PING => send(&stream, PONG, &payload).await?,
                        CLOSE => return send(&stream, CLOSE, &payload).await,
                        _ => {}
                    }
                }
                if input.is_empty() {
                    input = Vec::new();
                }
            }
            Ready::Client => {}
        }
    }
}

async fn start(
    stream: &TcpStream,
    request: Request,
    upstream: Option<Upstream>,
    address: SocketAddr,
) -> io::Result<Box<Streaming>> {
    let id = serde_json::Value::from(request.client_message_id);
    let progress = format!(
        r#"{{"type":"progress","step":"starting","message":"Starting","turn_id":"1","turn":1,"client_message_id":{id}}}"#
    );
    send(stream, TEXT, progress.as_bytes()).await?;
    let mut upstream = match upstream {
        Some(upstream) => upstream,
        None => Upstream::connect(address).await?,
    };
    upstream.ask(&request.message, "none").await?;
    Ok(Box::new(Streaming { upstream, seq: 0, response: String::new(), text: String::new(), frame: Vec::new() }))
}

impl Streaming {
    /// Waits for the next frame and puts it into the buffer; `true` for the last one. May be dropped and called again.
    async fn next(&mut self) -> io::Result<bool> {
        let Self { upstream, seq, response, text, frame } = self;
        text.clear();
        let is_last = loop {
            let Some(data) = upstream.next().await? else { break true };
            let token = text_of(data)?;
            if !token.is_empty() {
                response.push_str(&token);
                let token = serde_json::to_string(&token)?;
                let _ = write!(text, r#"{{"type":"token","token":{token},"turn":1,"seq":{seq}}}"#);
                *seq += 1;
                break false;
            }
        };
        if is_last {
            let response = serde_json::to_string(response)?;
            let _ = write!(
                text,
                r#"{{"type":"complete","response":{response},"turn_id":"1","turn":1,"finish_reason":"stop"}}"#
            );
        }
        frame.clear();
        put_frame(TEXT, text.as_bytes(), frame);
        Ok(is_last)
    }

    async fn finish(mut self: Box<Self>) -> io::Result<Upstream> {
        self.upstream.finish().await?;
        Ok(self.upstream)
    }
}
