//! Tests of failures (a lock, a full disk, a read-only or missing file) and migrations, and the conformance tests.

use super::*;
use crate::{
    domain::{AnswerMetadata, Chunk, DisplayName, Document, Email, Role, TurnId, User, UserId},
    store::{
        ClockStore, ConversationStore, DocumentStore, Page, PasswordHash, RefreshFamily, Revoked, ServedTime,
        TokenIssue, UserStore, conformance::conformance,
    },
};
use diesel_migrations::MigrationHarness;
use futures_util::FutureExt;
use std::{os::unix::fs::PermissionsExt, pin::pin};
use tempfile::TempDir;
use uuid::Uuid;

const BUSY_TIMEOUT_MS: u32 = 200;
/// Additional time that a wait may take on a loaded machine.
const SLACK: Duration = Duration::from_secs(3);

fn open(folder: &TempDir) -> SqliteStore {
    SqliteStore::open(&DatabaseConfig {
        url: url(folder),
        readers: 2,
        busy_timeout_ms: BUSY_TIMEOUT_MS,
        ..DatabaseConfig::default()
    })
    .unwrap()
}

/// A connection beside those of a store, whose threads open and close theirs in the background: it waits for their locks.
fn connection_to(folder: &TempDir) -> SqliteConnection {
    plain_connection(file(folder).to_str().unwrap(), 10_000).unwrap()
}

fn url(folder: &TempDir) -> String {
    format!("sqlite://{}", file(folder).display())
}

fn file(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("switchboard.db")
}

conformance! {{
    let folder = TempDir::new().unwrap();
    (open(&folder), folder)
}}

async fn note(store: &SqliteStore, at: i64) -> Result<(), StoreError> {
    store
        .write(move |connection| {
            diesel::update(store_checks::table).set(store_checks::checked_at_ms.eq(at)).execute(connection)?;
            Ok(())
        })
        .await
}

async fn noted(store: &SqliteStore) -> i64 {
    use diesel::QueryDsl;
    store
        .read(|connection| Ok(store_checks::table.select(store_checks::checked_at_ms).first(connection)?))
        .await
        .unwrap()
}

async fn pragma(store: &SqliteStore, pragma: &'static str) {
    store.write(move |connection| Ok(connection.batch_execute(pragma)?)).await.unwrap();
}

fn is_unavailable<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Unavailable(_)))
}

#[tokio::test]
async fn the_wait_for_a_lock_is_bounded() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    let mut other = connection_to(&folder);
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let began = Instant::now();
    let first = note(&store, 1);
    // Queued while the first one waits; its own timeout is not added to that of the first.
    let second = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        note(&store, 2).await
    };
    let (first, second) = tokio::join!(first, second);
    assert!(is_unavailable(&first) && is_unavailable(&second), "{first:?} {second:?}");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(BUSY_TIMEOUT_MS.into()) && took < SLACK, "{took:?}");
    assert_eq!(noted(&store).await, 0, "readers do not wait");
    other.batch_execute("COMMIT").unwrap();
    note(&store, 3).await.unwrap();
    assert_eq!(noted(&store).await, 3);
}

#[tokio::test]
async fn a_rejected_change_leaves_nothing_behind_alone_or_in_a_batch() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    let rejected = |at: i64| {
        store.write(move |connection| {
            diesel::update(store_checks::table).set(store_checks::checked_at_ms.eq(at)).execute(connection)?;
            Err::<(), _>(StoreError::Forbidden("conversation"))
        })
    };
    assert!(matches!(rejected(1).await, Err(StoreError::Forbidden(_))));
    assert_eq!(noted(&store).await, 0);
    let (accepted, other) = tokio::join!(note(&store, 2), rejected(3));
    assert!(accepted.is_ok() && matches!(other, Err(StoreError::Forbidden(_))));
    assert_eq!(noted(&store).await, 2);
}

#[tokio::test]
async fn a_full_disk_fails_the_whole_batch_and_the_store_recovers() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    // Limits the database to its current size, so that growing it fails with SQLITE_FULL.
    pragma(&store, "PRAGMA max_page_count = 1").await;
    let large = || {
        store.write(|connection| {
            connection.batch_execute("CREATE TABLE large AS SELECT randomblob(100000) AS bytes")?;
            Ok(())
        })
    };
    // Queued together, so that they share one commit.
    let (before, full, after) = tokio::join!(note(&store, 1), large(), note(&store, 2));
    assert!(is_unavailable(&full), "{full:?}");
    let last_ok = if after.is_ok() { 2 } else { i64::from(before.is_ok()) };
    assert_eq!(noted(&store).await, last_ok, "exactly the changes that succeeded are stored");
    // The limit does not apply to the new connection.
    large().await.unwrap();
    store.check().await.unwrap();
}

#[tokio::test]
async fn checkpoints_are_rare_and_the_wal_is_bounded() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    pragma(&store, "CREATE TABLE large (bytes BLOB)").await;
    let size = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len();
    let commit = || pragma(&store, "INSERT INTO large VALUES (randomblob(6000000))");
    commit().await;
    assert!(size("switchboard.db") < 6_000_000, "a checkpoint after 1,500 pages");
    for _ in 0..12 {
        commit().await;
    }
    assert!(size("switchboard.db") > 30_000_000);
    let most = u64::from(WAL_PAGES) * 4_120 + 7_000_000;
    assert!(size("switchboard.db-wal") < most, "{}", size("switchboard.db-wal"));
}

#[tokio::test]
async fn the_check_of_a_read_only_file_fails_until_it_is_writable() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    note(&store, 1).await.unwrap();
    let mut other = connection_to(&folder);
    other.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(other);
    // Permissions do not stop the superuser, who runs tests in containers. SQLite never writes a file whose header (byte 18)
    // declares a later format.
    let mut bytes = std::fs::read(file(&folder)).unwrap();
    bytes[18] = 3;
    let (writable, read_only) = (folder.path().join("writable.db"), folder.path().join("read-only.db"));
    std::fs::write(&read_only, bytes).unwrap();
    std::fs::rename(file(&folder), &writable).unwrap();
    std::fs::rename(&read_only, file(&folder)).unwrap();
    let refused = store.check().await;
    assert!(is_unavailable(&refused), "{refused:?}");
    assert_eq!(noted(&store).await, 1, "reading still works");
    std::fs::rename(&writable, file(&folder)).unwrap();
    tokio::time::sleep(CHECK_INTERVAL).await;
    store.check().await.unwrap();
}

#[tokio::test]
async fn a_moved_file_is_not_written_or_recreated() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    note(&store, 1).await.unwrap();
    let away = folder.path().join("away.db");
    std::fs::rename(file(&folder), &away).unwrap();
    assert!(is_unavailable(&note(&store, 2).await));
    assert!(!file(&folder).exists(), "an empty database was created");
    std::fs::rename(&away, file(&folder)).unwrap();
    note(&store, 3).await.unwrap();
    assert_eq!(noted(&store).await, 3);
}

#[tokio::test]
async fn a_restored_backup_is_used_without_a_restart() {
    let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let backup = open(&other);
    note(&backup, 7).await.unwrap();
    let mut connection = connection_to(&other);
    connection.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop((backup, connection));
    let store = open(&folder);
    note(&store, 1).await.unwrap();
    for leftover in ["switchboard.db-wal", "switchboard.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(leftover));
    }
    std::fs::rename(file(&other), file(&folder)).unwrap();
    assert_eq!(noted(&store).await, 7);
    note(&store, 8).await.unwrap();
    assert_eq!(noted(&store).await, 8);
}

#[tokio::test]
async fn files_are_accessible_only_to_their_owner() {
    let root = tempfile::TempDir::new().unwrap();
    let folder = root.path().join("data");
    let url = format!("sqlite://{}", folder.join("switchboard.db").display());
    let store = SqliteStore::open(&DatabaseConfig { url, ..DatabaseConfig::default() }).unwrap();
    store.write(|_| Ok(())).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 2, "no write-ahead log in {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn revocations_of_version_0_1_0_are_migrated() {
    const GENERATIONS: &str = "20261126000401";
    let folder = TempDir::new().unwrap();
    drop(open(&folder));
    let mut connection = connection_to(&folder);
    while connection.revert_last_migration(MIGRATIONS).unwrap().to_string() != GENERATIONS {}
    let (user, family, [older, newer]) = (UserId::new(), Uuid::new_v4(), [(); 2].map(|()| Uuid::new_v4()));
    connection
        .batch_execute(&format!(
            "INSERT INTO users VALUES ('{user}', 'ada@example.org', 'Ada', 'user', '', 7000, 0);
             INSERT INTO token_revocations VALUES ('{user}', 5000);
             INSERT INTO family_revocations VALUES ('{family}', 6000);
             INSERT INTO refresh_families VALUES ('{newer}', '{user}', '{newer}', 9000);
             INSERT INTO refresh_families VALUES ('{older}', '{user}', '{older}', 8000);"
        ))
        .unwrap();
    drop(connection);
    let store = open(&folder);
    let revoked: Vec<_> = store.revocations(0).await.unwrap().into_iter().map(|found| found.revoked).collect();
    let untagged = Revoked::Untagged { user_id: user, until: UnixMillis(5_000) };
    assert_eq!(revoked, [untagged, Revoked::Family(family)]);
    // The newest timestamp in the store becomes the confirmed date.
    let time = store.served_time().await.unwrap();
    assert_eq!(time, ServedTime { previous_offset_ms: Some(7_000), ..ServedTime::default() });
    // Sign-ins keep the order of their last use.
    let order = "SELECT group_concat(id, ' ') AS text FROM (SELECT id FROM refresh_families ORDER BY last_use)";
    #[derive(diesel::QueryableByName)]
    struct Order {
        #[diesel(sql_type = diesel::sql_types::Text)]
        text: String,
    }
    let order = store.read(move |connection| Ok(diesel::sql_query(order).get_result::<Order>(connection)?)).await;
    assert_eq!(order.unwrap().text, format!("{older} {newer}"));
}

#[tokio::test]
async fn checkpoints_from_before_the_journal_are_recovered() {
    const JOURNAL: &str = "20261124000001";
    let folder = TempDir::new().unwrap();
    drop(open(&folder));
    let mut connection = connection_to(&folder);
    while connection.revert_last_migration(MIGRATIONS).unwrap().to_string() != JOURNAL {}
    let [user, conversation, turn] = std::array::from_fn(|_| TurnId::new().to_string());
    let metadata = AnswerMetadata { specialist: "specs".to_owned(), ..AnswerMetadata::default() };
    let json = serde_json::to_string(&metadata).unwrap();
    connection
        .batch_execute(&format!(
            "INSERT INTO users VALUES ('{user}', 'ada@example.org', 'Ada', 'user', '', 0);
             INSERT INTO conversations VALUES ('{conversation}', '{user}', NULL, 'Why?', 0, 0);
             INSERT INTO turns (id, conversation_id, user_id, state, started_at_ms, metadata)
             VALUES ('{turn}', '{conversation}', '{user}', 'running', 0, '{json}');
             INSERT INTO turn_checkpoints VALUES ('{turn}', 0, 'Grüß', x'0300000006000000');
             INSERT INTO turn_checkpoints VALUES ('{turn}', 2, printf('%.*c', 300, 'x'), x'32010000');"
        ))
        .unwrap();
    drop(connection);
    let store = open(&folder);
    assert_eq!(store.interrupt_running_turns("TURN_INTERRUPTED", "cut off").await.unwrap(), 1);
    let answer = store.turn(turn.parse().unwrap()).await.unwrap().unwrap().answer.unwrap();
    assert_eq!((answer.text, answer.token_ends), (format!("Grüß{}", "x".repeat(300)), vec![3, 6, 306]));
    assert_eq!(answer.metadata, metadata);
}

#[tokio::test]
async fn chunks_survive_the_removal_of_the_full_text_index() {
    const TERMS: &str = "20261126000101";
    let folder = TempDir::new().unwrap();
    drop(open(&folder));
    let mut connection = connection_to(&folder);
    while connection.revert_last_migration(MIGRATIONS).unwrap().to_string() != TERMS {}
    let [kept, replaced] = std::array::from_fn(|_| TurnId::new().to_string());
    connection
        .batch_execute(&format!(
            "INSERT INTO documents VALUES ('{kept}', 'kept.md', '', 'text/markdown', 9, 2, 0, 7);
             INSERT INTO documents VALUES ('{replaced}', 'replaced.md', '', 'text/markdown', 9, 1, 0, 8);
             INSERT INTO chunks (document_id, position, title, text) VALUES
                 ('{kept}', 1, 'タイヤ', '空気圧'), ('{kept}', 0, 'Flywheel', 'It is red.'),
                 ('{replaced}', 0, 'Old', 'The sprocket is green.');
             INSERT INTO chunks_fts (chunks_fts) VALUES ('integrity-check');"
        ))
        .unwrap();
    drop(connection);
    let store = open(&folder);
    let (kept, replaced) = (kept.parse().unwrap(), replaced.parse().unwrap());
    assert_eq!(store.document_versions().await.unwrap(), [(kept, 7), (replaced, 8)]);
    let (document, chunks) = store.document_with_chunks(kept).await.unwrap();
    assert_eq!(document.source, "kept.md");
    assert_eq!(chunks.iter().map(|chunk| chunk.title.as_str()).collect::<Vec<_>>(), ["Flywheel", "タイヤ"]);
    let before = store.documents_fingerprint().await.unwrap();
    let chunk = Chunk {
        title: "New".to_owned(),
        text: "The sprocket is blue.".to_owned(),
        keywords: vec!["gear wheel".to_owned(), "Zahnrad".to_owned()],
    };
    let document = Document { updated_at_ms: UnixMillis(9), ..store.document(replaced).await.unwrap() };
    store.put_document(document, vec![chunk.clone()]).await.unwrap();
    assert_eq!(store.document_with_chunks(replaced).await.unwrap().1, [chunk]);
    assert_ne!(store.documents_fingerprint().await.unwrap(), before);
    store.delete_document(kept).await.unwrap();
    assert!(matches!(store.document_with_chunks(kept).await, Err(StoreError::NotFound(_))));
    assert_eq!(store.document_versions().await.unwrap(), [(replaced, 9)]);
    // The previous versions find the chunks after the migrations are reverted.
    let mut connection = connection_to(&folder);
    while connection.revert_last_migration(MIGRATIONS).unwrap().to_string() != TERMS {}
    let count = |sql: &str| diesel::dsl::sql::<diesel::sql_types::BigInt>(sql);
    let matches: i64 = diesel::select(count("(SELECT count(*) FROM chunks_fts WHERE chunks_fts MATCH 'sprocket')"))
        .get_result(&mut connection)
        .unwrap();
    assert_eq!(matches, 1);
}

#[tokio::test]
async fn documents_are_listed_in_the_order_of_insertion() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    let mut ids = Vec::new();
    for (n, ms) in [9_000_000, 1_000_000, 5_000_000, 3_000_000].into_iter().enumerate() {
        let id = uuid::Builder::from_unix_timestamp_millis(ms, &[u8::try_from(n).unwrap(); 10]).into_uuid().into();
        let document = Document {
            id,
            source: format!("{n}.md"),
            collection: String::new(),
            media_type: "text/markdown".to_owned(),
            bytes: 1,
            chunks: 1,
            created_at_ms: UnixMillis(0),
            updated_at_ms: UnixMillis(0),
        };
        let chunk = Chunk { title: "A".to_owned(), text: "B".to_owned(), ..Chunk::default() };
        store.put_document(document, vec![chunk]).await.unwrap();
        ids.insert(0, id);
    }
    let list = async |before, limit| {
        let page = store.list_documents(Page { before, limit }).await.unwrap();
        page.items.into_iter().map(|document| document.id).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 9).await, ids);
    assert_eq!(list(Some(ids[1]), 9).await, ids[2..]);
    // The last document of a page is deleted before the next page is read.
    store.delete_document(ids[0]).await.unwrap();
    store.delete_document(ids[1]).await.unwrap();
    assert_eq!(list(Some(ids[1]), 9).await, ids[2..]);
}

async fn account(store: &SqliteStore, email: &str) -> User {
    let user = User {
        id: UserId::new(),
        email: Email::parse(email).unwrap(),
        name: DisplayName::parse("Ada").unwrap(),
        role: Role::User,
        is_locked: false,
        created_at: UnixMillis(0),
    };
    store.add_user(user.clone(), PasswordHash::new("old".to_owned())).await.unwrap();
    user
}

#[tokio::test]
async fn a_password_change_revokes_concurrent_sign_ins() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    let user = account(&store, "ada@example.org").await;
    let mut other = connection_to(&folder);
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let mut changed = pin!(store.set_password(user.email, PasswordHash::new("new".to_owned())));
    assert!(changed.as_mut().now_or_never().is_none(), "it waits");
    // A sign-in with the old password starts after the change was requested.
    let generation = store.credentials(Email::parse("ada@example.org").unwrap()).await.unwrap().generation;
    other.batch_execute("COMMIT").unwrap();
    changed.await.unwrap();
    let (jti, time) = (Uuid::new_v4(), UnixMillis::now());
    let issue = TokenIssue { jti, issued_at: time, running_ms: 0, expires_at: time };
    let family = RefreshFamily { id: Uuid::new_v4(), user_id: user.id, issue };
    assert!(!store.start_family(family, generation).await.unwrap());
}
