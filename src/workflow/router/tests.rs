//! Tests of the router with the built-in specialists, and with a model that the test decides.

use super::*;
use crate::{
    domain::{HistoryMessage, MessageRole},
    language::Languages,
    provider::{
        AnswerStream, Classification, GenerateRequest, ProviderError, ProviderErrorKind, RewriteRequest,
        scripted::Scripted,
    },
};
use std::sync::Mutex;

const THRESHOLD: f64 = 0.2;

/// Returns a fixed result from `classify`, and keeps the requests.
struct Classifier(Result<Option<Classification>, ProviderError>, Mutex<Vec<ClassifyRequest>>);

#[async_trait::async_trait]
impl ModelProvider for Classifier {
    fn model(&self) -> &str {
        "classifier"
    }

    async fn generate(&self, _: GenerateRequest) -> Result<AnswerStream, ProviderError> {
        Err(ProviderError::new(ProviderErrorKind::Rejected, "it only classifies"))
    }

    async fn classify(&self, request: ClassifyRequest) -> Result<Option<Classification>, ProviderError> {
        self.1.lock().unwrap().push(request);
        self.0.clone()
    }

    async fn rewrite(&self, _: RewriteRequest) -> Result<Option<String>, ProviderError> {
        Ok(None)
    }
}

fn classifier(label: &str, confidence: impl Into<Option<f64>>) -> Classifier {
    let confidence = confidence.into();
    Classifier(Ok(Some(Classification { label: label.to_owned(), confidence })), Mutex::default())
}

/// Creates a router that asks the model for each question.
fn router() -> Router {
    router_with(Routing::Model)
}

fn router_with(routing: Routing) -> Router {
    Router::new(Arc::new(Specialists::load(None).unwrap()), Arc::new(Languages::built_in()), THRESHOLD, routing)
}

pub fn scripted() -> Scripted {
    Scripted::new(Default::default()).unwrap()
}

fn query(question: &str, history: &[HistoryMessage]) -> RetrievalQuery {
    RetrievalQuery::new(question, history, &Languages::built_in())
}

fn said(role: MessageRole, content: &str) -> HistoryMessage {
    HistoryMessage { role, content: content.to_owned() }
}

const QUESTIONS: &[(&str, &str)] = &[
    ("specs", "What is the engine power?"),
    ("specs", "How powerful is the engine?"),
    ("specs", "how many horse power"),
    ("specs", "Top speed?"),
    ("specs", "What's the 0-100 time?"),
    ("specs", "How much can it tow?"),
    ("specs", "Will a pram fit in the boot?"),
    ("specs", "What does it weigh?"),
    ("specs", "What are the dimensions?"),
    ("specs", "How wide is the car with mirrors?"),
    ("specs", "Fuel consumption in town"),
    ("specs", "Tell me about the warranty"),
    ("specs", "Which colours can I get?"),
    ("specs", "How many people can sit in it?"),
    ("maintenance", "How often should I change the oil?"),
    ("maintenance", "When do I need an oil change?"),
    ("maintenance", "Which engine oil do I need?"),
    ("maintenance", "service intervals"),
    ("maintenance", "When should I replace the cabin filter?"),
    ("maintenance", "how do i swap the wipers"),
    ("maintenance", "What pressure do the tyres need?"),
    ("maintenance", "Rotating tyres: how often?"),
    ("maintenance", "how to top up coolant"),
    ("maintenance", "Changing the spark plugs"),
    ("maintenance", "What is the best way to wash the paint?"),
    ("troubleshoot", "My car won't start"),
    ("troubleshoot", "My car will not start this morning"),
    ("troubleshoot", "The engine makes a weird noise"),
    ("troubleshoot", "There is a red warning light on the dashboard"),
    ("troubleshoot", "engine overheats in traffic"),
    ("troubleshoot", "Why does my car shake at high speed?"),
    ("troubleshoot", "Something is leaking"),
    ("troubleshoot", "the brakes are squealing"),
    ("troubleshoot", "I see smoke from under the bonnet"),
    ("troubleshoot", "the heater does not work"),
    ("troubleshoot", "battery is dead"),
    ("troubleshoot", "It stalls when I stop at a light"),
];

#[tokio::test]
async fn questions_go_to_the_right_specialist() {
    let router = router();
    let mut wrong = Vec::new();
    for (want, question) in QUESTIONS {
        let route = router.route(&scripted(), &(*question).into(), &[]).await;
        assert_eq!(route.how, RoutedBy::Similarity);
        if route.specialist.name != *want || route.fell_back {
            wrong.push(format!(
                "{question}: {} {:.2}, fell back: {}",
                route.specialist.name, route.confidence, route.fell_back
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn off_topic_questions_go_to_the_default() {
    let router = router();
    for question in [
        "asdf qwertz",
        "Who won the world cup?",
        "hello",
        "",
        "👍",
        "the of and",
        "Write me a poem about cats",
        "日本語",
    ] {
        let route = router.route(&scripted(), &question.into(), &[]).await;
        assert!(
            route.fell_back && route.confidence < THRESHOLD,
            "{question}: {} {}",
            route.specialist.name,
            route.confidence
        );
        assert_eq!(route.specialist.name, "specs");
    }
}

#[tokio::test]
async fn short_follow_up_goes_to_the_specialist_of_the_previous_question() {
    let router = router();
    let history = [
        said(MessageRole::User, "How often should I change the oil?"),
        said(MessageRole::Assistant, "My car will not start, top speed, horsepower."),
    ];
    let route = router.route(&scripted(), &query("And after that?", &history), &[]).await;
    assert_eq!((route.specialist.name.as_str(), route.fell_back), ("maintenance", false));
    let route = router.route(&scripted(), &query("What is the engine power?", &history), &[]).await;
    assert_eq!(route.specialist.name, "specs");
}

#[tokio::test]
async fn confident_model_decides() {
    let model = classifier("troubleshoot", 0.7);
    let history = [said(MessageRole::User, &"x".repeat(10_000))];
    let route = router().route(&model, &query("And the engine power?", &history), &[]).await;
    assert_eq!((route.specialist.name.as_str(), route.how, route.fell_back), ("troubleshoot", RoutedBy::Model, false));
    assert_eq!(route.confidence, 0.7);
    let asked = model.1.into_inner().unwrap().pop().unwrap();
    assert!(
        asked.question.ends_with("And the engine power?")
            && asked.question.contains("xxx")
            && asked.question.len() < 1_000
    );
    assert_eq!(asked.labels.len(), 3);
    assert!(!asked.instructions.contains("engine power"));
}

#[tokio::test]
async fn unsure_model_falls_back_to_similarity_then_to_the_default() {
    let unsure = classifier("troubleshoot", 0.1);
    let route = router().route(&unsure, &"How often should I change the oil?".into(), &[]).await;
    assert_eq!(
        (route.specialist.name.as_str(), route.how, route.fell_back),
        ("maintenance", RoutedBy::Similarity, false)
    );
    let route = router().route(&unsure, &"asdf".into(), &[]).await;
    assert_eq!((route.specialist.name.as_str(), route.how, route.fell_back), ("specs", RoutedBy::Similarity, true));
}

#[tokio::test]
async fn single_specialist_is_chosen_without_asking_the_model() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let only = "[[agent]]\nname='a'\ntopic='t'\ndescription='d'\nsystem_prompt='s'\nexamples=['e']\ndefault=true";
    std::fs::write(file.path(), only).unwrap();
    let specialists = Arc::new(Specialists::load(Some(file.path())).unwrap());
    let router = Router::new(specialists, Arc::new(Languages::built_in()), THRESHOLD, Routing::Model);
    let model = classifier("a", 0.5);
    let route = router.route(&model, &"asdf".into(), &[]).await;
    assert_eq!((route.specialist.name.as_str(), route.confidence, route.fell_back), ("a", 1.0, false));
    assert!(model.1.into_inner().unwrap().is_empty(), "the model was asked");
}

#[tokio::test]
async fn similarity_decides_when_the_model_fails() {
    let failing = Err(ProviderError::new(ProviderErrorKind::Broken, "x"));
    for model in [Classifier(failing, Mutex::default()), classifier("sales", 1.0)] {
        let route = router().route(&model, &"My car won't start".into(), &[]).await;
        assert_eq!((route.specialist.name.as_str(), route.how), ("troubleshoot", RoutedBy::Similarity));
    }
}

#[tokio::test]
async fn model_is_asked_once_unless_similarity_is_sure() {
    const CLEAR: &str = "How often should I change the oil?";
    const UNCLEAR: &str = "Is that so?";
    for (routing, question, calls) in [
        (Routing::Auto, CLEAR, 0),
        (Routing::Auto, UNCLEAR, 1),
        (Routing::Model, CLEAR, 1),
        (Routing::Model, UNCLEAR, 1),
        (Routing::Similarity, CLEAR, 0),
        (Routing::Similarity, UNCLEAR, 0),
    ] {
        let model = classifier("troubleshoot", 0.9);
        let route = router_with(routing).route(&model, &question.into(), &[]).await;
        assert_eq!(model.1.into_inner().unwrap().len(), calls, "{routing:?}, {question}");
        assert_eq!(route.how == RoutedBy::Model, calls == 1, "{routing:?}, {question}");
    }
}

#[tokio::test]
async fn only_clear_similarity_outweighs_a_model_without_probabilities() {
    let model = || classifier("troubleshoot", None);
    let route = router().route(&model(), &"Is that so?".into(), &[]).await;
    assert_eq!((route.specialist.name.as_str(), route.how), ("troubleshoot", RoutedBy::Model));
    assert!((0.5..1.0).contains(&route.confidence), "{}", route.confidence);
    let route = router().route(&model(), &"How often should I change the oil?".into(), &[]).await;
    assert_eq!((route.specialist.name.as_str(), route.how), ("maintenance", RoutedBy::Similarity));
    assert!(confirmed(&[0.5, 0.3, 0.2], 0) > confirmed(&[0.3, 0.5, 0.2], 0));
}

#[tokio::test]
async fn votes_of_the_search_decide_between_similar_specialists() {
    let router = router_with(Routing::Similarity);
    let vote = |collection: &str, score| CollectionVote { collection: collection.to_owned(), score };
    let votes = [vote("maintenance", 0.9), vote("specs", 0.3)];
    let route = router.route(&scripted(), &"Frobnitz?".into(), &votes).await;
    assert_eq!((route.specialist.name.as_str(), route.fell_back), ("maintenance", false));
    let route = router.route(&scripted(), &"Frobnitz?".into(), &[vote("unknown", 0.9)]).await;
    assert!(route.fell_back, "{}", route.confidence);
}
