//! The WebSocket of connections against the Autobahn cases (RFC 6455), as an echo. Those of compression are left out: the server
//! does not offer it.

use crate::harness::installed;
use actix::{Actor, ActorContext};
use actix_web::{
    App, HttpRequest,
    web::{self, Bytes},
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use switchboard::{
    config::Config,
    limiter::{Limiter, client_addresses},
    transport::{
        self, Capacity, Decoder, ServerContext, ServerLimits,
        socket::{self, SocketContext, SocketHandler},
    },
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
struct Echo;

type Context = SocketContext<Echo>;

impl Actor for Echo {
    type Context = Context;
}

impl SocketHandler for Echo {
    fn on_text(&mut self, text: &str, ctx: &mut Context) {
        ctx.text(text);
    }

    fn on_binary(&mut self, bytes: &Bytes, ctx: &mut Context) {
        ctx.binary(bytes);
    }

    fn close(&mut self, reason: CloseReason, ctx: &mut Context) {
        ctx.close(Some(reason.code()), "");
        ctx.stop();
    }

    fn on_client_close(&mut self, code: Option<u16>, ctx: &mut Context) {
        ctx.close(code, "");
        ctx.stop();
    }
}

async fn echo(request: HttpRequest) -> actix_web::Result<actix_web::HttpResponse> {
    socket::start(Echo, &request, Decoder::of_any(MAX_MESSAGE_BYTES), &[]).map_err(actix_web::error::ErrorBadRequest)
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_autobahn_cases_pass() {
    let config = Config::default();
    let limits = ServerLimits {
        workers: 1,
        capacity: Capacity { clients: 100, reserve: 0 },
        request_head_timeout: PATIENCE,
        stall_timeout: PATIENCE,
    };
    let shared = ServerContext {
        in_flight: Arc::default(),
        limiter: Arc::new(Limiter::new(&config.limits)),
        addresses: Arc::new(client_addresses(&config.server)),
        metrics: Arc::default(),
    };
    let listeners = transport::listen(("127.0.0.1", 0)).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let server = transport::server(listeners, limits, shared, || App::new().route("/", web::get().to(echo))).unwrap();
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
