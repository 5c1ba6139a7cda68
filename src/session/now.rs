//! What time it is.

use crate::domain::UnixMillis;
use std::time::Instant;

/// A moment, on both clocks: timers run on the steady one, tokens end on the wall's.
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
