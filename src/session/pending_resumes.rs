//! The unanswered `resume` frames of one connection. Pure.
//!
//! Lookups run concurrently, so their results reach the session actor in any order. The answers for one conversation are sent
//! in the order of its frames: a client truncates its text at each `resumed`, so the last one must belong to the last frame.
//! Conversations do not wait for each other.

use crate::domain::ConversationId;
use switchboard_protocol::ResumeFrame;

/// Identifies one `resume` frame of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeTicket(u32);

/// A queue of `resume` frames; `A` is the outcome of a lookup.
pub struct PendingResumes<A> {
    next: u32,
    /// In order of arrival. Short, so that linear search is fast enough.
    pending: Vec<Pending<A>>,
}

struct Pending<A> {
    ticket: ResumeTicket,
    resume: ResumeFrame,
    /// Set if the lookup has completed but an earlier frame of the same conversation is unanswered.
    outcome: Option<A>,
}

impl<A> Default for PendingResumes<A> {
    fn default() -> Self {
        Self { next: 0, pending: Vec::new() }
    }
}

impl<A> PendingResumes<A> {
    pub fn push(&mut self, resume: ResumeFrame) -> ResumeTicket {
        let ticket = ResumeTicket(self.next);
        self.next = self.next.wrapping_add(1);
        self.pending.push(Pending { ticket, resume, outcome: None });
        ticket
    }

    /// Records the outcome of a lookup, and returns the outcomes that can be sent now.
    pub fn complete(&mut self, ticket: ResumeTicket, outcome: A) -> Vec<(ResumeFrame, A)> {
        let Some(completed) = self.pending.iter_mut().find(|pending| pending.ticket == ticket) else {
            return Vec::new();
        };
        completed.outcome = Some(outcome);
        let conversation = completed.resume.conversation_id;
        let mut is_blocked = false;
        let ready = self.pending.extract_if(.., |pending| {
            let is_of_conversation = pending.resume.conversation_id == conversation;
            is_blocked |= is_of_conversation && pending.outcome.is_none();
            is_of_conversation && !is_blocked
        });
        let ready = ready.filter_map(|pending| Some((pending.resume, pending.outcome?))).collect();
        if self.pending.is_empty() {
            // Frees the memory: connections are idle most of the time.
            self.pending = Vec::new();
        }
        ready
    }

    /// Whether a `resume` of this conversation is unanswered.
    pub fn contains(&self, conversation: ConversationId) -> bool {
        self.pending.iter().any(|pending| pending.resume.conversation_id == conversation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resume(conversation_id: ConversationId, last_seq: i64) -> ResumeFrame {
        ResumeFrame { conversation_id, turn_id: None, last_seq, last_index: None, last_position: None }
    }

    fn seqs(ready: Vec<(ResumeFrame, &str)>) -> Vec<(i64, &str)> {
        ready.into_iter().map(|(resume, outcome)| (resume.last_seq, outcome)).collect()
    }

    #[test]
    fn answers_for_one_conversation_keep_the_order_of_its_frames() {
        let (mut pending, here, elsewhere) = (PendingResumes::default(), ConversationId::new(), ConversationId::new());
        let first = pending.push(resume(here, 1));
        let other = pending.push(resume(elsewhere, 2));
        let second = pending.push(resume(here, 3));
        let third = pending.push(resume(here, 4));
        assert!(pending.complete(third, "third").is_empty());
        assert_eq!(seqs(pending.complete(other, "other")), [(2, "other")], "another conversation does not wait");
        assert_eq!(seqs(pending.complete(first, "first")), [(1, "first")]);
        assert!(pending.contains(here) && !pending.contains(elsewhere));
        assert_eq!(seqs(pending.complete(second, "second")), [(3, "second"), (4, "third")]);
        assert!(!pending.contains(here));
        assert!(pending.complete(second, "again").is_empty());
    }
}
