//! Ordered list of providers: the next one answers when one fails before its first token.
//!
//! Falling back repeats the question, so it is limited: only before any output, only for failures that another provider may not
//! have ([`falls_back`]), and only until a deadline. The turn's own limits stay in force, since dropping the answer cancels
//! whatever the chain does.

use super::{
    AnswerPart, AnswerStream, Classification, ClassifyRequest, GenerateRequest, Meter, ModelProvider, ProviderError,
    ProviderErrorKind, RewriteRequest,
    calls::Calls,
    member::{Member, OpenCall},
};
use crate::domain::ModelTask;
use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// A provider in a list, with the parameters that it has there.
pub(super) struct Link {
    pub member: Arc<Member>,
    pub provider: Arc<dyn ModelProvider>,
    pub model: Arc<str>,
}

/// Conditions of a fallback.
#[derive(Clone, Copy, Debug)]
pub(super) struct FallbackRules {
    /// Time from the request to the first token after which no further provider is tried.
    pub timeout: Duration,
    /// Whether reasoning counts as output, because it is shown or kept.
    pub reasoning_is_output: bool,
}

/// Ordered list of providers. Never empty.
pub struct Chain {
    pub(super) links: Vec<Link>,
    pub(super) rules: FallbackRules,
}

/// Whether another provider may succeed where one failed like this. A refused message is not passed on: a refusal by one
/// provider's content policy is no reason to ask the next.
const fn falls_back(kind: ProviderErrorKind) -> bool {
    use ProviderErrorKind as Kind;
    match kind {
        Kind::Unavailable
        | Kind::Timeout
        | Kind::RateLimited
        | Kind::Unauthorized
        | Kind::OutOfCredit
        | Kind::UnknownModel
        | Kind::ContextTooLong
        | Kind::Broken => true,
        Kind::Rejected => false,
    }
}

impl Chain {
    /// Returns the providers as one provider for a turn, whose requests are recorded in `calls`.
    pub fn recorded(self: &Arc<Self>, calls: &Arc<Calls>) -> RecordedChain {
        self.recorded_for(ModelTask::Generate, calls)
    }

    /// Returns the providers as one provider whose texts serve `task`, and whose requests are recorded in `calls`.
    pub fn recorded_for(self: &Arc<Self>, task: ModelTask, calls: &Arc<Calls>) -> RecordedChain {
        RecordedChain { chain: Arc::clone(self), calls: Arc::clone(calls), task }
    }

    /// Whether the first provider composes answers without a model.
    pub fn is_embedded(&self) -> bool {
        self.links[0].provider.is_embedded()
    }

    /// Model of the first provider.
    pub fn model(&self) -> &str {
        &self.links[0].model
    }
}

/// Providers of a list as one provider for one turn or task.
pub struct RecordedChain {
    chain: Arc<Chain>,
    calls: Arc<Calls>,
    /// Purpose of the generated texts.
    task: ModelTask,
}

#[async_trait::async_trait]
impl ModelProvider for RecordedChain {
    fn model(&self) -> &str {
        self.chain.model()
    }

    async fn generate(&self, request: GenerateRequest) -> Result<AnswerStream, ProviderError> {
        let untried = Untried {
            chain: Arc::clone(&self.chain),
            calls: Arc::clone(&self.calls),
            task: self.task,
            next: 0,
            prompt_bytes: prompt_bytes(&request),
            request: Some(request),
            deadline: Instant::now() + self.chain.rules.timeout,
        };
        let Started { answer, call, untried } = untried.start(None).await?;
        Ok(Box::pin(ChainedAnswer { state: State::Streaming { answer, call }, untried }))
    }

    async fn classify(&self, request: ClassifyRequest) -> Result<Option<Classification>, ProviderError> {
        let bytes = request.instructions.len() + request.question.len();
        let Some((provider, call)) = self.begin(ModelTask::Classify, bytes) else { return Ok(None) };
        let meter = request.meter.clone();
        let choice = provider.classify(request).await;
        end(call, choice, &meter)
    }

    async fn rewrite(&self, request: RewriteRequest) -> Result<Option<String>, ProviderError> {
        let history = request.history.iter().map(|message| message.content.len());
        let bytes = request.instructions.len() + request.question.len() + history.sum::<usize>();
        let Some((provider, call)) = self.begin(ModelTask::Rewrite, bytes) else { return Ok(None) };
        let meter = request.meter.clone();
        let rewritten = provider.rewrite(request).await;
        end(call, rewritten, &meter)
    }
}

impl RecordedChain {
    /// Begins a request that prepares an answer, to the first provider whose circuit permits it. There is no fallback, since the
    /// caller can do without a model.
    fn begin(&self, task: ModelTask, prompt_bytes: usize) -> Option<(&dyn ModelProvider, OpenCall)> {
        self.chain.links.iter().find_map(|Link { member, provider, model }| {
            let call = OpenCall::begin(member, model, task, &self.calls, prompt_bytes).ok()?;
            Some((provider.as_ref(), call))
        })
    }
}

/// Ends a request that prepares an answer.
fn end<T>(call: OpenCall, answer: Result<Option<T>, ProviderError>, meter: &Meter) -> Result<Option<T>, ProviderError> {
    match &answer {
        Ok(Some(_)) => call.succeed(meter.total()),
        Ok(None) => call.discard(),
        Err(error) if error.kind == ProviderErrorKind::Timeout => call.give_up(error, meter.total()),
        Err(error) => call.fail(error, meter.total()),
    }
    answer
}

/// Length of the texts in a request.
fn prompt_bytes(request: &GenerateRequest) -> usize {
    let passages = request.passages.iter().map(|passage| passage.text.len());
    let history = request.history.iter().map(|message| message.content.len());
    request.system_prompt.len() + request.question.len() + passages.chain(history).sum::<usize>()
}

/// Providers that have not been asked, and the question for them.
struct Untried {
    chain: Arc<Chain>,
    calls: Arc<Calls>,
    task: ModelTask,
    next: usize,
    request: Option<GenerateRequest>,
    prompt_bytes: usize,
    deadline: Instant,
}

/// An answer that has begun.
struct Started {
    answer: AnswerStream,
    call: OpenCall,
    /// `None` after the last provider.
    untried: Option<Untried>,
}

impl Untried {
    /// Asks one provider after the other until one begins to answer. `failure` is that of the provider before them.
    async fn start(mut self, mut failure: Option<ProviderError>) -> Result<Started, ProviderError> {
        let chain = Arc::clone(&self.chain);
        let mut open: Option<(ProviderErrorKind, Duration)> = None;
        while let Some(Link { member, provider, model }) = chain.links.get(self.next) {
            if failure.is_some() && Instant::now() >= self.deadline {
                break;
            }
            self.next += 1;
            let call = match OpenCall::begin(member, model, self.task, &self.calls, self.prompt_bytes) {
                Ok(call) => call,
                Err(wait) => {
                    let (kind, shortest) = open.unwrap_or((member.failure_while_open(), wait));
                    open = Some((kind, shortest.min(wait)));
                    continue;
                }
            };
            if let Some(failure) = &failure {
                log::warn!(kind = failure.kind.as_str(), provider:% = member.name(); "falling back to the next provider");
            }
            let is_last = self.next == chain.links.len();
            let request = if is_last { self.request.take() } else { self.request.clone() };
            let Some(request) = request else { break };
            let begun = provider.generate(request);
            let begun = match chain.links.len() {
                1 => begun.await,
                _ => match timeout_at(self.deadline, begun).await {
                    Ok(begun) => begun,
                    // The time was spent on the providers before.
                    Err(_) if failure.is_some() => {
                        let error = too_late();
                        call.give_up(&error, None);
                        return Err(error);
                    }
                    Err(_) => Err(too_late()),
                },
            };
            match begun {
                Ok(answer) => return Ok(Started { answer, call, untried: (!is_last).then_some(self) }),
                Err(error) => {
                    call.fail(&error, None);
                    if !falls_back(error.kind) {
                        return Err(error);
                    }
                    failure = Some(error);
                }
            }
        }
        Err(failure.unwrap_or_else(|| all_open(open)))
    }
}

fn too_late() -> ProviderError {
    ProviderError::new(ProviderErrorKind::Timeout, "no token within workflow.fallback_timeout_ms")
}

/// Error of a list without a provider that may be asked now.
fn all_open(open: Option<(ProviderErrorKind, Duration)>) -> ProviderError {
    let (kind, wait) = open.unwrap_or((ProviderErrorKind::Unavailable, Duration::ZERO));
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    let error = ProviderError::new(kind, "the circuit of every provider is open");
    ProviderError { retry_after_ms: Some(wait_ms), ..error }
}

/// Answer of the first provider that does not fail before its first token.
struct ChainedAnswer {
    state: State,
    /// `None` once there is output, or no provider is left.
    untried: Option<Untried>,
}

enum State {
    Streaming {
        answer: AnswerStream,
        call: OpenCall,
    },
    /// The next provider is being asked.
    Starting(BoxFuture<'static, Result<Started, ProviderError>>),
    Ended,
}

impl ChainedAnswer {
    /// Takes a failure of the provider that is answering. Returns it if no other provider is asked.
    fn on_failure(&mut self, error: ProviderError) -> Option<ProviderError> {
        if let State::Streaming { call, .. } = std::mem::replace(&mut self.state, State::Ended) {
            call.fail(&error, None);
        }
        match self.untried.take().filter(|_| falls_back(error.kind)) {
            Some(untried) => {
                self.state = State::Starting(untried.start(Some(error)).boxed());
                None
            }
            None => Some(error),
        }
    }

    fn on_part(&mut self, part: &AnswerPart) {
        let State::Streaming { call, .. } = &mut self.state else { return };
        match part {
            AnswerPart::Working => {}
            AnswerPart::Reasoning(text) => {
                call.on_output(text.len());
                if self.untried.as_ref().is_some_and(|untried| untried.chain.rules.reasoning_is_output) {
                    self.untried = None;
                }
            }
            AnswerPart::Token(text) => {
                call.on_output(text.len());
                self.untried = None;
            }
            AnswerPart::Part(_) => {
                call.on_output(0);
                self.untried = None;
            }
            AnswerPart::Finished { usage, .. } => {
                if let State::Streaming { call, .. } = std::mem::replace(&mut self.state, State::Ended) {
                    call.succeed(Some(*usage));
                }
            }
        }
    }
}

impl Stream for ChainedAnswer {
    type Item = Result<AnswerPart, ProviderError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match &mut self.state {
                State::Streaming { answer, .. } => match ready!(answer.poll_next_unpin(cx)) {
                    Some(Ok(part)) => {
                        self.on_part(&part);
                        return Poll::Ready(Some(Ok(part)));
                    }
                    Some(Err(error)) => {
                        if let Some(error) = self.on_failure(error) {
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                    None => {
                        let error =
                            ProviderError::new(ProviderErrorKind::Broken, "the stream ended without a last part");
                        if let Some(error) = self.on_failure(error) {
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                },
                State::Starting(started) => match ready!(started.poll_unpin(cx)) {
                    Ok(Started { answer, call, untried }) => {
                        self.untried = untried;
                        self.state = State::Streaming { answer, call };
                    }
                    Err(error) => {
                        self.state = State::Ended;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                State::Ended => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests;
