//! Tests of the table of turns: admission, permits, limits and release.

use super::*;
use crate::{
    config::LimitsConfig,
    turn::{Mailbox, TurnEvent, TurnFailure, TurnSink, TurnSubject},
};
use futures_util::FutureExt;
use std::net::Ipv4Addr;

/// An address without exemption.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn turns(change: impl FnOnce(&mut WorkflowConfig)) -> Arc<Turns> {
    let mut config = WorkflowConfig { max_running_turns: 9, ..WorkflowConfig::default() };
    change(&mut config);
    Turns::new(&config, Arc::new(Limiter::new(&LimitsConfig::default())))
}

fn log(conversation_id: ConversationId) -> Arc<TurnLog> {
    TurnLog::new(TurnSubject { turn_id: TurnId::new(), conversation_id, user_id: UserId::new() })
}

/// Another turn of the same user in the same conversation.
fn next(log: &TurnLog) -> Arc<TurnLog> {
    TurnLog::new(TurnSubject { turn_id: TurnId::new(), ..log.subject })
}

const BUSY: TurnError = TurnError::Busy { retry_after_ms: OVERLOADED_RETRY_MS };
const TOO_MANY_OF_USER: TurnError = TurnError::TooManyOfUser { retry_after_ms: OVERLOADED_RETRY_MS };

fn refusal(turns: &Arc<Turns>, log: &Arc<TurnLog>) -> Option<TurnError> {
    admit(turns, log).err()
}

/// Admits a turn that need not wait for a permit.
fn admit(turns: &Arc<Turns>, log: &Arc<TurnLog>) -> Result<Admission, TurnError> {
    admit_from(turns, log, ADDRESS).now_or_never().expect("no wait for a permit")
}

async fn admit_from(turns: &Arc<Turns>, log: &Arc<TurnLog>, address: IpAddr) -> Result<Admission, TurnError> {
    turns.reserve(log, address)?.admit().await
}

fn interrupted() -> TurnEnd {
    TurnEnd::Failed(TurnFailure::TaskLost)
}

#[test]
fn conversation_has_one_running_turn() {
    let (turns, log) = (turns(|_| {}), log(ConversationId::new()));
    let admission = admit(&turns, &log).unwrap();
    assert_eq!(refusal(&turns, &next(&log)), Some(TurnError::InProgress));
    drop(admission);
    assert_eq!(refusal(&turns, &next(&log)), None);
}

#[test]
fn turn_belongs_to_its_conversation_rather_than_to_a_user() {
    let (turns, conversation) = (turns(|_| {}), ConversationId::new());
    let (first, of_another_user) = (log(conversation), log(conversation));
    let acceptance = admit(&turns, &first).unwrap().accept();
    assert_eq!(refusal(&turns, &of_another_user), Some(TurnError::InProgress));
    assert!(Arc::ptr_eq(&turns.running_in(conversation).now_or_never().unwrap().unwrap(), &first));
    acceptance.end(interrupted());
    assert_eq!(refusal(&turns, &of_another_user), None);
}

#[tokio::test]
async fn lookup_waits_until_the_turn_is_accepted_or_rejected() {
    let turns = turns(|_| {});
    for accepted in [true, false] {
        let log = log(ConversationId::new());
        let TurnSubject { turn_id, conversation_id, .. } = log.subject;
        let admission = admit(&turns, &log).unwrap();
        let mut by_id = Box::pin(turns.find(turn_id));
        let mut latest = Box::pin(turns.running_in(conversation_id));
        assert!((&mut by_id).now_or_never().is_none() && (&mut latest).now_or_never().is_none());
        let _acceptance = if accepted {
            Some(admission.accept())
        } else {
            admission.reject();
            None
        };
        assert_eq!((by_id.await.is_some(), latest.await.is_some()), (accepted, accepted));
    }
}

#[test]
fn restored_turn_is_in_memory_once_and_only_while_it_is_read() {
    let (turns, first) = (turns(|_| {}), log(ConversationId::new()));
    let subject = first.subject;
    let find = || turns.find(subject.turn_id).now_or_never().unwrap();
    assert!(find().is_none());
    assert!(Arc::ptr_eq(&turns.share(Arc::clone(&first)), &first));
    assert!(Arc::ptr_eq(&turns.share(TurnLog::new(subject)), &first));
    assert!(Arc::ptr_eq(&find().unwrap(), &first));
    drop(first);
    assert!(find().is_none());
    turns.sweep();
    assert!(turns.lock().restored.is_empty());
    // A deleted conversation is gone for those who still read it, too.
    let again = turns.share(TurnLog::new(subject));
    turns.forget_conversation(subject.conversation_id);
    assert!(find().is_none());
    drop(again);
}

#[test]
fn conversation_is_free_once_the_end_is_published() {
    struct NextTurn(Arc<Turns>, Mutex<Option<std::thread::JoinHandle<Option<TurnError>>>>);

    /// Sends the next message from another thread as soon as the end is published.
    impl TurnSink for Arc<NextTurn> {
        fn try_deliver(&self, event: TurnEvent) -> Result<(), TurnEvent> {
            let turns = Arc::clone(&self.0);
            let attempt = std::thread::spawn(move || refusal(&turns, &next(&event.turn)));
            // Leaves an attempt that is not blocked enough time to succeed.
            std::thread::sleep(Duration::from_millis(20));
            *self.1.lock().unwrap() = Some(attempt);
            Ok(())
        }
    }

    let turns = turns(|config| config.max_running_turns = 1);
    let log = log(ConversationId::new());
    let acceptance = admit(&turns, &log).unwrap().accept();
    let reader = Arc::new(NextTurn(Arc::clone(&turns), Mutex::default()));
    log.subscribe(&Mailbox::new(Arc::clone(&reader)).subscriber(), |_| true);
    acceptance.end(interrupted());
    let attempt = reader.1.lock().unwrap().take().unwrap();
    assert_eq!(attempt.join().unwrap(), None);
    drop(acceptance);
    assert_eq!((turns.stats().running_turns, turns.stats().retained_turns), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn permits_are_limited_and_released() {
    let turns = turns(|config| config.max_running_turns = 1);
    let admission = admit(&turns, &log(ConversationId::new())).unwrap();
    let (waiting, began) = (log(ConversationId::new()), tokio::time::Instant::now());
    assert_eq!(admit_from(&turns, &waiting, ADDRESS).await.err(), Some(BUSY));
    assert_eq!(began.elapsed().as_secs(), 2, "the wait for a permit");
    assert_eq!((turns.limiter.hits().turns, turns.stats().waiting_turns), (1, 0));
    admission.reject();
    assert_eq!(refusal(&turns, &waiting), None);
    assert_eq!((turns.stats().running_turns, turns.stats().retained_turns), (0, 0));
    let table = turns.lock();
    assert!(table.by_user.is_empty() && table.by_conversation.is_empty());
}

#[test]
fn permits_are_granted_in_fifo_order() {
    let turns = turns(|config| (config.max_running_turns, config.max_waiting_turns) = (1, 2));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let logs: [_; 4] = std::array::from_fn(|_| log(ConversationId::new()));
    let running = admit(&turns, &log(ConversationId::new())).unwrap();
    let mut first = Box::pin(admit_from(&turns, &logs[0], ADDRESS));
    let mut second = Box::pin(admit_from(&turns, &logs[1], ADDRESS));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    let stats = turns.stats();
    assert_eq!((stats.running_turns, stats.waiting_turns), (1, 2));
    // A third turn finds the queue full and is refused immediately.
    assert_eq!(refusal(&turns, &logs[2]), Some(BUSY));
    assert_eq!(turns.limiter.hits().waiting_turns, 1);

    drop(running);
    assert!((&mut second).now_or_never().is_none(), "the second waiter overtook the first");
    let admitted = (&mut first).now_or_never().unwrap().unwrap();
    // A newcomer does not overtake, and leaves the queue when it is dropped.
    assert!(admit_from(&turns, &logs[3], ADDRESS).now_or_never().is_none());
    assert_eq!(turns.stats().waiting_turns, 1);
    drop(admitted);
    assert!(second.now_or_never().unwrap().is_ok());
}

#[test]
fn turns_per_user_are_limited() {
    let turns = turns(|config| config.max_running_turns_per_user = 2);
    let user_id = UserId::new();
    let of_user =
        || TurnLog::new(TurnSubject { turn_id: TurnId::new(), conversation_id: ConversationId::new(), user_id });
    let admissions = [admit(&turns, &of_user()), admit(&turns, &of_user())];
    assert!(admissions.iter().all(Result::is_ok));
    assert_eq!(refusal(&turns, &of_user()), Some(TOO_MANY_OF_USER));
    assert_eq!(refusal(&turns, &log(ConversationId::new())), None);
    drop(admissions);
    assert_eq!(refusal(&turns, &of_user()), None);
    assert_eq!(turns.limiter.hits().turns_per_user, 1);
}

#[test]
fn turns_from_exempt_addresses_do_not_count_for_their_user() {
    let config = WorkflowConfig { max_running_turns: 9, max_running_turns_per_user: 1, ..WorkflowConfig::default() };
    let limits = LimitsConfig { exempt_addresses: vec!["198.51.100.0/24".to_owned()], ..LimitsConfig::default() };
    let turns = Turns::new(&config, Arc::new(Limiter::new(&limits)));
    let user_id = UserId::new();
    let admit_at = |address: IpAddr| {
        let subject = TurnSubject { turn_id: TurnId::new(), conversation_id: ConversationId::new(), user_id };
        admit_from(&turns, &TurnLog::new(subject), address).now_or_never().expect("no wait for a permit")
    };
    let exempt = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
    let from_exempt: Vec<_> = (0..5).map(|_| admit_at(exempt)).collect();
    assert!(from_exempt.iter().all(Result::is_ok));
    let limited = admit_at(ADDRESS).unwrap();
    assert_eq!(admit_at(ADDRESS).err(), Some(TOO_MANY_OF_USER));
    // Releasing turns that were not counted does not change the count.
    drop(from_exempt);
    assert_eq!(admit_at(ADDRESS).err(), Some(TOO_MANY_OF_USER));
    drop(limited);
    assert!(admit_at(ADDRESS).is_ok() && turns.lock().by_user.is_empty());
}

#[test]
fn limit_changes_while_turns_run() {
    let turns = turns(|config| config.max_running_turns = 3);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let take = || {
        admit_from(&turns, &log(ConversationId::new()), ADDRESS).now_or_never().map(|admitted| admitted.ok().unwrap())
    };
    let mut held: Vec<_> = (0..3).map(|_| take().unwrap()).collect();
    turns.change_limits(1, 0);
    for left in [2, 1] {
        drop(held.pop());
        assert!(take().is_none(), "{left} run, and one may");
    }
    drop(held.pop());
    held.push(take().unwrap());
    assert!(take().is_none());
    // Lowers and raises the limit while turns run.
    turns.change_limits(4, 0);
    held.extend((0..3).map(|_| take().unwrap()));
    assert!(take().is_none());
    turns.change_limits(1, 0);
    turns.change_limits(3, 0);
    drop(held.pop());
    assert!(take().is_none(), "three run");
    drop(held.pop());
    held.push(take().unwrap());
    assert!(take().is_none());
    held.clear();
    assert_eq!((0..9).map_while(|_| take().map(|admission| held.push(admission))).count(), 3);
    assert_eq!(turns.lock().excess, 0);
}

#[test]
fn limit_per_user_changes_while_turns_run() {
    let turns = turns(|config| config.max_running_turns_per_user = 1);
    let user_id = UserId::new();
    let of_user =
        || TurnLog::new(TurnSubject { turn_id: TurnId::new(), conversation_id: ConversationId::new(), user_id });
    let _first = admit(&turns, &of_user()).unwrap();
    assert_eq!(refusal(&turns, &of_user()), Some(TOO_MANY_OF_USER));
    turns.change_limits(9, 2);
    let _second = admit(&turns, &of_user()).unwrap();
    assert_eq!(refusal(&turns, &of_user()), Some(TOO_MANY_OF_USER));
}

#[test]
fn dropped_task_ends_its_turn() {
    let turns = turns(|config| config.max_running_turns = 1);
    let log = log(ConversationId::new());
    drop(admit(&turns, &log).unwrap().accept());
    assert!(log.has_ended());
    assert!(turns.find(log.subject.turn_id).now_or_never().unwrap().is_some());
    assert_eq!(turns.stats().running_turns, 0);
}

#[test]
fn draining_server_refuses_new_turns() {
    let (turns, log) = (turns(|_| {}), log(ConversationId::new()));
    let running = admit(&turns, &log).unwrap().accept();
    turns.drain();
    assert_eq!(refusal(&turns, &self::log(ConversationId::new())), Some(DRAINING));
    assert_eq!(turns.check_open(), Err(DRAINING));
    turns.reopen();
    assert!(turns.check_open().is_ok() && refusal(&turns, &self::log(ConversationId::new())).is_none());
    turns.drain();
    assert_eq!(running.stop_signal().reason(), None);
    assert_eq!(turns.interrupt_all(), 1);
    assert_eq!(running.stop_signal().reason(), Some(StopReason::ServerStopping));
}

#[test]
fn ended_turns_are_dropped_after_the_retention_time() {
    let turns = turns(|config| config.turn_retention_s = 0);
    let log = log(ConversationId::new());
    drop(admit(&turns, &log).unwrap().accept());
    turns.sweep();
    assert!(turns.find(log.subject.turn_id).now_or_never().unwrap().is_none());
}
