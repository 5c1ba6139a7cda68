//! Conformance tests for backends, written against the traits. A backend only provides an empty store.

mod checkpoints;
mod events;
mod feedback;
mod lists;
mod titles;
mod usage;

use checkpoints::part;

use super::{
    Answer, AuditStore, BegunTurn, ClockStore, ConversationStore, EndedTurn, EventStore, Grace, NewTurn, Page,
    PasswordHash, RefreshFamily, Revoked, Rotation, ServedTime, StoreError, TokenIssue, UserStore,
};
use crate::domain::{
    AnswerMetadata, AuditEntry, AuditId, AuditedOperator, ConversationId, DisplayName, Email, FinishReason, Message,
    MessageId, MessageRole, Role, TurnId, UnixMillis, User, UserId,
};
use uuid::Uuid;

/// Grace period of a server that has just started.
const NOW: Grace = Grace { wall: UnixMillis(0), running_ms: 0, began_at_ms: 0 };

/// Items of every turn.
const ITEMS: &str = r#"[[0,4],{"tokens_before":1,"kind":"url_citation","fields":{"url":"https://example.com/"}}]"#;

/// Store with a user, and the id of a conversation that does not exist yet.
pub struct Fixture<S> {
    store: S,
    user: UserId,
    conversation: ConversationId,
}

impl<S: AuditStore + ClockStore + ConversationStore + EventStore + UserStore> Fixture<S> {
    pub async fn new(store: S) -> Self {
        let account = Self::account("ada@example.org");
        let user = account.id;
        store.add_user(account, PasswordHash::new("none".to_owned())).await.unwrap();
        Self { store, user, conversation: ConversationId::new() }
    }

    fn account(email: &str) -> User {
        User {
            id: UserId::new(),
            email: Email::parse(email).unwrap(),
            name: DisplayName::parse("Ada").unwrap(),
            role: Role::User,
            is_locked: false,
            created_at: UnixMillis::now(),
        }
    }

    fn question(&self, text: &str, is_new_conversation: bool) -> NewTurn {
        NewTurn {
            turn_id: TurnId::new(),
            user_id: self.user,
            conversation_id: self.conversation,
            is_new_conversation,
            message_id: MessageId::new(),
            text: text.to_owned(),
            client_message_id: None,
            customer_id: None,
            at: UnixMillis::now(),
            owner_node: "local".to_owned(),
            history_messages: 10,
        }
    }

    /// Starts a turn.
    async fn begin(&self) -> TurnId {
        let question = self.question("Why?", true);
        let turn_id = question.turn_id;
        let BegunTurn::Started(started) = self.store.begin_turn(question).await.unwrap() else { panic!("a duplicate") };
        assert_eq!((started.history, started.epoch), (Vec::new(), 0));
        turn_id
    }

    fn end(&self, turn_id: TurnId, text: &str) -> EndedTurn {
        EndedTurn {
            turn_id,
            epoch: 0,
            conversation_id: self.conversation,
            answer: Answer {
                message_id: MessageId::new(),
                text: text.to_owned(),
                token_ends: vec![u32::try_from(text.len()).unwrap()],
                finish_reason: FinishReason::Stop,
                metadata: AnswerMetadata::default(),
                items: Some(ITEMS.to_owned()),
                reasoning: Some("Hm.".to_owned()),
            },
            error: None,
            at: UnixMillis::now(),
            charge: None,
        }
    }

    /// Returns the answers in the history.
    async fn answers(&self) -> Vec<Message> {
        let page = Page { before: None, limit: 100 };
        let messages = self.store.messages(self.user, self.conversation, page).await.unwrap().items;
        messages.into_iter().filter(|message| message.role == MessageRole::Assistant).collect()
    }

    async fn interrupt(&self) -> usize {
        self.store.interrupt_running_turns("TURN_INTERRUPTED", "cut off").await.unwrap()
    }

    pub async fn ending_a_turn_is_idempotent(self) {
        let turn_id = self.begin().await;
        self.store.end_turn(self.end(turn_id, "first")).await.unwrap();
        self.store.end_turn(self.end(turn_id, "second")).await.unwrap();
        let answers = self.answers().await;
        assert_eq!((answers.len(), answers[0].content.as_str()), (1, "first"));
    }

    pub async fn a_turn_of_a_deleted_conversation_cannot_be_ended(self) {
        let turn_id = self.begin().await;
        self.store.checkpoint(vec![part(turn_id, 0, "a", &[1], None)]).await.unwrap();
        self.store.delete_conversation(self.user, self.conversation).await.unwrap();
        self.store.checkpoint(vec![part(turn_id, 1, "b", &[2], None)]).await.unwrap();
        let refused = self.store.end_turn(self.end(turn_id, "ab")).await;
        assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
        assert_eq!(self.interrupt().await, 0);
    }

    pub async fn old_client_message_ids_are_deleted(self) {
        let at = |ms, new| NewTurn {
            client_message_id: Some(format!("m-{ms}")),
            at: UnixMillis(ms),
            ..self.question("Why?", new)
        };
        for (ms, new) in [(1_000, true), (2_000, false)] {
            let question = at(ms, new);
            let turn_id = question.turn_id;
            self.store.begin_turn(question).await.unwrap();
            self.store.end_turn(self.end(turn_id, "Because")).await.unwrap();
        }
        assert_eq!(self.store.forget_client_messages(UnixMillis(2_000)).await.unwrap(), 1);
        assert_eq!(self.store.forget_client_messages(UnixMillis(2_000)).await.unwrap(), 0);
        assert!(matches!(self.store.begin_turn(at(2_000, false)).await.unwrap(), BegunTurn::Duplicate { .. }));
        assert!(matches!(self.store.begin_turn(at(1_000, false)).await.unwrap(), BegunTurn::Started(_)));
    }

    fn family(&self) -> RefreshFamily {
        let issue = TokenIssue {
            jti: Uuid::new_v4(),
            issued_at: UnixMillis::now(),
            running_ms: 0,
            expires_at: UnixMillis(i64::MAX),
        };
        RefreshFamily { id: Uuid::new_v4(), user_id: self.user, issue }
    }

    async fn rotate(&self, family: RefreshFamily) -> Rotation {
        self.store.rotate_family(family.issue.jti, family, NOW).await.unwrap()
    }

    /// Whether a sign-in that read this generation with the password is accepted.
    async fn sign_in(&self, generation: i64) -> bool {
        let family = self.family();
        let is_accepted = self.store.start_family(family, generation).await.unwrap();
        assert_eq!(self.rotate(family).await != Rotation::Unknown, is_accepted);
        is_accepted
    }

    async fn generation(&self) -> i64 {
        self.store.credentials(Email::parse("ada@example.org").unwrap()).await.unwrap().generation
    }

    /// Returns the revocations with greater numbers.
    async fn revoked_after(&self, number: i64) -> Vec<Revoked> {
        let revocations = self.store.revocations(number).await.unwrap();
        assert!(revocations.iter().all(|revocation| revocation.number > number), "{revocations:?}");
        assert!(revocations.is_sorted_by_key(|revocation| revocation.number), "{revocations:?}");
        revocations.into_iter().map(|revocation| revocation.revoked).collect()
    }

    pub async fn a_revocation_is_stored_and_ends_sign_ins(self) {
        let family = self.family();
        assert!(self.store.start_family(family, 0).await.unwrap());
        let of_generation = |generation| Revoked::User { user_id: self.user, generation };
        let first = self.store.revoke_tokens(self.user).await.unwrap();
        assert_eq!(first.revoked, of_generation(1));
        assert_eq!(self.rotate(family).await, Rotation::Unknown);
        // A concurrent sign-in, and a later one.
        assert!(!self.sign_in(0).await && self.sign_in(1).await);
        assert_eq!((self.generation().await, self.revoked_after(0).await), (1, vec![of_generation(1)]));
        assert_eq!(self.revoked_after(first.number).await, []);
        // The next revocation replaces the first.
        let second = self.store.revoke_tokens(self.user).await.unwrap();
        assert_eq!(second.revoked, of_generation(2));
        assert_eq!(self.store.revocations(0).await.unwrap(), [second]);
        let nobody = self.store.revoke_tokens(UserId::new()).await;
        assert!(matches!(nobody, Err(StoreError::NotFound(_))), "{nobody:?}");
    }

    pub async fn changing_the_password_or_losing_a_role_revokes_tokens(self) {
        let email = || Email::parse("ada@example.org").unwrap();
        self.store.set_role(email(), Role::Operator).await.unwrap();
        assert_eq!(self.generation().await, 0, "gaining rights revokes nothing");
        let family = self.family();
        assert!(self.store.start_family(family, 0).await.unwrap());
        self.store.set_role(email(), Role::Agent).await.unwrap();
        assert!(!self.sign_in(0).await && self.sign_in(1).await);
        // The sign-in remains, and its next access token has fewer rights.
        let Rotation::Rotated { user, generation, .. } = self.rotate(family).await else { panic!("it was ended") };
        assert_eq!((user.role, generation), (Role::Agent, 1));
        self.store.set_password(email(), PasswordHash::new("new".to_owned())).await.unwrap();
        assert_eq!(self.rotate(family).await, Rotation::Unknown);
        assert!(!self.sign_in(1).await && self.sign_in(2).await);
        assert_eq!(self.revoked_after(0).await, [Revoked::User { user_id: self.user, generation: 2 }]);
    }

    pub async fn a_locked_account_rejects_sign_ins(self) {
        let family = self.family();
        assert!(self.store.start_family(family, 0).await.unwrap());
        let revocation = self.store.lock_user(self.user).await.unwrap();
        assert_eq!(revocation.revoked, Revoked::User { user_id: self.user, generation: 1 });
        assert_eq!(self.store.revocations(0).await.unwrap(), [revocation]);
        assert!(self.store.user(self.user).await.unwrap().is_locked);
        assert_eq!(self.rotate(family).await, Rotation::Unknown);
        // Whether the password was checked before or after locking.
        assert!(!self.sign_in(0).await && !self.sign_in(1).await);
        self.store.unlock_user(self.user).await.unwrap();
        assert!(!self.store.user(self.user).await.unwrap().is_locked);
        assert!(!self.sign_in(0).await && self.sign_in(1).await);
        for nobody in
            [self.store.lock_user(UserId::new()).await.map(|_| ()), self.store.unlock_user(UserId::new()).await]
        {
            assert!(matches!(nobody, Err(StoreError::NotFound(_))), "{nobody:?}");
        }
    }

    pub async fn an_ended_family_is_stored_as_a_revocation(self) {
        let (signed_out, reused, goes_on) = (self.family(), self.family(), self.family());
        for family in [signed_out, reused, goes_on] {
            assert!(self.store.start_family(family, 0).await.unwrap());
        }
        let revocation = self.store.end_family(signed_out.id).await.unwrap();
        assert_eq!(revocation.revoked, Revoked::Family(signed_out.id));
        assert_eq!(self.store.revocations(0).await.unwrap(), [revocation]);
        assert_eq!(self.rotate(signed_out).await, Rotation::Unknown);
        // Ending a family is idempotent.
        assert_eq!(self.store.end_family(signed_out.id).await.unwrap(), revocation);
        assert_eq!(self.store.revocations(0).await.unwrap(), [revocation]);
        // Reuse of a token ends its family in the same way.
        assert_eq!(self.store.rotate_family(Uuid::new_v4(), reused, NOW).await.unwrap(), Rotation::Reused);
        assert_eq!(self.revoked_after(revocation.number).await, [Revoked::Family(reused.id)]);
        assert_ne!(self.rotate(goes_on).await, Rotation::Unknown);
    }

    pub async fn revocations_are_deleted_by_running_time(self) {
        let (first, second) = (self.family(), self.family());
        let first = self.store.end_family(first.id).await.unwrap();
        // The age is measured from the first call that sees the revocation.
        assert_eq!(self.store.forget_revocations(1_000, 1_000).await.unwrap(), None);
        let second = self.store.end_family(second.id).await.unwrap();
        assert_eq!(self.store.forget_revocations(2_000, 1_000).await.unwrap(), None);
        assert_eq!(self.store.forget_revocations(3_000, 1_001).await.unwrap(), Some(first.number));
        assert_eq!(self.store.revocations(0).await.unwrap(), [second]);
        assert_eq!(self.store.forget_revocations(4_000, 2_001).await.unwrap(), Some(second.number));
        // Numbers are not reused.
        assert!(self.store.revoke_tokens(self.user).await.unwrap().number > second.number);
    }

    pub async fn the_running_time_is_stored(self) {
        let time =
            ServedTime { running_ms: 1, period_began_ms: 2, lowest_offset_ms: Some(3), previous_offset_ms: None };
        assert_eq!(self.store.served_time().await.unwrap().running_ms, 0);
        self.store.keep_served_time(time).await.unwrap();
        assert_eq!(self.store.served_time().await.unwrap(), time);
    }

    fn audit_entry(&self, at: i64) -> AuditEntry {
        AuditEntry {
            id: AuditId::new(),
            at_ms: UnixMillis(at),
            operator: AuditedOperator { id: self.user, email: Email::parse("ada@example.org").unwrap() },
            action: "kick".to_owned(),
            target: (at > 0).then(|| format!("target {at}")),
            detail: serde_json::json!({"reason": "\"quoted\"", "n": at}),
            outcome: "begun".to_owned(),
        }
    }

    pub async fn audit_entries_are_stored_and_listed_newest_first(self) {
        let mut added = Vec::new();
        for n in 0..5 {
            let entry = self.audit_entry(n);
            self.store.add_audit_entry(entry.clone()).await.unwrap();
            added.insert(0, entry);
        }
        self.store.set_audit_outcome(added[1].id, "done".to_owned()).await.unwrap();
        added[1].outcome = "done".to_owned();
        let list = async |before, limit| self.store.audit_entries(Page { before, limit }).await.unwrap().items;
        assert_eq!(list(None, 100).await, added);
        assert_eq!(list(None, 2).await, added[..2]);
        assert_eq!(list(Some(added[1].id), 2).await, added[2..4]);
        let unknown = self.store.set_audit_outcome(AuditId::new(), "done".to_owned()).await;
        assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
    }

    pub async fn old_audit_entries_are_deleted(self) {
        for at in [1_000, 2_000, 3_000] {
            self.store.add_audit_entry(self.audit_entry(at)).await.unwrap();
        }
        assert_eq!(self.store.forget_audit_entries(UnixMillis(1_000)).await.unwrap(), 0);
        assert_eq!(self.store.forget_audit_entries(UnixMillis(3_000)).await.unwrap(), 2);
        let left = self.store.audit_entries(Page { before: None, limit: 9 }).await.unwrap().items;
        assert_eq!(left.iter().map(|entry| entry.at_ms.0).collect::<Vec<_>>(), [3_000]);
    }

    pub async fn the_check_of_a_writable_store_succeeds(self) {
        self.store.check().await.unwrap();
    }
}

/// Generates the tests for a backend. `$open` returns an empty store and a guard that keeps it alive.
macro_rules! conformance {
    ($open:expr; $($test:ident)*) => {$(
        #[tokio::test]
        async fn $test() {
            let (store, _guard) = $open;
            $crate::store::conformance::Fixture::new(store).await.$test().await;
        }
    )*};
    ($open:expr) => {
        $crate::store::conformance::conformance! { $open;
            checkpoints_become_the_answer_of_an_interrupted_turn
            a_turn_without_tokens_is_interrupted_too
            the_answer_replaces_its_checkpoints
            a_repeated_checkpoint_may_have_more_tokens
            a_turn_stored_again_needs_no_older_checkpoints
            checkpoints_of_several_turns_are_stored_together
            ending_a_turn_is_idempotent
            a_turn_of_a_deleted_conversation_cannot_be_ended
            old_client_message_ids_are_deleted a_revocation_is_stored_and_ends_sign_ins
            changing_the_password_or_losing_a_role_revokes_tokens
            a_locked_account_rejects_sign_ins
            an_ended_family_is_stored_as_a_revocation
            revocations_are_deleted_by_running_time
            the_running_time_is_stored
            audit_entries_are_stored_and_listed_newest_first
            old_audit_entries_are_deleted
            setting_the_clock_back_does_not_change_the_order conversations_are_listed_by_their_latest_messages
            users_are_listed_in_the_order_of_their_registration audit_entries_are_listed_in_the_order_of_insertion
            pages_of_messages_are_limited_in_bytes_and_complete
            the_check_of_a_writable_store_succeeds
            events_record_turns_in_order an_interrupted_turn_has_an_end_event
            positions_of_concurrent_writers_are_gapless events_are_paged_in_both_directions
            only_members_have_access a_repeated_end_returns_the_events_of_its_turn
            a_question_is_refused_while_an_agent_is_the_handler an_end_under_an_earlier_epoch_is_refused
            a_title_is_suggested_once_and_renamed_at_any_time a_title_of_a_user_is_not_replaced
            a_summary_grows_with_the_conversation
            feedback_is_changed_shown_and_withdrawn only_own_answers_are_rated
            rated_answers_are_listed_with_their_questions
            a_checkpoint_under_another_epoch_has_no_effect a_fenced_turn_is_recovered_without_an_answer
            charges_add_up_by_day users_at_a_limit_are_counted an_ended_turn_is_charged_once an_interrupted_turn_is_charged_as_its_last_checkpoint_says
        }
    };
}
pub(crate) use conformance;
