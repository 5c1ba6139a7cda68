//! The registry of operators' connections: their users, their limit, and the commands to close them.

use crate::{
    domain::UserId,
    limits::{DRAIN_RETRY_MS, MAX_OPS_CONNECTIONS},
    registry::reconnect_after_ms,
};
use actix::Recipient;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use switchboard_protocol::ApiError;

/// A command to an operator's connection.
#[derive(Clone, Debug, PartialEq, Eq, actix::Message)]
#[rtype(result = "()")]
pub enum OpsCommand {
    /// Close on behalf of another operator, with this text in the close frame.
    Kick(Arc<str>),
    /// Close because the server stops.
    GoAway { reconnect_after_ms: u64 },
}

/// The operators' connections of the whole server.
#[derive(Default)]
pub struct OpsSockets(Mutex<Table>);

#[derive(Default)]
struct Table {
    open: HashMap<u64, Entry>,
    next_number: u64,
    /// Whether the server stops and no more are opened.
    is_closing: bool,
}

#[derive(Default)]
struct Entry {
    /// Present once its actor runs.
    to: Option<Recipient<OpsCommand>>,
    /// Present once it has authenticated.
    user_id: Option<UserId>,
}

/// A connection's entry; dropping it removes the entry.
pub struct OpsRegistration {
    sockets: Arc<OpsSockets>,
    number: u64,
}

impl OpsSockets {
    /// Registers a new connection.
    ///
    /// # Errors
    /// `OVERLOADED` when the server stops.
    pub fn open(self: &Arc<Self>) -> Result<OpsRegistration, ApiError> {
        let mut table = self.lock();
        if table.is_closing {
            return Err(ApiError::overloaded("The server is going away.", DRAIN_RETRY_MS));
        }
        let number = table.next_number;
        table.next_number += 1;
        table.open.insert(number, Entry::default());
        Ok(OpsRegistration { sockets: Arc::clone(self), number })
    }

    /// Number of open connections, authenticated or not.
    pub fn count(&self) -> usize {
        self.lock().open.len()
    }

    /// Number of authenticated connections.
    pub fn signed_in(&self) -> usize {
        self.lock().signed_in()
    }

    /// Closes the connections of a user; returns how many.
    pub fn kick(&self, user_id: UserId, text: &Arc<str>) -> usize {
        let table = self.lock();
        let theirs = table.open.values().filter(|entry| entry.user_id == Some(user_id));
        let told = theirs.filter_map(|entry| entry.to.as_ref());
        told.map(|to| to.do_send(OpsCommand::Kick(Arc::clone(text)))).count()
    }

    /// Closes all connections and opens no more. `random` spreads the times at which clients reconnect.
    pub fn close(&self, mut random: impl FnMut() -> u32) {
        let mut table = self.lock();
        table.is_closing = true;
        for to in table.open.values().filter_map(|entry| entry.to.as_ref()) {
            to.do_send(OpsCommand::GoAway { reconnect_after_ms: reconnect_after_ms(random()) });
        }
    }

    /// The table is consistent between any two statements, so a poisoned lock is usable.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn signed_in(&self) -> usize {
        self.open.values().filter(|entry| entry.user_id.is_some()).count()
    }
}

impl OpsRegistration {
    /// Sets the recipient of commands. `false` when the server is closing all connections already.
    pub fn reach(&self, to: Recipient<OpsCommand>) -> bool {
        let mut table = self.sockets.lock();
        if let Some(entry) = table.open.get_mut(&self.number) {
            entry.to = Some(to);
        }
        !table.is_closing
    }

    /// Assigns the connection to an operator. `false` when the limit of authenticated connections is reached.
    pub fn sign_in(&self, user_id: UserId) -> bool {
        let mut table = self.sockets.lock();
        let others = table.signed_in();
        match table.open.get_mut(&self.number) {
            Some(entry) if entry.user_id.is_some() || others < MAX_OPS_CONNECTIONS => {
                entry.user_id = Some(user_id);
                true
            }
            _ => false,
        }
    }
}

impl Drop for OpsRegistration {
    fn drop(&mut self) {
        self.sockets.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix::{Actor, Context, Handler};
    use switchboard_protocol::ErrorCode;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    struct Told(UnboundedSender<OpsCommand>);

    impl Actor for Told {
        type Context = Context<Self>;
    }

    impl Handler<OpsCommand> for Told {
        type Result = ();

        fn handle(&mut self, command: OpsCommand, _: &mut Self::Context) {
            let _ = self.0.send(command);
        }
    }

    /// A connection that records its commands.
    fn socket(sockets: &Arc<OpsSockets>) -> (OpsRegistration, UnboundedReceiver<OpsCommand>) {
        let (sender, told) = unbounded_channel();
        let registration = sockets.open().unwrap();
        assert!(registration.reach(Told(sender).start().recipient()));
        (registration, told)
    }

    #[test]
    fn authenticated_connections_are_limited() {
        let sockets = Arc::new(OpsSockets::default());
        let mut registrations: Vec<_> = (0..=MAX_OPS_CONNECTIONS).map(|_| sockets.open().unwrap()).collect();
        let signed_in: Vec<_> = registrations.iter().map(|registration| registration.sign_in(UserId::new())).collect();
        assert_eq!(signed_in.iter().filter(|signed_in| **signed_in).count(), MAX_OPS_CONNECTIONS);
        assert_eq!((sockets.count(), sockets.signed_in()), (MAX_OPS_CONNECTIONS + 1, MAX_OPS_CONNECTIONS));
        // Authenticating again is free, and closing a connection frees its permit.
        assert!(registrations[0].sign_in(UserId::new()) && !registrations[MAX_OPS_CONNECTIONS].sign_in(UserId::new()));
        registrations.remove(0);
        assert!(registrations[MAX_OPS_CONNECTIONS - 1].sign_in(UserId::new()));
        drop(registrations);
        assert_eq!((sockets.count(), sockets.signed_in()), (0, 0));
    }

    #[actix::test]
    async fn a_kick_closes_the_connections_of_one_user() {
        let sockets = Arc::new(OpsSockets::default());
        let (ada, bob) = (UserId::new(), UserId::new());
        let ((first, mut told), (second, mut told_too), (other, mut not_told)) =
            (socket(&sockets), socket(&sockets), socket(&sockets));
        let (_nobody, mut unknown) = socket(&sockets);
        assert!(first.sign_in(ada) && second.sign_in(ada) && other.sign_in(bob));
        let text: Arc<str> = "Tea time.".into();
        assert_eq!((sockets.kick(ada, &text), sockets.kick(UserId::new(), &text)), (2, 0));
        for told in [&mut told, &mut told_too] {
            assert_eq!(told.recv().await, Some(OpsCommand::Kick(Arc::clone(&text))));
        }
        assert!(not_told.try_recv().is_err() && unknown.try_recv().is_err());
    }

    #[actix::test]
    async fn closing_reaches_all_and_opens_no_more() {
        let sockets = Arc::new(OpsSockets::default());
        let late = sockets.open().unwrap();
        let ((signed_in, mut told), (_nobody, mut told_too)) = (socket(&sockets), socket(&sockets));
        assert!(signed_in.sign_in(UserId::new()));
        let mut numbers = 0..;
        sockets.close(|| numbers.next().unwrap());
        let mut waits = Vec::new();
        for told in [&mut told, &mut told_too] {
            let Some(OpsCommand::GoAway { reconnect_after_ms }) = told.recv().await else { panic!("not told") };
            waits.push(reconnect_after_ms);
        }
        assert_ne!(waits[0], waits[1]);
        assert_eq!(sockets.open().err().map(|error| error.code), Some(ErrorCode::Overloaded));
        let (sender, _told) = unbounded_channel();
        assert!(!late.reach(Told(sender).start().recipient()), "it was not there to be told");
    }
}
