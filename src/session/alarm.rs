//! The single timer of a session, shared by its heartbeat and its deadlines.

use crate::{limits::CATCH_UP_TIME, pause};
use actix::{Actor, AsyncContext, SpawnHandle};
use std::time::{Duration, Instant};

/// An actor with an alarm.
pub(super) trait AlarmHandler: Actor<Context: AsyncContext<Self>> {
    /// Called when the alarm goes off.
    fn on_alarm(&mut self, ctx: &mut Self::Context);
}

/// A running timer that calls [`AlarmHandler::on_alarm`].
pub(super) struct Alarm {
    handle: SpawnHandle,
    at: Instant,
    /// Whether the process was paused. No deadline is enforced before `at` then, so that input that arrived during the pause is
    /// handled first.
    is_catching_up: bool,
}

impl Alarm {
    pub fn set<A: AlarmHandler>(at: Instant, ctx: &mut A::Context) -> Self {
        Self { handle: go_off_at::<A>(at, ctx), at, is_catching_up: false }
    }

    /// Makes the alarm go off no later than `at`. An early alarm is harmless, because its handler sets it again, so it is never
    /// moved to a later time.
    pub fn move_up<A: AlarmHandler>(&mut self, at: Instant, ctx: &mut A::Context) {
        if at < self.at && !self.is_catching_up {
            ctx.cancel_future(self.handle);
            (self.handle, self.at) = (go_off_at::<A>(at, ctx), at);
        }
    }

    /// Returns whether the alarm went off so late that the process must have been paused. It then goes off again a little
    /// later.
    pub fn catches_up<A: AlarmHandler>(&mut self, ctx: &mut A::Context) -> bool {
        let now = Instant::now();
        let until = if self.is_catching_up {
            Some(self.at).filter(|until| now < *until)
        } else {
            pause::lateness(self.at, now).map(|_| now + CATCH_UP_TIME)
        };
        if let Some(until) = until {
            *self = Self { handle: go_off_at::<A>(until, ctx), at: until, is_catching_up: true };
        }
        until.is_some()
    }
}

fn go_off_at<A: AlarmHandler>(at: Instant, ctx: &mut A::Context) -> SpawnHandle {
    // The extra millisecond prevents an alarm just before its deadline, which would have to go off twice.
    let delay = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    ctx.run_later(delay, |actor: &mut A, ctx| actor.on_alarm(ctx))
}
