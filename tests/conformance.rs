//! The WebSocket of connections against the Autobahn cases (RFC 6455), as an echo. Those of compression are left out: the server
//! does not offer it.

use crate::harness::installed;
use actix::{Actor, ActorContext, StreamHandler};
use actix_web::{
    App, HttpRequest, HttpServer,
    web::{self, Bytes},
};
use actix_web_actors::ws;
use bytestring::ByteString;
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};
use switchboard::transport::{
    Fragments,
    socket::{self, Received, SocketContext, SocketHandler},
};
use switchboard_protocol::CloseReason;
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

/// The largest message of the cases has 16 MiB.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Time limit for all cases.
const PATIENCE: Duration = Duration::from_secs(90);
/// Number of cases; with fewer, some did not run.
const CASES: usize = 301;
/// Passed, but later than they could be; explained in `docs/RELIABILITY.md`.
const NON_STRICT: [&str; 4] = ["6.4.1", "6.4.2", "6.4.3", "6.4.4"];

/// Says what it is told, as a session's actor would.
struct Echo {
    fragments: Fragments,
}

type Context = SocketContext<Echo>;

impl Actor for Echo {
    type Context = Context;
}

impl SocketHandler for Echo {
    fn fragments(&mut self) -> &mut Fragments {
        &mut self.fragments
    }

    fn on_text(&mut self, text: &ByteString, ctx: &mut Context) {
        ctx.text(text.clone());
    }

    fn on_binary(&mut self, bytes: Bytes, ctx: &mut Context) {
        ctx.binary(bytes);
    }

    fn close(&mut self, reason: CloseReason, ctx: &mut Context) {
        ctx.close(Some(ws::CloseCode::from(reason.code()).into()));
        ctx.stop();
    }

    fn on_client_close(&mut self, code: Option<ws::CloseCode>, ctx: &mut Context) {
        ctx.close(code.map(ws::CloseReason::from));
        ctx.stop();
    }
}

impl StreamHandler<Received> for Echo {
    fn handle(&mut self, received: Received, ctx: &mut Context) {
        socket::receive(self, received, ctx);
    }
}

async fn echo(request: HttpRequest, payload: web::Payload) -> actix_web::Result<actix_web::HttpResponse> {
    let actor = Echo { fragments: Fragments::of_any(MAX_MESSAGE_BYTES) };
    socket::start(actor, &request, payload, &[], |frames| frames).map_err(actix_web::error::ErrorBadRequest)
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_autobahn_cases_pass() {
    let server = HttpServer::new(|| App::new().route("/", web::get().to(echo)))
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix::spawn(server);

    let report = TempDir::new().unwrap();
    let mut command = Command::new(installed("target/tools/venv/bin/kosoku"));
    command.args(["-x", "12.*", "-x", "13.*", "-p", "8", "-o"]).arg(report.path()).arg(format!("ws://{address}/"));
    let output = timeout(PATIENCE, command.kill_on_drop(true).output()).await.expect("it ends in time").unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);

    let index = std::fs::read_to_string(report.path().join("index.json")).expect(&printed);
    let index: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_str(&index).unwrap();
    let cases: BTreeMap<_, _> = index.into_values().flatten().collect();
    let behaviours = |wanted: &[&str]| -> Vec<&str> {
        let case_is = |case: &Value, key: &str| case[key].as_str().is_some_and(|behaviour| wanted.contains(&behaviour));
        let cases = cases.iter().filter(|(_, case)| case_is(case, "behavior") || case_is(case, "behaviorClose"));
        cases.map(|(name, _)| name.as_str()).collect()
    };
    assert!(output.status.success(), "{:?} failed\n{printed}", behaviours(&["FAILED", "WRONG CODE", "UNCLEAN"]));
    assert_eq!(behaviours(&["NON-STRICT"]), NON_STRICT);
    assert_eq!(behaviours(&["OK", "NON-STRICT", "INFORMATIONAL"]).len(), CASES, "{printed}");
    handle.stop(false).await;
}
