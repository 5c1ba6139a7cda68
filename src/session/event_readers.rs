//! Cursors of one connection in the events of conversations. Pure.
//!
//! The store is the source of truth. A reader sends events in the order of their positions, without gaps: one that arrives over
//! the bus and follows the previous one is sent; anything else makes the reader read the store from its cursor. A connection
//! reads one page at a time, and only with credit, so that a client that reads slowly costs no more memory than that, however many
//! conversations it has resumed.

use crate::{
    bus::Arrived,
    domain::{ConversationId, Event},
    limits::{EVENTS_PER_READ, MAX_SUBSCRIBED_CONVERSATIONS},
    turn::TurnLog,
};
use std::{collections::VecDeque, sync::Arc};

/// The readers of one connection, least recently started first.
#[derive(Default)]
pub struct EventReaders {
    readers: Vec<Reader>,
}

struct Reader {
    conversation: ConversationId,
    /// Position of the last event that was sent.
    cursor: i64,
    /// Events to send next.
    ready: VecDeque<Arc<Event>>,
    /// Whether events are being read from the store.
    is_reading: bool,
    /// Whether the store has events after the ready ones that will not arrive.
    is_lagging: bool,
    /// Position of the latest event when the reader was started, until it was sent; with the turn to show then.
    catching_up: Option<(i64, Option<Arc<TurnLog>>)>,
}

/// The next action of the connection.
pub enum ReaderAction {
    Send(Arc<Event>),
    /// Read the store after this position.
    Read(ConversationId, i64),
    /// The client has every event up to the head that it was told. Show the turn that was running then.
    CaughtUp(Option<Arc<TurnLog>>),
}

/// The start of a reader.
pub struct Start {
    pub conversation: ConversationId,
    pub from_position: i64,
    pub head: i64,
    pub running: Option<Arc<TurnLog>>,
}

impl EventReaders {
    /// Starts a reader, or moves the one of this conversation. Returns the conversation whose reader ends, since a connection may
    /// not have more.
    pub fn start(&mut self, start: Start) -> Option<ConversationId> {
        let Start { conversation, from_position, head, running } = start;
        self.end(conversation);
        let reader = Reader {
            conversation,
            cursor: from_position,
            ready: VecDeque::new(),
            is_reading: false,
            is_lagging: from_position < head,
            catching_up: Some((head, running)),
        };
        self.readers.push(reader);
        (self.readers.len() > MAX_SUBSCRIBED_CONVERSATIONS).then(|| self.readers.remove(0).conversation)
    }

    /// Ends the reader of a conversation; returns whether there was one.
    pub fn end(&mut self, conversation: ConversationId) -> bool {
        let index = self.readers.iter().position(|reader| reader.conversation == conversation);
        index.map(|index| self.readers.remove(index)).is_some()
    }

    /// Whether the client has yet to receive events that precede its turns.
    pub fn is_catching_up(&self, conversation: ConversationId) -> bool {
        self.readers.iter().any(|reader| reader.conversation == conversation && reader.catching_up.is_some())
    }

    /// Whether events wait for credit.
    pub fn is_waiting(&self) -> bool {
        self.readers.iter().any(|reader| !reader.ready.is_empty() || (reader.is_lagging && !reader.is_reading))
    }

    /// Handles what arrived over the bus.
    pub fn on_arrived(&mut self, conversation: ConversationId, arrived: Arrived) {
        if let Some(reader) = self.find(conversation) {
            reader.accept(arrived);
        }
    }

    /// Handles events that were read from the store; `None` if the store failed.
    pub fn on_read(&mut self, conversation: ConversationId, after: i64, read: Option<(Vec<Event>, bool)>) {
        let Some(index) = self.readers.iter().position(|reader| reader.conversation == conversation) else { return };
        let reader = &mut self.readers[index];
        // Otherwise a late result, of a read before the reader was started again.
        if reader.cursor != after || !std::mem::take(&mut reader.is_reading) {
            return;
        }
        match read {
            Some((events, has_more)) => {
                reader.ready.extend(events.into_iter().map(Arc::new));
                reader.is_lagging |= has_more;
            }
            None => {
                reader.is_lagging = true;
                // The others read before it tries again.
                self.readers[index..].rotate_left(1);
            }
        }
    }

    /// Returns the next action. `has_credit`: the connection may be given another frame.
    pub fn next(&mut self, has_credit: bool) -> Option<ReaderAction> {
        let may_read = !self.readers.iter().any(|reader| reader.is_reading);
        self.readers.iter_mut().find_map(|reader| reader.next(has_credit, may_read))
    }

    fn find(&mut self, conversation: ConversationId) -> Option<&mut Reader> {
        self.readers.iter_mut().find(|reader| reader.conversation == conversation)
    }
}

impl Reader {
    fn accept(&mut self, Arrived { mut events, has_missed, .. }: Arrived) {
        if self.is_reading || self.is_lagging {
            self.is_lagging = true;
            return;
        }
        events.sort_by_key(|event| event.position);
        for event in events {
            let next = self.ready.back().map_or(self.cursor, |last| last.position) + 1;
            if event.position < next {
                continue;
            }
            if event.position > next || self.ready.len() >= EVENTS_PER_READ {
                self.is_lagging = true;
                return;
            }
            self.ready.push_back(event);
        }
        self.is_lagging |= has_missed;
    }

    fn next(&mut self, has_credit: bool, may_read: bool) -> Option<ReaderAction> {
        if self.catching_up.as_ref().is_some_and(|(head, _)| self.cursor >= *head) {
            let (_, running) = self.catching_up.take()?;
            return Some(ReaderAction::CaughtUp(running));
        }
        if !has_credit {
            return None;
        }
        if let Some(event) = self.ready.pop_front() {
            self.cursor = event.position;
            return Some(ReaderAction::Send(event));
        }
        if self.is_lagging && may_read {
            self.is_lagging = false;
            self.is_reading = true;
            return Some(ReaderAction::Read(self.conversation, self.cursor));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventActor, Fact, UnixMillis};
    use proptest::prelude::*;

    fn event(conversation_id: ConversationId, position: i64) -> Event {
        let fact = Fact::Other { kind: "test".to_owned() };
        Event { conversation_id, position, at: UnixMillis(0), actor: EventActor::ASSISTANT, fact }
    }

    fn start(conversation: ConversationId, from_position: i64, head: i64) -> Start {
        Start { conversation, from_position, head, running: None }
    }

    fn arrived(conversation: ConversationId, positions: &[i64]) -> Arrived {
        let events = positions.iter().map(|position| Arc::new(event(conversation, *position)));
        Arrived { events: events.collect(), ..Arrived::default() }
    }

    /// Performs all actions, with a store that has the events up to `head`; returns the positions that were sent.
    fn run(readers: &mut EventReaders, head: i64, mut credit: usize) -> Vec<i64> {
        let mut sent = Vec::new();
        while let Some(action) = readers.next(credit > 0) {
            match action {
                ReaderAction::Send(event) => {
                    sent.push(event.position);
                    credit -= 1;
                }
                ReaderAction::Read(conversation, after) => {
                    let page = (after + 1..=head).take(3).map(|position| event(conversation, position)).collect();
                    readers.on_read(conversation, after, Some((page, head > after + 3)));
                }
                ReaderAction::CaughtUp(_) => {}
            }
        }
        sent
    }

    #[test]
    fn a_reader_catches_up_and_then_takes_what_arrives() {
        let (mut readers, here) = (EventReaders::default(), ConversationId::new());
        assert_eq!(readers.start(start(here, 2, 9)).map(|_| ()), None);
        assert!(readers.is_catching_up(here));
        assert_eq!(run(&mut readers, 9, 99), [3, 4, 5, 6, 7, 8, 9]);
        assert!(!readers.is_catching_up(here) && !readers.is_waiting());
        readers.on_arrived(here, arrived(here, &[9, 11, 10]));
        // The store is not asked.
        assert_eq!(run(&mut readers, 0, 99), [10, 11]);
        readers.on_arrived(here, arrived(here, &[13]));
        assert_eq!(run(&mut readers, 13, 99), [12, 13]);
    }

    #[test]
    fn an_arrival_during_the_lookup_is_not_lost() {
        let (mut readers, here) = (EventReaders::default(), ConversationId::new());
        // The subscription begins before the head is read: what arrives may be among the events up to it.
        readers.start(start(here, 0, 1));
        readers.on_arrived(here, arrived(here, &[1, 2]));
        assert_eq!(run(&mut readers, 2, 99), [1, 2]);
    }

    #[test]
    fn one_page_is_read_at_a_time() {
        let (mut readers, one, two) = (EventReaders::default(), ConversationId::new(), ConversationId::new());
        readers.start(start(one, 0, 2));
        readers.start(start(two, 0, 1));
        assert!(readers.next(false).is_none() && readers.is_waiting());
        assert!(matches!(readers.next(true), Some(ReaderAction::Read(id, 0)) if id == one));
        assert!(readers.next(true).is_none());
        // What cannot be read does not keep the others waiting.
        readers.on_read(one, 0, None);
        assert!(matches!(readers.next(true), Some(ReaderAction::Read(id, 0)) if id == two));
        readers.on_read(two, 0, Some((vec![event(two, 1)], false)));
        assert!(readers.next(false).is_none());
        assert!(matches!(readers.next(true), Some(ReaderAction::Send(event)) if event.conversation_id == two));
        assert!(matches!(readers.next(true), Some(ReaderAction::CaughtUp(None))));
        assert!(matches!(readers.next(true), Some(ReaderAction::Read(id, 0)) if id == one));
        // A reader that ends while it reads.
        readers.end(one);
        readers.start(start(one, 1, 2));
        assert!(matches!(readers.next(true), Some(ReaderAction::Read(id, 1)) if id == one));
    }

    #[test]
    fn a_failed_read_is_repeated() {
        let (mut readers, here) = (EventReaders::default(), ConversationId::new());
        readers.start(start(here, 0, 2));
        assert!(matches!(readers.next(true), Some(ReaderAction::Read(_, 0))));
        readers.on_read(here, 0, None);
        assert_eq!(run(&mut readers, 2, 99), [1, 2]);
    }

    #[test]
    fn the_number_of_readers_is_bounded() {
        let mut readers = EventReaders::default();
        let conversations: Vec<_> = (0..=MAX_SUBSCRIBED_CONVERSATIONS).map(|_| ConversationId::new()).collect();
        let ended: Vec<_> = conversations.iter().filter_map(|id| readers.start(start(*id, 0, 0))).collect();
        assert_eq!(ended, conversations[..1]);
        assert!(!readers.end(conversations[0]) && readers.end(conversations[1]));
    }

    proptest! {
        /// Whatever arrives or is missed in whatever order, and however little credit there is: no event is lost, repeated or
        /// out of order.
        #[test]
        fn events_are_sent_once_and_in_order(
            steps in prop::collection::vec((0_i64..4, 0_usize..6, any::<bool>(), any::<bool>()), 0..40),
            from in 0_i64..5,
        ) {
            let (mut readers, here) = (EventReaders::default(), ConversationId::new());
            let mut head = 5;
            readers.start(start(here, from, head));
            let mut sent = Vec::new();
            for (new, credit, is_delivered, is_reversed) in steps {
                let mut positions: Vec<_> = (head + 1..=head + new).collect();
                head += new;
                if is_reversed {
                    positions.reverse();
                }
                if is_delivered {
                    readers.on_arrived(here, arrived(here, &positions));
                } else if new > 0 {
                    readers.on_arrived(here, Arrived { has_missed: true, ..Arrived::default() });
                }
                sent.extend(run(&mut readers, head, credit));
            }
            sent.extend(run(&mut readers, head, usize::MAX));
            prop_assert_eq!(sent, (from + 1..=head).collect::<Vec<_>>());
        }
    }
}
