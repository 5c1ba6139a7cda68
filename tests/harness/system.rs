//! The runtime of tests that start servers, and the leak check that it runs when the body of a test has returned.
//!
//! `#[actix_web::rt::test(system = "crate::harness::System")]` runs a test here. The check needs the runtime, which drives the
//! connections that the test has just dropped, so that a `Drop` of [`TestApp`](super::TestApp) would come too early.

use super::{eventually_within, holds};
use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use switchboard::{app::ApplicationHandle, registry::ConnectionRegistry};
use tempfile::TempDir;

/// Time that a server may take to notice that its clients have gone.
const PATIENCE: Duration = Duration::from_secs(20);

thread_local! {
    /// The servers that the test on this thread has started.
    static SERVERS: RefCell<Vec<Server>> = const { RefCell::new(Vec::new()) };
}

pub struct System {
    runner: actix::SystemRunner,
    patience: Duration,
}

/// A server in this process. Clones are the same server.
#[derive(Clone)]
pub(super) struct Server {
    pub handle: ApplicationHandle,
    /// Kept until the server has stopped.
    pub folder: Arc<TempDir>,
    was_stopped: Arc<AtomicBool>,
}

impl System {
    pub fn new() -> Self {
        Self { runner: actix::System::new(), patience: PATIENCE }
    }

    /// Runs a test, then stops the servers that it has started.
    ///
    /// # Panics
    /// When a server still has a connection or a running turn. A test that has panicked is not checked.
    pub fn block_on<T>(&self, test: impl Future<Output = T>) -> T {
        let output = self.runner.block_on(test);
        for server in SERVERS.take() {
            self.runner.block_on(server.finish(self.patience));
        }
        output
    }
}

impl Server {
    /// Registers a server for the leak check.
    pub fn new(handle: ApplicationHandle, folder: TempDir) -> Self {
        let server = Self { handle, folder: Arc::new(folder), was_stopped: Arc::default() };
        SERVERS.with_borrow_mut(|servers| servers.push(server.clone()));
        server
    }

    /// Stops the server with whatever is running, as a signal does.
    pub async fn stop(&self) {
        self.was_stopped.store(true, Ordering::Relaxed);
        self.handle.stop().await;
    }

    /// Waits until no client is connected by WebSocket and no turn runs.
    pub async fn idle(&self, patience: Duration) {
        eventually_within(patience, async || {
            let connections = self.handle.registry.stats().await.unwrap().sessions;
            let turns = self.handle.turns.stats().running_turns;
            let left = format!("the test leaves {connections} connections and {turns} turns behind");
            holds(connections == 0 && turns == 0, left)
        })
        .await;
    }

    async fn finish(&self, patience: Duration) {
        if !self.was_stopped.load(Ordering::Relaxed) {
            self.idle(patience).await;
            self.handle.stop().await;
        }
    }
}

mod tests {
    use super::System;
    use crate::harness::TestApp;
    use serde_json::json;
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        time::Duration,
    };

    /// The message with which the check fails a test whose body leaves a connection with a running turn behind.
    fn leak(is_stopped: bool) -> Option<String> {
        let mut connection = None;
        let system = System { patience: Duration::from_millis(50), ..System::new() };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            system.block_on(async {
                let app = TestApp::with(|config| {
                    config.server.drain_timeout_s = 1;
                    (config.provider.scripted.tokens, config.provider.scripted.interval_ms) = (100_000, 100);
                })
                .await;
                let user = app.user().await;
                let mut socket = app.socket().signed_in(&user).await;
                socket.start(json!({"type": "message", "message": "Hi"})).await;
                if is_stopped {
                    drop(socket);
                    app.stop().await;
                } else {
                    connection = Some(socket);
                }
            });
        }));
        assert_eq!(connection.is_none(), is_stopped);
        Some(outcome.err()?.downcast_ref::<String>()?.clone())
    }

    #[test]
    fn leaked_connection_and_turn_fail_the_test() {
        assert_eq!(leak(false).as_deref(), Some(r#"after 50ms: "the test leaves 1 connections and 1 turns behind""#));
    }

    #[test]
    fn stopped_server_is_not_checked() {
        assert_eq!(leak(true), None);
    }

    #[test]
    #[should_panic(expected = "the body's own failure")]
    fn failed_test_reports_its_own_failure() {
        System::new().block_on(async {
            let _app = TestApp::start().await;
            panic!("the body's own failure");
        });
    }
}
