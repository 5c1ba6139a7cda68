//! Support of an answer by its passages, as an estimated probability.

use super::stages::Searched;
use crate::domain::{Passage, RetrievalBasis};

/// Shares of labelled questions whose best passage answers, by basis and score: `(minimum score, share)`. The test below compares
/// them with the questions for development.
const COVERED: &[(f64, f64)] = &[(0.7, 0.92), (0.6, 0.7), (0.0, 0.5)];
const SIMILAR: &[(f64, f64)] = &[(0.0, 0.6)];
const CLOSEST: &[(f64, f64)] = &[(0.35, 0.5), (0.0, 0.17)];

/// Returns the probability, from 0 to 1, that the best passage carries the answer; to several questions, that of the least supported
/// one.
pub(super) fn support(searched: &Searched) -> f64 {
    let Searched { retrieval, parts } = searched;
    let passages = &retrieval.passages;
    let asked = parts.iter().filter(|part| part.asks || parts.len() == 1);
    let supports = asked.map(|part| of_best(part.basis, part.passages.first().and_then(|index| passages.get(*index))));
    supports.reduce(f64::min).unwrap_or_else(|| of_best(retrieval.basis, passages.first()))
}

fn of_best(basis: RetrievalBasis, best: Option<&Passage>) -> f64 {
    let shares = match basis {
        RetrievalBasis::Covered => COVERED,
        RetrievalBasis::Similar => SIMILAR,
        RetrievalBasis::Closest => CLOSEST,
        RetrievalBasis::Nothing => &[],
    };
    let score = best.map_or(0.0, |best| best.score);
    shares.iter().find(|(minimum, _)| score >= *minimum).map_or(0.0, |(_, share)| *share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{DatabaseConfig, KnowledgeConfig},
        domain::{DocumentId, Retrieval},
        knowledge::KnowledgeBase,
        provider::QuestionPart,
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
    /// Maximum mean of the squared differences between support and outcome. The same share for all questions has about 0.23.
    const MAX_BRIER_SCORE: f64 = 0.13;

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
        found.passages.first().is_some_and(|passage| {
            let heading = passage.title.rsplit(" › ").next();
            relevant
                .iter()
                .any(|section| passage.source == section.document && heading == Some(section.heading.as_str()))
        })
    }

    #[tokio::test]
    async fn support_is_the_share_of_questions_whose_best_passage_answers() {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("test.db").display());
        let store = SqliteStore::open(&DatabaseConfig { url, ..DatabaseConfig::default() }).unwrap();
        let base = KnowledgeBase::in_process(Arc::new(store), KnowledgeConfig::default());
        base.seed().await.unwrap();
        let mut shares: BTreeMap<String, (f64, usize, usize)> = BTreeMap::new();
        let mut squares: Vec<f64> = Vec::new();
        for kind in KINDS {
            let file = format!("tests/fixtures/questions/dev/{kind}.jsonl");
            let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
            for line in text.lines() {
                let question: Labelled = serde_json::from_str(line).unwrap();
                let found = base.retrieve(&question.question, &[], 4).await.unwrap();
                let support = of_best(found.basis, found.passages.first());
                let (_, all, answered) = shares.entry(format!("{support:.2}")).or_insert((support, 0, 0));
                *all += 1;
                let outcome = has_answer(&found, &question.relevant);
                *answered += usize::from(outcome);
                squares.push((support - f64::from(u8::from(outcome))).powi(2));
            }
        }
        let brier = squares.iter().sum::<f64>() / squares.len() as f64;
        println!("Brier score {brier:.3} of {} questions; support, questions, answered: {shares:?}", squares.len());
        assert!(shares.len() >= 3, "{shares:?}");
        assert!(brier <= MAX_BRIER_SCORE, "{brier}");
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
        assert!(support(&Searched::default()).abs() < f64::EPSILON);
    }

    #[test]
    fn several_questions_are_supported_as_well_as_the_weakest() {
        let passage = |score| Passage {
            document_id: DocumentId::new(),
            source: "a.md".to_owned(),
            title: "A".to_owned(),
            passage: 1,
            text: String::new(),
            score,
        };
        let part = |asks, basis, passages: &[usize]| QuestionPart {
            question: "q".to_owned(),
            query: "q".to_owned(),
            asks,
            basis,
            passages: passages.to_vec(),
        };
        let passages = vec![passage(1.0), passage(0.3)];
        let retrieval = Retrieval { passages, basis: RetrievalBasis::Covered, ..Retrieval::default() };
        let of = |parts| support(&Searched { retrieval: retrieval.clone(), parts });
        let (sure, closest, nothing) = (
            part(true, RetrievalBasis::Covered, &[0]),
            part(true, RetrievalBasis::Closest, &[1]),
            part(true, RetrievalBasis::Nothing, &[]),
        );
        let best = of(vec![sure.clone()]);
        assert!((of(Vec::new()) - best).abs() < f64::EPSILON);
        assert!((of(vec![sure.clone(), closest]) - CLOSEST[1].1).abs() < f64::EPSILON);
        assert!(of(vec![sure.clone(), nothing.clone()]).abs() < f64::EPSILON);
        let statement = QuestionPart { asks: false, ..nothing };
        assert!((of(vec![sure, statement]) - best).abs() < f64::EPSILON);
    }
}
