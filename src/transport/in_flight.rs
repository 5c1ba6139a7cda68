//! Counts of requests and responses in flight, which a stopping server waits for.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

/// Requests and responses in flight, except WebSockets, which the registry counts.
#[derive(Debug, Default)]
pub struct InFlight {
    /// Running handlers.
    requests: AtomicUsize,
    /// Open response streams, such as the events of a turn.
    streams: AtomicUsize,
    /// Connections with a pending write, because the client has not read enough yet.
    write_blocked: AtomicUsize,
}

impl InFlight {
    /// Number of requests without a response yet.
    pub fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    /// Number of responses that were not handed to the kernel completely. A blocked stream counts twice.
    pub fn unsent(&self) -> usize {
        self.streams.load(SeqCst) + self.write_blocked.load(SeqCst)
    }

    pub(super) fn set_write_blocked(&self, is_blocked: bool) {
        if is_blocked {
            self.write_blocked.fetch_add(1, SeqCst);
        } else {
            self.write_blocked.fetch_sub(1, SeqCst);
        }
    }

    /// Counts a request until the guard is dropped.
    pub fn begin_request(self: Arc<Self>) -> RunningRequest {
        self.requests.fetch_add(1, SeqCst);
        RunningRequest(self)
    }

    /// Counts a stream until the guard is dropped.
    pub fn open_stream(self: &Arc<Self>) -> OpenStream {
        self.streams.fetch_add(1, SeqCst);
        OpenStream(Arc::clone(self))
    }
}

/// Guard of an open response stream.
pub struct OpenStream(Arc<InFlight>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, SeqCst);
    }
}

/// Guard of a running handler.
pub struct RunningRequest(Arc<InFlight>);

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, SeqCst);
    }
}
