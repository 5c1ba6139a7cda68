//! Steps of a turn, as the log announces them.

use crate::turn::Progress;
use switchboard_protocol::Step;

/// Text shown to users when a turn starts.
pub(super) const STARTING: &str = "Starting…";

/// A step without the findings of earlier ones.
pub(super) fn progress(step: Step, message: &str) -> Progress {
    let message = message.to_owned();
    Progress {
        step,
        message,
        specialist: None,
        confidence: None,
        sources: None,
        client_message_id: None,
        question: None,
    }
}
