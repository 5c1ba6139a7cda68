//! fastwebsockets on hyper: said to be the fastest of the libraries.

use fastwebsockets::{Frame, OpCode, Payload, WebSocketError, WebSocketRead, upgrade};
use http_body_util::Empty;
use hyper::{
    Request as HttpRequest, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, HeaderValue, SEC_WEBSOCKET_PROTOCOL},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use peers::{AUTH_SUCCESS, PATH, Request, SUBPROTOCOL, Turn, run};
use std::{
    convert::Infallible,
    future::{pending, ready},
    io,
    net::SocketAddr,
    pin::pin,
};
use tokio::{io::AsyncRead, net::TcpListener};

fn main() {
    run(serve);
}

async fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A client that is gone is no error of ours.
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            let _ = connection.with_upgrades().await;
        });
    }
}

async fn answer(request: HttpRequest<Incoming>) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    if request.uri().path() != PATH || !upgrade::is_upgrade_request(&request) {
        let mut refusal = Response::new(Empty::new());
        *refusal.status_mut() = StatusCode::NOT_FOUND;
        return Ok(refusal);
    }
    let is_authorized = request.headers().contains_key(AUTHORIZATION);
    let (mut response, socket) = upgrade::upgrade(request)?;
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    tokio::spawn(async move {
        let _ = converse(socket, is_authorized).await;
    });
    Ok(response)
}

/// What the client said.
enum Heard {
    Request(Request),
    Ping(Vec<u8>),
    Close(Vec<u8>),
    Other,
}

async fn converse(socket: upgrade::UpgradeFut, is_authorized: bool) -> Result<(), WebSocketError> {
    let mut socket = socket.await?;
    // They are frames like others here: one who reads cannot answer.
    socket.set_auto_pong(false);
    socket.set_auto_close(false);
    let (reader, mut writer) = socket.split(tokio::io::split);
    if is_authorized {
        writer.write_frame(text(AUTH_SUCCESS)).await?;
    }
    let mut turn: Option<Turn> = None;
    // A read that is dropped loses the beginning of its frame: it goes on over the tokens between.
    let mut reading = pin!(read(reader));
    loop {
        let due = async {
            match &mut turn {
                Some(turn) => turn.due().await,
                None => pending().await,
            }
        };
        let (reader, heard) = tokio::select! {
            biased;
            () = due => {
                let mut frame = String::with_capacity(256);
                if turn.as_mut().is_some_and(|turn| !turn.write(&mut frame)) {
                    turn = None;
                }
                writer.write_frame(text(&frame)).await?;
                continue;
            }
            read = &mut reading => read,
        };
        match heard? {
            Heard::Request(Request::Message { client_message_id, metadata }) => {
                turn = Turn::start(client_message_id, metadata);
            }
            Heard::Request(Request::Auth) => writer.write_frame(text(AUTH_SUCCESS)).await?,
            Heard::Ping(payload) => writer.write_frame(Frame::pong(Payload::Owned(payload))).await?,
            Heard::Close(payload) => {
                return writer.write_frame(Frame::close_raw(Payload::Owned(payload))).await;
            }
            Heard::Request(Request::Other) | Heard::Other => {}
        }
        reading.set(read(reader));
    }
}

async fn read<R: AsyncRead + Unpin>(mut reader: WebSocketRead<R>) -> (WebSocketRead<R>, Result<Heard, WebSocketError>) {
    let heard = reader.read_frame(&mut |_| ready(Ok::<_, Infallible>(()))).await.map(|frame| match frame.opcode {
        OpCode::Text => Request::parse(&frame.payload).map_or(Heard::Other, Heard::Request),
        OpCode::Ping => Heard::Ping(frame.payload.to_vec()),
        OpCode::Close => Heard::Close(frame.payload.to_vec()),
        _ => Heard::Other,
    });
    (reader, heard)
}

fn text(text: &str) -> Frame<'_> {
    Frame::text(Payload::Borrowed(text.as_bytes()))
}
