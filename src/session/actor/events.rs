//! Conversation events of a session actor: its subscriptions on the bus, and reads of the store through the workflow.

use super::*;

impl ChatSession {
    pub(super) fn keep_events(&mut self, subscription: BusSubscription, ctx: &mut Context) {
        let Some(running) = &mut self.running else { return };
        running.events.retain(|earlier| earlier.conversation() != subscription.conversation());
        running.events.push(subscription);
        // Events may have arrived, and woken the actor, before the subscription was kept.
        ctx.notify(EventsArrived);
    }

    pub(super) fn read_events(&self, user_id: UserId, conversation: ConversationId, after: i64, ctx: &mut Context) {
        let read = self.context.workflow.send(ReadEvents { user_id, conversation_id: conversation, after });
        let decided = read.into_actor(self).map(move |read, session, ctx| {
            let read = flatten(read).map(|page| (page.items, page.has_more));
            session.decide(ctx, |state, _, now, effects| {
                state.on_events_read(conversation, after, read, now, effects);
            });
        });
        ctx.spawn(decided);
    }

    pub(super) fn resume_events(&self, ticket: ResumeTicket, message: ResumeEvents, ctx: &mut Context) {
        let answer = self.context.workflow.send(message);
        let decided = answer.into_actor(self).map(move |answer, session, ctx| {
            let outcome = flatten(answer);
            let counted = outcome.as_ref().map(|resumed| resumed.is_snapshot).map_err(|error| error.code);
            session.context.metrics.resumed_events(counted);
            let outcome = outcome.map(Resumed::Events);
            session.decide(ctx, |state, _, now, effects| state.on_resumed(ticket, outcome, now, effects));
        });
        ctx.spawn(decided);
    }
}

/// Tells the actor that events have arrived over the bus: at most one message per subscription is on its way.
pub(super) struct EventWaker(pub(super) Recipient<EventsArrived>);

impl Waker for EventWaker {
    fn wake(&self) {
        self.0.do_send(EventsArrived);
    }
}

#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct EventsArrived;

impl Handler<EventsArrived> for ChatSession {
    type Result = ();

    fn handle(&mut self, _: EventsArrived, ctx: &mut Context) {
        let Some(running) = &self.running else { return };
        let arrived: Vec<_> = running.events.iter().map(|events| (events.conversation(), events.take())).collect();
        self.decide(ctx, |state, _, now, effects| {
            for (conversation, arrived) in arrived {
                if !arrived.events.is_empty() || arrived.has_missed {
                    state.on_events_arrived(conversation, arrived, now, effects);
                }
            }
        });
    }
}
