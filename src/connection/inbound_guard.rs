//! Inbound guard of a connection: rate limit, JSON depth limit, parsing.

use crate::{
    config::LimitsConfig,
    limiter::{FrameBudget, FrameVerdict, Limit},
};
use switchboard_protocol::{ApiError, CloseReason, check_json_depth};

/// The guard of one connection, whatever frames its clients send.
pub struct InboundGuard {
    budget: FrameBudget,
    max_json_depth: usize,
}

/// An effect of the guard, in the terms of a kind of connection.
pub trait GuardEffect {
    /// Count that a limit refused something.
    fn limit_hit(limit: Limit) -> Self;

    /// Close the connection.
    fn close(reason: CloseReason) -> Self;
}

/// A text that was refused.
#[derive(Debug)]
pub enum Refused<F> {
    /// The text is not a valid frame; to be answered with the error.
    Malformed(ApiError),
    /// The frame exceeds the rate limit; to be answered with the error.
    TooFast(F, ApiError),
    /// Too many frames were refused: the effects close the connection.
    Closed,
}

impl InboundGuard {
    /// Creates the guard of a new connection.
    pub fn new(limits: &LimitsConfig) -> Self {
        Self { budget: FrameBudget::new(limits), max_json_depth: limits.json_depth }
    }

    /// Parses a text as a frame. A frame over the rate limit is parsed too, so that its error can name it.
    ///
    /// # Errors
    /// The reason for a refusal.
    pub fn accept<F, E: GuardEffect>(
        &self,
        text: &str,
        parse: impl FnOnce(&str) -> Result<F, ApiError>,
        effects: &mut Vec<E>,
    ) -> Result<F, Refused<F>> {
        let verdict = self.charge(effects);
        if verdict == FrameVerdict::Close {
            return Err(Refused::Closed);
        }
        check_json_depth(text.as_bytes(), self.max_json_depth)
            .inspect_err(|_| effects.push(E::limit_hit(Limit::JsonDepth)))
            .map_err(Refused::Malformed)?;
        let frame = parse(text).map_err(Refused::Malformed)?;
        if let FrameVerdict::Refused(wait) = verdict {
            let error = ApiError::rate_limited("You are sending frames too fast. Please wait a moment.", wait);
            return Err(Refused::TooFast(frame, error));
        }
        Ok(frame)
    }

    /// Applies the rate limit to a control frame or a fragment; returns whether the frame may be answered.
    pub fn accept_other<E: GuardEffect>(&self, effects: &mut Vec<E>) -> bool {
        self.charge(effects) == FrameVerdict::Allowed
    }

    fn charge<E: GuardEffect>(&self, effects: &mut Vec<E>) -> FrameVerdict {
        let verdict = self.budget.charge();
        match verdict {
            FrameVerdict::Allowed => {}
            FrameVerdict::Refused(_) => effects.push(E::limit_hit(Limit::Frames)),
            FrameVerdict::Close => {
                effects.extend([E::limit_hit(Limit::Violations), E::close(CloseReason::TooManyViolations)]);
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_protocol::ErrorCode;

    #[derive(Debug, PartialEq)]
    enum Effect {
        Hit(Limit),
        Close(CloseReason),
    }

    impl GuardEffect for Effect {
        fn limit_hit(limit: Limit) -> Self {
            Self::Hit(limit)
        }

        fn close(reason: CloseReason) -> Self {
            Self::Close(reason)
        }
    }

    fn guard(change: impl FnOnce(&mut LimitsConfig)) -> InboundGuard {
        let mut limits = LimitsConfig::default();
        change(&mut limits);
        InboundGuard::new(&limits)
    }

    fn parse(text: &str) -> Result<usize, ApiError> {
        text.parse().map_err(|_| ApiError::new(ErrorCode::InvalidJson, "not a number"))
    }

    #[test]
    fn text_is_refused_for_its_depth_or_by_the_parser() {
        let (guard, mut effects) = (guard(|limits| limits.json_depth = 2), Vec::<Effect>::new());
        assert!(matches!(guard.accept("7", parse, &mut effects), Ok(7)));
        assert!(matches!(guard.accept("x", parse, &mut effects), Err(Refused::Malformed(_))));
        assert_eq!(effects, []);
        assert!(matches!(guard.accept("[[[7]]]", |_| Ok(7), &mut effects), Err(Refused::Malformed(_))));
        assert_eq!(effects, [Effect::Hit(Limit::JsonDepth)]);
    }

    #[test]
    fn frames_over_the_limit_are_refused_and_too_many_close_the_connection() {
        let limited = |limits: &mut LimitsConfig| {
            (limits.frames_per_s, limits.frame_burst, limits.violations_per_minute) = (1, 1, 2);
        };
        let (guard, mut effects) = (guard(limited), Vec::<Effect>::new());
        assert!(guard.accept_other(&mut effects) && !guard.accept_other(&mut effects));
        let refused = guard.accept("7", parse, &mut effects);
        assert!(matches!(refused, Err(Refused::TooFast(7, error)) if error.code == ErrorCode::RateLimited));
        assert_eq!(effects, [Effect::Hit(Limit::Frames), Effect::Hit(Limit::Frames)]);
        effects.clear();
        assert!(matches!(guard.accept("7", parse, &mut effects), Err(Refused::Closed)));
        let closed = Effect::Close(CloseReason::TooManyViolations);
        assert_eq!(effects, [Effect::Hit(Limit::Violations), closed]);
    }
}
