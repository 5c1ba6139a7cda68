//! `switchboard migrate`: brings the database to the current schema.

use super::CliError;
use crate::{config::Config, store::sqlite};
use std::io;

pub(super) fn run(config: &Config, out: &mut dyn io::Write) -> Result<(), CliError> {
    let ran = sqlite::migrate(&config.database)?;
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

    #[test]
    fn a_second_run_changes_nothing() {
        let folder = tempfile::TempDir::new().unwrap();
        let mut config = Config::default();
        config.database.url = format!("sqlite://{}", folder.path().join("new/switchboard.db").display());
        let migrate = || {
            let mut out = Vec::new();
            run(&config, &mut out).map(|()| String::from_utf8(out).unwrap())
        };
        assert!(migrate().unwrap().starts_with("Applied "));
        assert_eq!(migrate().unwrap(), "The database is up to date.\n");
        let files = std::fs::read_dir(folder.path().join("new")).unwrap().map(|file| file.unwrap().file_name());
        assert_eq!(files.collect::<Vec<_>>(), ["switchboard.db"], "files of the write-ahead log remain");
    }
}
