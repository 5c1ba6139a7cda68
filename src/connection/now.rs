//! The current time, on the monotonic and on the wall clock.

use crate::domain::UnixMillis;
use std::time::Instant;

/// One moment on both clocks: timers use the monotonic one, the expiry of tokens the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub instant: Instant,
    pub unix: UnixMillis,
}

impl Now {
    pub fn read() -> Self {
        Self { instant: Instant::now(), unix: UnixMillis::now() }
    }
}
