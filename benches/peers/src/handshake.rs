//! The upgrade to a WebSocket, from the server's side.

use crate::{
    AUTH_SUCCESS, PATH, SUBPROTOCOL,
    socket::{TEXT, header, put_frame, read_head, write},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha1::{Digest, Sha1};
use std::io;
use tokio::net::TcpStream;

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Answers the upgrade and sends `auth_success` if there is a token; `false` when it is no upgrade.
pub async fn accept(stream: &TcpStream) -> io::Result<bool> {
    let head = read_head(stream, &mut Vec::new()).await?;
    let is_chat = head.starts_with(&format!("GET {PATH} "));
    let (true, Some(key)) = (is_chat, header(&head, "sec-websocket-key")) else {
        write(stream, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await?;
        return Ok(false);
    };
    let accept = BASE64_STANDARD.encode(Sha1::digest(format!("{key}{GUID}")));
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    )
    .into_bytes();
    if header(&head, "authorization").is_some() {
        put_frame(TEXT, AUTH_SUCCESS.as_bytes(), &mut answer);
    }
    write(stream, &answer).await?;
    Ok(true)
}
