//! Number of connections that the server accepts, within its limit of open files.
//!
//! A connection is a file. When clients could take all of them, the server could not even open its database, ask its model or
//! answer a health check. So some are set aside before clients get theirs.

use crate::{
    config::{Config, ProviderKind},
    limits::{
        MIN_CLIENT_CONNECTIONS, OPEN_FILES_BASE, OPEN_FILES_PER_READER, OPEN_FILES_PER_WORKER, RESERVED_CONNECTIONS,
    },
};

/// The connections of the whole server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Connections of clients.
    pub clients: usize,
    /// Connections over that, for health checks and operators.
    pub reserve: usize,
}

impl Capacity {
    /// `open_files` is the limit of open files of the process. Warns when it is too small for `server.max_connections`.
    ///
    /// # Errors
    /// When too few files are left for clients; the message says how many are needed.
    pub fn new(config: &Config, workers: usize, open_files: u64) -> Result<Self, String> {
        let wanted = config.server.max_connections;
        let open_files = usize::try_from(open_files).unwrap_or(usize::MAX);
        let readers = usize::try_from(config.database.readers).unwrap_or(usize::MAX);
        let own = OPEN_FILES_BASE + OPEN_FILES_PER_WORKER * workers + OPEN_FILES_PER_READER * readers;
        let models = match config.provider.kind {
            // Each running turn holds a connection to its model.
            ProviderKind::Openai => config.workflow.max_running_turns,
            ProviderKind::Extractive | ProviderKind::Scripted => 0,
        };
        let reserved = own + models + RESERVED_CONNECTIONS;
        if open_files >= reserved.saturating_add(wanted) {
            return Ok(Self { clients: wanted, reserve: RESERVED_CONNECTIONS });
        }
        let left = open_files.saturating_sub(own);
        let reserve = RESERVED_CONNECTIONS.min(left / 4);
        let clients = wanted.min(left - reserve - models.min(left / 3));
        if clients < MIN_CLIENT_CONNECTIONS.min(wanted) {
            let needed = own + 3 * MIN_CLIENT_CONNECTIONS;
            return Err(format!(
                "the limit of open files is {open_files}, and the server needs at least {needed}: raise it with LimitNOFILE= \
                 (systemd) or `ulimit -n`"
            ));
        }
        log::warn!(
            "the limit of open files is {open_files}, which is less than server.max_connections = {wanted} and {reserved} in \
             reserve: only {clients} connections of clients are taken. Raise the limit to {} (LimitNOFILE= for systemd, \
             `ulimit -n` in a shell), or lower server.max_connections",
            reserved.saturating_add(wanted)
        );
        Ok(Self { clients, reserve })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(open_files: u64, change: impl FnOnce(&mut Config)) -> Result<Capacity, String> {
        let mut config = Config::default();
        config.server.max_connections = 10_000;
        change(&mut config);
        Capacity::new(&config, 2, open_files)
    }

    #[test]
    fn clients_get_what_they_may_when_there_are_files_enough() {
        let all = Capacity { clients: 10_000, reserve: RESERVED_CONNECTIONS };
        assert_eq!(capacity(u64::MAX, |_| {}), Ok(all));
        assert_eq!(capacity(20_000, |_| {}), Ok(all));
        assert_eq!(capacity(100, |config| config.server.max_connections = 1).unwrap().clients, 1);
    }

    #[test]
    fn with_fewer_files_some_stay_in_reserve() {
        for open_files in [128, 256, 1_024, 4_096, 10_000] {
            for kind in [ProviderKind::Extractive, ProviderKind::Openai] {
                let Capacity { clients, reserve } = capacity(open_files, |config| config.provider.kind = kind).unwrap();
                let files = usize::try_from(open_files).unwrap();
                assert!(reserve > 0 && clients >= MIN_CLIENT_CONNECTIONS, "{open_files}: {clients}, {reserve}");
                assert!(clients + reserve + OPEN_FILES_BASE < files, "{open_files}: {clients}, {reserve}");
                let is_asking = kind == ProviderKind::Openai;
                assert!(!is_asking || clients + reserve < files * 4 / 5, "none are left for the model");
            }
        }
    }

    #[test]
    fn too_few_files_are_refused_with_how_many_are_needed() {
        let refused = capacity(64, |_| {}).unwrap_err();
        assert!(refused.contains("64") && refused.contains("LimitNOFILE"), "{refused}");
        let needed = refused.split("at least ").nth(1).unwrap().split(':').next().unwrap().parse().unwrap();
        assert!(capacity(needed, |_| {}).is_ok(), "{refused}");
    }
}
