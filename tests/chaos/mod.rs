//! Hundreds of turns over a network that cuts, delays, splits and stalls. `SWITCHBOARD_CHAOS_SEED` repeats the choices of a
//! run; `SWITCHBOARD_CHAOS_ROUNDS` (1) makes it longer.

mod client;

use crate::harness::{ChaosProxy, Leftovers, TestApp, TestUser, eventually, holds, in_v2_names};
use client::{Book, Client, Conversation, Plan, Shared, lock};
use fastrand::Rng;
use futures_util::future::join_all;
use serde_json::json;
use std::{
    collections::{HashMap, HashSet},
    env,
    sync::{Arc, Mutex, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};
use switchboard::{config::Reasoning, turn::TurnLog};
use tokio::time::timeout;

const USERS: usize = 24;
/// Conversations that a user has at once on one socket.
const CONVERSATIONS: usize = 3;
/// Turns of each, one behind the other.
const TURNS: usize = 4;
/// Time limit for a round.
const PATIENCE: Duration = Duration::from_secs(60);

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().expect(name))
}

fn plan(rng: &mut Rng) -> Plan {
    let tokens = *rng.choice(&[0, 1, 5, 20, 40, 80, 120]).unwrap();
    let interval_ms = if rng.u32(0..4) == 0 { 0 } else { rng.u64(1..8) };
    let fail_after = (rng.u32(0..12) == 0).then(|| rng.u32(0..40));
    Plan {
        script: json!({
            "tokens": tokens, "interval_ms": interval_ms, "token_bytes": rng.u32(1..60), "fail_after": fail_after,
            "reasoning_tokens": rng.u32(0..12),
        }),
        cancel_after: (rng.u32(0..10) == 0).then(|| rng.i64(0..60)),
    }
}

fn client(app: &TestApp, proxy: &ChaosProxy, user: &TestUser, book: &Shared, rng: &mut Rng) -> Client {
    Client {
        proxy: proxy.address(),
        user: user.clone(),
        dialect: *rng.choice(&[None, Some("chat.v1"), Some("chat.v2"), Some("chat.v2")]).unwrap(),
        rng: rng.fork(),
        book: Arc::clone(book),
        conversations: Vec::new(),
        looks_on: false,
        turns: HashMap::new(),
        connections: 0,
        table: app.turns(),
        logs: Vec::new(),
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn every_entry_arrives_once_on_a_bad_network() {
    let seed = number("SWITCHBOARD_CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("SWITCHBOARD_CHAOS_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let app = TestApp::with(|config| {
        config.server.workers = 2;
        config.workflow.reasoning = Reasoning::Shown;
        // So short that some turns are resumed from the store.
        config.workflow.turn_retention_s = 1;
    })
    .await;
    for _ in 0..number("SWITCHBOARD_CHAOS_ROUNDS").unwrap_or(1) {
        timeout(PATIENCE, round(&app, &mut rng)).await.expect("every turn ends");
    }
}

async fn round(app: &TestApp, rng: &mut Rng) {
    let address = app.url.strip_prefix("http://").unwrap().parse().unwrap();
    let proxy = ChaosProxy::start(address, rng.u64(..)).await;
    let mut tabs = Vec::new();
    for index in 0..USERS {
        let user = app.user().await;
        let book: Shared = Arc::new(Mutex::new(Book::default()));
        let mut asking = client(app, &proxy, &user, &book, rng);
        for _ in 0..CONVERSATIONS {
            let plans = (0..TURNS).map(|_| plan(rng)).collect();
            asking.conversations.push(Conversation::new(plans));
        }
        tabs.push(asking);
        if index % 3 == 0 {
            let mut looking_on = client(app, &proxy, &user, &book, rng);
            looking_on.looks_on = true;
            tabs.push(looking_on);
        }
    }
    let tabs = join_all(tabs.into_iter().map(|tab| tokio::spawn(tab.run()))).await;
    let tabs: Vec<Client> = tabs.into_iter().map(Result::unwrap).collect();

    let (asking, looking_on): (Vec<_>, Vec<_>) = tabs.iter().partition(|tab| !tab.looks_on);
    let seen: usize = asking.iter().map(|tab| tab.turns.len()).sum();
    assert_eq!(seen, USERS * CONVERSATIONS * TURNS, "a message is a turn, sent once or several times");
    for tab in &asking {
        assert_eq!(lock(&tab.book).conversation_ids.len(), CONVERSATIONS);
        for conversation in &tab.conversations {
            check_history(app, tab, conversation.conversation_id.as_deref().unwrap()).await;
        }
    }
    let followed: usize = looking_on.iter().map(|tab| tab.turns.len()).sum();
    assert!(followed > 0, "the other tabs saw nothing");
    for tab in looking_on {
        let asker = asking.iter().find(|other| other.user.id == tab.user.id).unwrap();
        for (turn_id, turn) in &tab.turns {
            let known = &asker.turns[turn_id];
            // The tabs may speak different dialects.
            let ends = [turn, known].map(|turn| turn.terminal.as_ref().map(in_v2_names));
            assert_eq!((&turn.text, &ends[0]), (&known.text, &ends[1]));
        }
    }
    let counts = &proxy.counts;
    println!(
        "{seen} turns, {followed} seen by a second tab; {} sockets; {counts:?}",
        tabs.iter().map(|tab| tab.connections).sum::<u32>(),
    );
    assert!(counts.cuts.load(Relaxed) > 50 && counts.stalls.load(Relaxed) > 10, "the weather was fine: {counts:?}");
    drop(proxy);
    let logs = tabs.into_iter().flat_map(|tab| tab.logs).collect();
    nothing_is_left(app, logs).await;
}

/// The history is what the tab saw: every question once, every answer as it arrived.
async fn check_history(app: &TestApp, tab: &Client, conversation_id: &str) {
    let history = app.history(&tab.user, conversation_id).await;
    let (questions, answers): (Vec<_>, Vec<_>) = history.iter().partition(|message| message["role"] == "user");
    let texts: HashSet<_> = questions.iter().map(|question| question["content"].as_str().unwrap()).collect();
    assert_eq!((questions.len(), texts.len(), answers.len()), (TURNS, TURNS, TURNS));
    for answer in answers {
        let turn = &tab.turns[answer["turn_id"].as_str().unwrap()];
        assert_eq!(answer["content"], turn.text);
        let terminal = turn.terminal.as_ref().unwrap();
        let reason = if terminal["type"] == "complete" { &terminal["finish_reason"] } else { &json!("error") };
        assert_eq!(answer["finish_reason"], *reason);
    }
}

/// No session, no running turn, no retained log; and nobody holds a log that the table has let go of.
async fn nothing_is_left(app: &TestApp, logs: Vec<Weak<TurnLog>>) {
    assert!(!logs.is_empty());
    eventually(async || {
        let left = app.sweep().await;
        let held = logs.iter().filter(|log| log.strong_count() > 0).count();
        let is_empty = left == (Leftovers { sessions: 0, running: 0, retained: 0 }) && held == 0;
        holds(is_empty, format!("left behind: {left:?}, {held} logs"))
    })
    .await;
}
