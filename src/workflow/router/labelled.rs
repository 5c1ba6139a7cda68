//! Accuracy on the labelled questions of both document sets, development halves only: the floor under every change.

use super::{tests::scripted, *};
use crate::{
    config::{DatabaseConfig, KnowledgeConfig},
    domain::{HistoryMessage, MessageRole},
    knowledge::KnowledgeBase,
    language::Languages,
    store::sqlite::SqliteStore,
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const THRESHOLD: f64 = 0.2;

#[derive(Deserialize)]
struct Labelled {
    kind: String,
    lang: String,
    question: String,
    #[serde(default)]
    history: Vec<String>,
    specialist: Option<String>,
    #[serde(default)]
    specialist_also: Vec<String>,
}

/// Right and all routes.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    right: usize,
    all: usize,
}

impl Count {
    fn add(&mut self, is_right: bool) {
        self.right += usize::from(is_right);
        self.all += 1;
    }

    fn share(self) -> f64 {
        self.right as f64 / self.all.max(1) as f64
    }
}

#[derive(Default)]
struct Accuracy {
    by_language: BTreeMap<String, Count>,
    by_kind: BTreeMap<String, Count>,
    /// Routes by the confidence in tenths.
    by_confidence: BTreeMap<u8, Count>,
    /// Routes whose confidence suffices without a model.
    sure: Count,
    median: Duration,
}

/// Builds a router with a knowledge base of the documents in `knowledge`.
struct Subject {
    router: Router,
    specialists: Arc<Specialists>,
    base: KnowledgeBase,
    languages: Arc<Languages>,
    _folder: TempDir,
}

impl Subject {
    async fn new(agents: Option<&Path>, knowledge: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("test.db").display());
        let store = SqliteStore::open(&DatabaseConfig { url, ..DatabaseConfig::default() }).unwrap();
        let base = KnowledgeBase::in_process(Arc::new(store), KnowledgeConfig::default());
        for report in base.ingest_path(knowledge, None).await {
            report.outcome.unwrap();
        }
        let specialists = Arc::new(Specialists::load(agents).unwrap());
        let languages = Arc::new(Languages::built_in());
        let router = Router::new(Arc::clone(&specialists), Arc::clone(&languages), THRESHOLD, Routing::Similarity);
        Self { router, specialists, base, languages, _folder: folder }
    }

    async fn accuracy(&self, questions: &Path) -> Accuracy {
        let mut accuracy = Accuracy::default();
        let mut times = Vec::new();
        for labelled in read(questions) {
            let Some(specialist) = labelled.specialist else { continue };
            let history: Vec<_> = labelled
                .history
                .into_iter()
                .map(|content| HistoryMessage { role: MessageRole::User, content })
                .collect();
            let began = Instant::now();
            let query = RetrievalQuery::new(&labelled.question, &history, &self.languages);
            let warning = self.specialists.safety_warning(&labelled.question, &self.languages);
            let by_rule = warning.and_then(|warning| warning.specialist);
            let route = self.router.search_and_route(&scripted(), &self.base, &query, by_rule).await;
            times.push(began.elapsed());
            let is_right = |name: &String| *name == route.specialist.name;
            let is_right = is_right(&specialist) || labelled.specialist_also.iter().any(is_right);
            accuracy.by_language.entry(labelled.lang.clone()).or_default().add(is_right);
            accuracy.by_kind.entry(format!("{} {}", labelled.lang, labelled.kind)).or_default().add(is_right);
            if !route.fell_back {
                accuracy.by_confidence.entry((route.confidence * 10.0) as u8).or_default().add(is_right);
            }
            if route.confidence >= SURE {
                accuracy.sure.add(is_right);
            }
        }
        times.sort();
        accuracy.median = times[times.len() / 2];
        accuracy
    }
}

/// Reads the questions of a folder.
fn read(folder: &Path) -> Vec<Labelled> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let lines = files.flat_map(|file| {
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
}

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

fn check(name: &str, accuracy: &Accuracy, floors: &[(&str, usize)]) {
    for (of, count) in accuracy.by_language.iter().chain(&accuracy.by_kind) {
        println!("{name}, {of}: {}/{} = {:.3}", count.right, count.all, count.share());
    }
    for (tenth, count) in &accuracy.by_confidence {
        println!("{name}, confidence 0.{tenth}: {}/{} = {:.2}", count.right, count.all, count.share());
    }
    let Count { right, all } = accuracy.sure;
    println!("{name}, sure: {right}/{all}; {:?} for search and route", accuracy.median);
    for (language, floor) in floors {
        let right = accuracy.by_language[*language].right;
        assert!(right >= *floor, "{name}, {language}: {right} right, at least {floor} expected");
    }
    assert!(accuracy.sure.share() >= 0.9, "{name}: similarity is wrong where it is sure");
}

#[tokio::test]
async fn questions_about_the_built_in_documents_reach_their_specialist() {
    let subject = Subject::new(None, &path("config/knowledge")).await;
    let accuracy = subject.accuracy(&path("tests/fixtures/questions/dev")).await;
    check("built-in", &accuracy, &[("en", 203), ("de", 89)]);
}

#[tokio::test]
async fn questions_about_other_documents_reach_their_specialist() {
    let library = path("tests/fixtures/library");
    let subject = Subject::new(Some(&library.join("agents.toml")), &library.join("knowledge")).await;
    let accuracy = subject.accuracy(&library.join("questions/dev")).await;
    check("library", &accuracy, &[("en", 53), ("de", 26)]);
}
