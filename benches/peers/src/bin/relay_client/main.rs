//! Client of the relay job: N connections, each asks one question and compares the answer with the upstream's.
//!
//! `relay_client PLAN`, where the plan is a JSON object; prints its report as JSON. It reads the `token` frames of every
//! version of `chat.v2` (those with `turn` and those with `turn_id`), the streams of OpenAI-compatible servers, and Chainlit's events.

mod asker;
mod chainlit;
mod samples;
mod tally;

use asker::Asker;
use samples::Samples;
use serde::Deserialize;
use std::{cell::RefCell, io, net::SocketAddr, rc::Rc, time::Duration};
use tally::Tally;
use tokio::{
    sync::watch,
    task::LocalSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};

#[derive(Deserialize)]
struct Plan {
    address: SocketAddr,
    /// Access token.
    token: String,
    /// The process whose CPU time and memory are sampled.
    pid: u32,
    protocol: Protocol,
    connections: u32,
    /// Connections opened per second.
    connect_rate: u32,
    /// Questions asked per second.
    ask_rate: u32,
    /// Tokens of an answer, and the time between two.
    tokens: u32,
    interval_ms: u64,
    /// Time limit from the last question to the last answer.
    timeout_s: u64,
    /// Time after the last connection and after the last answer, for what the server does then.
    settle_ms: u64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    WebSocket,
    OpenAi,
    Chainlit,
}

fn main() {
    let plan = std::env::args().nth(1).expect("usage: relay_client PLAN");
    let plan: Plan = serde_json::from_str(&plan).expect("the plan is a JSON object with all members");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the runtime starts");
    LocalSet::new().block_on(&runtime, run(plan)).expect("the server's process can be sampled");
}

async fn run(plan: Plan) -> io::Result<()> {
    let plan = Rc::new(plan);
    let settle = Duration::from_millis(plan.settle_ms);
    let tally = Rc::new(RefCell::new(Tally::default()));
    let mut samples = Samples::start(plan.pid, Rc::clone(&tally))?;
    let (start, started) = watch::channel(None::<Instant>);
    let opened = Instant::now();
    let mut tasks = Vec::new();
    for index in 0..plan.connections {
        sleep_until(opened + nth(index, plan.connect_rate)).await;
        let asker = Asker { plan: Rc::clone(&plan), tally: Rc::clone(&tally), index };
        let started = started.clone();
        tasks.push(tokio::task::spawn_local(async move { asker.run(started).await }));
    }
    let limit = Instant::now() + Duration::from_secs(10);
    while tally.borrow().connected < plan.connections && Instant::now() < limit {
        sleep(Duration::from_millis(10)).await;
    }
    sleep(settle).await;
    samples.take("before_asking")?;
    let ask_from = Instant::now();
    start.send_replace(Some(ask_from));
    let deadline = ask_from + nth(plan.connections, plan.ask_rate) + Duration::from_secs(plan.timeout_s);
    let mut open = Vec::new();
    for task in &mut tasks {
        match timeout_at(deadline, &mut *task).await {
            Ok(Ok(Ok(connection))) => open.extend(connection),
            Ok(Ok(Err(error))) => tally.borrow_mut().fail(&error.to_string()),
            Ok(Err(error)) => tally.borrow_mut().fail(&error.to_string()),
            Err(_) => {
                task.abort();
                tally.borrow_mut().fail("timed out");
            }
        }
    }
    sleep(settle).await;
    samples.take("end")?;
    println!("{}", tally.borrow().report(&samples, plan.connections));
    Ok(())
}

/// The time at which number `index` is due, at a rate per second.
fn nth(index: u32, per_second: u32) -> Duration {
    Duration::from_secs_f64(f64::from(index) / f64::from(per_second.max(1)))
}
