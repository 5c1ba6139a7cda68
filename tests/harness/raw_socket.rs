//! A WebSocket client that writes its own frames: it can break the rules, and answers nothing by itself.

use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Time limit for a frame.
const PATIENCE: Duration = Duration::from_secs(20);

/// First bytes of frames: FIN and the opcode.
pub mod first {
    pub const TEXT: u8 = 0x81;
    pub const TEXT_UNFINISHED: u8 = 0x01;
    pub const CONTINUED: u8 = 0x00;
    pub const CONTINUED_LAST: u8 = 0x80;
    pub const BINARY: u8 = 0x82;
    pub const BINARY_UNFINISHED: u8 = 0x02;
    pub const CLOSE: u8 = 0x88;
    pub const PING: u8 = 0x89;
    pub const PING_UNFINISHED: u8 = 0x09;
    pub const PONG: u8 = 0x8a;
    pub const TEXT_RESERVED_BIT: u8 = 0xc1;
    pub const UNKNOWN: u8 = 0x83;
    pub const UNKNOWN_CONTROL: u8 = 0x8b;
}

pub struct RawSocket {
    stream: TcpStream,
}

/// A frame of the server, without its header.
#[derive(Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// FIN and the opcode, as in [`first`].
    pub first: u8,
    pub payload: Vec<u8>,
}

impl RawFrame {
    /// Length on the wire, with the header.
    pub fn wire_bytes(&self) -> usize {
        header(self.first, 0, self.payload.len()).len() + self.payload.len()
    }
}

impl RawSocket {
    /// `url`: `http://host:port`.
    pub async fn connect(url: &str) -> Self {
        Self::upgrade(url, "").await
    }

    /// Connects with a subprotocol.
    pub async fn speaking(url: &str, dialect: &str) -> Self {
        Self::upgrade(url, &format!("Sec-WebSocket-Protocol: {dialect}\r\n")).await
    }

    /// Each of the headers ends its line.
    async fn upgrade(url: &str, headers: &str) -> Self {
        let host = url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let request = format!(
            "GET /ws/chat HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        Self { stream }
    }

    /// Sends a masked frame.
    pub async fn send(&mut self, first: u8, payload: &[u8]) {
        const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
        let mut frame = header(first, 0x80, payload.len());
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.send_bytes(&frame).await;
    }

    /// Sends bytes as they are.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends a frame as only servers may.
    pub async fn send_unmasked(&mut self, first: u8, payload: &[u8]) {
        let mut frame = header(first, 0, payload.len());
        frame.extend(payload);
        self.send_bytes(&frame).await;
    }

    /// Announces a frame of so many bytes, and sends none of them.
    pub async fn announce(&mut self, first: u8, bytes: usize) {
        let mut frame = header(first, 0x80, bytes);
        frame.extend([0; 4]);
        self.send_bytes(&frame).await;
    }

    /// The next frame, control frames among them.
    pub async fn next(&mut self) -> RawFrame {
        tokio::time::timeout(PATIENCE, self.read_frame()).await.expect("no frame came in time").unwrap()
    }

    async fn read_frame(&mut self) -> std::io::Result<RawFrame> {
        let first = self.stream.read_u8().await?;
        let length = match self.stream.read_u8().await? {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            length => u64::from(length),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await?;
        Ok(RawFrame { first, payload })
    }

    /// Reads to the close frame, answers nothing, and returns its code, 1005 when it has none. The server must end the
    /// connection behind it.
    pub async fn expect_close(&mut self) -> u16 {
        let frame = loop {
            let frame = self.next().await;
            if frame.first == first::CLOSE {
                break frame;
            }
        };
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest));
        // A reset is an end, too: the server does not read what it will not use.
        let _ = ended.await.expect("the connection stays open behind the close frame");
        assert!(rest.is_empty(), "{rest:?} behind the close frame");
        frame.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))
    }

    /// Ends the connection as a crash does, without a word of TCP or WebSocket.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// `masked`: 0x80 or 0.
fn header(first: u8, masked: u8, bytes: usize) -> Vec<u8> {
    let mut header = vec![first];
    match bytes {
        0..126 => header.push(masked | u8::try_from(bytes).unwrap()),
        126..65536 => {
            header.push(masked | 126);
            header.extend(u16::try_from(bytes).unwrap().to_be_bytes());
        }
        _ => {
            header.push(masked | 127);
            header.extend((bytes as u64).to_be_bytes());
        }
    }
    header
}
