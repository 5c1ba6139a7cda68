//! Documents read by child processes, within a bound on their number, their memory, their time and their answers.

use super::{
    chunk::{MAX_CHUNKS, MAX_TITLES_FACTOR},
    document_file::DocumentFile,
    extract::MediaType,
    extract_error::ExtractError,
    worker::{Line, ReadDocument, ReadTask},
};
use crate::{config::KnowledgeConfig, domain::Chunk};
use async_trait::async_trait;
use futures_util::StreamExt;
use std::{
    env, io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    sync::Semaphore,
};
use tokio_util::codec::{FramedRead, LinesCodec};

/// Documents read at once.
const READERS: usize = 2;
/// Space that the allocator reserves in a child at a time. Its default, 1 GiB, would count against the limit of memory.
const ALLOCATOR_RESERVE: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "32MiB");
/// JSON may need so many bytes for one of a text.
const JSON_ESCAPE: usize = 6;
/// A line of an answer besides the text of its chunk, in bytes: a title, and the names of the fields.
const LINE_OVERHEAD_BYTES: usize = 64 * 1024;

/// Why a document was not read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The document is the reason.
    Document(ExtractError),
    /// Too many others are being read.
    Busy,
    /// There is no process to read it.
    NoProcess(io::Error),
}

/// Reads documents.
#[async_trait]
pub(super) trait DocumentReader: Send + Sync {
    async fn read(&self, file: DocumentFile, claimed: Option<MediaType>) -> Result<ReadDocument, ReadError>;
}

/// The task of a child process, from the settings.
pub(super) fn task(config: &KnowledgeConfig, claimed: Option<MediaType>) -> ReadTask {
    ReadTask {
        claimed,
        chunk_chars: config.chunk_chars,
        max_document_bytes: config.max_document_bytes,
        max_text_bytes: config.max_text_bytes,
        memory_bytes: config.extract_memory_bytes,
        timeout: Duration::from_secs(config.extract_timeout_s),
    }
}

/// Reads each document in a child process, which runs `switchboard extract`.
pub(super) struct ChildReader {
    config: KnowledgeConfig,
    permits: Arc<Semaphore>,
}

impl ChildReader {
    pub(super) fn new(config: KnowledgeConfig) -> Self {
        Self { config, permits: Arc::new(Semaphore::new(READERS)) }
    }

    fn spawn(&self, file: DocumentFile, task: &ReadTask) -> io::Result<Child> {
        let mut command = Command::new(program(self.config.extract_program.as_deref())?);
        command.arg("extract");
        command.args(["--chunk-chars", &task.chunk_chars.to_string()]);
        command.args(["--max-document-bytes", &task.max_document_bytes.to_string()]);
        command.args(["--max-text-bytes", &task.max_text_bytes.to_string()]);
        command.args(["--memory-bytes", &task.memory_bytes.to_string()]);
        command.args(["--timeout-s", &task.timeout.as_secs().to_string()]);
        if let Some(claimed) = task.claimed {
            command.args(["--claimed", claimed.as_str()]);
        }
        // Not the secrets that the server was given in its environment.
        command.env_clear().envs(env::var_os("PATH").map(|path| ("PATH", path)));
        command.env(ALLOCATOR_RESERVE.0, ALLOCATOR_RESERVE.1);
        // A group of its own, to be killed whole, and untouched by Ctrl-C in the server's terminal.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::from(file.into_inner())).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn()
    }

    /// Reads the answer of a child, up to its end.
    async fn answer(&self, child: &mut Child, task: &ReadTask) -> Result<ReadDocument, ExtractError> {
        let longest_line = task.chunk_chars.saturating_mul(char::MAX_LEN_UTF8 * JSON_ESCAPE) + LINE_OVERHEAD_BYTES;
        let output = child.stdout.take().ok_or(ExtractError::Damaged)?;
        let mut lines = FramedRead::new(output, LinesCodec::new_with_max_length(longest_line));
        let mut answer = Answer::new(task.max_text_bytes);
        while let Some(line) = lines.next().await {
            let line = line.ok().and_then(|line| serde_json::from_str(&line).ok()).ok_or(ExtractError::Damaged)?;
            if let Some(outcome) = answer.take(line) {
                return outcome;
            }
        }
        let status = child.wait().await.map_err(|_| ExtractError::Damaged)?;
        Err(cause_of_death(status, task))
    }
}

#[async_trait]
impl DocumentReader for ChildReader {
    async fn read(&self, file: DocumentFile, claimed: Option<MediaType>) -> Result<ReadDocument, ReadError> {
        let task = task(&self.config, claimed);
        let acquired = tokio::time::timeout(task.timeout, self.permits.acquire()).await;
        let _permit = acquired.map_err(|_| ReadError::Busy)?.map_err(|_| ReadError::Busy)?;
        let mut child = self.spawn(file, &task).map_err(ReadError::NoProcess)?;
        let pid = child.id();
        let outcome = tokio::time::timeout(task.timeout, self.answer(&mut child, &task)).await;
        let outcome = outcome.unwrap_or(Err(ExtractError::Timeout));
        // It has said what it had to say, or says nothing of use any more.
        kill(&mut child).await;
        if let Err(error @ (ExtractError::Timeout | ExtractError::OutOfMemory { .. } | ExtractError::Damaged)) =
            &outcome
        {
            log::warn!(pid, reason:% = error; "a document could not be read; its reader was ended");
        }
        outcome.map_err(ReadError::Document)
    }
}

/// An answer as it comes in.
struct Answer {
    document: Option<ReadDocument>,
    bytes_left: usize,
}

impl Answer {
    fn new(max_text_bytes: usize) -> Self {
        Self { document: None, bytes_left: max_text_bytes.saturating_mul(MAX_TITLES_FACTOR) }
    }

    /// Takes the next line; returns the outcome when it was the last one.
    fn take(&mut self, line: Line) -> Option<Result<ReadDocument, ExtractError>> {
        match (line, &mut self.document) {
            (Line::Document { media_type, collection }, document @ None) => {
                *document = Some(ReadDocument { media_type, collection, chunks: Vec::new() });
                None
            }
            (Line::Chunk { title, text }, Some(document)) if document.chunks.len() < MAX_CHUNKS => {
                let Some(left) = self.bytes_left.checked_sub(title.len() + text.len()) else {
                    return Some(Err(ExtractError::Damaged));
                };
                self.bytes_left = left;
                document.chunks.push(Chunk { title, text });
                None
            }
            (Line::End { chunks }, Some(document)) if document.chunks.len() == chunks => self.document.take().map(Ok),
            (Line::Refused { error }, None) => Some(Err(error)),
            // The child does not keep to the protocol: its memory is not its own any more.
            _ => Some(Err(ExtractError::Damaged)),
        }
    }
}

/// The program that reads documents: by default the one that runs. On Linux it is reached through `/proc`, so that it is
/// the same version even after the file was replaced by an upgrade.
fn program(configured: Option<&Path>) -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    match configured {
        Some(program) => Ok(program.to_owned()),
        None if running.exists() => Ok(running.to_owned()),
        None => env::current_exe(),
    }
}

/// The reason why a child ended without an answer. An allocation that fails aborts the process, and the kernel kills the
/// process that uses most when the machine has no memory left.
fn cause_of_death(status: ExitStatus, task: &ReadTask) -> ExtractError {
    use rustix::process::Signal;
    let signal = status.signal();
    let is = |of: Signal| signal == Some(of.as_raw());
    if is(Signal::XCPU) {
        ExtractError::Timeout
    } else if is(Signal::ABORT) || is(Signal::KILL) {
        ExtractError::OutOfMemory { limit_bytes: task.memory_bytes }
    } else {
        ExtractError::Damaged
    }
}

/// Kills a child and whatever it started, and waits until it is gone.
async fn kill(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process_group};
    // `None` after it was waited for: its id may be another process's by now.
    if let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait().await;
}

#[cfg(test)]
pub(super) mod test_support {
    use super::*;
    use std::{io::Read, time::Instant};

    /// Reads documents in this process: unit tests have no program to run.
    pub struct InProcess(pub KnowledgeConfig);

    #[async_trait]
    impl DocumentReader for InProcess {
        async fn read(&self, file: DocumentFile, claimed: Option<MediaType>) -> Result<ReadDocument, ReadError> {
            let task = task(&self.0, claimed);
            let mut bytes = Vec::new();
            file.into_inner().read_to_end(&mut bytes).unwrap();
            task.read(&bytes, Instant::now() + task.timeout).map_err(ReadError::Document)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(text: &str) -> Line {
        Line::Chunk { title: String::new(), text: text.to_owned() }
    }

    fn document() -> Line {
        Line::Document { media_type: MediaType::Plain, collection: None }
    }

    #[test]
    fn an_answer_is_used_when_it_is_whole() {
        let mut answer = Answer::new(100);
        assert_eq!(answer.take(document()), None);
        assert_eq!(answer.take(chunk("a")), None);
        let document = answer.take(Line::End { chunks: 1 }).unwrap().unwrap();
        assert_eq!(document.chunks, [Chunk { title: String::new(), text: "a".to_owned() }]);
        let refused = Answer::new(100).take(Line::Refused { error: ExtractError::Empty });
        assert_eq!(refused, Some(Err(ExtractError::Empty)));
    }

    #[test]
    fn an_answer_that_breaks_the_protocol_is_not_used() {
        let breaches = [
            vec![chunk("a")],
            vec![document(), document()],
            vec![document(), Line::End { chunks: 1 }],
            vec![document(), chunk(&"a".repeat(201))],
            vec![document(), Line::Refused { error: ExtractError::Empty }],
        ];
        for lines in breaches {
            let mut answer = Answer::new(100);
            let outcome = lines.into_iter().filter_map(|line| answer.take(line)).last();
            assert_eq!(outcome, Some(Err(ExtractError::Damaged)));
        }
    }

    #[test]
    fn a_signal_tells_which_limit_was_exceeded() {
        let task = task(&KnowledgeConfig::default(), None);
        let cause = |raw| cause_of_death(ExitStatus::from_raw(raw), &task);
        assert_eq!(cause(24), ExtractError::Timeout);
        for out_of_memory in [6, 9] {
            assert_eq!(cause(out_of_memory), ExtractError::OutOfMemory { limit_bytes: task.memory_bytes });
        }
        for damaged in [11, 0, 101 << 8] {
            assert_eq!(cause(damaged), ExtractError::Damaged);
        }
    }
}
