//! Waiting for a condition in another thread, process or program that sends no signal.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

/// Enough on a busy machine. No test measures with it.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Calls `look` until it returns `Ok`; an `Err` says how it is so far.
///
/// # Panics
/// With the last `Err`, when that takes too long.
pub async fn eventually<T, E: Debug>(look: impl AsyncFnMut() -> Result<T, E>) -> T {
    eventually_within(PATIENCE, look).await
}

/// The same, when the time is part of what is tested.
///
/// # Panics
/// With the last `Err`, after `patience`.
pub async fn eventually_within<T, E: Debug>(patience: Duration, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(value) => return value,
            Err(state) => assert!(began.elapsed() < patience, "after {patience:?}: {state:?}"),
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// `Err` with `state` while a condition does not hold.
pub fn holds<E>(condition: bool, state: E) -> Result<(), E> {
    if condition { Ok(()) } else { Err(state) }
}
