//! Tests with questions about the built-in documents, and with hand-written passages for edge cases.

use super::*;
use crate::{
    config::{DatabaseConfig, KnowledgeConfig},
    domain::{DocumentId, HistoryMessage, MessageRole, RetrievalBasis},
    knowledge::KnowledgeBase,
    store::sqlite::SqliteStore,
};
use std::sync::Arc;
use tempfile::TempDir;

async fn seeded_base() -> (KnowledgeBase, TempDir) {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}", folder.path().join("test.db").display());
    let store = SqliteStore::open(&DatabaseConfig { url, ..DatabaseConfig::default() }).unwrap();
    let base = KnowledgeBase::in_process(Arc::new(store), KnowledgeConfig::default());
    base.seed().await.unwrap();
    (base, folder)
}

fn request(question: &str, passages: Vec<Passage>, history: Vec<HistoryMessage>) -> GenerateRequest {
    GenerateRequest {
        system_prompt: String::new(),
        passages,
        basis: RetrievalBasis::Covered,
        history,
        question: question.to_owned(),
        script: None,
    }
}

async fn ask(base: &KnowledgeBase, question: &str, history: &[HistoryMessage]) -> String {
    let passages = base.search(&retrieval_query(question, history), &[], 4).await.unwrap();
    write(&request(question, passages, history.to_vec()), &[])
}

fn passage(title: &str, text: &str, score: f64) -> Passage {
    Passage {
        document_id: DocumentId::new(),
        source: "notes.md".to_owned(),
        title: title.to_owned(),
        passage: 1,
        text: text.to_owned(),
        score,
    }
}

#[tokio::test]
async fn common_questions_are_answered_with_facts_and_their_source() {
    let (base, _folder) = seeded_base().await;
    for (question, facts, source) in [
        ("What is the engine power?", &["180 kW", "140 kW", "150 kW"][..], "engine-and-performance.md"),
        ("How much horsepower does it have?", &["245 hp", "190 hp", "204 hp"], "engine-and-performance.md"),
        ("How wide is it?", &["1,842 mm"], "dimensions-and-capacities.md"),
        ("What are the tyre pressures?", &["2.4 bar", "2.9 bar"], "brakes-and-tyres.md"),
        ("How often is an oil change due?", &["15,000 km or 12 months"], "maintenance-schedule.md"),
        ("When should I replace the brake fluid?", &["every 24 months"], "maintenance-schedule.md"),
        ("What does the check engine light mean?", &["Steady", "Flashing"], "warning-lights.md"),
        ("The brakes make a grinding noise", &["metal on metal"], "troubleshooting.md"),
        ("How many airbags are there?", &["seven airbags"], "safety.md"),
    ] {
        let passages = base.search(question, &[], 4).await.unwrap();
        let best = passages[0].source.clone();
        let answer = write(&request(question, passages, Vec::new()), &[]);
        assert!(answer.starts_with("According to **") && answer.contains("** [1]:"), "{answer}");
        assert_eq!(best, source, "{answer}");
        for fact in facts {
            assert!(answer.contains(fact), "{question}: {fact} is not in\n{answer}");
        }
    }
}

#[tokio::test]
async fn the_steps_of_a_procedure_are_complete_and_in_order() {
    let (base, _folder) = seeded_base().await;
    let answer = ask(&base, "My engine is overheating, what should I do?", &[]).await;
    let steps: Vec<_> = (1..=5).map(|step| answer.find(&format!("\n{step}. ")).expect("a step")).collect();
    assert!(steps.is_sorted(), "{answer}");
}

#[tokio::test]
async fn a_table_is_reduced_to_the_row_and_column_in_question() {
    let (base, _folder) = seeded_base().await;
    let answer = ask(&base, "What's the torque of the hybrid?", &[]).await;
    assert!(answer.contains("- **Veyra Hybrid**: Maximum torque 320 Nm system torque"), "{answer}");
    assert!(!answer.contains("370 Nm") && !answer.contains("204 hp"), "{answer}");
}

#[tokio::test]
async fn a_follow_up_includes_the_words_of_the_question_before_it() {
    let (base, _folder) = seeded_base().await;
    let message = |role, content: &str| HistoryMessage { role, content: content.to_owned() };
    let history = [
        message(MessageRole::User, "What is the engine power?"),
        message(MessageRole::Assistant, "180 kW, 140 kW or 150 kW."),
    ];
    let answer = ask(&base, "And the diesel?", &history).await;
    assert!(answer.contains("**Veyra 2.2D (diesel)**: Maximum power 140 kW at 3,750 rpm"), "{answer}");
}

#[tokio::test]
async fn a_question_without_an_answer_gets_suggestions() {
    let (base, _folder) = seeded_base().await;
    for question in ["What is the capital of France?", "hello", "Will it rain in Lisbon tomorrow?"] {
        let answer = ask(&base, question, &[]).await;
        assert!(answer.starts_with("I found no"), "{question}: {answer}");
    }
    let topics = ["specifications".to_owned(), "service".to_owned(), "faults".to_owned()];
    let answer = write(&request("hello", Vec::new(), Vec::new()), &topics);
    assert!(answer.ends_with("ask me about specifications, service or faults."), "{answer}");
}

#[test]
fn a_weak_passage_is_listed_but_not_quoted() {
    let answer = write(&request("gasket colour", vec![passage("Bolts", "A gasket secret.", 0.3)], Vec::new()), &[]);
    assert!(answer.contains("**Bolts** (notes.md)") && !answer.contains("secret"), "{answer}");
}

#[test]
fn duplicate_text_is_quoted_once() {
    let text = "The gasket is blue.";
    let passages = vec![passage("Gasket", text, 0.9), passage("Gasket", text, 0.9)];
    let answer = write(&request("Which colour has the gasket?", passages, Vec::new()), &[]);
    assert_eq!(answer.matches(text).count(), 1, "{answer}");
    assert!(!answer.contains("[2]"), "{answer}");
}

#[test]
fn passages_are_cited_by_their_numbers_among_all_passages() {
    let passages = vec![
        passage("Gasket", "The gasket is blue.", 0.9),
        passage("Paint", "The gasket is painted.", 0.9),
        passage("Gasket colour", "The gasket colour fades.", 0.9),
    ];
    let answer = write(&request("Which colour has the gasket?", passages, Vec::new()), &[]);
    assert!(answer.contains("**Gasket** [1]:") && answer.contains("**Gasket colour** adds [3]:"), "{answer}");
    assert!(!answer.contains("[2]"), "{answer}");
}

#[test]
fn markup_of_a_document_is_escaped() {
    let text = "The gasket `<img src=x>` is ![blue](http://tracker.example/) and \\[odd\\](javascript:x).";
    let answer = write(&request("gasket", vec![passage("Gasket <b>", text, 0.9)], Vec::new()), &[]);
    assert!(answer.contains("Gasket \\<b\\>") && answer.contains("\\<img src=x\\>"), "{answer}");
    assert!(!answer.contains("tracker.example") && answer.contains("\\[odd\\]("), "{answer}");
}

#[tokio::test]
async fn answers_are_deterministic() {
    let (base, _folder) = seeded_base().await;
    let question = "How do I check the engine oil level of the hybrid?";
    let first = ask(&base, question, &[]).await;
    for _ in 0..5 {
        assert_eq!(ask(&base, question, &[]).await, first);
    }
}
