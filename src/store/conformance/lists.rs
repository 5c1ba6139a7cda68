//! Conformance tests of lists: order independent of the clock, and paging.

use super::Fixture;
use crate::{
    domain::{AuditEntry, AuditId, ConversationId, MessageId, TurnId, UnixMillis, User, UserId},
    limits::MAX_PAGE_BYTES,
    store::{
        AuditStore, BegunTurn, ClockStore, ConversationStore, EndedTurn, EventStore, NewTurn, Page, PasswordHash,
        StoreError, UserStore,
    },
};
use uuid::Uuid;

impl<S: AuditStore + ClockStore + ConversationStore + EventStore + UserStore> Fixture<S> {
    /// Adds a turn to a conversation, with ids and times of `ms`, in milliseconds.
    async fn converse_at(&self, conversation: ConversationId, is_new: bool, ms: u64) -> TurnId {
        let at = UnixMillis(i64::try_from(ms).unwrap());
        let question = NewTurn {
            turn_id: TurnId::from(id_of(ms)),
            message_id: MessageId::from(id_of(ms)),
            conversation_id: conversation,
            at,
            ..self.question(&format!("asked at {ms}"), is_new)
        };
        let turn_id = question.turn_id;
        self.store.begin_turn(question).await.unwrap();
        let mut end =
            EndedTurn { conversation_id: conversation, at, ..self.end(turn_id, &format!("answered at {ms}")) };
        end.answer.message_id = MessageId::from(id_of(ms));
        self.store.end_turn(end).await.unwrap();
        turn_id
    }

    pub async fn setting_the_clock_back_does_not_change_the_order(self) {
        let conversation = self.conversation;
        let mut turns = Vec::new();
        for (n, ms) in [5_000_000, 4_000_000, 6_000_000, 1_000_000].into_iter().enumerate() {
            turns.push(self.converse_at(conversation, n == 0, ms).await);
            assert_eq!(self.store.latest_turn(conversation).await.unwrap().as_ref(), turns.last());
        }
        assert_eq!(self.store.turns_after(conversation, turns[0], 9).await.unwrap(), turns[1..]);
        assert_eq!(self.store.turns_after(conversation, turns[0], 2).await.unwrap(), turns[1..3]);
        let mut contents = Vec::new();
        let mut before = None;
        loop {
            let page = self.store.messages(self.user, conversation, Page { before, limit: 3 }).await.unwrap();
            contents.splice(..0, page.items.iter().map(|message| message.content.clone()));
            before = page.items.first().map(|message| message.id);
            if !page.has_more {
                break;
            }
        }
        let times = [5_000_000, 4_000_000, 6_000_000, 1_000_000];
        let expected = times.map(|ms| [format!("asked at {ms}"), format!("answered at {ms}")]).concat();
        assert_eq!(contents, expected);
        let next = NewTurn { history_messages: 3, ..self.question("And now?", false) };
        let BegunTurn::Started(started) = self.store.begin_turn(next).await.unwrap() else { panic!("a duplicate") };
        assert_eq!(started.history.into_iter().map(|(_, content)| content).collect::<Vec<_>>(), expected[5..]);
        // An interrupted turn keeps its position, although its answer is stored later.
        self.interrupt().await;
        let last = self.store.messages(self.user, conversation, Page { before: None, limit: 2 }).await.unwrap();
        assert_eq!((last.items[0].content.as_str(), last.items[1].content.as_str()), ("And now?", ""));
        assert_ne!(self.store.latest_turn(conversation).await.unwrap().as_ref(), turns.last());
    }

    /// Lists all conversations in pages of one, calling `meanwhile` after the first page.
    async fn walk(&self, meanwhile: impl AsyncFnOnce()) -> Vec<ConversationId> {
        let mut meanwhile = Some(meanwhile);
        let (mut ids, mut before) = (Vec::new(), None);
        loop {
            let page = self.store.conversations(self.user, Page { before, limit: 1 }).await.unwrap();
            ids.extend(page.conversations.iter().map(|conversation| conversation.id));
            before = page.next;
            if let Some(meanwhile) = meanwhile.take() {
                meanwhile().await;
            }
            if before.is_none() {
                return ids;
            }
        }
    }

    pub async fn conversations_are_listed_by_their_latest_messages(self) {
        let all: [ConversationId; 4] = std::array::from_fn(|_| ConversationId::new());
        for (conversation, ms) in all.into_iter().zip([4_000_000, 3_000_000, 9_000_000, 1_000_000]) {
            self.converse_at(conversation, true, ms).await;
        }
        let [a, b, c, d] = all;
        assert_eq!(self.walk(async || ()).await, [d, c, b, a]);
        self.converse_at(b, false, 500_000).await;
        assert_eq!(self.walk(async || ()).await, [b, d, c, a]);
        // Messages arrive during paging, in listed conversations and in a new one.
        let new = ConversationId::new();
        let meanwhile = async || {
            for conversation in [b, a, c] {
                self.converse_at(conversation, false, 2_000_000).await;
            }
            self.converse_at(new, true, 2_500_000).await;
        };
        assert_eq!(self.walk(meanwhile).await, [b, d, c, a]);
        assert_eq!(self.walk(async || ()).await, [new, c, a, b, d]);
        // Older clients use the id of the last conversation as cursor.
        let page = Page { before: Some(a.into()), limit: 9 };
        let rest = self.store.conversations(self.user, page).await.unwrap();
        assert_eq!(rest.conversations.iter().map(|conversation| conversation.id).collect::<Vec<_>>(), [b, d]);
        let nobody = Page { before: Some(ConversationId::new().into()), limit: 9 };
        assert!(matches!(self.store.conversations(self.user, nobody).await, Err(StoreError::NotFound(_))));
        let other = self.store.conversations(UserId::new(), Page { before: Some(a.into()), limit: 9 }).await;
        assert!(matches!(other, Err(StoreError::Forbidden(_))));
    }

    pub async fn users_are_listed_in_the_order_of_their_registration(self) {
        let mut registered = vec![self.user];
        for (n, ms) in [9_000_000, 1_000_000, 5_000_000].into_iter().enumerate() {
            let account = User { id: UserId::from(id_of(ms)), ..Self::account(&format!("user{n}@example.org")) };
            registered.push(account.id);
            self.store.add_user(account, PasswordHash::new("none".to_owned())).await.unwrap();
        }
        let mut listed = Vec::new();
        while let page @ [_, ..] = &*self.store.users(listed.last().copied(), 2).await.unwrap() {
            listed.extend(page.iter().map(|user| user.id));
        }
        assert_eq!(listed, registered);
    }

    pub async fn audit_entries_are_listed_in_the_order_of_insertion(self) {
        for ms in [9_000_000, 1_000_000, 5_000_000] {
            let entry = AuditEntry { id: AuditId::from(id_of(ms)), ..self.audit_entry(i64::try_from(ms).unwrap()) };
            self.store.add_audit_entry(entry).await.unwrap();
        }
        let (mut times, mut before) = (Vec::new(), None);
        loop {
            let page = self.store.audit_entries(Page { before, limit: 1 }).await.unwrap();
            times.extend(page.items.iter().map(|entry| entry.at_ms.0));
            before = page.items.last().map(|entry| entry.id);
            if !page.has_more {
                break;
            }
        }
        assert_eq!(times, [5_000_000, 1_000_000, 9_000_000]);
    }

    /// Adds a turn with this question and answer.
    async fn converse(&self, question: &str, answer: &str, is_new_conversation: bool) {
        let question = self.question(question, is_new_conversation);
        let turn_id = question.turn_id;
        self.store.begin_turn(question).await.unwrap();
        self.store.end_turn(self.end(turn_id, answer)).await.unwrap();
    }

    pub async fn pages_of_messages_are_limited_in_bytes_and_complete(self) {
        // Each control character is six bytes of JSON, so a page holds two of these messages.
        let long = "\u{1}".repeat(MAX_PAGE_BYTES / 6 / 2 - 100);
        self.converse("first", &long, true).await;
        self.converse(&long, &long, false).await;
        self.converse("last", &"x".repeat(2 * MAX_PAGE_BYTES), false).await;
        let mut pages = Vec::new();
        let mut before = None;
        loop {
            let page = Page { before, limit: 200 };
            let found = self.store.messages(self.user, self.conversation, page).await.unwrap();
            before = Some(found.items[0].id);
            pages.push(found.items.iter().map(|message| message.content.len()).collect::<Vec<_>>());
            if !found.has_more {
                break;
            }
        }
        let long = long.len();
        assert_eq!(pages, [vec![2 * MAX_PAGE_BYTES], vec![long, long, 4], vec![5, long]]);
    }
}

/// Generates an id as the server does at that time.
fn id_of(ms: u64) -> Uuid {
    let random = *Uuid::new_v4().as_bytes();
    uuid::Builder::from_unix_timestamp_millis(ms, random.first_chunk().unwrap()).into_uuid()
}
