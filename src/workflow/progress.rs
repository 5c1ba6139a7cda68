//! Constructor of the progress entries in a turn's log.

use crate::turn::Progress;
use switchboard_protocol::Step;

/// The text that users see when a turn starts.
pub(super) const STARTING: &str = "Starting…";

/// Creates an entry without the findings of earlier steps.
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
