//! A thread pool with a bounded queue, for password hashes.
//!
//! A hash takes tens of milliseconds and 19 MiB. On an actor's thread it would block every connection there, and the
//! runtime's blocking pool would run hundreds at once. The pool knows nothing of passwords.

use super::AuthError;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};
use tokio::sync::oneshot;

/// Approximate duration of a job on a busy core, to compute `retry_after_ms`.
const JOB_MS: u64 = 50;
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 200..=5_000;
/// Time for which an idle thread keeps the memory that its jobs reuse. With few sign-ins the memory is free most of the time.
const KEEP: Duration = Duration::from_millis(250);

/// Added to the nice value of the threads, so that threads that stream or answer run first on a shared core: otherwise they
/// wait up to a time slice, some milliseconds, after each wake-up. With all cores busy, a hash still gets a tenth of a core;
/// with the largest value, 19, it would get a hundredth.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// A pool of threads. `S` is memory that jobs can reuse: a thread creates one, lends it to its jobs, and drops it after a while
/// without jobs.
pub(super) struct HashPool<S> {
    queue: Sender<Job<S>>,
    retry_after_ms: u64,
}

impl<S: Default + 'static> HashPool<S> {
    /// Starts `threads` threads (0: one per core), which end when the pool is dropped and its queue is empty. The queue holds
    /// `waiting` jobs; with 0, only an idle thread accepts a job.
    ///
    /// # Errors
    /// When the operating system refuses to start a thread.
    pub(super) fn start(threads: usize, waiting: usize) -> io::Result<Self> {
        let threads = match threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let (queue, jobs) = bounded(waiting);
        for index in 0..threads {
            let jobs = jobs.clone();
            thread::Builder::new().name(format!("hash-{index}")).spawn(move || work(&jobs))?;
        }
        let rounds = u64::try_from(waiting / threads).unwrap_or(u64::MAX).saturating_add(1);
        let retry_after_ms = rounds.saturating_mul(JOB_MS).clamp(*RETRY_AFTER_MS.start(), *RETRY_AFTER_MS.end());
        Ok(Self { queue, retry_after_ms })
    }

    /// Runs `work` on one of the threads. It is skipped if the caller drops the future before it starts.
    ///
    /// # Errors
    /// `HashQueueFull`, and `Internal` when `work` panics.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, AuthError>
    where
        T: Send + 'static,
        F: FnOnce(&mut S) -> T + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job<S> = Box::new(move |kept| {
            if !reply.is_closed() {
                // Fails if the caller has dropped the future meanwhile.
                let _ = reply.send(work(kept));
            }
        });
        match self.queue.try_send(job) {
            Ok(()) => answer.await.map_err(|_| AuthError::internal("a job of the hash pool panicked")),
            Err(TrySendError::Full(_)) => Err(AuthError::HashQueueFull { retry_after_ms: self.retry_after_ms }),
            Err(TrySendError::Disconnected(_)) => Err(AuthError::internal("the hash pool has stopped")),
        }
    }
}

fn work<S: Default>(jobs: &Receiver<Job<S>>) {
    // Only Linux has a nice value for each thread. A failure costs latency and nothing else.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICENESS);
    while let Ok(job) = jobs.recv() {
        let (mut kept, mut next) = (S::default(), Ok(job));
        while let Ok(job) = next {
            // After a panic the caller sees its reply dropped, and the thread continues.
            let _ = catch_unwind(AssertUnwindSafe(|| job(&mut kept)));
            next = jobs.recv_timeout(KEEP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::{join_all, poll_immediate};
    use std::sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    };
    use tokio::sync::oneshot;

    /// Occupies a thread of the pool until the sender sends or is dropped.
    async fn occupy(pool: &Arc<HashPool<()>>) -> (oneshot::Sender<()>, tokio::task::JoinHandle<Result<(), AuthError>>) {
        let (started, has_started) = oneshot::channel();
        let (release, released) = oneshot::channel::<()>();
        let pool = Arc::clone(pool);
        let task = tokio::spawn(async move {
            pool.run(move |()| {
                let _ = started.send(());
                let _ = released.blocking_recv();
            })
            .await
        });
        has_started.await.unwrap();
        (release, task)
    }

    #[tokio::test]
    async fn a_full_queue_refuses_a_job_with_a_time_to_retry() {
        let pool = Arc::new(HashPool::<()>::start(1, 2).unwrap());
        let (release, running) = occupy(&pool).await;
        let mut waiting: Vec<_> = (0..2).map(|n| Box::pin(pool.run(move |()| n))).collect();
        for job in &mut waiting {
            assert!(poll_immediate(job).await.is_none());
        }

        let refused = pool.run(|()| ()).await.unwrap_err();
        assert!(matches!(refused, AuthError::HashQueueFull { retry_after_ms } if retry_after_ms >= 100));

        release.send(()).unwrap();
        running.await.unwrap().unwrap();
        assert_eq!(join_all(waiting).await, [Ok(0), Ok(1)]);
        assert_eq!(pool.run(|()| 3).await, Ok(3));
    }

    #[tokio::test]
    async fn jobs_run_in_parallel_on_all_threads() {
        let pool = HashPool::<()>::start(3, 16).unwrap();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let barrier = Arc::new(Barrier::new(3));
        // The barrier opens only when three jobs run at once; 12 jobs are four rounds.
        let jobs = (0..12).map(|_| {
            let (running, most, barrier) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&barrier));
            pool.run(move |()| {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                barrier.wait();
                running.fetch_sub(1, Ordering::SeqCst);
            })
        });
        assert!(join_all(jobs).await.into_iter().all(|outcome| outcome.is_ok()));
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_job_of_a_dropped_caller_does_not_run() {
        let pool = Arc::new(HashPool::<()>::start(1, 4).unwrap());
        let (release, running) = occupy(&pool).await;
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let mut given_up = Box::pin(pool.run(move |()| count.fetch_add(1, Ordering::SeqCst)));
        assert!(poll_immediate(&mut given_up).await.is_none());
        drop(given_up);

        release.send(()).unwrap();
        running.await.unwrap().unwrap();
        pool.run(|()| ()).await.unwrap();
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_threads_have_a_lower_priority() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let pool = HashPool::<()>::start(1, 4).unwrap();
        let before = niceness();
        assert_eq!(pool.run(move |()| niceness()).await, Ok((before + NICENESS).min(19)));
        assert_eq!(niceness(), before);
    }

    #[tokio::test]
    async fn memory_is_reused_by_the_next_job_and_freed_when_idle() {
        let pool = HashPool::<Option<oneshot::Sender<()>>>::start(1, 2).unwrap();
        let (kept, is_dropped) = oneshot::channel();
        let (release, released) = std::sync::mpsc::channel();
        let mut first = Box::pin(pool.run(move |slot| {
            *slot = Some(kept);
            released.recv().unwrap();
        }));
        assert!(poll_immediate(&mut first).await.is_none());
        let mut second = Box::pin(pool.run(|slot| slot.is_some()));
        assert!(poll_immediate(&mut second).await.is_none());
        release.send(()).unwrap();
        assert_eq!((first.await, second.await), (Ok(()), Ok(true)));

        assert!(is_dropped.await.is_err());
        assert_eq!(pool.run(|slot| slot.is_some()).await, Ok(false));
    }

    #[tokio::test]
    async fn a_panic_fails_only_its_own_job() {
        let pool = HashPool::<()>::start(1, 4).unwrap();
        let error = pool.run(|()| -> () { panic!("on purpose") }).await.unwrap_err();
        assert!(matches!(error, AuthError::Internal(_)));
        assert_eq!(pool.run(|()| 7).await, Ok(7));
    }
}
