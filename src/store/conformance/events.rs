//! Conformance tests of conversation events, access and fencing.

use super::{Fixture, part};
use crate::{
    domain::{
        ActorKind, ConversationAccess, ConversationHandler, ConversationId, Event, EventActor, Fact, FinishReason,
        MemberRole, Message, TurnId, TurnOutcome, UserId,
    },
    store::{
        AuditStore, BegunTurn, Checkpoint, ClockStore, ConversationStore, EndedTurn, EventStore, NewTurn, Page,
        StoreError, StoredTurn, StoredTurnState, UserStore,
    },
};

impl<S: AuditStore + ClockStore + ConversationStore + EventStore + UserStore> Fixture<S> {
    async fn events(&self) -> Vec<Event> {
        self.store.events_after(self.conversation, 0, 1_000).await.unwrap().items
    }

    fn assert_gapless(events: &[Event]) {
        let positions: Vec<_> = events.iter().map(|event| event.position).collect();
        assert_eq!(positions, (1..).take(events.len()).collect::<Vec<_>>());
    }

    pub async fn events_record_turns_in_order(self) {
        let question = NewTurn { client_message_id: Some("m-1".to_owned()), ..self.question("Why?", true) };
        let (turn_id, asked) = (question.turn_id, question.message_id);
        let BegunTurn::Started(started) = self.store.begin_turn(question).await.unwrap() else { panic!("a duplicate") };
        let end = self.end(turn_id, "Because");
        let answer = end.answer.message_id;
        let ended = self.store.end_turn(end.clone()).await.unwrap();
        let (user, assistant) = (EventActor::user(self.user), EventActor::ASSISTANT);
        let message = |message_id, text: &str, client_message_id: Option<&str>| Fact::Message {
            message_id,
            text: text.to_owned(),
            turn_id: Some(turn_id),
            client_message_id: client_message_id.map(str::to_owned),
        };
        let outcome = TurnOutcome::Finished(FinishReason::Stop);
        let expected = [
            (user, message(asked, "Why?", Some("m-1"))),
            (assistant.clone(), Fact::TurnStarted { turn_id, message_id: asked }),
            (assistant.clone(), message(answer, "Because", None)),
            (assistant, Fact::TurnEnded { turn_id, message_id: Some(answer), outcome }),
        ];
        let events = self.events().await;
        Self::assert_gapless(&events);
        assert_eq!(events, [started.events, ended.clone()].concat(), "writers get what readers get");
        assert_eq!(events.into_iter().map(|event| (event.actor, event.fact)).collect::<Vec<_>>(), expected);
        assert_eq!(self.store.head(self.conversation).await.unwrap(), 4);
        assert_eq!(self.store.end_turn(end).await.unwrap(), ended, "a repeated end appends nothing");
        assert_eq!(self.store.head(self.conversation).await.unwrap(), 4);
        let unknown = self.store.head(ConversationId::new()).await;
        assert_eq!(unknown, Err(StoreError::NotFound("conversation")));
    }

    pub async fn a_repeated_end_returns_the_events_of_its_turn(self) {
        let first = self.begin().await;
        let other = self.question("And?", false);
        let second = other.turn_id;
        self.store.begin_turn(other).await.unwrap();
        let (silent, spoken) = (self.end(second, ""), self.end(first, "Because"));
        let ended =
            [self.store.end_turn(silent.clone()).await.unwrap(), self.store.end_turn(spoken.clone()).await.unwrap()];
        assert_eq!(ended.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2], "an answer without text is no message");
        self.store.begin_turn(self.question("So?", false)).await.unwrap();
        let head = self.store.head(self.conversation).await.unwrap();
        let repeated = [self.store.end_turn(silent).await.unwrap(), self.store.end_turn(spoken).await.unwrap()];
        assert_eq!((repeated, self.store.head(self.conversation).await.unwrap()), (ended, head));
    }

    pub async fn an_interrupted_turn_has_an_end_event(self) {
        let turn_id = self.begin().await;
        self.store.checkpoint(vec![part(turn_id, 0, "Be", &[2], None)]).await.unwrap();
        self.interrupt().await;
        let events = self.events().await;
        Self::assert_gapless(&events);
        assert!(matches!(&events[2].fact, Fact::Message { text, .. } if text == "Be"), "{events:?}");
        let Fact::TurnEnded { outcome, .. } = &events[3].fact else { panic!("{events:?}") };
        assert_eq!(*outcome, TurnOutcome::Failed("TURN_INTERRUPTED".to_owned()));
        // An answer without text is no message.
        let question = self.question("And?", false);
        self.store.begin_turn(question).await.unwrap();
        self.interrupt().await;
        let kinds: Vec<_> = self.events().await[4..].iter().map(|event| event.fact.kind_name().to_owned()).collect();
        assert_eq!(kinds, ["message", "turn_started", "turn_ended"]);
    }

    pub async fn positions_of_concurrent_writers_are_gapless(self) {
        const WRITERS: usize = 8;
        const TURNS: usize = 25;
        let turn_id = self.begin().await;
        self.store.end_turn(self.end(turn_id, "So")).await.unwrap();
        let write = async || {
            for n in 0..TURNS {
                let question = self.question(&format!("Question {n}"), false);
                let turn_id = question.turn_id;
                self.store.begin_turn(question).await.unwrap();
                self.store.end_turn(self.end(turn_id, "So")).await.unwrap();
            }
        };
        futures_util::future::join_all((0..WRITERS).map(|_| write())).await;
        let events = self.events().await;
        Self::assert_gapless(&events);
        assert_eq!(events.len(), 4 + 4 * WRITERS * TURNS);
        assert_eq!(self.store.head(self.conversation).await.unwrap(), events.last().unwrap().position);
    }

    pub async fn events_are_paged_in_both_directions(self) {
        for (n, is_new) in [true, false].into_iter().enumerate() {
            let question = self.question(&format!("{n}"), is_new);
            let turn_id = question.turn_id;
            self.store.begin_turn(question).await.unwrap();
            self.store.end_turn(self.end(turn_id, "So")).await.unwrap();
        }
        let after = async |position, limit| {
            let page = self.store.events_after(self.conversation, position, limit).await.unwrap();
            (page.items.iter().map(|event| event.position).collect::<Vec<_>>(), page.has_more)
        };
        let before = async |position, limit| {
            let page = self.store.events_before(self.conversation, position, limit).await.unwrap();
            (page.items.iter().map(|event| event.position).collect::<Vec<_>>(), page.has_more)
        };
        assert_eq!(after(0, 3).await, (vec![1, 2, 3], true));
        assert_eq!(after(5, 3).await, (vec![6, 7, 8], false));
        assert_eq!(after(8, 3).await, (vec![], false));
        assert_eq!(before(9, 3).await, (vec![6, 7, 8], true));
        assert_eq!(before(4, 3).await, (vec![1, 2, 3], false));
        assert_eq!(before(1, 3).await, (vec![], false));
    }

    pub async fn only_members_have_access(self) {
        let stranger = Self::account("bob@example.org");
        let stranger_id = stranger.id;
        self.store.add_user(stranger, crate::store::PasswordHash::new("none".to_owned())).await.unwrap();
        let turn_id = self.begin().await;
        self.store.end_turn(self.end(turn_id, "So")).await.unwrap();
        let access = async |user: UserId| self.store.access(user, self.conversation).await.unwrap();
        assert_eq!(access(self.user).await, ConversationAccess::of_member(MemberRole::Owner, 1));
        assert_eq!(access(stranger_id).await, ConversationAccess::NONE);
        let unknown = self.store.access(self.user, ConversationId::new()).await;
        assert_eq!(unknown, Err(StoreError::NotFound("conversation")));
        let forbidden = Some(StoreError::Forbidden("conversation"));
        let theirs = NewTurn { user_id: stranger_id, ..self.question("Let me in", false) };
        assert_eq!(self.store.begin_turn(theirs).await.err(), forbidden);
        assert_eq!(self.store.delete_conversation(stranger_id, self.conversation).await.err(), forbidden);
        let page = crate::store::Page { before: None, limit: 9 };
        assert_eq!(self.store.messages(stranger_id, self.conversation, page).await.err(), forbidden);
        assert_eq!(self.store.head(self.conversation).await.unwrap(), 4, "a refused writer has no effect");
    }

    /// Everything that a writer could change in the conversation.
    async fn contents(&self, turn_id: TurnId) -> (Vec<Event>, Vec<Message>, Option<StoredTurn>, Option<TurnId>) {
        let page = Page { before: None, limit: 99 };
        let messages = self.store.messages(self.user, self.conversation, page).await.unwrap().items;
        let (turn, latest) = (self.store.turn(turn_id).await, self.store.latest_turn(self.conversation).await);
        (self.events().await, messages, turn.unwrap(), latest.unwrap())
    }

    pub async fn a_question_is_refused_while_an_agent_is_the_handler(self) {
        let turn_id = self.begin().await;
        self.store.end_turn(self.end(turn_id, "So")).await.unwrap();
        assert_eq!(self.store.change_handler(self.conversation, ConversationHandler::Agent).await, Ok(1));
        let before = self.contents(turn_id).await;
        let question = NewTurn { client_message_id: Some("m-2".to_owned()), ..self.question("And?", false) };
        let refused = question.turn_id;
        assert_eq!(self.store.begin_turn(question).await.err(), Some(StoreError::Fenced));
        assert_eq!(self.contents(turn_id).await, before);
        assert_eq!(self.store.turn(refused).await, Ok(None));
        assert_eq!(self.store.turn_of_message(self.user, "m-2".to_owned()).await, Ok(None));
        // The assistant answers again after it is the handler again, under the new epoch.
        self.store.change_handler(self.conversation, ConversationHandler::Assistant).await.unwrap();
        let question = self.question("And now?", false);
        let turn_id = question.turn_id;
        let BegunTurn::Started(started) = self.store.begin_turn(question).await.unwrap() else { panic!("a duplicate") };
        assert_eq!(started.epoch, 2);
        self.store.end_turn(EndedTurn { epoch: 2, ..self.end(turn_id, "So") }).await.unwrap();
        Self::assert_gapless(&self.events().await);
    }

    pub async fn an_end_under_an_earlier_epoch_is_refused(self) {
        let turn_id = self.begin().await;
        // Back at the assistant: the handler alone does not tell the writers apart.
        self.store.change_handler(self.conversation, ConversationHandler::Agent).await.unwrap();
        let epoch = self.store.change_handler(self.conversation, ConversationHandler::Assistant).await.unwrap();
        let before = self.contents(turn_id).await;
        for epoch in [0, 1, epoch] {
            // Not even with the current epoch: the turn was admitted under the earlier one.
            let end = EndedTurn { epoch, ..self.end(turn_id, "Because") };
            assert_eq!(self.store.end_turn(end).await, Err(StoreError::Fenced), "{epoch}");
        }
        assert_eq!(self.contents(turn_id).await, before);
    }

    pub async fn a_checkpoint_under_another_epoch_has_no_effect(self) {
        let turn_id = self.begin().await;
        let stale = |epoch, first_seq, text: &str, ends: &[u32]| Checkpoint {
            epoch,
            ..part(turn_id, first_seq, text, ends, None)
        };
        self.store.checkpoint(vec![stale(0, 0, "Be", &[2])]).await.unwrap();
        self.store.checkpoint(vec![stale(1, 0, "Not this", &[8])]).await.unwrap();
        self.store.checkpoint(vec![stale(-1, 1, " nor this", &[11])]).await.unwrap();
        self.interrupt().await;
        assert_eq!(self.answers().await[0].content, "Be");
    }

    pub async fn a_fenced_turn_is_recovered_without_an_answer(self) {
        let turn_id = self.begin().await;
        self.store.checkpoint(vec![part(turn_id, 0, "Be", &[2], None)]).await.unwrap();
        self.store.change_handler(self.conversation, ConversationHandler::Agent).await.unwrap();
        assert_eq!(self.interrupt().await, 1);
        let turn = self.store.turn(turn_id).await.unwrap().unwrap();
        assert!(matches!(turn.state, StoredTurnState::Failed { .. }) && turn.answer.is_none(), "{turn:?}");
        let events = self.events().await;
        let Fact::TurnEnded { message_id: None, outcome, .. } = &events[2].fact else { panic!("{events:?}") };
        assert_eq!(*outcome, TurnOutcome::Failed("TURN_INTERRUPTED".to_owned()));
        assert_eq!((events.len(), &events[2].actor.kind), (3, &ActorKind::Assistant));
    }
}
