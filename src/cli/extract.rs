//! `switchboard extract`: reads one document in a process of its own, for the server and for `switchboard ingest`.
//!
//! Hidden, as people have no use for it. It reads no settings: all it may know is on its command line.

use super::CliError;
use crate::knowledge::{MediaType, ReadTask};
use clap::Args;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use std::{fs, io, time::Duration};

/// A document on stdin; the answer goes to stdout
#[derive(Clone, Debug, Args)]
pub(super) struct Command {
    /// Kind that the document's name and sender claim
    #[arg(long, value_name = "MEDIA_TYPE")]
    claimed: Option<String>,
    /// Longest chunk
    #[arg(long)]
    chunk_chars: usize,
    /// Largest document
    #[arg(long)]
    max_document_bytes: usize,
    /// Most text that may come out
    #[arg(long)]
    max_text_bytes: usize,
    /// Most memory
    #[arg(long)]
    memory_bytes: u64,
    /// Most time
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

    /// Limits what this process may take, before it reads a byte of the document.
    fn confine(&self) -> Result<(), CliError> {
        let limit = |resource, soft: u64, hard: u64| {
            let within = |most: u64| Some(getrlimit(resource).maximum.map_or(most, |allowed| allowed.min(most)));
            let limit = Rlimit { current: within(soft), maximum: within(hard) };
            setrlimit(resource, limit).map_err(io::Error::from)
        };
        // The program itself takes a part of the address space, most of which is no memory.
        let memory = address_space_bytes()?.saturating_add(self.memory_bytes);
        limit(Resource::As, memory, memory)?;
        // The parent kills at the deadline; this holds when the parent cannot. The soft limit ends the process with a
        // signal that tells the reason, before the hard one kills it.
        let seconds = self.timeout_s.saturating_add(1);
        limit(Resource::Cpu, seconds, seconds.saturating_add(1))?;
        // A core dump would be a copy of the document.
        limit(Resource::Core, 0, 0)?;
        // When a machine or a container has no memory left, the kernel is to kill this process and not the server.
        // Some systems do not allow it, which changes nothing else.
        #[cfg(target_os = "linux")]
        let _ = fs::write("/proc/self/oom_score_adj", "1000");
        #[cfg(target_os = "linux")]
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
        Ok(())
    }
}

/// The address space that this process has mapped, in bytes; 0 where the system does not tell.
fn address_space_bytes() -> io::Result<u64> {
    let Ok(sizes) = fs::read_to_string("/proc/self/statm") else { return Ok(0) };
    let pages: u64 = sizes.split_whitespace().next().and_then(|pages| pages.parse().ok()).unwrap_or_default();
    Ok(pages.saturating_mul(rustix::param::page_size() as u64))
}
