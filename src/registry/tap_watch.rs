//! A watcher of a connection's tap.

use super::{ConnectionStats, tap::NewFrames};
use std::sync::Arc;

/// A watcher. Recording stops when the last one is dropped.
pub struct TapWatch {
    stats: Arc<ConnectionStats>,
    next: u64,
}

impl TapWatch {
    /// Starts to watch a connection.
    pub fn new(stats: Arc<ConnectionStats>) -> Self {
        let next = stats.tap().watch();
        Self { stats, next }
    }

    /// Returns the frames since the last call.
    pub fn take(&mut self) -> NewFrames {
        self.stats.tap().take_from(&mut self.next)
    }
}

impl Drop for TapWatch {
    fn drop(&mut self) {
        self.stats.tap().unwatch();
    }
}
