//! `switchboard migrate`: brings the database to the current schema.

use super::CliError;
use crate::{
    config::Config,
    knowledge::KnowledgeBase,
    store::sqlite::{self, SqliteStore},
};
use std::{io, sync::Arc, time::Duration};

pub(super) async fn run(config: &Config, out: &mut dyn io::Write) -> Result<(), CliError> {
    let ran = sqlite::migrate(&config.database)?;
    // Otherwise the next start of the server would do this.
    let store = SqliteStore::open(&config.database)?;
    let documents = Arc::new(store.clone());
    KnowledgeBase::new(documents, config.knowledge.clone()).update_index(Duration::MAX).await?;
    store.close().await;
    if ran.is_empty() {
        writeln!(out, "The database is up to date.")?;
    }
    for name in ran {
        writeln!(out, "Applied {name}.")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_run_changes_nothing() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut config = Config::default();
        config.database.url = format!("sqlite://{}", folder.path().join("new/switchboard.db").display());
        let migrate = async || {
            let mut out = Vec::new();
            run(&config, &mut out).await.map(|()| String::from_utf8(out).unwrap())
        };
        assert!(migrate().await.unwrap().starts_with("Applied "));
        assert_eq!(migrate().await.unwrap(), "The database is up to date.\n");
        let files = std::fs::read_dir(folder.path().join("new")).unwrap().map(|file| file.unwrap().file_name());
        assert_eq!(files.collect::<Vec<_>>(), ["switchboard.db"], "files of the write-ahead log remain");
    }
}
