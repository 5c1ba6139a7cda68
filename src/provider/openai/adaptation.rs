//! Fits a request to what its server takes: without the parameters that it refuses.

use super::{
    failure::Failure,
    parameters::{Parameters, RefusedParameters},
    request::ChatBody,
};

/// Parameters left out of one request since its first refusal. Terminates: each refusal leaves out one parameter
/// more, and there are few.
#[derive(Debug)]
pub(super) struct Adaptation {
    left_out: Parameters,
}

impl Adaptation {
    /// Leaves out what is known to be refused.
    pub fn new(refused: &RefusedParameters, body: &mut ChatBody<'_>) -> Self {
        body.leave_out(refused.known());
        Self { left_out: Parameters::NONE }
    }

    /// Leaves out what the server refused just now, so that the request can be sent again.
    ///
    /// # Errors
    /// The failure itself, when it names nothing that could be left out.
    pub fn apply(&mut self, failure: Failure, body: &mut ChatBody<'_>) -> Result<(), Failure> {
        let refused = failure.refused.and(body.parameters());
        if refused.is_none() {
            return Err(failure);
        }
        if failure.refuses_always {
            self.left_out = self.left_out.with(refused);
            body.leave_out(refused);
        } else {
            // Only the limit of tokens is refused for one request; under its other name it would be refused again.
            body.leave_out(failure.refused);
        }
        Ok(())
    }

    /// The server took the request: what it refused before is left out from now on.
    pub fn learn(&self, refused: &RefusedParameters) {
        if !self.left_out.is_none() {
            refused.learn(self.left_out);
        }
    }
}
