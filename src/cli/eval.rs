//! `switchboard eval`: asks labelled questions in this process and reports how well they are answered.
//!
//! The questions go through the pipeline of `serve`, with the same configuration, on a temporary database. The configured
//! database is never written: `--from-database` evaluates a copy of it.

mod asking;
mod text;

use super::{CliError, start_error};
use crate::{
    app::Pipeline,
    config::{Config, ProviderKind},
    eval::{self, Answered, InvalidQuestions, Measure, Outcome, Question, QuestionSet, Report, Sections, Totals},
    provider::{self, SetupProblem},
    store::sqlite,
};
use asking::ask;
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::{Builder, LocalOptions};

/// Time for which the embedding model may keep failing before the questions.
const EMBEDDINGS_PATIENCE: Duration = Duration::from_secs(5);
/// Interval at which the progress of the embedding of passages is checked.
const EMBEDDINGS_POLL_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, Args)]
pub(super) struct Command {
    /// Files with a labelled question per line, as JSON
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folder of documents to answer from, instead of the built-in ones
    #[arg(long, value_name = "DIR", conflicts_with = "from_database")]
    documents: Option<PathBuf>,
    /// Answer from the documents of the configured database (from a copy of it), instead of the built-in ones
    #[arg(long)]
    from_database: bool,
    /// File of specialists [default: workflow.agents_file]
    #[arg(long = "agents", value_name = "FILE")]
    specialists: Option<PathBuf>,
    /// Ask only questions of this kind; may be repeated
    #[arg(long, value_name = "KIND", conflicts_with = "baseline")]
    only: Vec<String>,
    /// Write the report as JSON; it has counts and scores, and nothing of the questions
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Compare with an earlier report; exit code 1 if a row lost more than one question
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// List the questions that were missed, with what was found
    #[arg(long)]
    list_misses: bool,
    /// Questions to ask at the same time; more than one needs a provider with a model server
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
}

/// A question, its answer and the judgement of it.
struct Asked<'a> {
    place: &'a str,
    question: &'a Question,
    answered: Answered,
    outcome: Outcome,
}

impl Asked<'_> {
    /// Measures that count against this answer.
    fn missed(&self) -> Vec<Measure> {
        Measure::ALL.into_iter().filter(|measure| measure.is_miss(&self.outcome)).collect()
    }
}

impl Command {
    pub(super) fn run(self, config: Config, out: &mut dyn io::Write) -> Result<(), CliError> {
        let questions = self.questions()?;
        let baseline = self.baseline.as_deref().map(read_report).transpose()?;
        let mut providers = std::iter::once(&config.provider).chain(config.providers.values());
        if self.concurrency > 1 && !providers.any(|provider| provider.kind == ProviderKind::Openai) {
            return Err(CliError::Usage(
                "--concurrency has no effect without a model server: set provider.kind = \"openai\", or leave it out"
                    .to_owned(),
            ));
        }
        let folder = TempDir::new()?;
        let config = self.prepared(config, &folder)?;
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        let report = runtime.block_on(self.evaluate(config, &questions, out))?;
        if let Some(path) = &self.json {
            let mut json = serde_json::to_string_pretty(&report).map_err(io::Error::other)?;
            json.push('\n');
            fs::write(path, json).map_err(|error| unusable("written", path, &error))?;
        }
        match baseline {
            Some(baseline) => compare(&baseline, &report, out),
            None => Ok(()),
        }
    }

    fn questions(&self) -> Result<QuestionSet, CliError> {
        let mut files = Vec::with_capacity(self.files.len());
        for path in &self.files {
            let text = fs::read_to_string(path).map_err(|error| unusable("read", path, &error))?;
            files.push((path.display().to_string(), text));
        }
        let files = files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let mut questions = QuestionSet::parse(files).map_err(invalid)?;
        if !self.only.is_empty() {
            questions.retain_kinds(&self.only).map_err(|reason| CliError::Usage(format!("--only: {reason}")))?;
        }
        Ok(questions)
    }

    /// Changes the settings so that the evaluation touches nothing of the configured server, and waits for nobody to read.
    fn prepared(&self, mut config: Config, folder: &TempDir) -> Result<Config, CliError> {
        let database = folder.path().join("eval.db");
        if self.from_database {
            sqlite::backup(&config.database, &database)?;
        } else {
            // An empty file is migrated without the warning about a new database.
            fs::File::create_new(&database)?;
        }
        config.database.url = format!("sqlite://{}", database.display());
        config.knowledge.seed = self.documents.is_none() && !self.from_database;
        config.provider.extractive.interval_ms = 0;
        config.workflow.max_running_turns_per_user = 0;
        config.budgets.tokens_per_user_per_day = 0;
        config.budgets.cost_per_user_per_day = 0.0;
        config.workflow.turn_retention_s = 0;
        if self.specialists.is_some() {
            config.workflow.agents_file.clone_from(&self.specialists);
        }
        Ok(config)
    }

    async fn evaluate(
        &self,
        config: Config,
        questions: &QuestionSet,
        out: &mut dyn io::Write,
    ) -> Result<Report, CliError> {
        let pipeline = Pipeline::open(config).await.map_err(start_error)?;
        if let Some(folder) = &self.documents {
            ingest(&pipeline, folder).await?;
        }
        // Answers to the first questions would otherwise depend on how far the background has come.
        pipeline.knowledge().complete_index().await.map_err(|error| start_error(error.into()))?;
        await_embeddings(&pipeline).await?;
        check_labels(&pipeline, questions).await?;
        // Otherwise the next one of the list would be measured instead.
        if let Some(SetupProblem { provider, error, .. }) = pipeline.check_providers().await.first() {
            let problem = provider::setup_problem(error.kind);
            return Err(CliError::Provider(format!(
                "provider {provider}: {problem} ({}); nothing was asked",
                error.detail
            )));
        }
        let asked: Vec<Asked<'_>> = stream::iter(questions.iter())
            .map(|(place, question)| {
                let pipeline = &pipeline;
                async move {
                    let answered = ask(pipeline, place, question).await?;
                    let outcome = eval::judge(question, &answered);
                    Ok::<_, CliError>(Asked { place, question, answered, outcome })
                }
            })
            .buffered(usize::from(self.concurrency))
            .try_collect()
            .await?;
        let report = report(questions, &asked);
        text::write_report(&report, out)?;
        if self.list_misses {
            text::write_misses(&asked, out)?;
        }
        Ok(report)
    }
}

/// Adds the documents of a folder.
async fn ingest(pipeline: &Pipeline, folder: &Path) -> Result<(), CliError> {
    let reports = pipeline.knowledge().ingest_path(folder, None).await;
    if reports.is_empty() {
        return Err(CliError::Usage(format!("there are no documents in {}", folder.display())));
    }
    for report in reports {
        report.outcome.map_err(|error| CliError::Failed(format!("{:?} was not added: {error}", report.path)))?;
    }
    Ok(())
}

async fn check_labels(pipeline: &Pipeline, questions: &QuestionSet) -> Result<(), CliError> {
    let passages = pipeline.knowledge().sections().await?;
    let mut sections = Sections::default();
    passages.iter().for_each(|(document, title)| sections.add(document, title));
    let specialists: Vec<_> = pipeline.specialists().iter().map(|specialist| specialist.name.as_str()).collect();
    eval::check_labels(questions, &sections, &specialists).map_err(invalid)
}

/// Waits until all passages have a vector of the embedding model, if there is one.
async fn await_embeddings(pipeline: &Pipeline) -> Result<(), CliError> {
    let mut failing_since: Option<Instant> = None;
    while let Some(status) = pipeline.knowledge().embeddings_status().filter(|status| !status.is_complete()) {
        match status.failure {
            None => failing_since = None,
            Some(error) if failing_since.get_or_insert_with(Instant::now).elapsed() >= EMBEDDINGS_PATIENCE => {
                return Err(CliError::Provider(format!("the embedding model failed: {error}; nothing was asked")));
            }
            Some(_) => {}
        }
        tokio::time::sleep(EMBEDDINGS_POLL_INTERVAL).await;
    }
    Ok(())
}

fn report(questions: &QuestionSet, asked: &[Asked<'_>]) -> Report {
    let latencies: Vec<f64> = asked.iter().map(|asked| asked.answered.latency.as_secs_f64() * 1_000.0).collect();
    let mut usage = Totals::default();
    asked.iter().for_each(|asked| usage.add(&asked.answered));
    let outcomes = asked.iter().map(|asked| (asked.question, &asked.outcome, asked.answered.model.as_str()));
    Report::new(questions.sha256(), outcomes, &latencies, usage)
}

fn compare(baseline: &Report, report: &Report, out: &mut dyn io::Write) -> Result<(), CliError> {
    let lost = eval::regressions(baseline, report).map_err(CliError::Usage)?;
    if lost.is_empty() {
        writeln!(out, "\nNo row lost more than one question against the baseline.")?;
        return Ok(());
    }
    let lines: Vec<_> = lost.iter().map(|regression| format!("\n  {regression}")).collect();
    Err(CliError::Failed(format!("rows lost more than one question against the baseline:{}", lines.concat())))
}

fn read_report(path: &Path) -> Result<Report, CliError> {
    let text = fs::read_to_string(path).map_err(|error| unusable("read", path, &error))?;
    serde_json::from_str(&text)
        .map_err(|error| CliError::Usage(format!("{} is no report that --json wrote: {error}", path.display())))
}

fn invalid(error: InvalidQuestions) -> CliError {
    CliError::Usage(format!("the questions are not valid; nothing was asked:\n  {error}"))
}

fn unusable(done: &str, path: &Path, error: &io::Error) -> CliError {
    CliError::Usage(format!("{} cannot be {done}: {error}", path.display()))
}
