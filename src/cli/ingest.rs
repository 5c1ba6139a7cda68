//! `switchboard ingest`: takes documents into the knowledge base. It works beside a running server.

use super::CliError;
use crate::{config::Config, knowledge::KnowledgeBase, store::sqlite::SqliteStore};
use clap::Args;
use std::{fmt::Write as _, io, path::PathBuf, sync::Arc};

/// What to take in.
#[derive(Clone, Debug, Args)]
pub(super) struct Command {
    /// Files (Markdown, text, PDF, DOCX), and folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What they are about; agents look into the collections of their scope [default: what a file says itself]
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
}

impl Command {
    /// Takes in what it can; what it could not is the error, file by file.
    pub(super) async fn run(self, config: &Config, out: &mut dyn io::Write) -> Result<(), CliError> {
        let store = SqliteStore::open_existing(&config.database)?;
        let base = KnowledgeBase::new(Arc::new(store), config.knowledge.clone());
        let (mut files, mut failed, mut reasons) = (0_usize, 0_usize, String::new());
        for path in &self.paths {
            for report in base.ingest_path(path, self.collection.as_deref()).await {
                files += 1;
                match report.outcome {
                    Ok(document) => {
                        writeln!(out, "{:?} is {:?} now, {} chunks", report.path, document.source, document.chunks)?;
                    }
                    Err(error) => {
                        failed += 1;
                        write!(reasons, "\n  {:?}: {error}", report.path).map_err(io::Error::other)?;
                    }
                }
            }
        }
        match (files, failed) {
            (0, _) => Err(CliError::Failed("there are no documents to take in".to_owned())),
            (_, 0) => Ok(()),
            _ => Err(CliError::Failed(format!("{failed} of {files} documents were not taken in:{reasons}"))),
        }
    }
}
