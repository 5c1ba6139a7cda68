//! The floor: a loop over a bare socket, with RFC 6455 by hand. Nothing that does this job on tokio can cost much less.
//!
//! It takes what the load generator sends, and no more: whole frames below 64 KiB, each within one read's reach.

use peers::{
    AUTH_SUCCESS, Request, Turn, handshake, run,
    socket::{CLOSE, Frame, PING, PONG, TEXT, put_frame, read, readable, send, take_frame, write},
};
use std::{io, net::SocketAddr};
use tokio::net::{TcpListener, TcpStream};

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
    if !Box::pin(handshake::accept(&stream)).await? {
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
            while let Some(Frame { opcode, payload, .. }) = take_frame(&mut input)? {
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
