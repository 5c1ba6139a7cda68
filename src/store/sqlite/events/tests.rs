//! Events of kinds that another version stored.

use super::*;
use crate::config::DatabaseConfig;
use diesel::connection::SimpleConnection;
use tempfile::TempDir;

#[tokio::test]
async fn an_event_of_an_unknown_kind_keeps_its_position() {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}/events.db", folder.path().display());
    let store = SqliteStore::open(&DatabaseConfig { url, ..DatabaseConfig::default() }).unwrap();
    let (user, conversation, message) = (UserId::new(), ConversationId::new(), MessageId::new());
    let rows = format!(
        "INSERT INTO users (id, email, name, role, password_hash, created_at_ms)
         VALUES ('{user}', 'ada@example.org', 'Ada', 'user', '', 0);
         INSERT INTO conversations (id, user_id, title, created_at_ms, updated_at_ms, head_position)
         VALUES ('{conversation}', '{user}', 'Why?', 0, 0, 3);
         INSERT INTO messages (id, conversation_id, role, content, created_at_ms)
         VALUES ('{message}', '{conversation}', 'user', 'Why?', 0);
         INSERT INTO conversation_events
             (conversation_id, position, kind, at_ms, actor_kind, actor_user_id, message_id, payload)
         VALUES
             ('{conversation}', 1, 'message', 1, 'user', '{user}', '{message}', '{{}}'),
             ('{conversation}', 2, 'call_started', 2, 'telephone', NULL, '{message}', 'no JSON'),
             ('{conversation}', 3, 'call_started', 3, 'agent', '{user}', NULL, '{{}}');"
    );
    store.write(move |connection| Ok(connection.batch_execute(&rows)?)).await.unwrap();
    let after = store.events_after(conversation, 0, 9).await.unwrap().items;
    let facts: Vec<_> = after.iter().map(|event| (event.position, event.fact.kind_name())).collect();
    assert_eq!(facts, [(1, "message"), (2, "call_started"), (3, "call_started")]);
    let unknown = Event {
        conversation_id: conversation,
        position: 2,
        at: UnixMillis(2),
        actor: EventActor { kind: ActorKind::Other("telephone".to_owned()), user_id: None },
        fact: Fact::Other { kind: "call_started".to_owned() },
    };
    assert_eq!(after[1], unknown);
    assert_eq!(after[2].actor, EventActor { kind: ActorKind::Agent, user_id: Some(user) });
    assert_eq!(store.events_before(conversation, 3, 1).await.unwrap().items, [unknown]);
}

#[test]
fn each_unknown_kind_is_logged_once() {
    let logged = LoggedKinds::default();
    assert!(logged.is_new("a") && logged.is_new("b"));
    assert!(!logged.is_new("a") && !logged.is_new("b"));
    // However many kinds there are, memory is bounded.
    let new = (0..2 * MAX_LOGGED_KINDS).filter(|n| logged.is_new(&n.to_string())).count();
    assert_eq!(new, MAX_LOGGED_KINDS - 2);
}
