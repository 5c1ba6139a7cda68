//! `switchboard ingest`: adds documents to the knowledge base, also while the server runs.

use super::CliError;
use crate::{config::Config, knowledge::KnowledgeBase, store::sqlite::SqliteStore};
use clap::Args;
use std::{fmt::Write as _, io, path::PathBuf, sync::Arc};

#[derive(Clone, Debug, Args)]
pub(super) struct Command {
    /// Files (Markdown, text, PDF, DOCX) or folders of files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Collection to add them to; specialists search the collections of their scope [default: the one that a file names]
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
}

impl Command {
    /// Adds each document that can be read. The error lists the others with their reasons.
    pub(super) async fn run(self, config: &Config, out: &mut dyn io::Write) -> Result<(), CliError> {
        let store = SqliteStore::open_existing(&config.database)?;
        let base = KnowledgeBase::new(Arc::new(store), config.knowledge.clone());
        let (mut files, mut failed, mut reasons) = (0_usize, 0_usize, String::new());
        for path in &self.paths {
            for report in base.ingest_path(path, self.collection.as_deref()).await {
                files += 1;
                match report.outcome {
                    Ok(document) => {
                        writeln!(out, "Added {:?} as {:?} ({} chunks)", report.path, document.source, document.chunks)?;
                    }
                    Err(error) => {
                        failed += 1;
                        write!(reasons, "\n  {:?}: {error}", report.path).map_err(io::Error::other)?;
                    }
                }
            }
        }
        match (files, failed) {
            (0, _) => Err(CliError::Failed(format!(
                "there are no documents in {}; name files or folders with Markdown, plain text, PDF or DOCX files",
                self.paths.iter().map(|path| format!("{path:?}")).collect::<Vec<_>>().join(", ")
            ))),
            (_, 0) => Ok(()),
            _ => Err(CliError::Failed(format!("{failed} of {files} documents were not added:{reasons}"))),
        }
    }
}
