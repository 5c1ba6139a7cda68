//! The floor: a loop over a bare socket, with RFC 6455 by hand. Nothing that does this job on tokio can cost much less.
//!
//! It takes what the load generator sends, and no more: whole frames below 64 KiB, each within one read's reach.

use base64::{Engine, prelude::BASE64_STANDARD};
use peers::{AUTH_SUCCESS, PATH, Request, SUBPROTOCOL, Turn, run};
use sha1::{Digest, Sha1};
use std::{future::poll_fn, io, net::SocketAddr};
use tokio::net::{TcpListener, TcpStream};

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A frame or the head of a request must not be longer, in bytes.
const MAX_INPUT: usize = 64 * 1024;
const READ_AT_ONCE: usize = 4 * 1024;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

fn main() {
    run(serve);
}

async fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A peer that is gone is no error of ours.
            let _ = converse(stream).await;
        });
    }
}

/// A turn, and the buffer that its frames are put together in.
struct Streaming {
    turn: Turn,
    frame: Vec<u8>,
    text: String,
}

async fn converse(stream: TcpStream) -> io::Result<()> {
    // In a box that is dropped: what the handshake needs is not kept.
    if !Box::pin(shake_hands(&stream)).await? {
        return Ok(());
    }
    // Both are empty, and cost nothing, while the connection is idle.
    let mut input = Vec::new();
    let mut streaming: Option<Box<Streaming>> = None;
    loop {
        let is_readable = match &mut streaming {
            None => readable(&stream).await.map(|()| true)?,
            Some(streaming) => tokio::select! {
                biased;
                () = streaming.turn.due() => false,
                readable = readable(&stream) => readable.map(|()| true)?,
            },
        };
        if !is_readable {
            if let Some(current) = &mut streaming
                && !current.send(&stream).await?
            {
                streaming = None;
            }
        } else if read(&stream, &mut input)? {
            while let Some((opcode, payload)) = take_frame(&mut input)? {
                match opcode {
                    TEXT => match Request::parse(&payload) {
                        Some(Request::Message { client_message_id, metadata }) => {
                            streaming = Turn::start(client_message_id, metadata)
                                .map(|turn| Box::new(Streaming { turn, frame: Vec::new(), text: String::new() }));
                        }
                        Some(Request::Auth) => send(&stream, TEXT, AUTH_SUCCESS.as_bytes()).await?,
                        Some(Request::Other) | None => {}
                    },
                    PING => send(&stream, PONG, &payload).await?,
                    CLOSE => return send(&stream, CLOSE, &payload).await,
                    _ => {}
                }
            }
            if input.is_empty() {
                input = Vec::new();
            }
        }
    }
}

impl Streaming {
    /// Sends the next frame; `false` when it was the last one.
    async fn send(&mut self, stream: &TcpStream) -> io::Result<bool> {
        self.text.clear();
        let goes_on = self.turn.write(&mut self.text);
        self.frame.clear();
        put_frame(TEXT, self.text.as_bytes(), &mut self.frame);
        write(stream, &self.frame).await?;
        Ok(goes_on)
    }
}

/// Answers the upgrade, and says who is there; `false` when it is none.
async fn shake_hands(stream: &TcpStream) -> io::Result<bool> {
    let mut input = Vec::new();
    let end = loop {
        readable(stream).await?;
        read(stream, &mut input)?;
        if let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8_lossy(&input[..end]);
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let (true, Some(key)) = (head.starts_with(&format!("GET {PATH} ")), header("sec-websocket-key")) else {
        write(stream, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await?;
        return Ok(false);
    };
    let accept = BASE64_STANDARD.encode(Sha1::digest(format!("{key}{GUID}")));
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    )
    .into_bytes();
    if header("authorization").is_some() {
        put_frame(TEXT, AUTH_SUCCESS.as_bytes(), &mut answer);
    }
    write(stream, &answer).await?;
    Ok(true)
}

/// One task reads: unlike [`TcpStream::readable`], this keeps no list of those who wait.
async fn readable(stream: &TcpStream) -> io::Result<()> {
    poll_fn(|cx| stream.poll_read_ready(cx)).await
}

/// Reads what there is; `false` when there is nothing after all.
fn read(stream: &TcpStream, input: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; READ_AT_ONCE];
    match stream.try_read(&mut buffer) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) if input.len() > MAX_INPUT => Err(io::ErrorKind::InvalidData.into()),
        Ok(count) => {
            input.extend_from_slice(&buffer[..count]);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// The first frame of what was read, once it is whole: opcode and payload.
fn take_frame(input: &mut Vec<u8>) -> io::Result<Option<(u8, Vec<u8>)>> {
    let (head_length, length) = match input.as_slice() {
        [_, second, ..] if second & 0x7f < 126 => (2, usize::from(second & 0x7f)),
        [_, second, high, low, ..] if second & 0x7f == 126 => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        [_, second, ..] if second & 0x7f == 127 => return Err(io::ErrorKind::InvalidData.into()),
        _ => return Ok(None),
    };
    let (mask_at, payload_at) = (head_length, head_length + 4);
    if input.len() < payload_at + length {
        return Ok(None);
    }
    let mask = [0, 1, 2, 3].map(|index| input[mask_at + index]);
    let payload =
        input[payload_at..payload_at + length].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    let frame = (input[0] & 0x0f, payload.collect());
    input.drain(..payload_at + length);
    Ok(Some(frame))
}

fn put_frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ ..126 => out.push(length as u8),
        length @ ..0x1_0000 => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

async fn send(stream: &TcpStream, opcode: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    put_frame(opcode, payload, &mut frame);
    write(stream, &frame).await
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
