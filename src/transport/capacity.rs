//! Number of connections that the server accepts, within its limit of open files.
//!
//! A connection takes a file descriptor. If clients could use up all of them, the server could not open its database, connect to
//! its model or answer a health check, so descriptors for these are reserved first.

use crate::{
    config::{Config, ProviderKind},
    limits::{
        MIN_CLIENT_CONNECTIONS, OPEN_FILES_BASE, OPEN_FILES_PER_READER, OPEN_FILES_PER_WORKER, RESERVED_CONNECTIONS,
    },
};

/// Number of connections that the whole server accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Connections of clients.
    pub clients: usize,
    /// Additional connections for health checks and operators.
    pub reserve: usize,
}

impl Capacity {
    /// Divides the process's limit of open files. Logs a warning if it is too small for `server.max_connections`.
    ///
    /// # Errors
    /// When too few files are left for clients; the message states the required number.
    pub fn new(config: &Config, workers: usize, open_files: u64) -> Result<Self, String> {
        let wanted = config.server.max_connections;
        let open_files = usize::try_from(open_files).unwrap_or(usize::MAX);
        let readers = usize::try_from(config.database.readers).unwrap_or(usize::MAX);
        let own = OPEN_FILES_BASE + OPEN_FILES_PER_WORKER * workers + OPEN_FILES_PER_READER * readers;
        let kinds = [&config.provider].into_iter().chain(config.providers.values()).map(|provider| provider.kind);
        // Each running turn holds a connection to its provider, one at a time.
        let models = if kinds.into_iter().any(|kind| kind == ProviderKind::Openai) {
            config.workflow.max_running_turns
        } else {
            0
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
                "the limit of open files is {open_files}, but the server needs at least {needed}: raise it with LimitNOFILE= \
                 (systemd) or `ulimit -n`"
            ));
        }
        log::warn!(
            "the limit of open files is {open_files}, too low for server.max_connections = {wanted} and {reserved} files in \
             reserve: the server accepts only {clients} client connections. Raise the limit to {} (LimitNOFILE= for systemd, \
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
    fn with_enough_files_clients_get_max_connections() {
        let all = Capacity { clients: 10_000, reserve: RESERVED_CONNECTIONS };
        assert_eq!(capacity(u64::MAX, |_| {}), Ok(all));
        assert_eq!(capacity(20_000, |_| {}), Ok(all));
        assert_eq!(capacity(100, |config| config.server.max_connections = 1).unwrap().clients, 1);
    }

    #[test]
    fn with_few_files_some_stay_reserved() {
        for open_files in [128, 256, 1_024, 4_096, 10_000] {
            for kind in [ProviderKind::Extractive, ProviderKind::Openai] {
                let Capacity { clients, reserve } = capacity(open_files, |config| config.provider.kind = kind).unwrap();
                let files = usize::try_from(open_files).unwrap();
                assert!(reserve > 0 && clients >= MIN_CLIENT_CONNECTIONS, "{open_files}: {clients}, {reserve}");
                assert!(clients + reserve + OPEN_FILES_BASE < files, "{open_files}: {clients}, {reserve}");
                let needs_provider = kind == ProviderKind::Openai;
                assert!(!needs_provider || clients + reserve < files * 4 / 5, "no files are left for the provider");
            }
        }
    }

    #[test]
    fn too_few_files_are_refused_with_the_required_number() {
        let refused = capacity(64, |_| {}).unwrap_err();
        assert!(refused.contains("64") && refused.contains("LimitNOFILE"), "{refused}");
        let needed = refused.split("at least ").nth(1).unwrap().split(':').next().unwrap().parse().unwrap();
        assert!(capacity(needed, |_| {}).is_ok(), "{refused}");
    }
}
