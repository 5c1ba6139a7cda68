//! Conformance of feedback.

use super::Fixture;
use crate::{
    domain::{ConversationId, Feedback, MessageId, Rating, UnixMillis, UserId},
    store::{
        AuditStore, ClockStore, ConversationStore, EndedTurn, EventStore, FeedbackStore, PasswordHash, StoreError,
        UserStore,
    },
};

fn feedback(rating: Rating, reasons: &[&str], comment: Option<&str>) -> Feedback {
    let reasons = reasons.iter().map(|reason| (*reason).to_owned()).collect();
    Feedback { rating, reasons, comment: comment.map(str::to_owned) }
}

impl<S: AuditStore + ClockStore + ConversationStore + EventStore + FeedbackStore + UserStore> Fixture<S> {
    /// Asks a question in the conversation and answers it; returns the end of the turn.
    async fn asked(&self, question: &str, is_new_conversation: bool) -> EndedTurn {
        let question = self.question(question, is_new_conversation);
        let turn_id = question.turn_id;
        self.store.begin_turn(question).await.unwrap();
        let mut end = self.end(turn_id, "So");
        end.answer.metadata.specialist = "engine".to_owned();
        end.answer.metadata.model = "m".to_owned();
        self.store.end_turn(end.clone()).await.unwrap();
        end
    }

    async fn rate(&self, user: UserId, message: MessageId, given: Feedback) -> Result<Option<Rating>, StoreError> {
        let changed = self.store.set_feedback(user, message, given, UnixMillis(5)).await?;
        assert_eq!((changed.metadata.specialist.as_str(), changed.metadata.model.as_str()), ("engine", "m"));
        Ok(changed.before)
    }

    pub async fn feedback_is_changed_shown_and_withdrawn(self) {
        let message = self.asked("Why?", true).await.answer.message_id;
        let down = feedback(Rating::Down, &["incorrect"], Some("No."));
        assert_eq!(self.rate(self.user, message, down.clone()).await, Ok(None));
        assert_eq!(self.answers().await[0].feedback, Some(down));
        let up = feedback(Rating::Up, &[], None);
        assert_eq!(self.rate(self.user, message, up.clone()).await, Ok(Some(Rating::Down)));
        assert_eq!(self.answers().await[0].feedback, Some(up));
        for before in [Some(Rating::Up), None] {
            let changed = self.store.withdraw_feedback(self.user, message).await.unwrap();
            assert_eq!((changed.before, changed.metadata.model.as_str()), (before, "m"));
            assert_eq!(self.answers().await[0].feedback, None);
        }
    }

    pub async fn only_own_answers_are_rated(self) {
        let message = self.asked("Why?", true).await.answer.message_id;
        let up = || feedback(Rating::Up, &[], None);
        let stranger = Self::account("bob@example.org");
        let other = stranger.id;
        self.store.add_user(stranger, PasswordHash::new("none".to_owned())).await.unwrap();
        let forbidden = StoreError::Forbidden("answer");
        assert_eq!(self.rate(other, message, up()).await, Err(forbidden.clone()));
        assert_eq!(self.store.withdraw_feedback(other, message).await, Err(forbidden));
        let missing = StoreError::NotFound("answer");
        assert_eq!(self.rate(self.user, MessageId::new(), up()).await, Err(missing.clone()));
        // A question is not rated.
        let question = self.question("And?", false);
        let asked = question.message_id;
        self.store.begin_turn(question).await.unwrap();
        assert_eq!(self.rate(self.user, asked, up()).await, Err(missing.clone()));
        self.rate(self.user, message, up()).await.unwrap();
        self.store.delete_conversation(self.user, self.conversation).await.unwrap();
        assert_eq!(self.rate(self.user, message, up()).await, Err(missing));
        assert_eq!(self.store.rated_answers(0, 9).await.unwrap().items, []);
    }

    pub async fn rated_answers_are_listed_with_their_questions(mut self) {
        let mut rated = Vec::new();
        for (n, question) in ["One", "Two", "Three"].into_iter().enumerate() {
            let message = self.asked(question, n == 0).await.answer.message_id;
            rated.push(message);
        }
        self.conversation = ConversationId::new();
        rated.push(self.asked("Elsewhere", true).await.answer.message_id);
        for message in [rated[2], rated[0], rated[3]] {
            self.rate(self.user, message, feedback(Rating::Up, &["clear"], None)).await.unwrap();
        }
        // A changed rating keeps its place.
        self.rate(self.user, rated[2], feedback(Rating::Down, &[], Some("Hm."))).await.unwrap();
        let first = self.store.rated_answers(0, 2).await.unwrap();
        assert!(first.has_more && first.items.len() == 2);
        let [three, one] = [&first.items[0], &first.items[1]];
        assert_eq!((three.message_id, one.message_id), (rated[2], rated[0]));
        assert_eq!((three.question.as_str(), three.answer.as_str()), ("Three", "So"));
        assert_eq!((&three.earlier, &one.earlier), (&vec!["One".to_owned(), "Two".to_owned()], &Vec::new()));
        assert_eq!(three.feedback, feedback(Rating::Down, &[], Some("Hm.")));
        assert_eq!(three.metadata.specialist, "engine");
        let rest = self.store.rated_answers(one.position, 2).await.unwrap();
        assert!(!rest.has_more);
        let [other] = rest.items.as_slice() else { panic!("{rest:?}") };
        assert_eq!((other.question.as_str(), other.earlier.len()), ("Elsewhere", 0));
    }
}
