//! Decision whether a failed request is sent a second time, and when.

use std::time::Duration;

/// Longest `Retry-After` to wait for before a retry; a longer one is passed on to the client.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(2);
/// Minimum delay of a retry. Jitter adds up to the same again.
pub(super) const BACKOFF: Duration = Duration::from_millis(200);

/// Whether the same request may be repeated before any part of an answer has been produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    Never,
    AfterBackoff,
    /// After the delay that the server asked for.
    After(Duration),
}

impl Retry {
    /// Returns the delay before a retry; `None` if there should be none.
    pub fn delay(self) -> Option<Duration> {
        // Jitter only spreads the load, so missing randomness is harmless.
        let jitter = |span: Duration| span.mul_f64(f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX));
        match self {
            Self::Never => None,
            Self::AfterBackoff => Some(BACKOFF + jitter(BACKOFF)),
            Self::After(delay) => (delay <= MAX_RETRY_AFTER).then(|| delay + jitter(BACKOFF)),
        }
    }
}
