//! Inbound filter: rate limit, JSON depth limit, parsing.

use super::effect::{Effect, send_error};
use crate::{
    config::LimitsConfig,
    limiter::{FrameBudget, FrameVerdict, Limit},
    workflow::is_client_id,
};
use switchboard_protocol::{ApiError, ClientFrame, CloseReason, ErrorSubject, FieldNames, check_json_depth};

pub struct InboundFilter {
    budget: FrameBudget,
    max_json_depth: usize,
    names: FieldNames,
}

impl InboundFilter {
    pub fn new(limits: &LimitsConfig, names: FieldNames) -> Self {
        Self { budget: FrameBudget::new(limits), max_json_depth: limits.json_depth, names }
    }

    /// Parses a text as a frame. If it is refused, an error frame is sent that names the message, provided that it can be read.
    /// `subject_of` names it for a frame that is refused after parsing.
    pub fn accept_text(
        &self,
        text: &str,
        subject_of: impl FnOnce(&ClientFrame) -> ErrorSubject,
        effects: &mut Vec<Effect>,
    ) -> Option<ClientFrame> {
        let verdict = self.charge(effects);
        if verdict == FrameVerdict::Close {
            return None;
        }
        let frame = match self.parse(text, effects) {
            Ok(frame) => frame,
            Err(error) => {
                let mut subject = ErrorSubject::of_text(text);
                subject.client_message_id.take_if(|id| !is_client_id(id));
                send_error(&error, &subject, self.names, effects);
                return None;
            }
        };
        if let FrameVerdict::Refused(wait) = verdict {
            let error = ApiError::rate_limited("You are sending frames too fast. Please wait a moment.", wait);
            send_error(&error, &subject_of(&frame), self.names, effects);
            return None;
        }
        Some(frame)
    }

    /// Applies the rate limit to a control frame or a fragment; returns whether the frame may be answered.
    pub fn accept_other(&self, effects: &mut Vec<Effect>) -> bool {
        self.charge(effects) == FrameVerdict::Allowed
    }

    fn charge(&self, effects: &mut Vec<Effect>) -> FrameVerdict {
        let verdict = self.budget.charge();
        match verdict {
            FrameVerdict::Allowed => {}
            FrameVerdict::Refused(_) => effects.push(Effect::LimitHit(Limit::Frames)),
            FrameVerdict::Close => {
                effects.extend([Effect::LimitHit(Limit::Violations), Effect::Close(CloseReason::TooManyViolations)]);
            }
        }
        verdict
    }

    fn parse(&self, text: &str, effects: &mut Vec<Effect>) -> Result<ClientFrame, ApiError> {
        check_json_depth(text.as_bytes(), self.max_json_depth)
            .inspect_err(|_| effects.push(Effect::LimitHit(Limit::JsonDepth)))?;
        ClientFrame::parse(text)
    }
}
