//! Topics and questions to suggest, taken from the specialists and checked against the documents.

use super::specialists::{Specialist, Specialists};
use crate::{
    domain::RetrievalBasis,
    knowledge::KnowledgeBase,
    language::{Language, Languages},
    store::Page,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Number of suggested questions.
const STARTERS: usize = 3;
/// Maximum number of topics.
const MAX_TOPICS: usize = 6;
/// Maximum number of example questions to look up per specialist and language.
const MAX_EXAMPLES: usize = 8;
/// Duration after which suggestions are computed again, since documents change.
const MAX_AGE: Duration = Duration::from_secs(30);
/// Maximum number of documents whose names may serve as topics.
const MAX_DOCUMENTS: i64 = 20;

/// Suggestions in one language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suggestions {
    /// Code of the language.
    pub language: String,
    /// A greeting that names the topics.
    pub greeting: String,
    pub topics: Vec<String>,
    /// Questions that the documents answer.
    pub starters: Vec<String>,
}

/// Computes suggestions, and keeps them for a short time.
pub struct Guide {
    specialists: Arc<Specialists>,
    languages: Arc<Languages>,
    knowledge: Arc<KnowledgeBase>,
    kept: Mutex<HashMap<String, (Instant, Arc<Suggestions>)>>,
}

impl Guide {
    pub fn new(specialists: Arc<Specialists>, languages: Arc<Languages>, knowledge: Arc<KnowledgeBase>) -> Self {
        Self { specialists, languages, knowledge, kept: Mutex::default() }
    }

    /// Returns the suggestions in a language, by its code or a tag such as `de-AT`; in the default language if it is unknown.
    pub async fn suggestions(&self, tag: &str) -> Arc<Suggestions> {
        let code = tag.split(['-', '_']).next().unwrap_or_default().to_lowercase();
        let language = self.languages.get(&code).unwrap_or_else(|| self.languages.default_language());
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&language.code).cloned();
        if let Some((at, suggestions)) = kept
            && at.elapsed() < MAX_AGE
        {
            return suggestions;
        }
        let suggestions = Arc::new(self.compute(language).await);
        let entry = (Instant::now(), Arc::clone(&suggestions));
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(language.code.clone(), entry);
        suggestions
    }

    async fn compute(&self, language: &Language) -> Suggestions {
        let mut answered: Vec<Vec<String>> = Vec::new();
        for specialist in self.specialists.all() {
            answered.push(self.answered_examples(specialist, language).await);
        }
        let mut topics: Vec<String> = self
            .specialists
            .all()
            .iter()
            .zip(&answered)
            .filter(|(_, answered)| !answered.is_empty())
            .map(|(specialist, _)| specialist.topic_in(&language.code).to_owned())
            .collect();
        if topics.is_empty() {
            topics = self.document_topics().await;
        }
        topics.truncate(MAX_TOPICS);
        let most = answered.iter().map(Vec::len).max().unwrap_or(0);
        let in_turn = (0..most).flat_map(|round| answered.iter().filter_map(move |examples| examples.get(round)));
        let starters = in_turn.take(STARTERS).cloned().collect();
        let greeting = language.replies.with_topics(&language.replies.greeting, &topics);
        Suggestions { language: language.code.clone(), greeting, topics, starters }
    }

    /// Returns the specialist's examples that the documents answer: those in the language, or others if there is none.
    async fn answered_examples(&self, specialist: &Specialist, language: &Language) -> Vec<String> {
        let is_in = |example: &&String| match self.languages.detect(example) {
            Some(detected) => detected.code == language.code,
            None => language.code == self.languages.default_language().code,
        };
        let (own, others): (Vec<&String>, Vec<&String>) = specialist.examples.iter().partition(is_in);
        for examples in [own, others] {
            let mut answered = Vec::new();
            for example in examples.into_iter().take(MAX_EXAMPLES) {
                let found = self.knowledge.retrieve(example, &specialist.collections, 1).await;
                if found.is_ok_and(|found| matches!(found.basis, RetrievalBasis::Covered | RetrievalBasis::Similar)) {
                    answered.push(example.clone());
                }
                if answered.len() == STARTERS {
                    break;
                }
            }
            if !answered.is_empty() {
                return answered;
            }
        }
        Vec::new()
    }

    /// Returns the names of documents without their endings, as topics where no specialist's examples fit the documents.
    async fn document_topics(&self) -> Vec<String> {
        let listed = self.knowledge.list(Page { limit: MAX_DOCUMENTS, before: None }).await;
        let names = listed.map(|listed| listed.items).unwrap_or_default().into_iter().map(|document| document.source);
        let topic = |name: String| {
            let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
            stem.replace(['-', '_', '/'], " ")
        };
        names.map(topic).collect()
    }
}
