//! Daily consumption of users.

use super::Fixture;
use crate::{
    domain::{UserId, UtcDay},
    store::{
        AuditStore, Charge, ClockStore, Consumption, ConversationStore, EndedTurn, EventStore, StoreError, UserStore,
    },
};

const TODAY: UtcDay = UtcDay(20_784);

impl<S: AuditStore + ClockStore + ConversationStore + EventStore + UserStore> Fixture<S> {
    fn charge(&self, day: UtcDay, tokens: u64, cost: u64) -> Charge {
        Charge { user_id: self.user, day, consumption: Consumption { tokens, cost } }
    }

    async fn consumed(&self, day: UtcDay) -> Option<(u64, u64)> {
        let used = self.store.usage_on(day, vec![self.user, UserId::new()]).await.unwrap();
        assert!(used.len() <= 1, "{used:?}");
        used.get(&self.user).map(|consumption| (consumption.tokens, consumption.cost))
    }

    pub async fn charges_add_up_by_day(self) {
        assert_eq!(self.consumed(TODAY).await, None);
        self.store.charge(self.charge(TODAY, 10, 7)).await.unwrap();
        self.store.charge(self.charge(TODAY, 5, u64::MAX)).await.unwrap();
        self.store.charge(self.charge(UtcDay(TODAY.0 + 1), 1, 1)).await.unwrap();
        assert_eq!(self.consumed(TODAY).await, Some((15, i64::MAX.unsigned_abs())), "it saturates");
        assert_eq!(self.consumed(UtcDay(TODAY.0 + 1)).await, Some((1, 1)));
        assert_eq!(self.store.forget_usage(UtcDay(TODAY.0 + 1)).await, Ok(1));
        assert_eq!((self.consumed(TODAY).await, self.consumed(UtcDay(TODAY.0 + 1)).await), (None, Some((1, 1))));
        let stranger = Charge { user_id: UserId::new(), ..self.charge(TODAY, 1, 1) };
        assert_eq!(self.store.charge(stranger).await, Ok(()), "a deleted user is nobody to charge");
    }

    pub async fn an_ended_turn_is_charged_once(self) {
        let turn_id = self.begin().await;
        let end = EndedTurn { charge: Some(self.charge(TODAY, 10, 7)), ..self.end(turn_id, "So") };
        self.store.end_turn(end.clone()).await.unwrap();
        self.store.end_turn(end.clone()).await.unwrap();
        assert_eq!(self.consumed(TODAY).await, Some((10, 7)));
        self.store.delete_conversation(self.user, self.conversation).await.unwrap();
        assert_eq!(self.store.end_turn(end).await, Err(StoreError::NotFound("turn")));
        assert_eq!(self.consumed(TODAY).await, Some((10, 7)), "it outlives the conversation");
    }
}
