//! Extraction of documents in child processes, with limits on concurrency, memory, time and output.

use super::{
    chunk::{MAX_CHUNKS, MAX_TITLES_FACTOR},
    document_file::DocumentFile,
    extract::MediaType,
    extract_error::ExtractError,
    keywords::{MAX_KEYWORD_CHARS, MAX_KEYWORDS},
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

/// Maximum number of concurrent child processes.
const MAX_CHILDREN: usize = 2;
/// Environment variable with the address space that the allocator reserves at a time. The default, 1 GiB, would count
/// against the memory limit.
const ALLOCATOR_RESERVE: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "32MiB");
/// Maximum expansion of a byte of text in JSON.
const JSON_ESCAPE_BYTES: usize = 6;
/// Maximum length of a line apart from the chunk's text, in bytes: title, keywords and member names.
const LINE_OVERHEAD_BYTES: usize = 64 * 1024 + MAX_KEYWORDS * (MAX_KEYWORD_CHARS * char::MAX_LEN_UTF8 + 3);

/// Reason why a document was not read.
#[derive(Debug)]
pub(super) enum ReadError {
    Document(ExtractError),
    /// No permit became free in time.
    Busy,
    /// The child process could not be started.
    Spawn(io::Error),
}

/// Extracts and chunks documents.
#[async_trait]
pub(super) trait DocumentReader: Send + Sync {
    async fn read(&self, file: DocumentFile, claimed: Option<MediaType>) -> Result<ReadDocument, ReadError>;
}

/// Builds the task of a child process from the settings.
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

/// Reader that runs `switchboard extract` for each document.
pub(super) struct ChildReader {
    config: KnowledgeConfig,
    permits: Arc<Semaphore>,
}

impl ChildReader {
    pub(super) fn new(config: KnowledgeConfig) -> Self {
        Self { config, permits: Arc::new(Semaphore::new(MAX_CHILDREN)) }
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
        // The server's environment may contain secrets.
        command.env_clear().envs(env::var_os("PATH").map(|path| ("PATH", path)));
        command.env(ALLOCATOR_RESERVE.0, ALLOCATOR_RESERVE.1);
        // A process group of its own can be killed as a whole and does not receive Ctrl-C from the server's terminal.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::from(file.into_inner())).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn()
    }

    /// Reads the complete answer of a child.
    async fn read_answer(&self, child: &mut Child, task: &ReadTask) -> Result<ReadDocument, ExtractError> {
        let max_line_bytes =
            task.chunk_chars.saturating_mul(char::MAX_LEN_UTF8 * JSON_ESCAPE_BYTES) + LINE_OVERHEAD_BYTES;
        let output = child.stdout.take().ok_or(ExtractError::Damaged)?;
        let mut lines = FramedRead::new(output, LinesCodec::new_with_max_length(max_line_bytes));
        let mut answer = Answer::new(task.max_text_bytes);
        while let Some(line) = lines.next().await {
            let line = line.ok().and_then(|line| serde_json::from_str(&line).ok()).ok_or(ExtractError::Damaged)?;
            if let Some(outcome) = answer.push(line) {
                return outcome;
            }
        }
        let status = child.wait().await.map_err(|_| ExtractError::Damaged)?;
        Err(error_from_status(status, task))
    }
}

#[async_trait]
impl DocumentReader for ChildReader {
    async fn read(&self, file: DocumentFile, claimed: Option<MediaType>) -> Result<ReadDocument, ReadError> {
        let task = task(&self.config, claimed);
        let acquired = tokio::time::timeout(task.timeout, self.permits.acquire()).await;
        let _permit = acquired.map_err(|_| ReadError::Busy)?.map_err(|_| ReadError::Busy)?;
        let mut child = self.spawn(file, &task).map_err(ReadError::Spawn)?;
        let pid = child.id();
        let outcome = tokio::time::timeout(task.timeout, self.read_answer(&mut child, &task)).await;
        let outcome = outcome.unwrap_or(Err(ExtractError::Timeout));
        // Needed even after a complete answer: the child may have started processes or not exited.
        kill(&mut child).await;
        if let Err(error @ (ExtractError::Timeout | ExtractError::OutOfMemory { .. } | ExtractError::Damaged)) =
            &outcome
        {
            log::warn!(pid, reason:% = error; "could not extract document; killed the child process");
        }
        outcome.map_err(ReadError::Document)
    }
}

/// Answer received so far.
struct Answer {
    document: Option<ReadDocument>,
    bytes_left: usize,
}

impl Answer {
    fn new(max_text_bytes: usize) -> Self {
        Self { document: None, bytes_left: max_text_bytes.saturating_mul(MAX_TITLES_FACTOR) }
    }

    /// Adds the next line; returns the outcome if it is the last one.
    fn push(&mut self, line: Line) -> Option<Result<ReadDocument, ExtractError>> {
        match (line, &mut self.document) {
            (Line::Document { media_type, collection }, document @ None) => {
                *document = Some(ReadDocument { media_type, collection, chunks: Vec::new() });
                None
            }
            (Line::Chunk { title, text, keywords }, Some(document)) if document.chunks.len() < MAX_CHUNKS => {
                let chunk = Chunk { title, text, keywords };
                let Some(left) = self.bytes_left.checked_sub(chunk.bytes()) else {
                    return Some(Err(ExtractError::Damaged));
                };
                self.bytes_left = left;
                document.chunks.push(chunk);
                None
            }
            (Line::End { chunks }, Some(document)) if document.chunks.len() == chunks => self.document.take().map(Ok),
            (Line::Refused { error }, None) => Some(Err(error)),
            // A violation of the protocol: the child may have been compromised by the document.
            _ => Some(Err(ExtractError::Damaged)),
        }
    }
}

/// Returns the program to run: by default the current one. On Linux, `/proc` leads to the running version even after an
/// upgrade has replaced the file.
fn program(configured: Option<&Path>) -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    match configured {
        Some(program) => Ok(program.to_owned()),
        None if running.exists() => Ok(running.to_owned()),
        None => env::current_exe(),
    }
}

/// Derives the error from the exit status of a child without an answer. A failed allocation aborts the process, and the
/// kernel's OOM killer sends SIGKILL.
fn error_from_status(status: ExitStatus, task: &ReadTask) -> ExtractError {
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

/// Kills the process group of a child and waits for the child to exit.
async fn kill(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process_group};
    // `None` if the child has been reaped: its id may have been reused.
    if let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait().await;
}

#[cfg(test)]
pub(super) mod test_support {
    use super::*;
    use std::{io::Read, time::Instant};

    /// Reader that runs in this process, for unit tests, which have no program to run.
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
        Line::Chunk { title: String::new(), text: text.to_owned(), keywords: Vec::new() }
    }

    fn document() -> Line {
        Line::Document { media_type: MediaType::Plain, collection: None }
    }

    #[test]
    fn a_complete_answer_is_returned() {
        let mut answer = Answer::new(100);
        assert_eq!(answer.push(document()), None);
        assert_eq!(answer.push(chunk("a")), None);
        let document = answer.push(Line::End { chunks: 1 }).unwrap().unwrap();
        assert_eq!(document.chunks, [Chunk { text: "a".to_owned(), ..Chunk::default() }]);
        let refused = Answer::new(100).push(Line::Refused { error: ExtractError::Empty });
        assert_eq!(refused, Some(Err(ExtractError::Empty)));
    }

    #[test]
    fn an_answer_that_violates_the_protocol_is_discarded() {
        let violations = [
            vec![chunk("a")],
            vec![document(), document()],
            vec![document(), Line::End { chunks: 1 }],
            vec![document(), chunk(&"a".repeat(201))],
            vec![document(), Line::Refused { error: ExtractError::Empty }],
        ];
        for lines in violations {
            let mut answer = Answer::new(100);
            let outcome = lines.into_iter().filter_map(|line| answer.push(line)).last();
            assert_eq!(outcome, Some(Err(ExtractError::Damaged)));
        }
    }

    #[test]
    fn the_signal_identifies_the_exceeded_limit() {
        let task = task(&KnowledgeConfig::default(), None);
        let error = |raw| error_from_status(ExitStatus::from_raw(raw), &task);
        assert_eq!(error(24), ExtractError::Timeout);
        for out_of_memory in [6, 9] {
            assert_eq!(error(out_of_memory), ExtractError::OutOfMemory { limit_bytes: task.memory_bytes });
        }
        for damaged in [11, 0, 101 << 8] {
            assert_eq!(error(damaged), ExtractError::Damaged);
        }
    }
}
