//! A tap on a connection's frames for operators: type, size and time of each frame, never its content.
//!
//! Nothing is recorded without a watcher.

use crate::{domain::UnixMillis, limits::MAX_WATCHED_FRAMES};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// The frame types of the protocol. Any other `type` is shown as [`UNKNOWN`], because clients may write anything there.
const TYPES: [&str; 20] = [
    "auth",
    "message",
    "resume",
    "cancel",
    "ping",
    "auth_success",
    "auth_error",
    "auth_expiring",
    "progress",
    "token",
    "reasoning",
    "part",
    "complete",
    "resumed",
    "error",
    "pong",
    "heartbeat",
    "going_away",
    "notice",
    "close",
];
/// The type shown for a frame that is not part of the protocol.
const UNKNOWN: &str = "unknown";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the client.
    In,
    Out,
}

/// A frame without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FrameShape {
    pub direction: Direction,
    pub r#type: &'static str,
    /// Size of the payload.
    pub bytes: usize,
    pub at_ms: UnixMillis,
    /// `seq` of the (last) token in the frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u32>,
}

/// Recorder of the frames of one connection.
#[derive(Default)]
pub struct Tap {
    is_watched: AtomicBool,
    /// Present while there is a watcher.
    ring: Mutex<Option<Box<Ring>>>,
}

#[derive(Default)]
struct Ring {
    watchers: usize,
    frames: VecDeque<FrameShape>,
    /// Number of frames that were dropped from the front of `frames`.
    passed: u64,
}

/// The frames since the last call of [`TapWatch::take`](super::TapWatch::take).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NewFrames {
    /// Oldest first.
    pub frames: Vec<FrameShape>,
    /// Number of earlier frames that were dropped because there were too many.
    pub left_out: u64,
}

impl Tap {
    /// Records a text frame.
    pub fn text(&self, direction: Direction, text: &str) {
        if self.is_watched.load(Relaxed) {
            let (frame_type, seq) = head_of(text);
            self.record(direction, frame_type, text.len(), seq.filter(|_| direction == Direction::Out));
        }
    }

    /// Records a ping, pong or close frame.
    pub fn control(&self, direction: Direction, frame_type: &'static str, bytes: usize) {
        if self.is_watched.load(Relaxed) {
            self.record(direction, frame_type, bytes, None);
        }
    }

    #[cold]
    fn record(&self, direction: Direction, r#type: &'static str, bytes: usize, seq: Option<u32>) {
        if let Some(ring) = self.lock().as_mut() {
            if ring.frames.len() == MAX_WATCHED_FRAMES {
                ring.frames.pop_front();
                ring.passed += 1;
            }
            ring.frames.push_back(FrameShape { direction, r#type, bytes, at_ms: UnixMillis::now(), seq });
        }
    }

    /// Adds a watcher, and returns the number of the next frame.
    pub(super) fn watch(&self) -> u64 {
        let mut ring = self.lock();
        let open = ring.get_or_insert_default();
        open.watchers += 1;
        self.is_watched.store(true, Relaxed);
        open.passed + open.frames.len() as u64
    }

    /// Returns the frames from number `next` on, and moves `next` past them.
    pub(super) fn take_from(&self, next: &mut u64) -> NewFrames {
        let ring = self.lock();
        let Some(ring) = ring.as_ref() else { return NewFrames::default() };
        let left_out = ring.passed.saturating_sub(*next);
        let known = usize::try_from(next.saturating_sub(ring.passed)).unwrap_or(usize::MAX);
        *next = ring.passed + ring.frames.len() as u64;
        NewFrames { frames: ring.frames.iter().skip(known).copied().collect(), left_out }
    }

    /// Removes a watcher. Recording stops with the last one.
    pub(super) fn unwatch(&self) {
        let mut ring = self.lock();
        if let Some(open) = ring.as_mut() {
            open.watchers -= 1;
            if open.watchers == 0 {
                self.is_watched.store(false, Relaxed);
                *ring = None;
            }
        }
    }

    /// The ring is consistent between any two statements, so a poisoned lock is usable.
    fn lock(&self) -> MutexGuard<'_, Option<Box<Ring>>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the type and the `seq` of a frame.
fn head_of(text: &str) -> (&'static str, Option<u32>) {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        seq: Option<i64>,
    }
    let Ok(head) = serde_json::from_str::<Head<'_>>(text) else { return (UNKNOWN, None) };
    let known = TYPES.into_iter().find(|known| *known == head.r#type);
    (known.unwrap_or(UNKNOWN), head.seq.and_then(|seq| u32::try_from(seq).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::ConnectionId,
        registry::{ConnectionStats, TapWatch},
    };
    use std::sync::Arc;
    use switchboard_protocol::Dialect;

    fn connection() -> Arc<ConnectionStats> {
        ConnectionStats::new(ConnectionId::new(), Dialect::V2, String::new(), String::new())
    }

    #[test]
    fn shapes_hold_no_content() {
        let stats = connection();
        let tap = stats.tap();
        let mut watch = TapWatch::new(Arc::clone(&stats));
        tap.text(Direction::Out, r#"{"type":"token","token":"\"seq\":9 secret","seq":4,"turn_id":"x"}"#);
        tap.text(Direction::In, r#"{"type":"secret","seq":7}"#);
        tap.text(Direction::In, r#"{"message":"secret","type":"message","seq":7}"#);
        tap.text(Direction::In, r#"{"type":"message","seq":"secret"}"#);
        tap.text(Direction::In, "secret");
        tap.control(Direction::Out, "ping", 8);
        let taken = watch.take();
        let shapes: Vec<_> = taken.frames.iter().map(|shape| (shape.r#type, shape.seq)).collect();
        let wanted = [
            ("token", Some(4)),
            ("unknown", None),
            ("message", None),
            ("unknown", None),
            ("unknown", None),
            ("ping", None),
        ];
        assert_eq!(shapes, wanted);
        assert_eq!(taken.frames[4].bytes, 6);
        assert!(!serde_json::to_string(&taken).unwrap().contains("secret"));
    }

    #[test]
    fn a_watcher_sees_the_frames_during_its_watch() {
        let stats = connection();
        let tap = stats.tap();
        tap.control(Direction::Out, "ping", 0);
        let mut first = TapWatch::new(Arc::clone(&stats));
        tap.control(Direction::Out, "ping", 1);
        let mut second = TapWatch::new(Arc::clone(&stats));
        tap.control(Direction::Out, "ping", 2);
        let bytes = |watch: &mut TapWatch| watch.take().frames.iter().map(|shape| shape.bytes).collect::<Vec<_>>();
        assert_eq!((bytes(&mut first), bytes(&mut second)), (vec![1, 2], vec![2]));
        assert_eq!((bytes(&mut first), bytes(&mut second)), (vec![], vec![]));
        drop(first);
        tap.control(Direction::Out, "ping", 3);
        assert_eq!(bytes(&mut second), [3]);
    }

    #[test]
    fn dropped_frames_are_counted() {
        let stats = connection();
        let tap = stats.tap();
        let mut watch = TapWatch::new(Arc::clone(&stats));
        for bytes in 0..MAX_WATCHED_FRAMES + 10 {
            tap.control(Direction::In, "pong", bytes);
        }
        let taken = watch.take();
        assert_eq!((taken.frames.len(), taken.left_out, taken.frames[0].bytes), (MAX_WATCHED_FRAMES, 10, 10));
        tap.control(Direction::In, "pong", 0);
        assert_eq!((watch.take().frames.len(), watch.take().left_out), (1, 0));
    }

    #[test]
    fn recording_stops_with_the_last_watcher() {
        let stats = connection();
        let tap = stats.tap();
        let watchers = [TapWatch::new(Arc::clone(&stats)), TapWatch::new(Arc::clone(&stats))];
        tap.control(Direction::In, "pong", 0);
        drop(watchers);
        tap.control(Direction::In, "pong", 0);
        assert!(tap.lock().is_none() && !tap.is_watched.load(Relaxed));
    }
}
