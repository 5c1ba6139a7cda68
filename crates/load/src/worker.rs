//! One connection of a load: opens, asks its questions, loses its connection on purpose, and records what happened.

use super::{Plan, tally::Tally};
use serde_json::json;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use switchboard_client::{Account, Client, ClientError, Connector, Event, Question};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

/// Durations for which a slow reader reads and then pauses.
const SLOW: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(1_000));
/// Receive buffer of a slow reader's socket, in bytes.
const SLOW_BUFFER: u32 = 4 * 1024;
/// Error codes of a scripted failure before and after the first token.
const CODES_OF_SCRIPTED_FAILURES: [&str; 2] = ["UPSTREAM_UNAVAILABLE", "TURN_INTERRUPTED"];
/// Maximum delay after a refused question.
const MAX_RETRY: Duration = Duration::from_secs(10);

/// Current phase of the load.
#[derive(Clone, Copy, Debug)]
pub enum Phase {
    /// Connections are opened and kept idle.
    Opening,
    /// Questions are asked from `from` until `until`.
    Asking { from: Instant, until: Instant },
    /// All connections are closed.
    Closing,
}

/// The client of one connection.
pub struct Worker {
    pub index: u32,
    pub plan: Arc<Plan>,
    pub connector: Connector,
    pub account: Arc<Account>,
    pub tally: Arc<Mutex<Tally>>,
    pub phase: watch::Receiver<Phase>,
    /// Whether `tally.open` counts this connection.
    pub is_open: bool,
}

/// Timing of one answer.
struct Pace {
    due: Instant,
    first: Option<Instant>,
    last: Instant,
    /// The next tokens are repeated after a lost connection; their times are not counted.
    is_replay: bool,
}

impl Worker {
    /// Runs until the closing phase.
    pub async fn run(mut self, opens_at: Instant) {
        sleep_until(opens_at).await;
        if self.is_slow() {
            self.connector.receive_buffer = Some(SLOW_BUFFER);
        }
        let opened = Client::connect_timed(self.connector.clone(), Arc::clone(&self.account)).await;
        let mut client = {
            let mut tally = self.tally();
            tally.tries += 1;
            match opened {
                Ok((client, connected_at, authenticated_at)) => {
                    tally.connect.add(connected_at - opens_at);
                    tally.authenticated.add(authenticated_at - opens_at);
                    tally.opened += 1;
                    client
                }
                Err(error) => {
                    tally.error(&error);
                    tally.done += 1;
                    return;
                }
            }
        };
        self.set_open(true);
        if let Some((from, until)) = self.wait_for_start(&mut client).await {
            let mut phase = self.phase.clone();
            tokio::select! {
                () = self.ask_all(&mut client, from, until) => {}
                // An interruption does not wait for answers.
                _ = phase.wait_for(|phase| matches!(phase, Phase::Closing)) => {}
            }
        }
        self.set_open(client.is_connected());
        self.tally().done += 1;
        self.wait_for_end(&mut client).await;
        let (bytes, is_connected) = (client.received_bytes(), client.is_connected());
        let closed = client.close().await;
        self.set_open(false);
        let mut tally = self.tally();
        tally.bytes += bytes;
        match closed {
            Ok(()) if is_connected => tally.closed(1000),
            // It was lost before, and has been counted.
            Ok(()) => {}
            Err(ClientError::Closed { code, .. }) => tally.closed(code),
            Err(error) => tally.error(&error),
        }
    }

    fn set_open(&mut self, is_open: bool) {
        if is_open != self.is_open {
            self.is_open = is_open;
            let mut tally = self.tally();
            tally.open = if is_open { tally.open + 1 } else { tally.open.saturating_sub(1) };
        }
    }

    async fn wait_for_start(&mut self, client: &mut Client) -> Option<(Instant, Instant)> {
        loop {
            match *self.phase.borrow_and_update() {
                Phase::Opening => {}
                Phase::Asking { from, until } => return Some((from, until)),
                Phase::Closing => return None,
            }
            tokio::select! {
                _ = self.phase.changed() => {}
                error = client.stay() => self.lost(&error),
            }
        }
    }

    async fn wait_for_end(&mut self, client: &mut Client) {
        while !matches!(*self.phase.borrow_and_update(), Phase::Closing) {
            tokio::select! {
                changed = self.phase.changed() => if changed.is_err() { return },
                error = client.stay() => self.lost(&error),
            }
        }
    }

    async fn ask_all(&mut self, client: &mut Client, from: Instant, until: Instant) {
        let mut random = fastrand::Rng::with_seed(self.plan.seed.wrapping_add(u64::from(self.index)));
        let mut due = from + Duration::from_secs_f64(f64::from(self.index) / self.plan.rate);
        for _ in 0..self.plan.max_turns() {
            if due >= until {
                break;
            }
            if let Err(error) = client.idle(due).await {
                self.lost(&error);
                sleep_until(due).await;
            }
            let outcome = self.ask(client, due, &mut random).await;
            self.set_open(client.is_connected());
            let now = Instant::now();
            let mut pause = Duration::from_millis(self.plan.think_ms);
            let mut tally = self.tally();
            tally.turn_ended(now.into_std());
            match outcome {
                Ok(()) => {
                    tally.turns_complete += 1;
                    tally.verified += 1;
                    if !self.is_slow() {
                        tally.turn.add(now - due);
                    }
                }
                Err(error) => {
                    tally.turns_failed += 1;
                    tally.failed_as_planned += u64::from(is_planned(&self.plan, &error));
                    tally.unverified += u64::from(matches!(error, ClientError::Unverified(_)));
                    tally.error(&error);
                    if let ClientError::Server(error) = &error {
                        let wait = error.retry_after_ms.map_or(Duration::ZERO, Duration::from_millis);
                        pause = pause.max(wait.min(MAX_RETRY));
                    } else if !matches!(error, ClientError::Unverified(_)) {
                        return;
                    }
                }
            }
            due = now + pause;
        }
    }

    /// Asks one question and reads the answer to its end.
    async fn ask(&self, client: &mut Client, due: Instant, random: &mut fastrand::Rng) -> Result<(), ClientError> {
        let mut cuts = self.cuts(random);
        self.tally().turns_started += 1;
        let mut answer = client.ask(self.question()).await?;
        let mut pace = Pace { due, first: None, last: due, is_replay: false };
        let mut cut_at = None;
        let mut reading_since = Instant::now();
        while let Some(event) = answer.next().await? {
            let now = Instant::now();
            match event {
                Event::Token { seqs, .. } => {
                    self.count(&mut pace, now, u64::from(seqs.start), u64::from(seqs.end - seqs.start));
                    if cuts.last().is_some_and(|cut| *cut < seqs.end) {
                        cuts.retain(|cut| *cut >= seqs.end);
                        answer.cut();
                        cut_at = Some(Instant::now());
                    }
                }
                Event::Resumed { .. } => {
                    pace.is_replay = true;
                    let mut tally = self.tally();
                    tally.resumes += 1;
                    if let Some(cut_at) = cut_at.take() {
                        tally.resume.add(now - cut_at);
                    }
                }
                Event::Complete { .. } => {
                    let tokens = answer.transcript().next_seq();
                    self.tally().off_script += u64::from(tokens != self.plan.tokens);
                }
                _ => {}
            }
            if self.is_slow() && reading_since.elapsed() > SLOW.0 {
                sleep(SLOW.1).await;
                reading_since = Instant::now();
            }
        }
        Ok(())
    }

    /// Counts a frame of tokens.
    fn count(&self, pace: &mut Pace, now: Instant, first_seq: u64, tokens: u64) {
        let mut tally = self.tally();
        tally.tokens += tokens;
        tally.token_frames += 1;
        if !self.is_slow() && !pace.is_replay {
            match pace.first {
                None => tally.first_token.add(now - pace.due),
                Some(_) => tally.between_tokens.add(now - pace.last),
            }
            tally.between_tokens.add_many(Duration::ZERO, tokens - 1);
            if self.plan.interval_ms > 0 {
                let start = *pace.first.get_or_insert(now);
                for seq in first_seq..first_seq + tokens {
                    let due = start + Duration::from_millis(self.plan.interval_ms * seq);
                    tally.behind_schedule.add(now.saturating_duration_since(due));
                }
            }
        }
        pace.first.get_or_insert(now);
        pace.last = now;
        pace.is_replay = false;
    }

    fn question(&self) -> Question {
        let mut question = Question::new("How does this hold under load?");
        let plan = &self.plan;
        let mut script =
            json!({"tokens": plan.tokens, "interval_ms": plan.interval_ms, "token_bytes": plan.token_bytes});
        if let Some(tokens) = plan.fail_after {
            script["fail_after"] = tokens.into();
        }
        question.metadata.insert("script".to_owned(), script);
        question
    }

    /// Returns the tokens after which to drop the connection, in descending order.
    fn cuts(&self, random: &mut fastrand::Rng) -> Vec<u32> {
        let (whole, part) = (self.plan.reconnects.trunc(), self.plan.reconnects.fract());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked: 0 to 100")]
        let count = whole as u32 + u32::from(random.f64() < part);
        let mut cuts: Vec<u32> = (0..count).map(|_| random.u32(0..self.plan.tokens.max(1))).collect();
        cuts.sort_unstable_by(|a, b| b.cmp(a));
        cuts
    }

    fn is_slow(&self) -> bool {
        self.index < self.plan.slow_readers
    }

    fn lost(&mut self, error: &ClientError) {
        self.set_open(false);
        let mut tally = self.tally();
        tally.lost += 1;
        tally.error(error);
        if let ClientError::Closed { code, .. } = error {
            tally.closed(*code);
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `--fail-after` caused the failure of a turn.
fn is_planned(plan: &Plan, error: &ClientError) -> bool {
    let is_scripted = |code: &str| CODES_OF_SCRIPTED_FAILURES.contains(&code);
    plan.fail_after.is_some() && matches!(error, ClientError::Server(error) if is_scripted(&error.code))
}
