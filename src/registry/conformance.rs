//! Conformance tests for registries, written against the trait. A backend only provides an empty registry.

use super::{
    ConnectionAddress, ConnectionCommand, ConnectionKind, ConnectionQuery, ConnectionRegistry, ConnectionStats,
    KickTarget, KindFilter,
};
use crate::{
    auth::{Identity, test_support::user},
    domain::{ConnectionId, ConversationId, Role, TurnId, UserId},
    store::{Revocation, Revoked},
    turn::{TurnLog, TurnSubject},
};
use std::sync::Arc;
use switchboard_protocol::{CloseReason, Dialect};
use tokio::sync::mpsc::{self, Receiver};

/// A registered connection that receives its commands through a channel.
struct Connection {
    id: ConnectionId,
    commands: Receiver<ConnectionCommand>,
}

fn connect(registry: &impl ConnectionRegistry, kind: ConnectionKind, user_id: UserId) -> Connection {
    let account = user("ada@example.org", Role::User);
    let id = ConnectionId::new();
    let stats = ConnectionStats::of_kind(kind, id, Some(Dialect::V2), "192.0.2.1".to_owned(), String::new());
    stats.set_identity(Arc::new(Identity {
        user_id,
        email: account.email,
        name: account.name,
        role: account.role,
        family_id: None,
        generation: 0,
        issued_at_ms: 0,
        expires_at: 0,
    }));
    let (to, commands) = mpsc::channel(8);
    registry.register(stats, ConnectionAddress::Stream(to));
    Connection { id, commands }
}

fn turn_of(user_id: UserId, conversation_id: ConversationId) -> Arc<TurnLog> {
    TurnLog::new(TurnSubject { turn_id: TurnId::new(), conversation_id, user_id })
}

/// Runs all tests.
pub async fn suite<R: ConnectionRegistry>(empty: impl Fn() -> R) {
    kick_reaches_every_kind_once(&empty()).await;
    revocation_reaches_every_kind(&empty()).await;
    turns_are_announced_to_the_other_subscribers(&empty()).await;
    notices_reach_chat_connections(&empty()).await;
    lists_and_counts_tell_kinds_apart(&empty()).await;
}

async fn kick_reaches_every_kind_once(registry: &impl ConnectionRegistry) {
    let (ada, bob) = (UserId::new(), UserId::new());
    let mut kicked: Vec<_> = ConnectionKind::ALL.iter().map(|kind| connect(registry, *kind, ada)).collect();
    let mut bystander = connect(registry, ConnectionKind::Chat, bob);
    let text: Arc<str> = "Tea time.".into();
    assert_eq!(registry.kick(KickTarget::User(ada), Arc::clone(&text)).await, Ok(kicked.len()));
    for connection in &mut kicked {
        assert!(matches!(connection.commands.recv().await, Some(ConnectionCommand::Kick(found)) if found == text));
    }
    assert_eq!(registry.kick(KickTarget::User(ada), Arc::clone(&text)).await, Ok(0), "they are gone at once");
    assert!(bystander.commands.try_recv().is_err());
    assert_eq!(registry.kick(KickTarget::Connection(bystander.id), text).await, Ok(1));
}

async fn revocation_reaches_every_kind(registry: &impl ConnectionRegistry) {
    let (ada, bob) = (UserId::new(), UserId::new());
    let mut revoked: Vec<_> = ConnectionKind::ALL.iter().map(|kind| connect(registry, *kind, ada)).collect();
    let mut bystander = connect(registry, ConnectionKind::Operator, bob);
    registry.revoke(vec![Revocation { number: 1, revoked: Revoked::User { user_id: ada, generation: 1 } }]);
    for connection in &mut revoked {
        let command = connection.commands.recv().await;
        assert!(matches!(command, Some(ConnectionCommand::Close(CloseReason::AuthExpired))));
    }
    assert!(bystander.commands.try_recv().is_err());
}

async fn turns_are_announced_to_the_other_subscribers(registry: &impl ConnectionRegistry) {
    let (ada, bob, conversation) = (UserId::new(), UserId::new(), ConversationId::new());
    let mut all: Vec<_> = [ada, ada, bob, ada].map(|user| connect(registry, ConnectionKind::Chat, user)).into();
    for connection in &all[..3] {
        registry.subscribe(connection.id, conversation);
    }
    registry.on_announced(turn_of(ada, conversation), Some(all[0].id));
    registry.forget_conversation(conversation);
    registry.on_announced(turn_of(ada, conversation), None);
    // Answered after everything before.
    registry.stats().await.unwrap();
    let counts = all.iter_mut().map(|connection| {
        std::iter::from_fn(|| connection.commands.try_recv().ok())
            .filter(|command| matches!(command, ConnectionCommand::Subscribe(_)))
            .count()
    });
    assert_eq!(counts.collect::<Vec<_>>(), [0, 1, 1, 0]);
}

async fn notices_reach_chat_connections(registry: &impl ConnectionRegistry) {
    let (ada, bob) = (UserId::new(), UserId::new());
    let _open: Vec<_> = ConnectionKind::ALL.iter().map(|kind| connect(registry, *kind, ada)).collect();
    let mut other = connect(registry, ConnectionKind::Chat, bob);
    assert_eq!(registry.notify("{}".into(), Some(ada)).await, Ok(1));
    assert!(other.commands.try_recv().is_err());
    assert_eq!(registry.notify("{}".into(), None).await, Ok(2));
    assert!(matches!(other.commands.try_recv(), Ok(ConnectionCommand::Notice(_))));
}

async fn lists_and_counts_tell_kinds_apart(registry: &impl ConnectionRegistry) {
    let ada = UserId::new();
    let open: Vec<_> = ConnectionKind::ALL.iter().map(|kind| connect(registry, *kind, ada)).collect();
    let stats = registry.stats().await.unwrap();
    assert_eq!((stats.connections, stats.authenticated, stats.operators()), (1, 1, 1));
    assert_eq!(registry.count_of(vec![UserId::new(), ada]).await, Ok(vec![0, 1]));
    for (kind, ids) in [
        (KindFilter::Chat, vec![open[0].id]),
        (KindFilter::Operator, vec![open[1].id]),
        (KindFilter::Stream, vec![open[2].id]),
        (KindFilter::All, open.iter().map(|connection| connection.id).collect()),
    ] {
        let page = registry.list(ConnectionQuery { kind, ..ConnectionQuery::default() }).await.unwrap();
        let mut found: Vec<_> = page.connections.iter().map(|connection| connection.id).collect();
        found.sort_unstable();
        assert_eq!((found, page.total), (ids.clone(), ids.len()), "{kind:?}");
    }
    let found = registry.find(open[2].id).await.unwrap();
    assert_eq!(found.map(|found| found.view.kind), Some(ConnectionKind::Stream));
    registry.unregister(open[2].id);
    assert!(registry.find(open[2].id).await.unwrap().is_none());
}
