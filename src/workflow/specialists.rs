//! The specialists and the safety warning, loaded from a TOML file at the start and immutable afterwards.
//!
//! `config/agents.toml` is built in; `workflow.agents_file` replaces it for another domain.

mod file;

use crate::{
    language::{DangerRules, Languages, Phrases},
    provider::ModelChoice,
    toml_file::{self, Fault, Place},
};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

const BUILT_IN: &str = include_str!("../../config/agents.toml");
/// The maximum size of the file, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// An LLM persona with its instructions and its share of the knowledge base.
#[derive(Clone, Debug, PartialEq)]
pub struct Specialist {
    /// Lower-case letters, digits, `-` and `_`. Sent to clients.
    pub name: String,
    /// The subject area in a few words, shown to users: "care and service".
    pub topic: String,
    /// The subject area in other languages, by language code.
    pub topics: BTreeMap<String, String>,
    /// The description by which the router and the model choose.
    pub description: String,
    /// Instructions for the model.
    pub system_prompt: String,
    /// Typical questions, for the router's comparison.
    pub examples: Vec<String>,
    /// The collections of the knowledge base to search; all if empty.
    pub collections: Vec<String>,
    /// Whether it answers when the router is not confident. True for exactly one specialist.
    pub default: bool,
    /// The providers and the parameters of its answers.
    pub models: ModelChoice,
}

impl Specialist {
    /// Returns the subject area in a language, if the file has it, else as it stands.
    pub fn topic_in(&self, language: &str) -> &str {
        self.topics.get(language).unwrap_or(&self.topic)
    }
}

/// All specialists and the safety warning.
#[derive(Clone, Debug)]
pub struct Specialists {
    specialists: Vec<Arc<Specialist>>,
    default: Arc<Specialist>,
    safety: Option<Safety>,
    /// The places of the lists of providers, which are checked against the configuration.
    provider_lists: Vec<Place>,
}

/// The reason why a file of specialists is refused.
#[derive(Debug, thiserror::Error)]
pub enum SpecialistsError {
    #[error("cannot read {}: {cause}", .path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    /// Holds at least one fault.
    #[error("{}", .faults.iter().map(|fault| format!("{file}, {fault}")).collect::<Vec<_>>().join("; "))]
    Invalid { file: String, faults: Vec<Fault> },
}

/// The warning before an answer to a message about danger.
#[derive(Clone, Debug)]
struct Safety {
    warning: String,
    /// The warning in other languages, by language code.
    warning_in: BTreeMap<String, String>,
    /// Danger in the domain of the documents, in addition to the rules of the languages.
    rules: DangerRules,
    sections: Vec<SafetySection>,
}

/// Section of the documents about a danger.
#[derive(Clone, Debug)]
struct SafetySection {
    /// Words of messages about this danger.
    words: Phrases,
    /// Text that finds the section.
    search: String,
    /// Name of the specialist that answers.
    specialist: Option<String>,
}

/// The warning before an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SafetyWarning<'a> {
    pub text: &'a str,
    /// Text that finds the section about the danger, if the file of specialists has one.
    pub search: Option<&'a str>,
    /// Name of the specialist that answers, if the file of specialists has one for the section.
    pub specialist: Option<&'a str>,
}

impl Specialists {
    /// Loads the specialists in `file`, or the built-in ones.
    ///
    /// # Errors
    /// If the file cannot be read, or is invalid, with the position of each fault.
    pub fn load(file: Option<&Path>) -> Result<Self, SpecialistsError> {
        let Some(path) = file else { return Self::parse(BUILT_IN, "config/agents.toml") };
        let text = toml_file::read(path, MAX_FILE_BYTES)
            .map_err(|cause| SpecialistsError::Unreadable { path: path.to_owned(), cause })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses the content of the file named `name`.
    fn parse(text: &str, name: &str) -> Result<Self, SpecialistsError> {
        let parsed = file::parse(text).map_err(|faults| SpecialistsError::Invalid { file: name.to_owned(), faults })?;
        let specialists: Vec<_> = parsed.specialists.into_iter().map(Arc::new).collect();
        let default = specialists
            .iter()
            .find(|specialist| specialist.default)
            .cloned()
            .expect("`file::parse` checks that one is the default");
        Ok(Self { specialists, default, safety: parsed.safety, provider_lists: parsed.provider_lists })
    }

    /// The providers and parameters of each specialist, by its name.
    pub fn model_choices(&self) -> Vec<(&str, &ModelChoice)> {
        self.specialists.iter().map(|specialist| (specialist.name.as_str(), &specialist.models)).collect()
    }

    /// Checks the lists of providers with `check`, which describes what is wrong with one; returns the faults.
    pub fn check_providers(&self, check: impl Fn(&[String]) -> Result<(), String>) -> Vec<Fault> {
        let lists = self.specialists.iter().zip(&self.provider_lists).enumerate();
        let lists = lists.filter(|(_, (specialist, _))| !specialist.models.providers.is_empty());
        let faults = lists.filter_map(|(index, (specialist, place))| {
            let problem = check(&specialist.models.providers).err()?;
            let Place { line, column } = *place;
            Some(Fault { line, column, key: format!("agent[{index}].providers"), problem })
        });
        faults.collect()
    }

    /// All specialists, in the order of the file. Never empty.
    pub fn all(&self) -> &[Arc<Specialist>] {
        &self.specialists
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Specialist>> {
        self.specialists.iter().find(|specialist| specialist.name == name)
    }

    /// The specialist that answers when the router is not confident.
    pub fn default_specialist(&self) -> &Arc<Specialist> {
        &self.default
    }

    /// Returns the warning to put before the answer, in the language of the question, if `question` is about danger.
    pub fn safety_warning(&self, question: &str, languages: &Languages) -> Option<SafetyWarning<'_>> {
        let safety = self.safety.as_ref()?;
        if !languages.is_dangerous(question, Some(&safety.rules)) {
            return None;
        }
        let language = languages.detect(question);
        let translated = language.and_then(|language| safety.warning_in.get(&language.code));
        let section = safety.sections.iter().find(|section| Languages::has_phrase(question, &section.words));
        Some(SafetyWarning {
            text: translated.unwrap_or(&safety.warning),
            search: section.map(|section| section.search.as_str()),
            specialist: section.and_then(|section| section.specialist.as_deref()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> Specialists {
        Specialists::load(None).unwrap()
    }

    #[test]
    fn built_in_specialists_are_complete() {
        let specialists = built_in();
        let names: Vec<_> = specialists.all().iter().map(|specialist| specialist.name.as_str()).collect();
        assert_eq!(names, ["specs", "maintenance", "troubleshoot"]);
        assert_eq!(specialists.default_specialist().name, "specs");
        for specialist in specialists.all() {
            assert_eq!(specialists.get(&specialist.name), Some(specialist));
            assert_eq!(specialist.collections, [specialist.name.as_str()]);
        }
        assert_eq!(specialists.get("sales"), None);
    }

    #[test]
    fn safety_phrases_match_whole_words_in_any_form() {
        let (specialists, languages) = (built_in(), Languages::built_in());
        for question in [
            "My brakes squeal",
            "BRAKING feels soft",
            "is the brake's fluid low?",
            "brake-fluid level",
            "the steering is heavy",
            "Smoke from the bonnet!",
            "it is smoking",
            "My car is on FIRE",
            "the airbag light is on",
            "Air bag warning",
            "the air-bags came out",
            "Ｆｉｒｅ",
            "I can't steer",
            "Es riecht nach Benzin",
            "Die Bremse reagiert nicht",
            "Unter der Haube brennt es!",
            "Aus dem Motorraum kommt QUALM",
            "der Tank ist undicht",
        ] {
            assert!(specialists.safety_warning(question, &languages).is_some(), "{question}");
        }
        for question in [
            "What is the engine power?",
            "I was fired from my job",
            "Which firewall port?",
            "does it misfire",
            "breaking news",
            "the air is bad, a bag would help",
            "steerage, smokeless",
            "ein brandneues Auto",
            "Wie viel PS hat der Motor?",
            "which air-bags are there",
            "brake pads: price",
            "Was kosten neue Bremsen?",
            "",
            "👍",
        ] {
            assert_eq!(specialists.safety_warning(question, &languages), None, "{question}");
        }
    }

    #[test]
    fn file_without_safety_phrases_gives_no_warning() {
        let specialist = "[[agent]]\nname = \"a\"\ntopic = \"t\"\ndescription = \"d\"\nsystem_prompt = \"s\"\n";
        let text = format!("{specialist}examples = [\"e\"]\ndefault = true\n");
        assert_eq!(Specialists::parse(&text, "my.toml").unwrap().safety_warning("fire", &Languages::built_in()), None);
        let refused = Specialists::parse(specialist, "my.toml").unwrap_err().to_string();
        assert!(refused.starts_with("my.toml, line 1, column 1: `agent[0]` missing field"), "{refused}");
    }

    #[test]
    fn error_names_an_unreadable_file() {
        for (path, reason) in
            [("/nowhere/agents.toml", "No such file"), ("/dev", "not a file"), ("/dev/zero", "not a file")]
        {
            let error = Specialists::load(Some(Path::new(path))).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains(reason), "{error}");
        }
    }
}
