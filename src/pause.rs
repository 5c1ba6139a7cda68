//! Pauses of the whole process: SIGSTOP, a debugger, a suspended virtual machine.
//!
//! The clock of [`Instant`] keeps running while a process is stopped (but not while the machine sleeps). When the process
//! continues, every deadline has passed at once, although nothing was read or sent in between. So a timer that fires much too
//! late is not treated as a timeout.

use crate::limits::PAUSED_AFTER;
use std::{
    pin::pin,
    time::{Duration, Instant},
};
use tokio::time::error::Elapsed;

/// Returns the delay of a timer due at `due` if it is so late that the process must have been paused. A process that got no
/// CPU time for that long counts as paused.
pub fn lateness(due: Instant, now: Instant) -> Option<Duration> {
    let late = now.saturating_duration_since(due);
    (late >= PAUSED_AFTER).then_some(late)
}

/// Like [`tokio::time::timeout`], but starts over after a pause.
///
/// # Errors
/// When `work` is not done in time.
pub async fn timeout<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut work = pin!(work);
    loop {
        let due = Instant::now() + limit;
        match tokio::time::timeout_at(due.into(), work.as_mut()).await {
            Err(_) if lateness(due, Instant::now()).is_some() => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[test]
    fn a_slightly_late_timer_is_no_pause() {
        let due = Instant::now();
        assert_eq!(lateness(due, due + PAUSED_AFTER / 2), None);
        assert_eq!(lateness(due + PAUSED_AFTER, due), None);
        assert_eq!(lateness(due, due + PAUSED_AFTER * 3), Some(PAUSED_AFTER * 3));
    }

    #[tokio::test]
    async fn a_pause_does_not_count_towards_the_timeout() {
        let limit = Duration::from_millis(50);
        let began = Instant::now();
        // Blocks the thread, including its timers, once.
        let paused = async {
            std::thread::sleep(limit + PAUSED_AFTER);
            pending::<()>().await;
        };
        assert!(timeout(limit, paused).await.is_err());
        assert!(began.elapsed() >= PAUSED_AFTER + limit * 2);
        assert_eq!(timeout(limit, async { 7 }).await.unwrap(), 7);
    }
}
