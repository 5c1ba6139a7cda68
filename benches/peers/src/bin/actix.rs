//! actix-web with actix-web-actors: Switchboard's design without its job, so what the design costs by itself.
//!
//! A session is an actor; its turn is a task of the runtime on the same thread, and each frame goes through the session's
//! mailbox.

use actix::{Actor, ActorContext, Addr, AsyncContext, Handler, Message, StreamHandler, prelude::SendError};
use actix_web::{
    App, Error, HttpRequest, HttpResponse, HttpServer,
    http::header::AUTHORIZATION,
    web::{self, Payload},
};
use actix_web_actors::ws::{self, ProtocolError, WebsocketContext, WsResponseBuilder};
use peers::{AUTH_SUCCESS, PATH, Request, SUBPROTOCOL, Turn, WORKER_THREADS, run};
use std::{io, net::SocketAddr};
use tokio::task::JoinHandle;

/// Switchboard's, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    run(serve);
}

async fn serve(address: SocketAddr) -> io::Result<()> {
    let server = HttpServer::new(|| App::new().route(PATH, web::get().to(upgrade)));
    server.workers(WORKER_THREADS).tcp_nodelay(true).bind(address)?.run().await
}

async fn upgrade(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Error> {
    let session = Session { is_authorized: request.headers().contains_key(AUTHORIZATION), turn: None };
    WsResponseBuilder::new(session, &request, payload).protocols(&[SUBPROTOCOL]).start()
}

struct Session {
    is_authorized: bool,
    turn: Option<JoinHandle<()>>,
}

impl Actor for Session {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.is_authorized {
            ctx.text(AUTH_SUCCESS);
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.end_turn();
    }
}

impl Session {
    fn end_turn(&mut self) {
        if let Some(turn) = self.turn.take() {
            turn.abort();
        }
    }
}

impl StreamHandler<Result<ws::Message, ProtocolError>> for Session {
    fn handle(&mut self, received: Result<ws::Message, ProtocolError>, ctx: &mut Self::Context) {
        match received {
            Ok(ws::Message::Text(text)) => match Request::parse(text.as_bytes()) {
                Some(Request::Message { client_message_id, metadata }) => {
                    self.end_turn();
                    let turn = Turn::start(client_message_id, metadata);
                    self.turn = turn.map(|turn| actix::spawn(stream(turn, ctx.address())));
                }
                Some(Request::Auth) => ctx.text(AUTH_SUCCESS),
                Some(Request::Other) | None => {}
            },
            Ok(ws::Message::Ping(payload)) => ctx.pong(&payload),
            Ok(ws::Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
            }
            Ok(_) => {}
            Err(_) => ctx.stop(),
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Frame(String);

impl Handler<Frame> for Session {
    type Result = ();

    fn handle(&mut self, Frame(text): Frame, ctx: &mut Self::Context) {
        ctx.text(text);
    }
}

/// Sends the turn to its session, until one of the two ends.
async fn stream(mut turn: Turn, session: Addr<Session>) {
    loop {
        turn.due().await;
        let mut frame = String::with_capacity(256);
        let goes_on = turn.write(&mut frame);
        let is_there = match session.try_send(Frame(frame)) {
            Ok(()) => true,
            // The reader is slow: waits until it has taken this one.
            Err(SendError::Full(frame)) => session.send(frame).await.is_ok(),
            Err(SendError::Closed(_)) => false,
        };
        if !goes_on || !is_there {
            return;
        }
    }
}
