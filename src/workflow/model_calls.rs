//! Summary of a turn's requests to providers, for the metadata of its answer.

use crate::{domain::ModelTask, provider::Call};
use switchboard_protocol::Attempt;

/// Lists the attempts to answer, in order. Empty if the first provider answered or failed alone: the metadata's model says all.
pub(super) fn attempts(calls: &[Call]) -> Vec<Attempt> {
    let attempts = calls.iter().filter(|call| call.task == ModelTask::Generate);
    let attempts: Vec<_> = attempts
        .map(|call| Attempt {
            provider: call.provider.as_ref().to_owned(),
            model: call.model.as_ref().to_owned(),
            outcome: call.outcome.as_str().to_owned(),
            ms: u64::try_from(call.took.as_millis()).unwrap_or(u64::MAX),
        })
        .collect();
    if attempts.len() > 1 { attempts } else { Vec::new() }
}
