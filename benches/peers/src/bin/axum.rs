//! axum with its WebSockets, which are tungstenite's: the usual way in Rust.

use axum::{
    Router,
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    http::{HeaderMap, header::AUTHORIZATION},
    response::Response,
    routing::any,
    serve::ListenerExt,
};
use peers::{AUTH_SUCCESS, PATH, Request, SUBPROTOCOL, Turn, run};
use std::{io, net::SocketAddr};
use tokio::net::TcpListener;

fn main() {
    run(serve);
}

async fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, Router::new().route(PATH, any(upgrade))).await
}

async fn upgrade(headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let is_authorized = headers.contains_key(AUTHORIZATION);
    upgrade.protocols([SUBPROTOCOL]).on_upgrade(move |socket| async move {
        // A client that is gone is no error of ours.
        let _ = converse(socket, is_authorized).await;
    })
}

async fn converse(mut socket: WebSocket, is_authorized: bool) -> Result<(), axum::Error> {
    if is_authorized {
        socket.send(Message::from(AUTH_SUCCESS)).await?;
    }
    let mut turn: Option<Turn> = None;
    loop {
        let received = match &mut turn {
            None => socket.recv().await,
            Some(current) => tokio::select! {
                biased;
                () = current.due() => {
                    let mut frame = String::with_capacity(256);
                    if !current.write(&mut frame) {
                        turn = None;
                    }
                    socket.send(Message::from(frame)).await?;
                    continue;
                }
                received = socket.recv() => received,
            },
        };
        match received {
            Some(Ok(Message::Text(text))) => match Request::parse(text.as_bytes()) {
                Some(Request::Message { client_message_id, metadata }) => {
                    turn = Turn::start(client_message_id, metadata)
                }
                Some(Request::Auth) => socket.send(Message::from(AUTH_SUCCESS)).await?,
                Some(Request::Other) | None => {}
            },
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
            None => return Ok(()),
        }
    }
}
