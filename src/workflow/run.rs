//! One turn, from its question to its end. Each step takes what the step before it found and adds its own:
//! `Asked → Routed → Retrieved → Answering → Generated`, and then it is recorded.

use super::{
    Question,
    counting::Counting,
    engine::Engine,
    error::TurnError,
    history,
    progress::{STARTING, progress},
    recorder::Recording,
    router::Route,
    specialists::Specialist,
    turns::Acceptance,
    watch::{Stop, StopReason, Watch},
};
use crate::{
    domain::{
        AnswerMetadata, FinishReason, HistoryMessage, Latency, MessageId, Passage, Source, TurnId, UnixMillis, Usage,
    },
    knowledge::retrieval_query,
    limits::MAX_HISTORY_MESSAGES,
    metrics::{ModelTask, TurnStep},
    provider::{AnswerPart, AnswerStream, GenerateRequest, ProviderError, ProviderErrorKind},
    store::{Answer, BegunTurn, EndedTurn, NewTurn, Page, StoreError},
    turn::{Progress, TurnEnd, TurnFailure, TurnLog},
};
use futures_util::{FutureExt, StreamExt};
use std::{
    future::Future,
    net::IpAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use switchboard_protocol::Step;
use tokio_util::task::AbortOnDropHandle;

/// A turn that the same `client_message_id` started before.
pub(super) struct BegunBefore {
    pub turn_id: TurnId,
}

/// A turn that was accepted and has yet to run.
pub struct TurnRun {
    engine: Arc<Engine>,
    log: Arc<TurnLog>,
    acceptance: Acceptance,
    asked: Box<Asked>,
    began: Instant,
}

/// What a turn starts with.
struct Asked {
    question: Question,
    history: Vec<HistoryMessage>,
}

/// After `classify`: who answers.
struct Routed {
    asked: Box<Asked>,
    specialist: Arc<Specialist>,
    confidence: f64,
    /// No specialist fits well: the default one answers.
    fell_back: bool,
    took: Duration,
}

/// After `retrieve`: what the knowledge base has.
struct Retrieved {
    routed: Routed,
    passages: Vec<Passage>,
    sources: Arc<[Source]>,
    took: Duration,
}

/// After `ask`: the model's answer as it comes, or why it does not.
struct Answering {
    metadata: Box<AnswerMetadata>,
    answer: Result<Result<AnswerStream, ProviderError>, Stopped>,
    began: Instant,
}

/// After `generate`: how the answer ended. Its text is in the log.
struct Generated {
    metadata: Box<AnswerMetadata>,
    ending: Result<FinishReason, TurnFailure>,
}

/// The turn has to stop; its [`Acceptance`] knows why.
struct Stopped;

impl TurnRun {
    /// Admits a turn and puts its question on disk.
    ///
    /// # Errors
    /// Why the turn cannot begin; or, inside, that it began before.
    pub async fn begin(
        engine: Arc<Engine>,
        log: Arc<TurnLog>,
        question: Question,
        address: IpAddr,
    ) -> Result<Result<Self, BegunBefore>, TurnError> {
        let began = Instant::now();
        let admission = match engine.turns.admit(&log, address).await {
            Ok(admission) => admission,
            Err(refusal) => {
                // What runs there may be this very message, sent again after a cut.
                if let Some(id) = question.client_message_id
                    && let Some(turn_id) = engine.store.turn_of_message(log.subject.user_id, id).await?
                {
                    return Ok(Err(BegunBefore { turn_id }));
                }
                // Who may not know the conversation learns nothing of what happens in it.
                if let Some(conversation) = question.conversation_id {
                    engine.store.messages(log.subject.user_id, conversation, Page { before: None, limit: 0 }).await?;
                }
                return Err(refusal);
            }
        };
        if engine.recorder.unstored() > 0 {
            return Err(StoreError::Unavailable("answers wait to be stored".to_owned()).into());
        }
        let begun = engine.store.begin_turn(NewTurn {
            turn_id: log.subject.turn_id,
            user_id: log.subject.user_id,
            conversation_id: log.subject.conversation_id,
            is_new_conversation: question.conversation_id.is_none(),
            message_id: MessageId::new(),
            text: question.text.clone(),
            client_message_id: question.client_message_id.clone(),
            customer_id: question.customer_id.clone(),
            at: UnixMillis::now(),
            history_messages: MAX_HISTORY_MESSAGES,
        });
        match begun.await? {
            BegunTurn::Started { history } => {
                let history = history::within_budget(history, engine.config.context_token_budget);
                let acceptance = admission.accept();
                engine.metrics.step(TurnStep::Admit, began.elapsed());
                Ok(Ok(Self { engine, log, acceptance, asked: Box::new(Asked { question, history }), began }))
            }
            BegunTurn::Duplicate { turn_id } => Ok(Err(BegunBefore { turn_id })),
        }
    }

    /// Runs the turn to its end. Never fails: every end is in the log.
    pub async fn finish(self) {
        let Self { engine, log, acceptance, asked, began } = self;
        let mut counting = Counting::begin(&engine.metrics, engine.failures, began);
        let recording = engine.recorder.record(Arc::clone(&log));
        let watch = Rc::new(Watch::new(&engine.config, began));
        // A task of its own: beside the answer it would be polled for each token.
        let watching = watch_over(Rc::clone(&watch), Arc::clone(&log), acceptance.stop().clone());
        let watching = AbortOnDropHandle::new(actix::spawn(watching));
        let steps =
            Steps { engine: &engine, log: &log, recording: &recording, acceptance: &acceptance, watch: &watch, began };
        let generated = match steps.up_to_answer(asked).await {
            Ok(generated) => generated,
            // Stopped before the first token: an answer without words.
            Err(Stopped) => {
                let metadata =
                    AnswerMetadata { model: engine.provider.model().to_owned(), ..AnswerMetadata::default() };
                Generated { metadata: Box::new(metadata), ending: steps.stopped() }
            }
        };
        drop(watching);
        let specialist = generated.metadata.specialist.clone();
        let recording_began = Instant::now();
        let end = Box::pin(steps.record(generated)).await;
        engine.metrics.step(TurnStep::Record, recording_began.elapsed());
        counting.ended(&specialist, &end);
        acceptance.end(end);
    }
}

struct Steps<'a> {
    engine: &'a Engine,
    log: &'a Arc<TurnLog>,
    recording: &'a Recording,
    acceptance: &'a Acceptance,
    watch: &'a Watch,
    began: Instant,
}

/// Stops a turn when it takes too long or nobody is there.
async fn watch_over(watch: Rc<Watch>, log: Arc<TurnLog>, stop: Stop) {
    let reason = watch.over(&log).await;
    log::warn!(turn_id:% = log.subject.turn_id, reason:? = reason; "a turn is stopped");
    stop.because(reason);
}

impl Steps<'_> {
    /// How a turn ends that had to stop.
    fn stopped(&self) -> Result<FinishReason, TurnFailure> {
        match self.acceptance.stop().reason() {
            None | Some(StopReason::Cancelled | StopReason::Abandoned) => Ok(FinishReason::Cancelled),
            Some(StopReason::TimedOut) => Err(TurnFailure::TimedOut),
            Some(StopReason::ServerStops) => Err(TurnFailure::ServerStopped),
        }
    }

    async fn up_to_answer(&self, asked: Box<Asked>) -> Result<Generated, Stopped> {
        // In a box, so that the task has no room for what is over while the answer is written, which is nearly always.
        let answering = Box::pin(self.up_to_model(asked)).await?;
        Ok(self.generate(answering).await)
    }

    async fn up_to_model(&self, asked: Box<Asked>) -> Result<Answering, Stopped> {
        self.log.announce(Progress {
            client_message_id: asked.question.client_message_id.clone(),
            question: Some(asked.question.text.clone()),
            ..progress(Step::Starting, STARTING)
        });
        let routed = self.classify(asked).await?;
        let retrieved = self.retrieve(routed).await?;
        Ok(self.ask(retrieved).await)
    }

    async fn classify(&self, asked: Box<Asked>) -> Result<Routed, Stopped> {
        self.log.announce(progress(Step::Routing, "Choosing a specialist…"));
        let began = Instant::now();
        let route = self.engine.router.route(self.engine.provider.as_ref(), &asked.question.text, &asked.history);
        let route = self.unless_stopped(pin!(route)).await?;
        let Route { specialist, confidence, fell_back, failure, .. } = route;
        let (metrics, took) = (&self.engine.metrics, began.elapsed());
        metrics.step(TurnStep::Classify, took);
        if let Some(kind) = failure {
            metrics.provider_errors.increment(ModelTask::Classify, kind);
        }
        Ok(Routed { asked, specialist, confidence, fell_back, took })
    }

    async fn retrieve(&self, routed: Routed) -> Result<Retrieved, Stopped> {
        let message = match (&routed.specialist.topic, routed.fell_back) {
            (topic, false) => format!("Looking things up in {topic}…"),
            (topic, true) => format!("No specialist fits well; looking things up in {topic}…"),
        };
        self.log.announce(routed.progress(Step::Retrieval, &message));
        let began = Instant::now();
        let query = retrieval_query(&routed.asked.question.text, &routed.asked.history);
        let search = self.engine.knowledge.retrieve(&query, &routed.specialist.collections, self.engine.max_passages);
        let passages = self.unless_stopped(pin!(search)).await?.unwrap_or_else(|error| {
            // An answer without sources is better than none.
            log::error!("the knowledge base cannot be searched: {error}");
            Vec::new()
        });
        let sources = passages.iter().map(Source::from).collect();
        let took = began.elapsed();
        self.engine.metrics.step(TurnStep::Retrieve, took);
        Ok(Retrieved { routed, passages, sources, took })
    }

    async fn ask(&self, retrieved: Retrieved) -> Answering {
        let began = Instant::now();
        let Retrieved { routed, passages, sources, took: retrieval } = retrieved;
        self.log.announce(Progress {
            sources: Some(Arc::clone(&sources)),
            ..routed.progress(Step::Generating, "Writing the answer…")
        });
        let mut metadata = Box::new(AnswerMetadata {
            specialist: routed.specialist.name.clone(),
            confidence: routed.confidence,
            fallback: routed.fell_back,
            sources,
            model: self.engine.provider.model().to_owned(),
            usage: Usage::default(),
            latency_ms: Latency { routing: millis(routed.took), retrieval: millis(retrieval), ..Latency::default() },
            stored: None,
        });
        self.recording.describe(AnswerMetadata::clone(&metadata));
        if let Some(warning) = self.engine.specialists.safety_warning(&routed.asked.question.text) {
            self.append(warning, &mut metadata);
        }
        let request = GenerateRequest {
            system_prompt: routed.specialist.system_prompt.clone(),
            passages,
            history: routed.asked.history,
            question: routed.asked.question.text,
            script: routed.asked.question.script,
        };
        let answer = self.unless_stopped(pin!(self.engine.provider.generate(request))).await;
        Answering { metadata, answer, began }
    }

    async fn generate(&self, answering: Answering) -> Generated {
        let Answering { mut metadata, answer, began } = answering;
        let ending = match answer {
            Ok(Ok(answer)) => self.unless_stopped(pin!(self.write(answer, &mut metadata))).await,
            Ok(Err(error)) => Ok(Err(error)),
            Err(Stopped) => Err(Stopped),
        };
        let ending = match ending {
            Ok(Ok(reason)) => Ok(reason),
            Ok(Err(error)) => Err(self.provider_failure(&error)),
            Err(Stopped) => self.stopped(),
        };
        self.engine.metrics.step(TurnStep::Generate, began.elapsed());
        Generated { metadata, ending }
    }

    /// Moves the model's answer into the log, token by token.
    async fn write(
        &self,
        mut answer: AnswerStream,
        metadata: &mut AnswerMetadata,
    ) -> Result<FinishReason, ProviderError> {
        while let Some(part) = answer.next().await {
            match part? {
                AnswerPart::Token(token) => self.append(&token, metadata),
                AnswerPart::Working => {
                    self.watch.news(Instant::now());
                }
                AnswerPart::Finished { reason, usage } => {
                    metadata.usage = usage;
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

    fn append(&self, token: &str, metadata: &mut AnswerMetadata) {
        let seq = self.recording.append(token);
        let now = Instant::now();
        let before = self.watch.news(now);
        if seq == 0 {
            let waited = now.saturating_duration_since(self.began);
            metadata.latency_ms.first_token = millis(waited);
            self.engine.metrics.first_token.record(waited);
        } else {
            self.engine.metrics.token_interval.record(now.saturating_duration_since(before));
        }
    }

    /// Keeps the answer, and says how the turn ends: who sees the end finds the answer in the history.
    async fn record(&self, generated: Generated) -> TurnEnd {
        let Generated { mut metadata, ending } = generated;
        metadata.latency_ms.total = millis(self.began.elapsed());
        let subject = self.log.subject;
        let (text, token_ends, sha256) =
            self.log.with_tokens(|tokens| (tokens.text().to_owned(), tokens.ends().to_vec(), tokens.sha256()));
        let message_id = MessageId::new();
        let finish_reason = ending.as_ref().map_or(FinishReason::Error, |reason| *reason);
        log::info!(
            specialist = metadata.specialist, finish_reason = finish_reason.as_str(), tokens = token_ends.len(),
            total_ms = metadata.latency_ms.total;
            "a turn ended"
        );
        let stored = self.recording.end(EndedTurn {
            turn_id: subject.turn_id,
            conversation_id: subject.conversation_id,
            answer: Answer { message_id, text, token_ends, finish_reason, metadata: AnswerMetadata::clone(&metadata) },
            error: ending.as_ref().err().map(|failure| self.engine.recorder.stored_error(failure)),
            at: UnixMillis::now(),
        });
        let stored = stored.await;
        metadata.stored = (!stored).then_some(false);
        match ending {
            Ok(finish_reason) => TurnEnd::Complete { message_id, finish_reason, metadata, sha256 },
            Err(failure) if stored => TurnEnd::Failed(failure),
            Err(failure) => TurnEnd::Failed(TurnFailure::NotStored(Box::new(failure))),
        }
    }

    /// Takes a reference: a future that is handed over has room in the task twice.
    fn unless_stopped<T>(&self, work: Pin<&mut impl Future<Output = T>>) -> impl Future<Output = Result<T, Stopped>> {
        self.acceptance.stop().unless_stopped(work).map(|done| done.ok_or(Stopped))
    }

    fn provider_failure(&self, error: &ProviderError) -> TurnFailure {
        self.engine.metrics.provider_errors.increment(ModelTask::Generate, error.kind);
        // The provider has logged permanent failures for the operator; a line for each turn would bury the log.
        let level = if error.kind.is_permanent() { log::Level::Debug } else { log::Level::Warn };
        log::log!(level, kind:? = error.kind; "the model did not answer: {}", error.detail);
        let has_begun = self.log.position().1 > 0;
        TurnFailure::Provider { kind: error.kind, has_begun, retry_after_ms: error.retry_after_ms }
    }
}

impl Routed {
    /// A step that knows who answers.
    fn progress(&self, step: Step, message: &str) -> Progress {
        Progress {
            specialist: Some(self.specialist.name.clone()),
            confidence: Some(self.confidence),
            ..progress(step, message)
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
