//! Daily consumption of users.

use super::{Fixture, checkpoints::part};
use crate::{
    domain::{ConversationHandler, UserId, UtcDay},
    store::{
        AuditStore, Charge, Checkpoint, ClockStore, Consumption, ConversationStore, EndedTurn, EventStore,
        PasswordHash, StoreError, UserStore, UsersOfDay,
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

    pub async fn users_at_a_limit_are_counted(self) {
        let count = async |tokens, cost| {
            let UsersOfDay { users, at_limit } =
                self.store.users_on(TODAY, Consumption { tokens, cost }).await.unwrap();
            (users, at_limit)
        };
        assert_eq!(count(1, 1).await, (0, 0));
        let other = Self::account("bob@example.org");
        let of_other = Charge { user_id: other.id, ..self.charge(TODAY, 5, 100) };
        self.store.add_user(other, PasswordHash::new("none".to_owned())).await.unwrap();
        for charge in [self.charge(TODAY, 10, 7), of_other, self.charge(UtcDay(TODAY.0 - 1), 1_000, 1_000)] {
            self.store.charge(charge).await.unwrap();
        }
        for ((tokens, cost), at_limit) in [((10, 0), 1), ((11, 0), 0), ((0, 100), 1), ((10, 100), 2), ((0, 0), 0)] {
            assert_eq!(count(tokens, cost).await, (2, at_limit), "{tokens} {cost}");
        }
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

    pub async fn an_interrupted_turn_is_charged_as_its_last_checkpoint_says(self) {
        let turn_id = self.begin().await;
        let checkpoint = |first_seq, text: &str, end, epoch, charge| Checkpoint {
            epoch,
            charge,
            ..part(turn_id, first_seq, text, &[end], None)
        };
        let charge = |tokens| Some(self.charge(TODAY, tokens, 2 * tokens));
        self.store.checkpoint(vec![checkpoint(0, "Be", 2, 0, charge(10))]).await.unwrap();
        self.store.checkpoint(vec![checkpoint(1, "cause", 7, 0, charge(12))]).await.unwrap();
        self.store.checkpoint(vec![checkpoint(1, "not this", 10, 1, charge(99))]).await.unwrap();
        // The charge applies although the answer does not.
        self.store.change_handler(self.conversation, ConversationHandler::Agent).await.unwrap();
        for _ in 0..2 {
            self.interrupt().await;
            assert_eq!(self.consumed(TODAY).await, Some((12, 24)));
        }
    }
}
