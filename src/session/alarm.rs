//! The one timer of a session, for its heartbeat and all of its deadlines.

use crate::{limits::CATCH_UP_TIME, pause};
use actix::{Actor, AsyncContext, SpawnHandle};
use std::time::{Duration, Instant};

/// An actor with an alarm.
pub(super) trait AlarmHandler: Actor<Context: AsyncContext<Self>> {
    /// Called when the alarm goes off.
    fn on_alarm(&mut self, ctx: &mut Self::Context);
}

/// A timer that is set, and calls [`AlarmHandler::on_alarm`].
pub(super) struct Alarm {
    handle: SpawnHandle,
    at: Instant,
    /// After a pause of the process: no deadline counts before this time, so that what arrived meanwhile is handled first.
    catches_up_until: Option<Instant>,
}

impl Alarm {
    pub fn set<A: AlarmHandler>(at: Instant, ctx: &mut A::Context) -> Self {
        Self { handle: go_off_at::<A>(at, ctx), at, catches_up_until: None }
    }

    /// Makes the alarm go off no later than `at`. One that goes off too early is set again by its handler, so only one that
    /// would be late has to be moved.
    pub fn move_up<A: AlarmHandler>(&mut self, at: Instant, ctx: &mut A::Context) {
        if at < self.at && self.catches_up_until.is_none() {
            ctx.cancel_future(self.handle);
            (self.handle, self.at) = (go_off_at::<A>(at, ctx), at);
        }
    }

    /// Returns whether the alarm went off so late that the process must have been paused. It then goes off again a little
    /// later.
    pub fn catches_up<A: AlarmHandler>(&mut self, ctx: &mut A::Context) -> bool {
        let now = Instant::now();
        let until = match self.catches_up_until {
            None => pause::lateness(self.at, now).map(|_| now + CATCH_UP_TIME),
            Some(until) => Some(until).filter(|until| now < *until),
        };
        if let Some(until) = until {
            *self = Self { handle: go_off_at::<A>(until, ctx), at: until, catches_up_until: Some(until) };
        }
        until.is_some()
    }
}

fn go_off_at<A: AlarmHandler>(at: Instant, ctx: &mut A::Context) -> SpawnHandle {
    // A little late is better than a little early: an alarm that goes off early goes off twice.
    let delay = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    ctx.run_later(delay, |actor: &mut A, ctx| actor.on_alarm(ctx))
}
