//! One turn, from its question to its end. Each step consumes the result of the step before,
//! `Asked → Routed → Retrieved → Answering → Generated`, so that the steps cannot run in another order.

use super::{
    budgets::Spending,
    citations::{CitationFilter, located},
    cited_answer::CitedAnswer,
    engine::Engine,
    guidance, model_calls,
    passages::{self, Found},
    progress::{STARTING, progress},
    reasoning::TurnReasoning,
    recording::Recording,
    rewriting,
    router::Route,
    sources::sources,
    stages::{Answering, Asked, Generated, Retrieved, Routed, Stopped, millis},
    start::TurnRun,
    suggestions,
    support::support,
    tasks::AfterTurn,
    turn_metrics::TurnMetrics,
    turns::Acceptance,
    watchdog::{StopReason, Watchdog, stop_when_expired},
};
use crate::{
    domain::{AnswerMetadata, FinishReason, Latency, MessageId, ModelTask, RetrievalAccount, UnixMillis},
    knowledge::RetrievalQuery,
    metrics::TurnStep,
    provider::{AnswerPart, Calls, ModelProvider, ProviderError, ProviderErrorKind, RecordedChain},
    store::{Answer, EndedTurn},
    turn::{Progress, TurnEnd, TurnFailure, TurnLog},
};
use futures_util::FutureExt;
use std::{
    future::Future,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    time::Instant,
};
use switchboard_protocol::Step;
use tokio_util::task::AbortOnDropHandle;

impl TurnRun {
    /// Runs the turn to its end, which is always appended to the log.
    pub async fn finish(self) {
        let Self { engine, log, acceptance, epoch, asked, began } = self;
        let mut turn_metrics = TurnMetrics::new(&engine.metrics, engine.failures, began);
        let calls = engine.providers.record_calls();
        let spending = Spending::new(engine.budget, log.subject.user_id, &calls);
        let recording = Recording::begin(&engine.recorder, &log, epoch, spending);
        let watchdog = Rc::new(Watchdog::new(&engine.config, began));
        // In a task of its own, because joined with the answer it would be polled for each token.
        let watching = stop_when_expired(Rc::clone(&watchdog), Arc::clone(&log), acceptance.stop_signal().clone());
        let watching = AbortOnDropHandle::new(actix::spawn(watching));
        let steps = Steps {
            engine: &engine,
            log: &log,
            recording: &recording,
            acceptance: &acceptance,
            watchdog: &watchdog,
            calls: &calls,
            began,
        };
        let after_turn = AfterTurn::of(engine.tasks.as_ref(), &asked);
        let generated = match steps.up_to_answer(asked).await {
            Ok(generated) => generated,
            // Stopped before the first token: the answer is empty.
            Err(Stopped) => {
                let model = engine.providers.default_chain().model().to_owned();
                let metadata = AnswerMetadata { model, ..AnswerMetadata::default() };
                Generated { metadata: Box::new(metadata), reasoning: None, ending: steps.stopped() }
            }
        };
        drop(watching);
        let specialist = generated.metadata.specialist.clone();
        let recording_began = Instant::now();
        let end = Box::pin(steps.record(generated)).await;
        engine.metrics.step(TurnStep::Record, recording_began.elapsed());
        turn_metrics.count_end(&specialist, &end);
        let after_turn = after_turn.filter(|_| AfterTurn::is_due(&end));
        acceptance.end(end);
        AfterTurn::add(after_turn, &log);
    }
}

struct Steps<'a> {
    engine: &'a Engine,
    log: &'a Arc<TurnLog>,
    recording: &'a Recording,
    acceptance: &'a Acceptance,
    watchdog: &'a Watchdog,
    /// The requests to providers so far.
    calls: &'a Arc<Calls>,
    began: Instant,
}

impl Steps<'_> {
    /// Returns the ending of a stopped turn.
    fn stopped(&self) -> Result<FinishReason, TurnFailure> {
        match self.acceptance.stop_signal().reason() {
            None | Some(StopReason::Cancelled | StopReason::Abandoned) => Ok(FinishReason::Cancelled),
            Some(StopReason::TimedOut) => Err(TurnFailure::TimedOut),
            Some(StopReason::ServerStopping) => Err(TurnFailure::ServerStopped),
        }
    }

    async fn up_to_answer(&self, asked: Box<Asked>) -> Result<Generated, Stopped> {
        // Boxed, so that the task does not reserve memory for the earlier steps while the answer is streamed.
        let answering = Box::pin(self.up_to_model(asked)).await?;
        Ok(self.generate(answering).await)
    }

    async fn up_to_model(&self, asked: Box<Asked>) -> Result<Answering, Stopped> {
        self.log.announce(Progress {
            client_message_id: asked.question.client_message_id.clone(),
            question: Some(asked.question.text.clone()),
            ..progress(Step::Starting, STARTING)
        });
        let retrieved = if guidance::needs_no_search(self.engine, &asked) {
            Retrieved::without_search(asked, Arc::clone(self.engine.specialists.default_specialist()))
        } else {
            let routed = self.classify(asked).await?;
            self.retrieve(routed).await?
        };
        Ok(self.ask(retrieved).await)
    }

    async fn classify(&self, asked: Box<Asked>) -> Result<Routed, Stopped> {
        self.log.announce(progress(Step::Routing, "Choosing a specialist…"));
        let began = Instant::now();
        let provider = self.engine.providers.default_chain().recorded(self.calls);
        let query = self.query(&provider, &asked).await?;
        let by_rule = guidance::warning(self.engine, &asked).and_then(|warning| warning.specialist);
        let Engine { router, knowledge, .. } = self.engine;
        let route = router.search_and_route(&provider, knowledge, &query, by_rule);
        let route = self.unless_stopped(pin!(route)).await?;
        let Route { specialist, confidence, fell_back, failure, .. } = route;
        let (metrics, took) = (&self.engine.metrics, began.elapsed());
        metrics.step(TurnStep::Classify, took);
        if let Some(kind) = failure {
            metrics.provider_errors.increment(ModelTask::Classify, kind);
        }
        Ok(Routed { asked, specialist, confidence, fell_back, query, took })
    }

    /// Returns what to search for: of a follow-up, the question that the model makes of it, if it does so in time.
    async fn query(&self, provider: &RecordedChain, asked: &Asked) -> Result<RetrievalQuery, Stopped> {
        let Engine { config, languages, metrics, .. } = self.engine;
        let earlier = asked.earlier_messages();
        let query = RetrievalQuery::new(&asked.question.text, earlier, languages);
        if !query.is_follow_up() || !config.rewrite_follow_ups {
            return Ok(query);
        }
        let rewritten = {
            let rewritten = rewriting::rewrite(provider, languages, &query, earlier);
            self.unless_stopped(pin!(rewritten)).await?
        };
        let rewritten = rewritten.unwrap_or_else(|kind| {
            metrics.provider_errors.increment(ModelTask::Rewrite, kind);
            None
        });
        Ok(rewritten.unwrap_or(query))
    }

    async fn retrieve(&self, routed: Routed) -> Result<Retrieved, Stopped> {
        let message = match (&routed.specialist.topic, routed.fell_back) {
            (topic, false) => format!("Looking things up in {topic}…"),
            (topic, true) => format!("No specialist fits well; looking things up in {topic}…"),
        };
        self.log.announce(routed.progress(Step::Retrieval, &message));
        let began = Instant::now();
        let search = passages::search(self.engine, &routed);
        let Found { searched, suggestions } = self.unless_stopped(pin!(search)).await?;
        let sources = sources(&searched.retrieval.passages, &self.engine.passage_url);
        let took = began.elapsed();
        self.engine.metrics.step(TurnStep::Retrieve, took);
        let query = routed.query.rewritten_question().map(str::to_owned);
        let account = Some(RetrievalAccount { query, ..searched.retrieval.account() });
        Ok(Retrieved { routed, account, searched, sources, suggestions, took })
    }

    async fn ask(&self, retrieved: Retrieved) -> Answering {
        let began = Instant::now();
        let Retrieved { routed, searched, account, sources, suggestions, took: retrieval } = retrieved;
        self.log.announce(Progress {
            sources: Some(Arc::clone(&sources)),
            ..routed.progress(Step::Generating, "Writing the answer…")
        });
        let provider = self.engine.providers.of_specialist(&routed.specialist.name).recorded(self.calls);
        let mut metadata = Box::new(AnswerMetadata {
            specialist: routed.specialist.name.clone(),
            confidence: routed.confidence,
            fallback: routed.fell_back,
            sources,
            model: provider.model().to_owned(),
            latency_ms: Latency { routing: millis(routed.took), retrieval: millis(retrieval), ..Latency::default() },
            support: account.is_some().then(|| support(&searched)),
            retrieval: account,
            ..AnswerMetadata::default()
        });
        if let Some(warning) = guidance::warning(self.engine, &routed.asked) {
            self.append(warning.text, &mut metadata);
        }
        let request = guidance::request(self.engine, routed, searched).await;
        // Immediately before the request, so that the next checkpoint knows of both.
        self.recording.describe(AnswerMetadata::clone(&metadata));
        let answer = self.unless_stopped(pin!(provider.generate(request))).await;
        Answering { metadata, answer, suggestions, began }
    }

    async fn generate(&self, answering: Answering) -> Generated {
        let Answering { mut metadata, answer, suggestions, began } = answering;
        let mut reasoning = TurnReasoning::new(&self.engine.config);
        let mut citations = CitationFilter::new(metadata.sources.len());
        // A safety warning may precede the model's text.
        let model_text_start = self.log.with_tokens(|tokens| tokens.text().len());
        let ending = match answer {
            Ok(Ok(answer)) => {
                let answer = CitedAnswer::new(answer, &mut citations);
                self.unless_stopped(pin!(self.write(answer, &mut metadata, &mut reasoning))).await
            }
            Ok(Err(error)) => Ok(Err(error)),
            Err(Stopped) => Err(Stopped),
        };
        metadata.citations = self.log.with_tokens(|tokens| located(tokens.text(), model_text_start, citations.found()));
        let ending = match ending {
            Ok(Ok(reason)) => Ok(reason),
            Ok(Err(error)) => Err(self.provider_failure(&error)),
            Err(Stopped) => self.stopped(),
        };
        suggestions::append(suggestions, &ending, self.recording);
        self.engine.metrics.step(TurnStep::Generate, began.elapsed());
        Generated { metadata, reasoning: reasoning.into_kept(), ending }
    }

    /// Moves the model's answer into the log, token by token.
    async fn write(
        &self,
        mut answer: CitedAnswer<'_>,
        metadata: &mut AnswerMetadata,
        reasoning: &mut TurnReasoning,
    ) -> Result<FinishReason, ProviderError> {
        let mut has_text = false;
        while let Some(part) = answer.next().await {
            match part? {
                AnswerPart::Token(token) => {
                    if !std::mem::replace(&mut has_text, true) {
                        self.note_model(metadata);
                    }
                    self.append(&token, metadata);
                }
                AnswerPart::Reasoning(delta) => {
                    self.watchdog.on_progress(Instant::now());
                    reasoning.push(&delta, self.log);
                }
                AnswerPart::Part(part) => {
                    self.watchdog.on_progress(Instant::now());
                    self.recording.append_part(part);
                }
                AnswerPart::Working => {
                    self.watchdog.on_progress(Instant::now());
                }
                AnswerPart::Finished { reason, usage } => {
                    metadata.usage = usage.tokens;
                    return Ok(reason);
                }
            }
        }
        Err(ProviderError {
            kind: ProviderErrorKind::Broken,
            detail: "the stream ended without a last part".to_owned(),
            retry_after_ms: None,
        })
    }

    /// Corrects the model in the metadata after a fallback.
    fn note_model(&self, metadata: &mut AnswerMetadata) {
        if let Some(model) = self.calls.answering().filter(|model| **model != *metadata.model) {
            metadata.model = model.as_ref().to_owned();
            self.recording.describe(metadata.clone());
        }
    }

    fn append(&self, token: &str, metadata: &mut AnswerMetadata) {
        let seq = self.recording.append(token);
        let now = Instant::now();
        let before = self.watchdog.on_progress(now);
        if seq == 0 {
            let waited = now.saturating_duration_since(self.began);
            metadata.latency_ms.first_token = millis(waited);
            self.engine.metrics.first_token.record(waited);
        } else {
            self.engine.metrics.token_interval.record(now.saturating_duration_since(before));
        }
    }

    /// Stores the answer and returns the turn's end. The answer is in the history before clients receive the end.
    async fn record(&self, generated: Generated) -> TurnEnd {
        let Generated { mut metadata, reasoning, ending } = generated;
        metadata.latency_ms.total = millis(self.began.elapsed());
        self.note_model(&mut metadata);
        let calls = self.calls.ended();
        model_calls::account(&mut metadata, &calls, &self.engine.currency, &self.engine.metrics);
        let subject = self.log.subject;
        let (text, token_ends, sha256) =
            self.log.with_tokens(|tokens| (tokens.text().to_owned(), tokens.ends().to_vec(), tokens.sha256()));
        let (_, items) = self.log.items_to_store(None);
        let message_id = MessageId::new();
        let finish_reason = ending.as_ref().map_or(FinishReason::Error, |reason| *reason);
        log::info!(
            specialist = metadata.specialist, finish_reason = finish_reason.as_str(), tokens = token_ends.len(),
            total_ms = metadata.latency_ms.total;
            "turn ended"
        );
        let at = UnixMillis::now();
        let stored = self.recording.end(EndedTurn {
            turn_id: subject.turn_id,
            epoch: self.recording.epoch(),
            conversation_id: subject.conversation_id,
            answer: Answer {
                message_id,
                text,
                token_ends,
                finish_reason,
                metadata: AnswerMetadata::clone(&metadata),
                items,
                reasoning,
            },
            error: ending.as_ref().err().map(|failure| self.engine.recorder.stored_error(failure)),
            at,
            charge: self.recording.charge(at),
        });
        let stored = stored.await;
        metadata.stored = (!stored).then_some(false);
        match ending {
            Ok(finish_reason) => TurnEnd::Complete { message_id, finish_reason, metadata, sha256 },
            Err(failure) if stored => TurnEnd::Failed(failure),
            Err(failure) => TurnEnd::Failed(TurnFailure::NotStored(Box::new(failure))),
        }
    }

    /// Runs `work` unless the turn has to stop. Takes a reference, because a future passed by value is stored twice.
    fn unless_stopped<T>(&self, work: Pin<&mut impl Future<Output = T>>) -> impl Future<Output = Result<T, Stopped>> {
        self.acceptance.stop_signal().unless_stopped(work).map(|done| done.ok_or(Stopped))
    }

    fn provider_failure(&self, error: &ProviderError) -> TurnFailure {
        self.engine.metrics.provider_errors.increment(ModelTask::Generate, error.kind);
        // The provider logs permanent failures itself; a warning per turn would flood the log.
        let level = if error.kind.is_permanent() { log::Level::Debug } else { log::Level::Warn };
        log::log!(level, kind:? = error.kind; "model request failed: {}", error.detail);
        let has_begun = self.log.position().1 > 0;
        TurnFailure::Provider { kind: error.kind, has_begun, retry_after_ms: error.retry_after_ms }
    }
}
