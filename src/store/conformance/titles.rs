//! Conformance of the titles and summaries of conversations.

use super::Fixture;
use crate::{
    domain::{ConversationId, MessageRole, UserId, UserTitle},
    store::{AuditStore, BegunTurn, ClockStore, ConversationStore, EventStore, Page, StoreError, UserStore},
};

impl<S: AuditStore + ClockStore + ConversationStore + EventStore + UserStore> Fixture<S> {
    async fn title(&self) -> String {
        let page = Page { before: None, limit: 1 };
        self.store.conversations(self.user, page).await.unwrap().conversations.remove(0).title
    }

    async fn suggest(&self, title: &str) -> bool {
        self.store.suggest_title(self.conversation, title.to_owned()).await.unwrap()
    }

    pub async fn a_title_is_suggested_once_and_renamed_at_any_time(self) {
        assert!(!self.suggest("Too early").await);
        self.begin().await;
        assert_eq!(self.title().await, "Why?");
        assert!(self.suggest("Reasons").await);
        assert!(!self.suggest("More reasons").await);
        assert_eq!(self.title().await, "Reasons");
        let renamed = self.store.rename_conversation(self.user, self.conversation, UserTitle::parse("Mine").unwrap());
        let renamed = renamed.await.unwrap();
        assert_eq!((renamed.id, renamed.user_id, renamed.title.as_str()), (self.conversation, self.user, "Mine"));
        assert_eq!(self.title().await, "Mine");
    }

    pub async fn a_title_of_a_user_is_not_replaced(self) {
        self.begin().await;
        let rename =
            |user, conversation| self.store.rename_conversation(user, conversation, UserTitle::parse("Mine").unwrap());
        rename(self.user, self.conversation).await.unwrap();
        assert!(!self.suggest("Reasons").await);
        assert_eq!(self.title().await, "Mine");
        let refused = rename(UserId::new(), self.conversation).await;
        assert_eq!(refused, Err(StoreError::Forbidden("conversation")));
        assert_eq!(rename(self.user, ConversationId::new()).await, Err(StoreError::NotFound("conversation")));
    }

    pub async fn a_summary_grows_with_the_conversation(self) {
        self.begin().await;
        let found = self.store.unsummarized(self.conversation, 10).await.unwrap();
        let [message] = found.messages.as_slice() else { panic!("{found:?}") };
        assert_eq!((&found.summary, message.role, message.text.as_str()), (&None, MessageRole::User, "Why?"));
        let set = |text: &str, until| self.store.set_summary(self.conversation, text.to_owned(), until);
        set("Reasons.", message.position).await.unwrap();
        set("Late.", message.position).await.unwrap();
        let next = self.question("And?", false);
        let BegunTurn::Started(started) = self.store.begin_turn(next).await.unwrap() else { panic!("a duplicate") };
        assert_eq!(started.summary.as_deref(), Some("Reasons."));
        let found = self.store.unsummarized(self.conversation, 10).await.unwrap();
        let texts: Vec<_> = found.messages.iter().map(|message| message.text.as_str()).collect();
        assert_eq!((found.summary.as_deref(), texts), (Some("Reasons."), vec!["And?"]));
        assert!(found.messages[0].position > message.position);
        let missing = self.store.unsummarized(ConversationId::new(), 10).await;
        assert_eq!(missing, Err(StoreError::NotFound("conversation")));
    }
}
