//! Conformance tests for implementations of the bus, written against the trait.

use super::{Arrived, Bus, Signal, TurnAnnouncements, Waker};
use crate::{
    domain::{ConnectionId, ConversationId, Event, EventActor, Fact, TurnId, UnixMillis, UserId},
    limits::{MAX_UNREAD_EVENTS, MAX_UNREAD_SIGNALS},
    turn::{TurnLog, TurnSubject},
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// Turns that were announced, and subscribed connections.
#[derive(Default)]
pub struct Announced {
    turns: Mutex<Vec<(TurnId, Option<ConnectionId>)>>,
    subscribed: Mutex<Vec<(ConnectionId, ConversationId)>>,
}

impl TurnAnnouncements for Announced {
    fn on_announced(&self, turn: Arc<TurnLog>, by: Option<ConnectionId>) {
        self.turns.lock().unwrap().push((turn.subject.turn_id, by));
    }

    fn subscribe(&self, connection: ConnectionId, conversation: ConversationId) {
        self.subscribed.lock().unwrap().push((connection, conversation));
    }
}

/// Counts how often a subscriber was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Waker for Wakes {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn event(conversation_id: ConversationId, position: i64) -> Event {
    let fact = Fact::Other { kind: "test".to_owned() };
    Event { conversation_id, position, at: UnixMillis(0), actor: EventActor::ASSISTANT, fact }
}

fn positions(arrived: &Arrived) -> Vec<i64> {
    arrived.events.iter().map(|event| event.position).collect()
}

fn signal(conversation_id: ConversationId, kind: &str, from: UserId, payload: &str) -> Signal {
    Signal { conversation_id, kind: kind.to_owned(), from, payload: payload.to_owned() }
}

pub fn events_reach_the_subscribers_of_their_conversation(bus: &impl Bus, _: &Announced) {
    let (here, elsewhere, wakes) = (ConversationId::new(), ConversationId::new(), Arc::<Wakes>::default());
    bus.publish(vec![event(here, 1)]);
    let (one, two) = (bus.subscribe(here, wakes.clone()), bus.subscribe(here, Arc::<Wakes>::default()));
    let other = bus.subscribe(elsewhere, Arc::<Wakes>::default());
    bus.publish(vec![event(here, 2), event(here, 3)]);
    bus.publish(vec![event(here, 4)]);
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1, "one wake until the events are taken");
    assert_eq!((positions(&one.take()), positions(&two.take())), (vec![2, 3, 4], vec![2, 3, 4]));
    assert_eq!((one.take(), other.take()), (Arrived::default(), Arrived::default()));
    drop(two);
    bus.publish(vec![event(here, 5)]);
    assert_eq!((positions(&one.take()), wakes.0.load(Ordering::SeqCst)), (vec![5], 2));
}

pub fn unread_events_are_bounded(bus: &impl Bus, _: &Announced) {
    let conversation = ConversationId::new();
    let subscription = bus.subscribe(conversation, Arc::<Wakes>::default());
    let last = i64::try_from(MAX_UNREAD_EVENTS).unwrap();
    (1..=last).for_each(|position| bus.publish(vec![event(conversation, position)]));
    let arrived = subscription.take();
    assert_eq!((arrived.events.len(), arrived.has_missed), (MAX_UNREAD_EVENTS, false));
    (1..=last + 1).for_each(|position| bus.publish(vec![event(conversation, position)]));
    let arrived = subscription.take();
    assert_eq!((arrived.events.len(), arrived.has_missed), (MAX_UNREAD_EVENTS, true));
    assert!(!subscription.take().has_missed);
}

pub fn an_invalidated_conversation_has_to_be_read(bus: &impl Bus, _: &Announced) {
    let (here, wakes) = (ConversationId::new(), Arc::<Wakes>::default());
    let (one, other) = (bus.subscribe(here, wakes.clone()), bus.subscribe(ConversationId::new(), wakes.clone()));
    bus.invalidate(here);
    assert!(one.take().has_missed && !other.take().has_missed);
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
}

pub fn turns_are_announced(bus: &impl Bus, announced: &Announced) {
    let subject =
        TurnSubject { turn_id: TurnId::new(), conversation_id: ConversationId::new(), user_id: UserId::new() };
    let by = Some(ConnectionId::new());
    bus.announce(TurnLog::new(subject), by);
    assert_eq!(*announced.turns.lock().unwrap(), [(subject.turn_id, by)]);
    let reading = ConnectionId::new();
    bus.announce_to(reading, subject.conversation_id);
    assert_eq!(*announced.subscribed.lock().unwrap(), [(reading, subject.conversation_id)]);
}

pub fn the_latest_signal_wins_and_signals_are_never_replayed(bus: &impl Bus, _: &Announced) {
    let (conversation, ada, bob) = (ConversationId::new(), UserId::new(), UserId::new());
    bus.publish_ephemeral(signal(conversation, "typing", ada, "before"));
    let subscription = bus.subscribe(conversation, Arc::<Wakes>::default());
    assert_eq!(subscription.take(), Arrived::default());
    let (last, of_bob) = (signal(conversation, "typing", ada, "off"), signal(conversation, "typing", bob, "on"));
    bus.publish_ephemeral(signal(conversation, "typing", ada, "on"));
    bus.publish_ephemeral(of_bob.clone());
    bus.publish_ephemeral(last.clone());
    assert_eq!(subscription.take().signals, [last, of_bob]);
    for n in 0..=MAX_UNREAD_SIGNALS {
        bus.publish_ephemeral(signal(conversation, &n.to_string(), ada, ""));
    }
    let arrived = subscription.take();
    assert_eq!((arrived.signals.len(), arrived.events.len()), (MAX_UNREAD_SIGNALS, 0));
}

/// Generates the tests for an implementation. `$open` creates a bus that announces turns to its argument.
macro_rules! conformance {
    ($open:expr; $($test:ident)*) => {$(
        #[test]
        fn $test() {
            let announced = std::sync::Arc::<$crate::bus::conformance::Announced>::default();
            let bus = ($open)(std::sync::Arc::clone(&announced));
            $crate::bus::conformance::$test(&bus, &announced);
        }
    )*};
    ($open:expr) => {
        $crate::bus::conformance::conformance! { $open;
            events_reach_the_subscribers_of_their_conversation unread_events_are_bounded turns_are_announced
            an_invalidated_conversation_has_to_be_read the_latest_signal_wins_and_signals_are_never_replayed
        }
    };
}
pub(super) use conformance;
