//! Chains of providers that play a script each, under a clock of the test.

use super::*;
use crate::{
    config::{ProviderConfig, ProviderKind},
    domain::{FinishReason, RetrievalBasis},
    provider::{CallOutcome, CallUsage, Circuit, Guidance},
};
use futures_util::stream;
use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::time::sleep;

type Part = Result<AnswerPart, ProviderError>;

/// Provider with one script for each request; with none left, it stalls.
struct Fake {
    scripts: Mutex<VecDeque<Result<Vec<Part>, ProviderError>>>,
    requests: AtomicUsize,
    delay: Duration,
}

#[async_trait::async_trait]
impl ModelProvider for Fake {
    fn model(&self) -> &str {
        "fake"
    }

    async fn generate(&self, _: GenerateRequest) -> Result<AnswerStream, ProviderError> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        sleep(self.delay).await;
        let script = self.scripts.lock().unwrap().pop_front();
        match script {
            Some(script) => Ok(stream::iter(script?).boxed()),
            None => std::future::pending().await,
        }
    }

    async fn classify(&self, _: ClassifyRequest) -> Result<Option<Classification>, ProviderError> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        Err(failure(ProviderErrorKind::Unavailable))
    }

    async fn rewrite(&self, request: RewriteRequest) -> Result<Option<String>, ProviderError> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        request.meter.add(CallUsage { cached_tokens: 1, ..CallUsage::default() });
        Ok(Some(request.question))
    }
}

fn failure(kind: ProviderErrorKind) -> ProviderError {
    ProviderError::new(kind, "scripted")
}

fn token(text: &str) -> Part {
    Ok(AnswerPart::Token(text.to_owned()))
}

fn finished() -> Part {
    Ok(AnswerPart::Finished { reason: FinishReason::Stop, usage: CallUsage::default() })
}

fn says(text: &str) -> Result<Vec<Part>, ProviderError> {
    Ok(vec![token(text), finished()])
}

fn fake(scripts: impl IntoIterator<Item = Result<Vec<Part>, ProviderError>>) -> Arc<Fake> {
    let scripts = Mutex::new(scripts.into_iter().collect());
    Arc::new(Fake { scripts, requests: AtomicUsize::new(0), delay: Duration::ZERO })
}

fn broken(kind: ProviderErrorKind) -> Arc<Fake> {
    fake((0..100).map(|_| Err(failure(kind))))
}

fn chain(providers: &[&Arc<Fake>]) -> Arc<Chain> {
    let config = ProviderConfig { kind: ProviderKind::Openai, ..ProviderConfig::default() };
    let links = providers.iter().zip(1..).map(|(provider, number)| Link {
        member: Arc::new(Member::new(&format!("p{number}"), &config)),
        provider: Arc::clone(provider) as Arc<dyn ModelProvider>,
        model: format!("model {number}").into(),
    });
    let rules = FallbackRules { timeout: Duration::from_secs(60), reasoning_is_output: false };
    Arc::new(Chain { links: links.collect(), rules })
}

fn question() -> GenerateRequest {
    GenerateRequest {
        system_prompt: String::new(),
        passages: Vec::new(),
        basis: RetrievalBasis::Nothing,
        guidance: Guidance::default(),
        history: Vec::new(),
        question: "Hello?".to_owned(),
        script: None,
    }
}

/// The text, the failure that ended it, and the outcomes of the requests.
async fn ask(chain: &Arc<Chain>) -> (String, Option<ProviderErrorKind>, Vec<(String, &'static str)>) {
    let calls = Arc::<Calls>::default();
    let (mut text, mut error) = (String::new(), None);
    match chain.recorded(&calls).generate(question()).await {
        Ok(mut parts) => {
            while let Some(part) = parts.next().await {
                match part {
                    Ok(AnswerPart::Token(token)) => text.push_str(&token),
                    Ok(_) => {}
                    Err(failure) => error = Some(failure.kind),
                }
            }
        }
        Err(failure) => error = Some(failure.kind),
    }
    let outcomes = calls.ended().iter().map(|call| (call.provider.to_string(), call.outcome.as_str())).collect();
    (text, error, outcomes)
}

fn outcomes(outcomes: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    outcomes.iter().map(|(provider, outcome)| ((*provider).to_owned(), *outcome)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_next_provider_answers_after_every_failure_but_a_rejection() {
    for kind in ProviderErrorKind::ALL {
        let (first, second) = (broken(*kind), fake([says("hi")]));
        let answer = ask(&chain(&[&first, &second])).await;
        if *kind == ProviderErrorKind::Rejected {
            assert_eq!(answer, (String::new(), Some(*kind), outcomes(&[("p1", "rejected")])));
            assert_eq!(second.requests.load(Ordering::SeqCst), 0);
        } else {
            assert_eq!(answer, ("hi".to_owned(), None, outcomes(&[("p1", kind.as_str()), ("p2", "ok")])), "{kind:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_the_first_token_ends_the_answer() {
    let cut = || Err(failure(ProviderErrorKind::Unavailable));
    let first = fake([Ok(vec![token("He"), cut()])]);
    let second = fake([says("hi")]);
    let answer = ask(&chain(&[&first, &second])).await;
    let wanted = (Some(ProviderErrorKind::Unavailable), outcomes(&[("p1", "unavailable")]));
    assert_eq!(answer, ("He".to_owned(), wanted.0, wanted.1));
    assert_eq!(second.requests.load(Ordering::SeqCst), 0);

    let part = crate::domain::Part { kind: "citation".to_owned(), fields: Default::default() };
    let first = fake([Ok(vec![Ok(AnswerPart::Part(part)), cut()])]);
    assert_eq!(
        ask(&chain(&[&first, &second])).await.1,
        Some(ProviderErrorKind::Unavailable),
        "a part is shown as well"
    );
}

#[tokio::test(start_paused = true)]
async fn reasoning_counts_as_output_only_where_it_is_shown_or_kept() {
    let reasons =
        || fake([Ok(vec![Ok(AnswerPart::Reasoning("hm".to_owned())), Err(failure(ProviderErrorKind::Broken))])]);
    let (first, second) = (reasons(), fake([says("hi")]));
    assert_eq!(ask(&chain(&[&first, &second])).await.0, "hi");
    let (first, second) = (reasons(), fake([says("hi")]));
    let mut shown = Arc::into_inner(chain(&[&first, &second])).unwrap();
    shown.rules.reasoning_is_output = true;
    assert_eq!(ask(&Arc::new(shown)).await.1, Some(ProviderErrorKind::Broken));
}

#[tokio::test(start_paused = true)]
async fn all_attempts_together_are_bounded() {
    let (first, second, third) = (fake([]), fake([says("late")]), fake([says("later")]));
    let began = Instant::now();
    let (text, error, tried) = ask(&chain(&[&first, &second, &third])).await;
    assert_eq!((text.as_str(), error), ("", Some(ProviderErrorKind::Timeout)));
    assert_eq!((began.elapsed(), tried), (Duration::from_secs(60), outcomes(&[("p1", "timeout")])));

    // A list of one has no deadline of its own.
    let alone = Arc::new(Fake {
        scripts: Mutex::new(VecDeque::from([says("slow")])),
        requests: AtomicUsize::new(0),
        delay: Duration::from_secs(100),
    });
    assert_eq!(ask(&chain(&[&alone])).await.0, "slow");
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_is_skipped_until_a_probe_succeeds() {
    let first = fake((0..5).map(|_| Err(failure(ProviderErrorKind::Unavailable))).chain([says("first")]));
    let second = fake((0..20).map(|_| says("second")));
    let chain = chain(&[&first, &second]);
    for _ in 0..5 {
        assert_eq!(ask(&chain).await.2, outcomes(&[("p1", "unavailable"), ("p2", "ok")]));
    }
    assert_eq!(ask(&chain).await.2, outcomes(&[("p1", "circuit_open"), ("p2", "ok")]));
    let status = chain.links[0].member.status();
    let requests = (status.requests["unavailable"], status.requests["circuit_open"]);
    assert_eq!((status.circuit, requests), (Circuit::Open, (5, 1)));
    assert_eq!(first.requests.load(Ordering::SeqCst), 5);

    sleep(Duration::from_secs(30)).await;
    assert_eq!(chain.links[0].member.status().circuit, Circuit::HalfOpen);
    assert_eq!(ask(&chain).await, ("first".to_owned(), None, outcomes(&[("p1", "ok")])));
    assert_eq!(chain.links[0].member.status().circuit, Circuit::Closed);
}

#[tokio::test(start_paused = true)]
async fn with_all_circuits_open_the_question_fails_at_once_with_the_wait() {
    let only = broken(ProviderErrorKind::Timeout);
    let chain = chain(&[&only]);
    for _ in 0..5 {
        assert_eq!(ask(&chain).await.1, Some(ProviderErrorKind::Timeout));
    }
    sleep(Duration::from_secs(10)).await;
    let error = chain.recorded(&Arc::default()).generate(question()).await.err().unwrap();
    assert_eq!((error.kind, error.retry_after_ms), (ProviderErrorKind::Unavailable, Some(20_001)));
    assert_eq!(only.requests.load(Ordering::SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_stays_one_while_the_circuit_is_open() {
    let only = broken(ProviderErrorKind::OutOfCredit);
    let chain = chain(&[&only]);
    for _ in 0..7 {
        assert_eq!(ask(&chain).await.1, Some(ProviderErrorKind::OutOfCredit));
    }
    assert_eq!(only.requests.load(Ordering::SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_is_cancelled_and_frees_the_probe() {
    let first = fake((0..5).map(|_| Err(failure(ProviderErrorKind::Unavailable))));
    let chain = chain(&[&first]);
    for _ in 0..5 {
        ask(&chain).await;
    }
    sleep(Duration::from_secs(30)).await;
    let calls = Arc::<Calls>::default();
    let waited = tokio::time::timeout(Duration::from_secs(1), chain.recorded(&calls).generate(question())).await;
    assert!(waited.is_err(), "the provider stalls");
    assert_eq!(calls.ended()[0].outcome, CallOutcome::Cancelled);
    first.scripts.lock().unwrap().push_back(says("back"));
    assert_eq!(ask(&chain).await.0, "back");
}

#[tokio::test(start_paused = true)]
async fn classification_asks_one_provider_whose_circuit_is_closed() {
    let (first, second) = (broken(ProviderErrorKind::Unavailable), fake([]));
    let chain = chain(&[&first, &second]);
    let request = || ClassifyRequest {
        instructions: String::new(),
        question: "q".to_owned(),
        labels: vec![Default::default()],
        meter: Default::default(),
    };
    for _ in 0..5 {
        assert!(chain.recorded(&Arc::default()).classify(request()).await.is_err());
    }
    assert_eq!((first.requests.load(Ordering::SeqCst), second.requests.load(Ordering::SeqCst)), (5, 0));
    assert!(chain.recorded(&Arc::default()).classify(request()).await.is_err());
    assert_eq!((first.requests.load(Ordering::SeqCst), second.requests.load(Ordering::SeqCst)), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn rewriting_asks_the_first_provider_and_is_recorded() {
    let (first, second) = (fake([]), fake([]));
    let chain = chain(&[&first, &second]);
    let request = RewriteRequest {
        instructions: String::new(),
        history: Vec::new(),
        question: "q".to_owned(),
        meter: Default::default(),
    };
    let calls = Arc::<Calls>::default();
    assert_eq!(chain.recorded(&calls).rewrite(request).await.unwrap().as_deref(), Some("q"));
    assert_eq!((first.requests.load(Ordering::SeqCst), second.requests.load(Ordering::SeqCst)), (1, 0));
    let calls = calls.ended();
    assert_eq!((calls.len(), calls[0].task, calls[0].outcome), (1, ModelTask::Rewrite, CallOutcome::Answered));
    assert_eq!(calls[0].usage.map(|usage| usage.cached_tokens), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_classification_does_not_open_the_circuit() {
    let slow = Arc::new(Slow);
    let config = ProviderConfig { kind: ProviderKind::Openai, ..ProviderConfig::default() };
    let member = Arc::new(Member::new("slow", &config));
    let links = vec![Link { member: Arc::clone(&member), provider: slow, model: "slow".into() }];
    let rules = FallbackRules { timeout: Duration::from_secs(60), reasoning_is_output: false };
    let chain = Arc::new(Chain { links, rules });
    for _ in 0..20 {
        let request = ClassifyRequest {
            instructions: String::new(),
            question: "q".to_owned(),
            labels: Vec::new(),
            meter: Default::default(),
        };
        assert!(chain.recorded(&Arc::default()).classify(request).await.is_err());
    }
    assert_eq!(member.status().circuit, Circuit::Closed);
}

/// Provider that never classifies in time.
struct Slow;

#[async_trait::async_trait]
impl ModelProvider for Slow {
    fn model(&self) -> &str {
        "slow"
    }

    async fn generate(&self, _: GenerateRequest) -> Result<AnswerStream, ProviderError> {
        Err(failure(ProviderErrorKind::Unavailable))
    }

    async fn classify(&self, _: ClassifyRequest) -> Result<Option<Classification>, ProviderError> {
        Err(failure(ProviderErrorKind::Timeout))
    }

    async fn rewrite(&self, _: RewriteRequest) -> Result<Option<String>, ProviderError> {
        Err(failure(ProviderErrorKind::Timeout))
    }
}
