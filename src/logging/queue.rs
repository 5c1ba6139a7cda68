//! A bounded queue of log lines, and the loop that writes them.
//!
//! A write to a pipe blocks while its reader does not read, and a write to a full disk fails. Neither may stop the server:
//! logging only appends to the queue, and a line that does not fit is dropped and counted.

use crate::limits::{LOG_QUEUE_BYTES, LOG_QUEUE_LINES, LOG_RETRY_INTERVAL};
use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// A queue of log lines. Clones share the same queue.
#[derive(Clone, Default)]
pub struct LogQueue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// Lines lost since the start, for any reason.
    lost: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    /// Complete lines, concatenated.
    bytes: Vec<u8>,
    lines: usize,
    /// Lines that did not fit since the last report.
    dropped: u64,
    is_writing: bool,
}

/// Lines that are missing from the log, reported once lines get through again.
#[derive(Debug)]
pub enum Loss {
    /// The queue was full: the reader of the log was too slow.
    Dropped(u64),
    /// Writing failed, most recently with this error.
    Failed(u64, io::Error),
}

impl LogQueue {
    /// Appends a line, with its line break, or counts it as dropped. Never waits for the log's reader.
    pub fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.lines >= LOG_QUEUE_LINES || waiting.bytes.len() + line.len() > LOG_QUEUE_BYTES {
            waiting.dropped += 1;
            self.0.lost.fetch_add(1, Relaxed);
            return;
        }
        waiting.bytes.extend_from_slice(line);
        waiting.lines += 1;
        self.0.changed.notify_all();
    }

    /// Number of lines lost since the start.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Relaxed)
    }

    /// Waits until the queue is written, at most for `patience`. Returns whether it is.
    pub fn flush(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut waiting = self.lock();
        while waiting.is_writing || !waiting.bytes.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            waiting = self.0.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Writes lines to `out` forever. Calls `report` about lost lines once the queue can take a line about them.
    pub fn write_to(&self, mut out: impl Write, report: impl Fn(Loss)) -> ! {
        let mut failed: Option<(u64, io::Error)> = None;
        let mut is_mid_line = false;
        loop {
            let (batch, dropped) = self.take();
            if dropped > 0 {
                report(Loss::Dropped(dropped));
            }
            let written = match is_mid_line {
                // A failed write has left a partial line.
                true => write_some(&mut out, b"\n").1.map_or(Ok(()), Err).map_err(|error| (0, error)),
                false => Ok(()),
            };
            let written = written.and_then(|()| match write_some(&mut out, &batch) {
                (_, None) => Ok(()),
                (count, Some(error)) => Err((count, error)),
            });
            match written {
                Ok(()) => {
                    is_mid_line = false;
                    if let Some((lines, error)) = failed.take() {
                        report(Loss::Failed(lines, error));
                    }
                }
                Err((count, error)) => {
                    let (before, after) = batch.split_at(count);
                    is_mid_line = if count == 0 { is_mid_line } else { !before.ends_with(b"\n") };
                    let lines = after.iter().filter(|byte| **byte == b'\n').count() as u64;
                    self.0.lost.fetch_add(lines, Relaxed);
                    failed = Some((failed.map_or(0, |(lines, _)| lines) + lines, error));
                }
            }
            self.lock().is_writing = false;
            self.0.changed.notify_all();
        }
    }

    /// Waits for lines and takes them all, with the number of lines dropped since the last call.
    fn take(&self) -> (Vec<u8>, u64) {
        let mut waiting = self.lock();
        while waiting.bytes.is_empty() {
            waiting = self.0.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        (waiting.is_writing, waiting.lines) = (true, 0);
        (std::mem::take(&mut waiting.bytes), std::mem::take(&mut waiting.dropped))
    }

    /// Ignores poisoning: every change leaves the queue consistent.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all of `bytes`. On failure, returns the number of bytes written and the error.
fn write_some(out: &mut impl Write, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process that shares the terminal or pipe may have made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(LOG_RETRY_INTERVAL),
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// Appends each line that a logger writes to the queue.
impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Starts a queue that writes to `out`; returns it with the losses that it reports.
    fn started(out: impl Write + Send + 'static) -> (LogQueue, mpsc::Receiver<Loss>) {
        let (queue, (report, losses)) = (LogQueue::default(), mpsc::channel());
        let writing = queue.clone();
        std::thread::spawn(move || writing.write_to(out, move |loss| drop(report.send(loss))));
        (queue, losses)
    }

    /// A pipe whose reader controls the progress of writes.
    struct Pipe {
        /// Numbers of bytes that the next writes may write; the writer waits for them. `None` fails a write.
        allowed: mpsc::Receiver<Option<usize>>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.allowed.recv() {
                Ok(Some(count)) => {
                    let count = count.min(bytes.len());
                    let _ = self.written.send(bytes[..count].to_vec());
                    Ok(count)
                }
                _ => Err(io::ErrorKind::StorageFull.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe() -> (Pipe, mpsc::Sender<Option<usize>>, mpsc::Receiver<Vec<u8>>) {
        let ((allow, allowed), (written, arrived)) = (mpsc::channel(), mpsc::channel());
        (Pipe { allowed, written }, allow, arrived)
    }

    #[test]
    fn lines_arrive_in_order_and_a_flush_waits_for_them() {
        let (pipe, allow, arrived) = pipe();
        let (queue, _losses) = started(pipe);
        for line in ["one\n", "two\n", "three\n"] {
            queue.push(line.as_bytes());
        }
        assert!(!queue.flush(Duration::from_millis(10)), "nothing was read yet");
        for _ in 0..3 {
            allow.send(Some(usize::MAX)).unwrap();
        }
        assert!(queue.flush(PATIENCE));
        assert_eq!(arrived.try_iter().flatten().collect::<Vec<_>>(), b"one\ntwo\nthree\n");
        assert_eq!(queue.lost(), 0);
    }

    #[test]
    fn lines_over_the_limit_are_dropped_counted_and_reported_later() {
        let (pipe, allow, arrived) = pipe();
        let (queue, losses) = started(pipe);
        queue.push(b"first\n");
        while !queue.lock().is_writing {
            std::thread::yield_now();
        }
        let extra = 7;
        for _ in 0..LOG_QUEUE_LINES + extra {
            queue.push(b"x\n");
        }
        assert_eq!(queue.lost(), extra as u64);
        assert!(losses.try_recv().is_err(), "nothing flows yet");
        for _ in 0..2 {
            allow.send(Some(usize::MAX)).unwrap();
        }
        assert!(matches!(losses.recv_timeout(PATIENCE), Ok(Loss::Dropped(dropped)) if dropped == extra as u64));
        assert!(queue.flush(PATIENCE));
        assert_eq!(arrived.try_iter().flatten().count(), b"first\n".len() + LOG_QUEUE_LINES * 2);
        queue.push(&vec![b'x'; LOG_QUEUE_BYTES + 1]);
        assert_eq!(queue.lost(), extra as u64 + 1, "a line larger than the queue");
    }

    #[test]
    fn a_write_that_fails_costs_its_lines_and_nothing_later() {
        let (pipe, allow, arrived) = pipe();
        let (queue, losses) = started(pipe);
        // Two bytes of the line, then the disk is full; then the end of that line, and all of the next.
        for allowed in [Some(2), None, Some(usize::MAX), Some(usize::MAX)] {
            allow.send(allowed).unwrap();
        }
        queue.push(b"lost\n");
        assert!(queue.flush(PATIENCE));
        assert_eq!(queue.lost(), 1);
        queue.push(b"kept\n");
        assert!(queue.flush(PATIENCE));
        assert!(
            matches!(losses.recv_timeout(PATIENCE), Ok(Loss::Failed(1, error)) if error.kind() == io::ErrorKind::StorageFull)
        );
        assert_eq!(arrived.try_iter().flatten().collect::<Vec<_>>(), b"lo\nkept\n");
    }
}
