//! Regression floors of the retrieval, on the labelled questions for development about both sets of documents.
//! `tests/fixtures/questions/README.md` describes them.

use super::*;
use crate::{
    domain::{HistoryMessage, MessageRole, RetrievalBasis},
    knowledge::RetrievalQuery,
};
use serde::Deserialize;
use std::{fs, path::Path};

/// Rank up to which a passage is a hit.
const HIT_RANK: usize = 4;

#[derive(Deserialize)]
struct Case {
    question: String,
    #[serde(default)]
    history: Vec<String>,
    relevant: Vec<Section>,
}

#[derive(Deserialize)]
struct Section {
    document: String,
    heading: String,
}

fn cases(set: &str, kind: &str) -> Vec<Case> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(set).join("dev");
    let text = fs::read_to_string(file.join(format!("{kind}.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the query for a question after earlier ones.
fn query(question: &str, earlier: &[String]) -> RetrievalQuery {
    let said = |text: &String| HistoryMessage { role: MessageRole::User, content: text.clone() };
    RetrievalQuery::new(question, &earlier.iter().map(said).collect::<Vec<_>>(), &Languages::built_in())
}

fn is_hit(case: &Case, passage: &Passage) -> bool {
    let heading = passage.title.rsplit(" › ").next().unwrap();
    case.relevant.iter().any(|section| section.document == passage.source && section.heading == heading)
}

/// Counts the questions with a right passage among the first [`HIT_RANK`], or for questions without one, those answered as known.
async fn count(base: &KnowledgeBase, set: &str, kind: &str) -> usize {
    let mut counted = 0;
    for case in cases(set, kind) {
        let found = base.retrieve(query(&case.question, &case.history), &[], HIT_RANK).await.unwrap();
        let is_known = matches!(found.basis, RetrievalBasis::Covered | RetrievalBasis::Similar);
        let has_hit = found.passages.iter().any(|passage| is_hit(&case, passage));
        counted += usize::from(if case.relevant.is_empty() { is_known } else { has_hit });
    }
    counted
}

/// Asserts the least number of hits for each kind, and the greatest number of questions on other subjects that are known.
async fn check(base: &KnowledgeBase, set: &str, hits: &[(&str, usize)], most_known: usize) {
    base.start_index().await.unwrap();
    for (kind, least) in hits {
        let found = count(base, set, kind).await;
        assert!(found >= *least, "{set} {kind}: {found} hits, at least {least} before");
    }
    let known = count(base, set, "off-topic").await;
    assert!(known <= most_known, "{set}: {known} questions on other subjects are known, at most {most_known} before");
}

#[tokio::test]
async fn questions_about_the_built_in_documents_find_as_much_as_before() {
    let base = seeded_base().await;
    let hits = [("own", 56), ("code", 15), ("typing-error", 49), ("german", 37), ("paraphrase", 16), ("follow-up", 16)];
    check(&base, "questions", &hits, 1).await;
}

/// Asks each question after another one. Returns how many are taken for a follow-up, and how many are hits.
async fn count_after_another_subject(base: &KnowledgeBase, set: &str, kind: &str) -> (usize, usize) {
    let cases = cases(set, kind);
    let (mut joined, mut hits) = (0, 0);
    for (at, case) in cases.iter().enumerate() {
        let earlier = &cases[(at + cases.len() / 2) % cases.len()].question;
        let query = query(&case.question, std::slice::from_ref(earlier));
        joined += usize::from(query.is_follow_up());
        let found = base.retrieve(&query, &[], HIT_RANK).await.unwrap();
        hits += usize::from(found.passages.iter().any(|passage| is_hit(case, passage)));
    }
    (joined, hits)
}

#[tokio::test]
async fn questions_after_another_subject_find_as_much_as_before() {
    let base = seeded_base().await;
    base.start_index().await.unwrap();
    for (kind, most_joined, least) in [("own", 0, 56), ("german", 3, 36)] {
        let (joined, hits) = count_after_another_subject(&base, "questions", kind).await;
        assert!(
            joined <= most_joined,
            "{kind}: {joined} questions are taken for follow-ups, at most {most_joined} before"
        );
        assert!(hits >= least, "{kind}: {hits} hits, at least {least} before");
    }
}

#[tokio::test]
async fn questions_about_other_documents_find_as_much_as_before() {
    let base = empty_base();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/library/knowledge");
    for report in base.ingest_path(&folder, None).await {
        report.outcome.unwrap();
    }
    let hits = [("own", 18), ("typing-error", 8), ("german", 10), ("paraphrase", 5), ("follow-up", 5)];
    check(&base, "library/questions", &hits, 3).await;
}
