//! Threads for work that is slow on purpose, and a queue before them that has an end.
//!
//! A password hash takes tens of milliseconds and 19 MiB. An actor's thread would stand still meanwhile, and the runtime's
//! blocking pool would run hundreds at once; so they have threads of their own, and who finds the queue full is told to
//! come back later. Knows nothing of passwords.

use super::AuthError;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};
use tokio::sync::oneshot;

/// About what one job takes on a busy core, in milliseconds; only for telling a client when to come back.
const JOB_MS: u64 = 50;
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 200..=5_000;
/// How long a thread without a job keeps what it needs for one: where few sign in, it is not there most of the time.
const KEEP: Duration = Duration::from_millis(250);

/// Added to the nice value of the threads. On the cores that they share, who streams or answers then goes first: without it
/// such a thread waits up to a slice, some milliseconds, when it wakes up. A tenth of a core is still there for a hash when
/// all cores are busy; with the greatest value, 19, it would be a hundredth.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// `S` is what a job needs and the next one can use again: a thread makes one, lends it to its jobs, and drops it when none
/// has come for a while.
pub(super) struct HashPool<S> {
    queue: Sender<Job<S>>,
    retry_after_ms: u64,
}

impl<S: Default + 'static> HashPool<S> {
    /// Starts `threads` threads (0: one per core) that end when the pool is dropped and its queue is empty. `waiting` jobs
    /// may wait; with 0 a job is taken only by a thread that is idle.
    ///
    /// # Errors
    /// When the system has no thread left.
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

    /// Runs `work` on one of the threads. Not at all, when the caller has gone away before its turn came.
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
                // Nobody may be waiting any more by now.
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
    // Elsewhere it is not for a thread to say. Refused, it costs those who stream some milliseconds and nothing else.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICENESS);
    while let Ok(job) = jobs.recv() {
        let (mut kept, mut next) = (S::default(), Ok(job));
        while let Ok(job) = next {
            // The caller sees its reply dropped; the thread lives on for the next one.
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

    /// Occupies a thread of the pool until the sender says so (or is dropped).
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
    async fn past_the_queue_a_job_is_refused_with_a_time_to_come_back() {
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
    async fn jobs_run_side_by_side_on_all_threads_and_on_no_more() {
        let pool = HashPool::<()>::start(3, 16).unwrap();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let barrier = Arc::new(Barrier::new(3));
        // The barrier lets nobody pass unless three run at once; 12 jobs are four rounds of it.
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
    async fn a_job_whose_caller_is_gone_does_not_run() {
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
    async fn the_threads_leave_the_cores_to_others() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let pool = HashPool::<()>::start(1, 4).unwrap();
        let before = niceness();
        assert_eq!(pool.run(move |()| niceness()).await, Ok((before + NICENESS).min(19)));
        assert_eq!(niceness(), before);
    }

    #[tokio::test]
    async fn what_a_job_needs_is_kept_for_the_next_one_and_dropped_when_none_comes() {
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
    async fn a_panic_is_the_callers_alone() {
        let pool = HashPool::<()>::start(1, 4).unwrap();
        let error = pool.run(|()| -> () { panic!("on purpose") }).await.unwrap_err();
        assert!(matches!(error, AuthError::Internal(_)));
        assert_eq!(pool.run(|()| 7).await, Ok(7));
    }
}
