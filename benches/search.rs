//! Cost of a search by the number of passages, and memory of the index: `cargo bench --bench search [PASSAGES…]`.
//!
//! The words of the passages are those of the table of word vectors, with the frequencies of a natural language (Zipf). One word in
//! six of the questions has a typing error, which is the most expensive kind of word. The same is measured with an embedding model, whose
//! server answers at once.

mod embedding_model;

use std::{
    error::Error,
    fs,
    io::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};
use switchboard::{
    config::{DatabaseConfig, EmbeddingsConfig, KnowledgeConfig},
    domain::{Chunk, Document, DocumentId, UnixMillis},
    knowledge::{Embedder, KnowledgeBase},
    store::{DocumentStore, sqlite::SqliteStore},
};

const DOCUMENT_PASSAGES: usize = 1_000;
const PASSAGE_WORDS: usize = 150;
const QUESTION_WORDS: usize = 6;
const SEARCHES: usize = 500;
const POLL_INTERVAL: Duration = Duration::from_millis(10);

fn main() -> Result<(), Box<dyn Error>> {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![100, 1_000, 10_000, 50_000] } else { sizes };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    sizes.into_iter().try_for_each(|passages| runtime.block_on(measure(passages)))
}

async fn measure(passages: usize) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::TempDir::new()?;
    let url = format!("sqlite://{}", folder.path().join("bench.db").display());
    let store = Arc::new(SqliteStore::open(&DatabaseConfig { url, ..DatabaseConfig::default() })?);
    let mut random = fastrand::Rng::with_seed(7);
    let words = words(&mut random)?;
    for first in (0..passages).step_by(DOCUMENT_PASSAGES) {
        let chunks: Vec<_> =
            (first..passages.min(first + DOCUMENT_PASSAGES)).map(|_| chunk(&words, &mut random)).collect();
        store.put_document(document(first, chunks.len()), chunks).await?;
    }
    let memory_before = resident_bytes()?;
    let base = KnowledgeBase::new(Arc::clone(&store) as _, KnowledgeConfig::default());
    let began = Instant::now();
    base.start_index().await?;
    while base.indexed_passages() < passages {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let built = began.elapsed();
    let memory = resident_bytes()?.saturating_sub(memory_before);
    write!(io::stdout(), "{passages} passages: built in {built:?}, {}", memory_per_1000(memory, passages))?;
    search(&base, &words, &mut random).await?;
    drop(base);

    let memory_before = resident_bytes()?;
    let base = KnowledgeBase::new(Arc::clone(&store) as _, KnowledgeConfig::default());
    let base = base.with_embeddings(embedder()?, store);
    let began = Instant::now();
    base.start_index().await?;
    while base.embeddings_status().is_some_and(|status| status.passages < passages || !status.is_complete()) {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let built = began.elapsed();
    let memory = resident_bytes()?.saturating_sub(memory_before);
    write!(io::stdout(), "  with vectors: built in {built:?}, {}", memory_per_1000(memory, passages))?;
    search(&base, &words, &mut random).await
}

/// Measures searches, and prints their times.
async fn search(base: &KnowledgeBase, words: &[String], random: &mut fastrand::Rng) -> Result<(), Box<dyn Error>> {
    let mut times = Vec::with_capacity(SEARCHES);
    for _ in 0..SEARCHES {
        let question = question(words, random);
        let began = Instant::now();
        base.retrieve(&question, &[], 4).await?;
        times.push(began.elapsed());
    }
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    writeln!(io::stdout(), ", search p50 {:?}, p95 {:?}, max {:?}", at(50), at(95), at(100))?;
    Ok(())
}

fn memory_per_1000(bytes: usize, passages: usize) -> String {
    format!("{} kB per 1,000 passages", bytes / 1_024 * 1_000 / passages)
}

/// Returns an embedding model whose vectors are random.
fn embedder() -> Result<Embedder, Box<dyn Error>> {
    let config = EmbeddingsConfig {
        base_url: Some(format!("http://{}/v1", embedding_model::start()?)),
        model: Some("random".to_owned()),
        batch_passages: 512,
        ..EmbeddingsConfig::default()
    };
    Ok(Embedder::new(&config, Arc::default())?.ok_or("the embedding model is not configured")?)
}

/// Reads the words of the table, the most frequent ones of the benchmark first.
fn words(random: &mut fastrand::Rng) -> Result<Vec<String>, Box<dyn Error>> {
    let table = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/config/word_vectors/table.bin"))?;
    let numbers: Vec<usize> =
        table.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes) as usize).collect();
    // `src/knowledge/word_vectors/table.rs` has the format: a header of four numbers, the end of each word, the words.
    let (header, rest) = numbers.split_at_checked(4).ok_or("the table of word vectors is too short")?;
    let ends = rest.get(..header[1]).ok_or("the table of word vectors is too short")?;
    let text = &table[16 + 4 * ends.len()..];
    let starts = [0].iter().chain(ends);
    let mut words: Vec<String> =
        starts.zip(ends).map(|(start, end)| String::from_utf8_lossy(&text[*start..*end]).into_owned()).collect();
    random.shuffle(&mut words);
    Ok(words)
}

/// Chooses a word with a probability that is inversely proportional to its rank.
fn word<'a>(words: &'a [String], random: &mut fastrand::Rng) -> &'a str {
    let rank = (words.len() as f64).powf(random.f64());
    &words[(rank as usize).min(words.len()) - 1]
}

fn chunk(words: &[String], random: &mut fastrand::Rng) -> Chunk {
    let text = |count: usize, random: &mut fastrand::Rng| {
        (0..count).map(|_| word(words, random)).collect::<Vec<_>>().join(" ")
    };
    Chunk { title: text(4, random), text: text(PASSAGE_WORDS, random), keywords: Vec::new() }
}

fn question(words: &[String], random: &mut fastrand::Rng) -> String {
    let mut chosen: Vec<String> = (0..QUESTION_WORDS).map(|_| word(words, random).to_owned()).collect();
    chosen[0].push('x');
    chosen.join(" ")
}

fn document(number: usize, chunks: usize) -> Document {
    Document {
        id: DocumentId::new(),
        source: format!("{number}.md"),
        collection: String::new(),
        media_type: "text/markdown".to_owned(),
        bytes: 0,
        chunks: u32::try_from(chunks).unwrap_or(u32::MAX),
        created_at_ms: UnixMillis(0),
        updated_at_ms: UnixMillis(0),
    }
}

fn resident_bytes() -> Result<usize, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<usize>()? * 1_024)
}
