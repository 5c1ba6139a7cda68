//! Tests with questions about the built-in documents, and with hand-written passages for edge cases.

use super::*;
use crate::{
    config::{DatabaseConfig, KnowledgeConfig},
    domain::{DocumentId, HistoryMessage, MessageRole},
    knowledge::{KnowledgeBase, RetrievalQuery},
    provider::Guidance,
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
        guidance: Guidance {
            language: "en".to_owned(),
            topics: ["specifications", "service", "faults"].map(str::to_owned).into(),
            starters: vec!["What is the power?".to_owned()],
            query: question.to_owned(),
            ..Guidance::default()
        },
        script: None,
    }
}

fn write(request: &GenerateRequest) -> String {
    super::write(request, &Languages::built_in())
}

async fn ask(base: &KnowledgeBase, question: &str, history: &[HistoryMessage]) -> String {
    let query = RetrievalQuery::new(question, history, &Languages::built_in());
    let found = base.retrieve(&query, &[], 4).await.unwrap();
    let mut request = GenerateRequest { basis: found.basis, ..request(question, found.passages, history.to_vec()) };
    request.guidance.query = query.joined();
    write(&request)
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
        let answer = write(&request(question, passages, Vec::new()));
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
async fn a_section_whose_heading_the_question_names_is_quoted_whole() {
    let (base, _folder) = seeded_base().await;
    let answer = ask(&base, "How do I check the tyre pressure?", &[]).await;
    assert!(answer.contains("Check the tyre pressure monthly") && answer.contains("Front 2.4 bar"), "{answer}");
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
    let nothing = GenerateRequest { basis: RetrievalBasis::Nothing, ..request("hello", Vec::new(), Vec::new()) };
    let answer = write(&nothing);
    assert!(answer.ends_with("I can help you with specifications, service or faults."), "{answer}");
}

#[test]
fn the_closest_section_is_quoted_and_said_to_be_the_closest() {
    let passages = vec![passage("Bolts", "A bolt is grey.", 0.3)];
    let closest = GenerateRequest { basis: RetrievalBasis::Closest, ..request("gasket colour", passages, Vec::new()) };
    let answer = write(&closest);
    let wanted = "The closest section is **Bolts** [1]:\n\nA bolt is grey.\n\nIf that is not what you are looking for";
    assert!(answer.contains(wanted), "{answer}");
}

#[test]
fn duplicate_text_is_quoted_once() {
    let text = "The gasket is blue.";
    let passages = vec![passage("Gasket", text, 0.9), passage("Gasket", text, 0.9)];
    let answer = write(&request("Which colour has the gasket?", passages, Vec::new()));
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
    let answer = write(&request("Which colour has the gasket?", passages, Vec::new()));
    assert!(answer.contains("**Gasket** [1]:") && answer.contains("**Gasket colour** adds [3]:"), "{answer}");
    assert!(!answer.contains("[2]"), "{answer}");
}

#[test]
fn markup_of_a_document_is_escaped() {
    let text = "The gasket `<img src=x>` is ![blue](http://tracker.example/) and \\[odd\\](javascript:x).";
    let answer = write(&request("gasket", vec![passage("Gasket <b>", text, 0.9)], Vec::new()));
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

#[test]
fn several_questions_are_answered_one_by_one() {
    let passages = vec![passage("Gasket", "The gasket is blue.", 0.9), passage("Bolts", "A bolt is grey.", 0.9)];
    let mut both = request("gasket and bolts, and why?", passages, Vec::new());
    let part = |question: &str, basis, passages: &[usize]| QuestionPart {
        question: question.to_owned(),
        query: question.to_owned(),
        asks: question.ends_with('?') || question == "gasket",
        basis,
        passages: passages.to_vec(),
    };
    both.guidance.parts = vec![
        part("gasket", RetrievalBasis::Covered, &[0]),
        part("bolts", RetrievalBasis::Covered, &[1, 0]),
        part("why?", RetrievalBasis::Nothing, &[]),
        part("I wonder.", RetrievalBasis::Nothing, &[]),
    ];
    let answer = write(&both);
    let wanted = "**gasket**\n\nAccording to **Gasket** [1]:\n\nThe gasket is blue.\n\n\
                  **bolts**\n\nAccording to **Bolts** [2]:\n\nA bolt is grey.\n\n**why?**\n\nI found nothing";
    assert!(answer.starts_with(wanted) && !answer.contains("wonder"), "{answer}");
}

#[test]
fn a_follow_up_does_not_repeat_the_sentences_before_it() {
    let text = "The gasket is blue. The gasket of the diesel is red.";
    let said = HistoryMessage {
        role: MessageRole::Assistant,
        content: "According to **Gasket** [1]:\n\nThe gasket is blue.".to_owned(),
    };
    let mut follow_up = request("and the diesel?", vec![passage("Gasket", text, 0.9)], vec![said]);
    follow_up.guidance.query = "and the diesel?\ngasket colour".to_owned();
    let answer = write(&follow_up);
    assert!(answer.contains("is red.") && !answer.contains("is blue."), "{answer}");
    follow_up.history[0].content.push_str(" The gasket of the diesel is red.");
    let answer = write(&follow_up);
    assert!(answer.starts_with("Beyond what I quoted above") && answer.contains("is red."), "{answer}");
}

#[test]
fn a_german_question_is_answered_in_german_and_the_language_of_the_document_is_named() {
    let text = "The gasket is blue, and it has to be replaced when the engine was opened.";
    let mut german = request("Welche Farbe hat die Dichtung?", vec![passage("Gasket", text, 0.9)], Vec::new());
    german.guidance.language = "de".to_owned();
    let answer = write(&german);
    let wanted = format!("Laut **Gasket** [1]:\n\n{text}\n\nDieses Dokument ist auf Englisch.");
    assert_eq!(answer, wanted);
    german.guidance.language = "en".to_owned();
    assert!(!write(&german).contains("This document is in"));
}

#[test]
fn under_a_warning_the_whole_section_about_the_danger_is_quoted() {
    let text =
        "Do not start the engine. Open the doors.\n\n1. Walk away.\n2. Call for help.\n\nA gasket may leak fuel.";
    let mut danger =
        request("gasket", vec![passage("Fire", text, 0.9), passage("Gasket", "Blue gasket.", 0.9)], Vec::new());
    danger.guidance.is_danger = true;
    let answer = write(&danger);
    assert!(
        answer.contains("Open the doors.\n\n1. Walk away.\n2. Call for help.") && !answer.contains("[2]"),
        "{answer}"
    );
}

#[test]
fn small_talk_is_answered_with_topics_and_starters() {
    for (kind, wanted, suggests) in [
        (SmallTalk::Greeting, "Hello!", true),
        (SmallTalk::Thanks, "You're welcome", false),
        (SmallTalk::Farewell, "Goodbye", false),
        (SmallTalk::Identity, "I am an assistant", true),
        (SmallTalk::Capability, "I can help you", true),
        (SmallTalk::Human, "I am a program", true),
        (SmallTalk::Complaint, "I am sorry", true),
        (SmallTalk::Acknowledgement, "What would you like", true),
    ] {
        let mut talk = request("hi", Vec::new(), Vec::new());
        talk.guidance.small_talk = Some(kind);
        let answer = write(&talk);
        assert!(answer.starts_with(wanted), "{answer}");
        assert_eq!(answer.contains("specifications, service or faults"), suggests, "{answer}");
        assert_eq!(answer.ends_with("You could ask:\n\n- What is the power?"), suggests, "{answer}");
    }
    let mut aside = request("your product is rubbish", Vec::new(), Vec::new());
    (aside.basis, aside.guidance.aside) = (RetrievalBasis::Nothing, Some(SmallTalk::Complaint));
    assert!(write(&aside).starts_with("I am sorry"));
}

#[test]
fn a_word_that_a_passage_shares_by_chance_does_not_make_it_an_answer() {
    let chance = passage("Bolts", "The next bolt is grey.", 0.9);
    let answer = write(&request("When is the next inspection of the gasket?", vec![chance], Vec::new()));
    assert!(answer.contains("The closest section is **Bolts** [1]"), "{answer}");
    let misspelt = passage("Bolts", "Bolts are grey.", 0.9);
    let answer = write(&request("Bollts?", vec![misspelt], Vec::new()));
    assert!(answer.starts_with("According to **Bolts**"), "{answer}");
}

#[test]
fn a_german_question_that_names_a_row_gets_that_row() {
    let text = "Values with the seal:\n\n| Pump | Power | Height |\n|---|---|---|\n| Alto | 5 kW | 20 m |\n| Basso | 7 kW | 30 m |\n";
    let mut german = request("Wie hoch pumpt die Basso?", vec![passage("Pumps", text, 0.9)], Vec::new());
    german.guidance.language = "de".to_owned();
    let answer = write(&german);
    assert!(answer.contains("- **Basso**: Power 7 kW; Height 30 m") && !answer.contains("Alto"), "{answer}");
    german.question = "Wie hoch pumpen sie?".to_owned();
    german.guidance.query = german.question.clone();
    assert!(write(&german).contains("Alto"));
}
