//! Support of an answer by its passages, as an estimated probability.

use crate::domain::{Retrieval, RetrievalBasis};

/// Shares of labelled questions whose best passages include one that answers, by basis and score: `(minimum score, share)`. The
/// test below compares them with the questions for development.
const COVERED: &[(f64, f64)] = &[(0.9, 0.97), (0.7, 0.9), (0.0, 0.75)];
const SIMILAR: f64 = 0.6;
const CLOSEST: f64 = 0.3;

/// Returns the probability, from 0 to 1, that the passages carry the answer to the question.
pub(super) fn support(found: &Retrieval) -> f64 {
    let score = found.passages.first().map_or(0.0, |best| best.score);
    match found.basis {
        RetrievalBasis::Covered => {
            COVERED.iter().find(|(minimum, _)| score >= *minimum).map_or(0.0, |(_, share)| *share)
        }
        RetrievalBasis::Similar => SIMILAR,
        RetrievalBasis::Closest => CLOSEST,
        RetrievalBasis::Nothing => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{DatabaseConfig, KnowledgeConfig},
        knowledge::KnowledgeBase,
        store::sqlite::SqliteStore,
    };
    use serde::Deserialize;
    use std::{collections::BTreeMap, fs, path::Path, sync::Arc};
    use tempfile::TempDir;

    /// Kinds of single questions, with and without an answer.
    const KINDS: [&str; 5] = ["own", "paraphrase", "german", "typing-error", "off-topic"];
    /// Minimum number of questions for a share to be compared.
    const MIN_QUESTIONS: usize = 12;
    /// Maximum deviation from the share that was measured.
    const TOLERANCE: f64 = 0.12;

    #[derive(Deserialize)]
    struct Labelled {
        question: String,
        #[serde(default)]
        relevant: Vec<Section>,
    }

    #[derive(Deserialize)]
    struct Section {
        document: String,
        heading: String,
    }

    fn has_answer(found: &Retrieval, relevant: &[Section]) -> bool {
        found.passages.iter().any(|passage| {
            let heading = passage.title.rsplit(" › ").next();
            relevant
                .iter()
                .any(|section| passage.source == section.document && heading == Some(section.heading.as_str()))
        })
    }

    #[tokio::test]
    async fn support_is_the_share_of_questions_whose_passages_have_the_answer() {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("test.db").display());
        let store = SqliteStore::open(&DatabaseConfig { url, ..DatabaseConfig::default() }).unwrap();
        let base = KnowledgeBase::in_process(Arc::new(store), KnowledgeConfig::default());
        base.seed().await.unwrap();
        let mut shares: BTreeMap<String, (f64, usize, usize)> = BTreeMap::new();
        for kind in KINDS {
            let file = format!("tests/fixtures/questions/dev/{kind}.jsonl");
            let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
            for line in text.lines() {
                let question: Labelled = serde_json::from_str(line).unwrap();
                let found = base.retrieve(&question.question, &[], 4).await.unwrap();
                let support = support(&found);
                let (_, all, answered) = shares.entry(format!("{support:.2}")).or_insert((support, 0, 0));
                *all += 1;
                *answered += usize::from(has_answer(&found, &question.relevant));
            }
        }
        assert!(shares.len() >= 3, "{shares:?}");
        for (support, all, answered) in shares.values() {
            let share = *answered as f64 / *all as f64;
            assert!(
                *all < MIN_QUESTIONS || (share - support).abs() <= TOLERANCE,
                "{share} is not {support}: {shares:?}"
            );
        }
    }

    #[test]
    fn nothing_found_is_no_support() {
        assert!(support(&Retrieval::default()).abs() < f64::EPSILON);
    }
}
