//! Answers of the embedded answerer to the labelled questions for development, about both sets of documents.
//!
//! `tests/fixtures/questions/README.md` describes the questions. The half that is held out is not read here.

use crate::harness::{TestApp, TestUser};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{fs, path::PathBuf};
use switchboard::config::ProviderKind;

#[derive(Deserialize)]
struct Labelled {
    id: String,
    question: String,
    #[serde(default)]
    history: Vec<String>,
    #[serde(default)]
    relevant: Vec<Section>,
    expect: Option<Expected>,
}

#[derive(Deserialize)]
struct Section {
    document: String,
    heading: String,
}

#[derive(Deserialize)]
struct Expected {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    contains_any: Vec<String>,
    #[serde(default)]
    contains_all: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Useful,
    /// Admits that it is no answer, or greets where a question was.
    Useless,
    /// Quotes a section that does not answer as if it did.
    Wrong,
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn labelled(set: &str, kind: &str) -> Vec<Labelled> {
    let text = fs::read_to_string(fixtures().join(set).join("dev").join(format!("{kind}.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A server with the built-in documents.
async fn car() -> TestApp {
    TestApp::with(|config| {
        config.provider.kind = ProviderKind::Extractive;
        config.provider.extractive.interval_ms = 0;
        config.knowledge.seed = true;
    })
    .await
}

/// A server with the second set of documents and its specialists.
async fn library() -> TestApp {
    let app = TestApp::with(|config| {
        config.provider.kind = ProviderKind::Extractive;
        config.provider.extractive.interval_ms = 0;
        config.workflow.agents_file = Some(fixtures().join("library/agents.toml"));
    })
    .await;
    let operator = app.operator().await;
    for entry in fs::read_dir(fixtures().join("library/knowledge")).unwrap() {
        let path = entry.unwrap().path();
        let source = path.file_name().unwrap().to_str().unwrap();
        let document = json!({"source": source, "text": fs::read_to_string(&path).unwrap()});
        let (status, body) = app.post("/api/v1/documents", Some(&operator), &document).await;
        assert_eq!(status, 201, "{body}");
    }
    app
}

/// Asks a question after its history, in a conversation of its own.
async fn ask(app: &TestApp, user: &TestUser, question: &Labelled) -> Value {
    let mut answer = Value::Null;
    for text in question.history.iter().chain([&question.question]) {
        let mut body = json!({"message": text});
        if let Some(conversation) = answer["conversation_id"].as_str() {
            body["conversation_id"] = conversation.into();
        }
        let (status, body) = app.post("/api/v1/chat", Some(user), &body).await;
        assert_eq!(status, 200, "{}: {body}", question.id);
        answer = body;
    }
    answer
}

fn is_warned(text: &str) -> bool {
    text.starts_with("**Safety first:**") || text.starts_with("**Sicherheit zuerst:**")
}

fn judge(question: &Labelled, answer: &Value) -> Verdict {
    let text = answer["response"].as_str().unwrap();
    let lower = text.to_lowercase();
    let has = |wanted: &String| lower.contains(&wanted.to_lowercase());
    let metadata = &answer["metadata"];
    let basis = metadata["retrieval"]["basis"].as_str();
    let is_offered_as_closest = text.contains("closest section is") || text.contains("kommt der Abschnitt");
    let is_quoted_as_answer = matches!(basis, Some("covered" | "similar")) && !is_offered_as_closest;
    let expected = question.expect.as_ref().unwrap();
    let contains = (expected.contains_any.is_empty() || expected.contains_any.iter().any(has))
        && expected.contains_all.iter().all(has);
    let fits = match expected.kind.as_str() {
        "refusal" => contains && !is_quoted_as_answer,
        "warning" => contains && is_warned(text),
        _ => contains,
    };
    let cites = |section: &Section| {
        let sources = metadata["sources"].as_array().into_iter().flatten().enumerate();
        let cited = sources.filter(|(index, _)| text.contains(&format!("[{}]", index + 1)));
        cited.map(|(_, source)| source).any(|source| {
            let title = source["title"].as_str().unwrap_or_default();
            source["source"] == section.document.as_str()
                && title.rsplit(" › ").next() == Some(section.heading.as_str())
        })
    };
    match fits {
        true => Verdict::Useful,
        false if is_quoted_as_answer && !question.relevant.iter().any(cites) => Verdict::Wrong,
        false => Verdict::Useless,
    }
}

/// Asks the questions of a kind, and returns the verdicts with a line for each answer that is not useful.
async fn verdicts(app: &TestApp, set: &str, kind: &str) -> (Vec<Verdict>, String) {
    let user = app.user().await;
    let (mut verdicts, mut report) = (Vec::new(), String::new());
    for question in labelled(set, kind) {
        let answer = ask(app, &user, &question).await;
        let verdict = judge(&question, &answer);
        if verdict != Verdict::Useful {
            let basis = &answer["metadata"]["retrieval"]["basis"];
            let start: String = answer["response"].as_str().unwrap().chars().take(160).collect();
            report += &format!("{verdict:?} {} {:?} ({basis}): {start:?}\n", question.id, question.question);
        }
        verdicts.push(verdict);
    }
    (verdicts, report)
}

fn count(verdicts: &[Verdict], wanted: Verdict) -> usize {
    verdicts.iter().filter(|verdict| **verdict == wanted).count()
}

/// Asserts the shares of useful and wrong answers, in percent.
fn assert_shares((verdicts, report): &(Vec<Verdict>, String), min_useful: usize, max_wrong: usize) {
    let (useful, wrong, all) = (count(verdicts, Verdict::Useful), count(verdicts, Verdict::Wrong), verdicts.len());
    println!("{useful} useful, {wrong} wrong of {all}\n{report}");
    assert!(useful * 100 >= all * min_useful, "{useful} of {all} useful\n{report}");
    assert!(wrong * 100 <= all * max_wrong, "{wrong} of {all} wrong\n{report}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn messages_of_the_first_minute_get_useful_answers() {
    let app = car().await;
    assert_shares(&verdicts(&app, "questions", "visitor").await, 82, 8);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn messages_of_the_first_minute_get_useful_answers_in_another_domain() {
    let app = library().await;
    assert_shares(&verdicts(&app, "library/questions", "visitor").await, 76, 6);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn two_questions_in_a_message_are_both_answered() {
    let app = car().await;
    assert_shares(&verdicts(&app, "questions", "two-part").await, 30, 15);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn danger_is_warned_of_and_nothing_else() {
    for (app, set) in [(car().await, "questions"), (library().await, "library/questions")] {
        let user = app.user().await;
        let (mut unwarned, mut warned) = (Vec::new(), Vec::new());
        for question in labelled(set, "danger") {
            let answer = ask(&app, &user, &question).await;
            if !is_warned(answer["response"].as_str().unwrap()) {
                unwarned.push(question.question);
            }
        }
        for question in labelled(set, "harmless") {
            let answer = ask(&app, &user, &question).await;
            if is_warned(answer["response"].as_str().unwrap()) {
                warned.push(question.question);
            }
        }
        assert!(unwarned.is_empty() && warned.is_empty(), "{set}: not warned {unwarned:#?}; warned {warned:#?}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn starters_come_from_the_specialists_and_the_documents() {
    let app = car().await;
    let (status, english) = app.get("/api/v1/starters?lang=en-GB", None).await;
    assert_eq!((status, &english["language"]), (200, &json!("en")));
    assert_eq!(english["starters"].as_array().unwrap().len(), 3, "{english}");
    assert_eq!(english["topics"][0], "technical data and equipment");
    assert!(english["greeting"].as_str().unwrap().contains("problems and faults"), "{english}");
    let (_, german) = app.get("/api/v1/starters?lang=de", None).await;
    assert!(german["greeting"].as_str().unwrap().starts_with("Hallo!"), "{german}");
    assert_eq!(german["topics"][1], "Pflege und Wartung");
    let (_, unknown) = app.get("/api/v1/starters?lang=xx", None).await;
    assert_eq!(unknown, english);

    let app = library().await;
    let (_, english) = app.get("/api/v1/starters?lang=en", None).await;
    assert_eq!(english["topics"][0], "membership, loans and fees");
    assert_eq!(english["starters"].as_array().unwrap().len(), 3, "{english}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn small_talk_searches_nothing_and_claims_no_confidence() {
    let app = car().await;
    let user = app.user().await;
    for (text, start) in [("hi", "Hello!"), ("Danke schön", "Gern geschehen!"), ("who are you?", "I am an assistant")]
    {
        let (_, answer) = app.post("/api/v1/chat", Some(&user), &json!({"message": text})).await;
        assert!(answer["response"].as_str().unwrap().starts_with(start), "{answer}");
        let metadata = &answer["metadata"];
        assert_eq!((&metadata["confidence"], &metadata["fallback"]), (&json!(0.0), &json!(false)), "{metadata}");
        assert_eq!((&metadata["sources"], &metadata["support"]), (&json!([]), &Value::Null), "{metadata}");
    }
    let (_, question) =
        app.post("/api/v1/chat", Some(&user), &json!({"message": "Hi, what is the engine power?"})).await;
    assert!(question["response"].as_str().unwrap().contains("180 kW"), "{question}");
    assert!(question["metadata"]["support"].as_f64().is_some_and(|support| support > 0.5), "{question}");
}
