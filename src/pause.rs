//! Pauses of the whole process: SIGSTOP, a debugger, a virtual machine that was paused.
//!
//! The clock behind [`Instant`] goes on while a process is stopped (it stands still while the whole machine sleeps). When the
//! process continues, every deadline seems to be over at once, though nothing was read or sent meanwhile, and peers had no chance
//! to be heard. So a timer that rings much too late is not taken at its word.

use crate::limits::PAUSED_AFTER;
use std::{
    pin::pin,
    time::{Duration, Instant},
};
use tokio::time::error::Elapsed;

/// Lateness of something that was due at `due`, when it is so late that the process must have been paused. A process that
/// got no processor for so long was as good as paused.
pub fn lateness(due: Instant, now: Instant) -> Option<Duration> {
    let late = now.saturating_duration_since(due);
    (late >= PAUSED_AFTER).then_some(late)
}

/// As [`tokio::time::timeout`]; after a pause the time begins anew.
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
    fn a_timer_that_is_a_little_late_was_not_paused() {
        let due = Instant::now();
        assert_eq!(lateness(due, due + PAUSED_AFTER / 2), None);
        assert_eq!(lateness(due + PAUSED_AFTER, due), None);
        assert_eq!(lateness(due, due + PAUSED_AFTER * 3), Some(PAUSED_AFTER * 3));
    }

    #[tokio::test]
    async fn a_pause_is_not_counted_as_time() {
        let limit = Duration::from_millis(50);
        let began = Instant::now();
        // Blocks the thread, timers and all, once.
        let paused = async {
            std::thread::sleep(limit + PAUSED_AFTER);
            pending::<()>().await;
        };
        assert!(timeout(limit, paused).await.is_err());
        assert!(began.elapsed() >= PAUSED_AFTER + limit * 2);
        assert_eq!(timeout(limit, async { 7 }).await.unwrap(), 7);
    }
}
