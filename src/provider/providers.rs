//! All providers of the server, and the lists in which specialists use them.

use super::{
    ModelProvider, ProviderError, ProviderErrorKind, build,
    calls::Calls,
    chain::{Chain, FallbackRules, Link},
    member::{Member, ProviderStatus},
    openai::OpenAi,
    prices::PriceTable,
};
use crate::{
    config::{Config, DEFAULT_PROVIDER, EXTRACTIVE_PROVIDER, ProviderConfig, ProviderKind, Reasoning},
    language::Languages,
};
use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    sync::Arc,
    time::Duration,
};

/// Providers and parameters that a specialist asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelChoice {
    /// Names of the providers, in the order in which they are tried; empty: those of `workflow.providers`.
    pub providers: Vec<String>,
    /// Model of the first provider. The others keep theirs: another server has other names for its models.
    pub model: Option<String>,
    pub temperature: Option<f64>,
    pub max_answer_tokens: Option<u32>,
}

/// Lists of providers: one for each specialist with a [`ModelChoice`] of its own, and one for all others.
pub struct Providers {
    default: Arc<Chain>,
    of_specialists: HashMap<String, Arc<Chain>>,
    /// The task model alone; `None` without one.
    tasks: Option<Arc<Chain>>,
    /// By name; those that neither a list nor `workflow.task_provider` names are not among them.
    members: Vec<Arc<Member>>,
    prices: Arc<PriceTable>,
}

/// Failed check of a provider.
#[derive(Debug)]
pub struct SetupProblem {
    pub provider: Arc<str>,
    pub model: Arc<str>,
    pub error: ProviderError,
}

impl Providers {
    /// Builds the providers that the lists name. The extractive provider answers in `languages`; `choices` are those of the specialists.
    /// The names in the lists have been checked.
    ///
    /// # Errors
    /// When a setting of a provider is invalid; the error names it.
    pub fn build<'a>(
        config: &Config,
        languages: &Arc<Languages>,
        prices: PriceTable,
        choices: impl IntoIterator<Item = (&'a str, &'a ModelChoice)>,
    ) -> Result<Self, Box<dyn Error>> {
        let mut builder = Builder { config, languages, sources: BTreeMap::new() };
        let default = builder.chain(&ModelChoice::default())?;
        let mut of_specialists = HashMap::new();
        for (specialist, choice) in choices.into_iter().filter(|(_, choice)| **choice != ModelChoice::default()) {
            of_specialists.insert(specialist.to_owned(), builder.chain(choice)?);
        }
        let tasks = config.workflow.task_provider.as_deref().map(|name| builder.task_chain(name)).transpose()?;
        let members = builder.sources.into_values().map(|source| source.member).collect();
        Ok(Self { default, of_specialists, tasks, members, prices: Arc::new(prices) })
    }

    /// The list of `workflow.providers`.
    pub fn default_chain(&self) -> &Arc<Chain> {
        &self.default
    }

    /// The list of a specialist.
    pub fn of_specialist(&self, name: &str) -> &Arc<Chain> {
        self.of_specialists.get(name).unwrap_or(&self.default)
    }

    /// The provider of `workflow.task_provider`, which is asked once per task.
    pub fn task_model(&self) -> Option<&Arc<Chain>> {
        self.tasks.as_ref()
    }

    /// Creates the record of the requests of a turn or task.
    pub fn record_calls(&self) -> Arc<Calls> {
        Arc::new(Calls::new(Arc::clone(&self.prices)))
    }

    pub fn status(&self) -> Vec<ProviderStatus> {
        self.members.iter().map(|member| member.status()).collect()
    }

    /// Every provider with each of its models.
    fn models(&self) -> Vec<&Link> {
        let mut links: Vec<&Link> = Vec::new();
        let chains = [&self.default].into_iter().chain(self.of_specialists.values()).chain(&self.tasks);
        for link in chains.flat_map(|chain| &chain.links) {
            if !links.iter().any(|known| known.member.name() == link.member.name() && known.model == link.model) {
                links.push(link);
            }
        }
        links
    }

    /// Returns the models whose price is unknown, each after the name of its provider.
    pub fn models_without_price(&self) -> Vec<(&str, &str)> {
        let names = self.models().into_iter().filter(|link| link.member.has_model());
        let names = names.map(|link| (link.member.name().as_ref(), link.model.as_ref()));
        names.filter(|(provider, model)| !self.prices.knows(provider, model)).collect()
    }

    /// Checks every provider with each of its models, without generating text. Takes a few seconds at most.
    pub async fn check(&self) -> Vec<SetupProblem> {
        let checks = self.models().into_iter().map(|Link { member, provider, model }| async move {
            let error = provider.check().await.err()?;
            Some(SetupProblem { provider: Arc::clone(member.name()), model: Arc::clone(model), error })
        });
        futures_util::future::join_all(checks).await.into_iter().flatten().collect()
    }

    /// Checks the providers once and logs a warning for each failure. The server starts regardless, since a model server may
    /// come up later.
    pub async fn check_at_start(self: Arc<Self>) {
        for SetupProblem { provider, model, error } in self.check().await {
            // Already logged by the provider, with advice.
            if matches!(error.kind, ProviderErrorKind::Unauthorized | ProviderErrorKind::OutOfCredit) {
                continue;
            }
            let section = section_of(&provider);
            log::warn!(kind = error.kind.as_str(), provider:%, model:%, section, detail = error.detail;
                "{}", super::setup_problem(error.kind));
        }
    }
}

/// Section of the configuration that describes a provider.
fn section_of(name: &str) -> String {
    match name {
        DEFAULT_PROVIDER => "provider".to_owned(),
        name => format!("providers.{name}"),
    }
}

/// A provider with the settings of its section.
struct Source {
    member: Arc<Member>,
    provider: Arc<dyn ModelProvider>,
    /// The same provider, if it takes other parameters.
    openai: Option<Arc<OpenAi>>,
}

struct Builder<'a> {
    config: &'a Config,
    languages: &'a Arc<Languages>,
    sources: BTreeMap<String, Source>,
}

impl Builder<'_> {
    fn chain(&mut self, choice: &ModelChoice) -> Result<Arc<Chain>, Box<dyn Error>> {
        let names = match choice.providers.is_empty() {
            true => &self.config.workflow.providers,
            false => &choice.providers,
        };
        let mut links = Vec::with_capacity(names.len());
        for name in names {
            let model = choice.model.as_deref().filter(|_| links.is_empty());
            let Source { member, provider, openai } = self.source(name)?;
            let is_changed = model.is_some() || choice.temperature.is_some() || choice.max_answer_tokens.is_some();
            let provider = match openai.as_ref().filter(|_| is_changed) {
                Some(openai) => Arc::new(openai.with(model, choice.temperature, choice.max_answer_tokens)),
                None => Arc::clone(provider),
            };
            links.push(Link { member: Arc::clone(member), model: provider.model().into(), provider });
        }
        if links.is_empty() {
            return Err("`workflow.providers` must name a provider".into());
        }
        Ok(Arc::new(Chain { links, rules: self.rules() }))
    }

    /// Builds the list of the task model, whose requests are not repeated.
    fn task_chain(&mut self, name: &str) -> Result<Arc<Chain>, Box<dyn Error>> {
        let Source { member, openai, .. } = self.source(name)?;
        let openai = openai.as_ref().ok_or_else(|| format!("`workflow.task_provider`: {name:?} has no model"))?;
        let provider = Arc::new(openai.with(None, None, None).without_retries());
        let link = Link { member: Arc::clone(member), model: provider.model().into(), provider };
        Ok(Arc::new(Chain { links: vec![link], rules: self.rules() }))
    }

    fn rules(&self) -> FallbackRules {
        let workflow = &self.config.workflow;
        FallbackRules {
            timeout: Duration::from_millis(workflow.fallback_timeout_ms),
            reasoning_is_output: workflow.keep_reasoning || workflow.reasoning == Reasoning::Shown,
        }
    }

    /// Returns the provider of this name, built from its section if no list has named it before.
    fn source(&mut self, name: &str) -> Result<&Source, Box<dyn Error>> {
        if !self.sources.contains_key(name) {
            let built_in = ProviderConfig::default();
            let config = match name {
                DEFAULT_PROVIDER => &self.config.provider,
                EXTRACTIVE_PROVIDER => &built_in,
                name => self.config.providers.get(name).ok_or_else(|| format!("unknown provider {name:?}"))?,
            };
            let member = Arc::new(Member::new(name, config));
            let source = match config.kind {
                ProviderKind::Openai => {
                    let openai = Arc::new(OpenAi::of_section(config, &section_of(name))?);
                    Source { member, provider: Arc::clone(&openai) as _, openai: Some(openai) }
                }
                ProviderKind::Extractive | ProviderKind::Scripted => {
                    Source { member, provider: build(config, Arc::clone(self.languages))?, openai: None }
                }
            };
            self.sources.insert(name.to_owned(), source);
        }
        Ok(&self.sources[name])
    }
}
