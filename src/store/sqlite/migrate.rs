//! Migration of the database to the current schema: all pending migrations in one transaction, after a backup.

use super::{
    MIGRATIONS,
    backup::back_up_before,
    connect,
    location::{Absent, check_schema, diagnose, is_empty, locate},
    plain_connection, text_of, users,
};
use crate::{config::DatabaseConfig, store::StoreError};
use diesel_migrations::MigrationHarness;
use std::path::Path;

/// Migrates the database to the current schema and returns the names of the migrations that ran.
///
/// A database that has tables is copied to `<file>.before-<version>` first, where `version` is that of the newest migration.
///
/// # Errors
/// When the URL is not `sqlite://path`, the file cannot be opened, the backup cannot be made, or a migration fails. A failed
/// migration leaves the database as it was.
pub fn migrate(config: &DatabaseConfig) -> Result<Vec<String>, StoreError> {
    let path = locate(config, Absent::Create)?;
    run_migrations(&path, config.busy_timeout_ms).map_err(|error| diagnose(&path, error))
}

fn run_migrations(path: &Path, busy_timeout_ms: u32) -> Result<Vec<String>, StoreError> {
    let text = text_of(path)?;
    // Checked before anything is written, including the journal mode.
    let mut connection = plain_connection(&text, busy_timeout_ms)?;
    check_schema(&mut connection, path)?;
    drop(connection);
    let mut connection = connect(&text, busy_timeout_ms)?;
    if !connection.has_pending_migration(MIGRATIONS).map_err(unavailable)? {
        return Ok(Vec::new());
    }
    // The transaction keeps other writers out, so that the backup, which another connection reads, has all that is migrated.
    connection.immediate_transaction(|connection| {
        let pending = connection.pending_migrations(MIGRATIONS).map_err(unavailable)?;
        let Some(newest) = pending.last() else {
            return Ok(Vec::new());
        };
        let backup = match is_empty(connection)? {
            true => None,
            false => Some(back_up_before(path, &newest.name().version().to_string(), busy_timeout_ms)?),
        };
        if let Some(backup) = &backup {
            log::info!(backup:% = backup.display(), migrations = pending.len(); "backed up the database before migrating it");
        }
        let ran = connection.run_migrations(&pending).map_err(|error| failed(path, backup.as_deref(), &error))?;
        let ran = ran.iter().map(ToString::to_string).collect();
        users::normalize_emails(connection).map_err(|error| failed(path, backup.as_deref(), &error))?;
        Ok(ran)
    })
}

fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("migration failed: {error}"))
}

fn failed(path: &Path, backup: Option<&Path>, error: &dyn std::fmt::Display) -> StoreError {
    let path = path.display();
    let Some(backup) = backup.map(Path::display) else {
        return unavailable(error);
    };
    StoreError::Unusable(format!(
        "migration failed: {error}. The database {path} is unchanged, and {backup} is a copy of it. Run the previous version, \
         and report this error to the developers"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::{Connection, RunQueryDsl, SqliteConnection, connection::SimpleConnection, dsl::sql, sql_types::Text};
    use std::{fs, path::PathBuf};
    use tempfile::TempDir;

    /// Version of the migration that introduced conversation events.
    const EVENTS: &str = "20261127000001";

    /// Two conversations as the version before events left them: with a complete, a failed and an unanswered turn, and one that
    /// a crash left running.
    const BEFORE: &str = "
        INSERT INTO users (id, email, name, role, password_hash, created_at_ms)
        VALUES ('u', 'ada@example.org', 'Ada', 'user', '', 0);
        INSERT INTO conversations VALUES ('b', 'u', NULL, 'B', 0, 0), ('a', 'u', NULL, 'A', 0, 0);
        INSERT INTO turns (id, conversation_id, user_id, state, error_code, started_at_ms, ended_at_ms) VALUES
            ('b1', 'b', 'u', 'complete', NULL, 10, 11), ('a1', 'a', 'u', 'failed', 'TURN_INTERRUPTED', 20, 22),
            ('b2', 'b', 'u', 'failed', 'TURN_STALLED', 30, 33), ('b3', 'b', 'u', 'running', NULL, 40, NULL);
        INSERT INTO messages VALUES
            ('b1q', 'b', 'b1', 'user', 'Why?', NULL, NULL, 10), ('a1q', 'a', 'a1', 'user', 'Why?', NULL, NULL, 20),
            ('b1a', 'b', 'b1', 'assistant', 'So', 'stop', '{}', 11), ('a1a', 'a', 'a1', 'assistant', 'S', 'error', '{}', 22),
            ('b2q', 'b', 'b2', 'user', 'And?', NULL, NULL, 30), ('b2a', 'b', 'b2', 'assistant', '', 'error', '{}', 33),
            ('b3q', 'b', 'b3', 'user', 'Or?', NULL, NULL, 40);
        ";

    fn config(folder: &TempDir) -> DatabaseConfig {
        DatabaseConfig { url: format!("sqlite://{}", file(folder).display()), ..DatabaseConfig::default() }
    }

    fn file(folder: &TempDir) -> PathBuf {
        folder.path().join("a.db")
    }

    fn connection(path: &Path) -> SqliteConnection {
        SqliteConnection::establish(path.to_str().unwrap()).unwrap()
    }

    /// Returns the rows of a query with one column of text.
    fn rows(path: &Path, query: &str) -> Vec<String> {
        let query = format!("(SELECT json_group_array(line) FROM ({query}))");
        let json: String = diesel::select(sql::<Text>(&query)).get_result(&mut connection(path)).unwrap();
        serde_json::from_str(&json).unwrap()
    }

    /// A database of the version before events, with the changes still in the write-ahead log.
    fn earlier_database(folder: &TempDir) -> SqliteConnection {
        migrate(&config(folder)).unwrap();
        let mut connection = connection(&file(folder));
        while connection.revert_last_migration(MIGRATIONS).unwrap().to_string() != EVENTS {}
        connection.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        connection.batch_execute(BEFORE).unwrap();
        connection
    }

    fn backups(folder: &TempDir) -> Vec<String> {
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut backups: Vec<_> = names.filter(|name| name.contains("before") || name.starts_with('.')).collect();
        backups.sort();
        backups
    }

    const CONTENT: &str = "SELECT id || content AS line FROM messages ORDER BY rowid";

    #[test]
    fn a_new_database_needs_no_backup() {
        let folder = TempDir::new().unwrap();
        assert!(!migrate(&config(&folder)).unwrap().is_empty());
        assert!(migrate(&config(&folder)).unwrap().is_empty());
        assert_eq!(backups(&folder), [""; 0]);
    }

    #[test]
    fn existing_conversations_get_members_and_gapless_events() {
        let folder = TempDir::new().unwrap();
        drop(earlier_database(&folder));
        let before = rows(&file(&folder), CONTENT);
        migrate(&config(&folder)).unwrap();
        let events = "SELECT conversation_id || position || ' ' || kind || ' ' || at_ms || ' ' || actor_kind || ' ' ||
            coalesce(actor_user_id, '-') || ' ' || message_id || ' ' || turn_id || ' ' || payload AS line
            FROM conversation_events ORDER BY conversation_id, position";
        let expected = [
            "a1 message 20 user u a1q a1 {}",
            "a2 turn_started 20 assistant - a1q a1 {}",
            "a3 message 22 assistant - a1a a1 {}",
            r#"a4 turn_ended 22 assistant - a1a a1 {"code":"TURN_INTERRUPTED"}"#,
            "b1 message 10 user u b1q b1 {}",
            "b2 turn_started 10 assistant - b1q b1 {}",
            "b3 message 11 assistant - b1a b1 {}",
            r#"b4 turn_ended 11 assistant - b1a b1 {"finish_reason":"stop"}"#,
            "b5 message 30 user u b2q b2 {}",
            "b6 turn_started 30 assistant - b2q b2 {}",
            r#"b7 turn_ended 33 assistant - b2a b2 {"code":"TURN_STALLED"}"#,
            "b8 message 40 user u b3q b3 {}",
            "b9 turn_started 40 assistant - b3q b3 {}",
        ];
        assert_eq!(rows(&file(&folder), events), expected);
        let heads = "SELECT id || head_position || handler || epoch AS line FROM conversations ORDER BY id";
        assert_eq!(rows(&file(&folder), heads), ["a4assistant0", "b9assistant0"]);
        let members = "SELECT conversation_id || user_id || role || since_position AS line FROM members ORDER BY 1";
        assert_eq!(rows(&file(&folder), members), ["auowner1", "buowner1"]);
        assert_eq!(rows(&file(&folder), CONTENT), before);
    }

    #[test]
    fn foreign_keys_and_triggers_survive() {
        let folder = TempDir::new().unwrap();
        drop(earlier_database(&folder));
        let schema = |path: &Path| {
            rows(
                path,
                "SELECT type || name || coalesce(sql, '') AS line FROM sqlite_master WHERE type <> 'table' ORDER BY 1",
            )
        };
        let before = schema(&file(&folder));
        migrate(&config(&folder)).unwrap();
        let after = schema(&file(&folder));
        // Those of the former full-text index.
        let is_dropped =
            |object: &String| object.contains("chunks_by_terms_version") || object.contains("chunks_deleted");
        assert!(before.iter().all(|object| after.contains(object) != is_dropped(object)), "{before:#?} {after:#?}");
        let mut connection = connect(file(&folder).to_str().unwrap(), 1_000).unwrap();
        for dangling in ["conversation_id", "turn_id"] {
            let refused = connection.batch_execute(&format!("UPDATE messages SET {dangling} = 'x' WHERE id = 'a1q'"));
            assert!(refused.unwrap_err().to_string().contains("FOREIGN KEY"), "{dangling}");
        }
        connection.batch_execute("UPDATE messages SET turn_id = NULL WHERE id = 'a1q'").unwrap();
        connection
            .batch_execute("DELETE FROM conversations WHERE id = 'b'; DELETE FROM conversations WHERE id = 'a'")
            .unwrap();
        for table in ["messages", "turns", "members", "conversation_events"] {
            assert_eq!(
                rows(&file(&folder), &format!("SELECT conversation_id AS line FROM {table}")),
                [""; 0],
                "{table}"
            );
        }
    }

    #[test]
    fn a_migrated_database_is_backed_up_with_what_its_log_holds() {
        let folder = TempDir::new().unwrap();
        // Holds the write-ahead log open.
        let _open = earlier_database(&folder);
        let before = rows(&file(&folder), CONTENT);
        migrate(&config(&folder)).unwrap();
        let made = folder.path().join(backups(&folder).pop().expect("a backup"));
        let newest = rows(&file(&folder), "SELECT max(version) AS line FROM __diesel_schema_migrations");
        assert_eq!(made.file_name().unwrap().to_str().unwrap(), format!("a.db.before-{}", newest[0]));
        assert_eq!(rows(&made, CONTENT), before);
        assert_eq!(rows(&made, "SELECT name AS line FROM sqlite_master WHERE name = 'members'"), [""; 0]);
    }

    #[test]
    fn a_failed_migration_leaves_the_database_and_one_backup_per_content() {
        let folder = TempDir::new().unwrap();
        let mut open = earlier_database(&folder);
        // The migration creates this table as well.
        open.batch_execute("CREATE TABLE members (line TEXT)").unwrap();
        let everything = "SELECT type || name || coalesce(sql, '') AS line FROM sqlite_master ORDER BY 1";
        let state = || (rows(&file(&folder), everything), rows(&file(&folder), CONTENT));
        let before = state();
        for _ in 0..3 {
            let error = migrate(&config(&folder)).unwrap_err().to_string();
            let named = error.contains("a.db is unchanged") && error.contains("a.db.before-");
            assert!(named && error.contains("members"), "{error}");
            assert_eq!(state(), before);
            assert_eq!(backups(&folder).len(), 1);
        }
        open.batch_execute("UPDATE messages SET content = 'Edited' WHERE id = 'a1q'").unwrap();
        migrate(&config(&folder)).unwrap_err();
        let made = backups(&folder);
        assert_eq!(made.len(), 2);
        assert!(rows(&folder.path().join(&made[0]), CONTENT).contains(&"a1qWhy?".to_owned()));
        assert!(rows(&folder.path().join(&made[1]), CONTENT).contains(&"a1qEdited".to_owned()));
        // The cause is removed.
        open.batch_execute("DROP TABLE members").unwrap();
        migrate(&config(&folder)).unwrap();
        assert_eq!(rows(&file(&folder), "SELECT role AS line FROM members").len(), 2);
    }
}
