//! Adapts a request to its server by omitting the parameters that the server rejects.

use super::{
    failure::Failure,
    parameters::{Parameters, RejectedParameters},
    request::ChatBody,
};

/// Parameters omitted from one request because the server rejected them. Each rejection omits at least one more, so the
/// number of attempts is bounded.
#[derive(Debug)]
pub(super) struct Adaptation {
    omitted: Parameters,
}

impl Adaptation {
    /// Omits the parameters that earlier requests found to be rejected.
    pub fn new(known: &RejectedParameters, body: &mut ChatBody<'_>) -> Self {
        body.omit(known.get());
        Self { omitted: Parameters::EMPTY }
    }

    /// Omits the parameters that `failure` names, so that the request can be repeated.
    ///
    /// # Errors
    /// Returns the failure when it names no parameter that the request has.
    pub fn apply(&mut self, failure: Failure, body: &mut ChatBody<'_>) -> Result<(), Failure> {
        let rejected = failure.rejected.intersection(body.parameters());
        if rejected.is_empty() {
            return Err(failure);
        }
        if failure.rejects_always {
            self.omitted = self.omitted.union(rejected);
            body.omit(rejected);
        } else {
            // The token limit does not fit beside this prompt; omit it under both names.
            body.omit(failure.rejected);
        }
        Ok(())
    }

    /// Remembers the omitted parameters for later requests, now that the server has accepted the request without them.
    pub fn confirm(&self, known: &RejectedParameters) {
        if !self.omitted.is_empty() {
            known.learn(self.omitted);
        }
    }
}
