//! The one timer of a session, for its heartbeat and all of its deadlines.

use super::{actor::ChatSession, socket::SocketContext};
use crate::{limits::CATCH_UP_TIME, pause};
use actix::{AsyncContext, SpawnHandle};
use std::time::{Duration, Instant};

type Context = SocketContext<ChatSession>;

/// A timer that is set, and calls [`ChatSession::on_alarm`].
pub(super) struct Alarm {
    handle: SpawnHandle,
    at: Instant,
    /// After a pause of the process: until then no deadline counts, since what arrived meanwhile is to be heard first.
    catches_up_until: Option<Instant>,
}

impl Alarm {
    pub fn set(at: Instant, ctx: &mut Context) -> Self {
        Self { handle: Self::ring_at(at, ctx), at, catches_up_until: None }
    }

    /// Rings no later than `at`. One that rings too early is set again; only one that would ring too late has to be moved.
    pub fn move_up(&mut self, at: Instant, ctx: &mut Context) {
        if at < self.at && self.catches_up_until.is_none() {
            ctx.cancel_future(self.handle);
            (self.handle, self.at) = (Self::ring_at(at, ctx), at);
        }
    }

    /// The alarm rang. When that was so late that the process must have been paused, rings again a little later.
    pub fn catches_up(&mut self, ctx: &mut Context) -> bool {
        let now = Instant::now();
        let until = match self.catches_up_until {
            None => pause::lateness(self.at, now).map(|_| now + CATCH_UP_TIME),
            Some(until) => Some(until).filter(|until| now < *until),
        };
        if let Some(until) = until {
            *self = Self { handle: Self::ring_at(until, ctx), at: until, catches_up_until: Some(until) };
        }
        until.is_some()
    }

    fn ring_at(at: Instant, ctx: &mut Context) -> SpawnHandle {
        // A little late is better than a little early: an alarm that rings early rings twice.
        let delay = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        ctx.run_later(delay, |session, ctx| session.on_alarm(ctx))
    }
}
