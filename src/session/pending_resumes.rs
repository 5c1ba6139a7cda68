//! The `resume` frames of one connection that have no answer yet. Pure.
//!
//! Lookups of several frames run at the same time, and their results reach the session actor in any order. The answers
//! for one conversation are sent in the order of its frames: a client trims its text at each `resumed`, so the last one has
//! to belong to the last frame. Conversations do not wait for each other.

use crate::domain::ConversationId;
use switchboard_protocol::ResumeFrame;

/// Identifies one `resume` frame of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeTicket(u32);

/// `A` is the outcome of a lookup.
pub struct PendingResumes<A> {
    next: u32,
    /// In the order in which the frames arrived. Short, so that a list is enough.
    pending: Vec<Pending<A>>,
}

struct Pending<A> {
    ticket: ResumeTicket,
    resume: ResumeFrame,
    /// Present while an earlier frame of the same conversation has no answer.
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

    /// Records the outcome of a lookup, and returns those that can be sent now.
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
            // Connections are idle most of the time.
            self.pending = Vec::new();
        }
        ready
    }

    /// Whether a `resume` of this conversation has no answer yet.
    pub fn contains(&self, conversation: ConversationId) -> bool {
        self.pending.iter().any(|pending| pending.resume.conversation_id == conversation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resume(conversation_id: ConversationId, last_seq: i64) -> ResumeFrame {
        ResumeFrame { conversation_id, turn_id: None, last_seq }
    }

    fn seqs(ready: Vec<(ResumeFrame, &str)>) -> Vec<(i64, &str)> {
        ready.into_iter().map(|(resume, outcome)| (resume.last_seq, outcome)).collect()
    }

    #[test]
    fn answers_of_a_conversation_keep_the_order_of_its_frames() {
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
