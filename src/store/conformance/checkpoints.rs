//! Conformance tests of checkpoints: what a crash leaves of a running turn.

use super::{Fixture, ITEMS};
use crate::{
    domain::{AnswerMetadata, ConversationId, FinishReason, TurnId},
    store::{AuditStore, Checkpoint, ClockStore, ConversationStore, EventStore, StoredTurnState, UserStore},
};

impl<S: AuditStore + ClockStore + ConversationStore + EventStore + UserStore> Fixture<S> {
    pub async fn checkpoints_become_the_answer_of_an_interrupted_turn(self) {
        let turn_id = self.begin().await;
        let metadata = AnswerMetadata { specialist: "specs".to_owned(), ..AnswerMetadata::default() };
        self.store.checkpoint(vec![part(turn_id, 0, "Grüß", &[3, 6], Some(metadata.clone()))]).await.unwrap();
        self.store.checkpoint(vec![part(turn_id, 2, " dich", &[8, 11], None)]).await.unwrap();
        assert_eq!(self.interrupt().await, 1);
        assert_eq!(self.interrupt().await, 0, "no turn is running any more");

        let turn = self.store.turn(turn_id).await.unwrap().unwrap();
        let state = StoredTurnState::Failed { code: "TURN_INTERRUPTED".to_owned(), message: "cut off".to_owned() };
        assert_eq!(turn.state, state);
        let answer = turn.answer.unwrap();
        assert_eq!((answer.text.as_str(), answer.token_ends), ("Grüß dich", vec![3, 6, 8, 11]));
        assert_eq!((answer.finish_reason, answer.metadata), (FinishReason::Error, metadata));
        assert_eq!(answer.items.as_deref(), Some(ITEMS));
        let answers = self.answers().await;
        assert_eq!((answers.len(), answers[0].content.as_str()), (1, "Grüß dich"));
        assert_eq!((answers[0].last_seq, answers[0].parts[0].kind.as_str()), (Some(3), "url_citation"));
    }

    pub async fn a_turn_without_tokens_is_interrupted_too(self) {
        let turn_id = self.begin().await;
        assert_eq!(self.interrupt().await, 1);
        let turn = self.store.turn(turn_id).await.unwrap().unwrap();
        assert!(matches!(turn.state, StoredTurnState::Failed { .. }) && turn.answer.unwrap().text.is_empty());
    }

    pub async fn the_answer_replaces_its_checkpoints(self) {
        let turn_id = self.begin().await;
        self.store.checkpoint(vec![part(turn_id, 0, "Be", &[2], None)]).await.unwrap();
        self.store.end_turn(self.end(turn_id, "Because")).await.unwrap();
        // A late checkpoint has no effect.
        self.store.checkpoint(vec![part(turn_id, 1, "cause", &[7], None)]).await.unwrap();
        assert_eq!(self.interrupt().await, 0);
        assert_eq!(self.answers().await[0].content, "Because");
        let stored = self.store.turn(turn_id).await.unwrap().unwrap().answer.unwrap();
        assert_eq!((stored.items.as_deref(), stored.reasoning.as_deref()), (Some(ITEMS), Some("Hm.")));
    }

    pub async fn a_repeated_checkpoint_may_have_more_tokens(self) {
        let turn_id = self.begin().await;
        self.store.checkpoint(vec![part(turn_id, 0, "a", &[1], None)]).await.unwrap();
        self.store.checkpoint(vec![part(turn_id, 0, "ab", &[1, 2], None)]).await.unwrap();
        self.interrupt().await;
        assert_eq!(self.answers().await[0].content, "ab");
    }

    pub async fn a_turn_stored_again_needs_no_older_checkpoints(self) {
        let turn_id = self.begin().await;
        let metadata = Some(AnswerMetadata { specialist: "specs".to_owned(), ..AnswerMetadata::default() });
        let first = self.store.checkpoint(vec![part(turn_id, 0, "a", &[1], metadata.clone())]).await.unwrap();
        let again = self.store.checkpoint(vec![part(turn_id, 0, "ab", &[1, 2], metadata.clone())]).await.unwrap();
        let last = self.store.checkpoint(vec![part(turn_id, 2, "c", &[3], None)]).await.unwrap();
        assert!(first < again && again < last);
        self.store.forget_checkpoints(again).await.unwrap();
        self.interrupt().await;
        let answer = self.store.turn(turn_id).await.unwrap().unwrap().answer.unwrap();
        assert_eq!((answer.text.as_str(), Some(answer.metadata)), ("abc", metadata));
    }

    pub async fn checkpoints_of_several_turns_are_stored_together(self) {
        let first = self.begin().await;
        let other = Self { conversation: ConversationId::new(), store: self.store, user: self.user };
        let second = other.begin().await;
        let unknown = TurnId::new();
        let parts = [first, unknown, second].map(|turn_id| part(turn_id, 0, &turn_id.to_string(), &[36], None));
        other.store.checkpoint(parts.to_vec()).await.unwrap();
        assert_eq!(other.interrupt().await, 2);
        for turn_id in [first, second] {
            let turn = other.store.turn(turn_id).await.unwrap().unwrap();
            assert_eq!(turn.answer.unwrap().text, turn_id.to_string());
        }
    }
}

pub(super) fn part(
    turn_id: TurnId,
    first_seq: u32,
    text: &str,
    ends: &[u32],
    metadata: Option<AnswerMetadata>,
) -> Checkpoint {
    let items = metadata.is_some().then(|| ITEMS.to_owned());
    Checkpoint {
        turn_id,
        epoch: 0,
        first_seq,
        text: text.to_owned(),
        token_ends: ends.to_vec(),
        items,
        metadata,
        charge: None,
    }
}
