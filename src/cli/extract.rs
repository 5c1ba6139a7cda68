//! `switchboard extract`: reads one document in a process of its own, for the server and for `switchboard ingest`.
//!
//! A hidden command, since it is of no use to people. It reads no settings; its parameters are on the command line.

use super::CliError;
use crate::knowledge::{MediaType, ReadTask};
use clap::Args;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use std::{fs, io, time::Duration};

/// Read a document from stdin and write its chunks to stdout
#[derive(Clone, Debug, Args)]
pub(super) struct Command {
    /// Media type that the client declared or the file name suggests
    #[arg(long, value_name = "MEDIA_TYPE")]
    claimed: Option<String>,
    /// Maximum length of a chunk, in characters
    #[arg(long)]
    chunk_chars: usize,
    /// Maximum size of the document
    #[arg(long)]
    max_document_bytes: usize,
    /// Maximum size of the extracted text
    #[arg(long)]
    max_text_bytes: usize,
    /// Maximum memory
    #[arg(long)]
    memory_bytes: u64,
    /// Maximum time
    #[arg(long)]
    timeout_s: u64,
}

impl Command {
    pub(super) fn run(self, out: &mut dyn io::Write) -> Result<(), CliError> {
        self.confine()?;
        let claimed = self.claimed.as_deref();
        let task = ReadTask {
            claimed: MediaType::ALL.into_iter().find(|kind| claimed == Some(kind.as_str())),
            chunk_chars: self.chunk_chars,
            max_document_bytes: self.max_document_bytes,
            max_text_bytes: self.max_text_bytes,
            memory_bytes: self.memory_bytes,
            timeout: Duration::from_secs(self.timeout_s),
        };
        Ok(task.run(io::stdin().lock(), out)?)
    }

    /// Limits the memory and CPU time of this process, before it reads any of the document.
    fn confine(&self) -> Result<(), CliError> {
        let limit = |resource, soft: u64, hard: u64| {
            let within = |most: u64| Some(getrlimit(resource).maximum.map_or(most, |allowed| allowed.min(most)));
            let limit = Rlimit { current: within(soft), maximum: within(hard) };
            setrlimit(resource, limit).map_err(io::Error::from)
        };
        // The program is mapped into the address space as well; most of that is not resident.
        let memory = address_space_bytes()?.saturating_add(self.memory_bytes);
        limit(Resource::As, memory, memory)?;
        // A fallback in case the parent cannot kill this process at the deadline. At the soft limit, SIGXCPU ends the
        // process and so tells the reason; at the hard limit, SIGKILL does.
        let seconds = self.timeout_s.saturating_add(1);
        limit(Resource::Cpu, seconds, seconds.saturating_add(1))?;
        // A core dump would be a copy of the document.
        limit(Resource::Core, 0, 0)?;
        // When memory runs out, the kernel should kill this process rather than the server. Some systems do not permit
        // the write; nothing else depends on it.
        #[cfg(target_os = "linux")]
        let _ = fs::write("/proc/self/oom_score_adj", "1000");
        #[cfg(target_os = "linux")]
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
        Ok(())
    }
}

/// Returns the size of the mapped address space in bytes, or 0 where the system does not report it.
fn address_space_bytes() -> io::Result<u64> {
    let Ok(sizes) = fs::read_to_string("/proc/self/statm") else { return Ok(0) };
    let pages: u64 = sizes.split_whitespace().next().and_then(|pages| pages.parse().ok()).unwrap_or_default();
    Ok(pages.saturating_mul(rustix::param::page_size() as u64))
}
