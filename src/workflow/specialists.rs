//! The specialists, and the words that put a safety warning first: read from TOML, checked, then fixed.
//!
//! `config/agents.toml` is built in; another domain needs only another file (`workflow.agents_file`).

mod file;

pub use file::Fault;

use super::words::words;
use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

const BUILT_IN: &str = include_str!("../../config/agents.toml");
/// The largest file, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// A specialist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Specialist {
    /// Lower-case letters, digits, `-` and `_`; on the wire as `metadata.agent`.
    pub name: String,
    /// Its field in a few words, for people: "care and service".
    pub topic: String,
    /// What it knows. The router and the model choose by this.
    pub description: String,
    /// Instructions for the model.
    pub system_prompt: String,
    /// Questions it is right for. The router compares with them.
    pub examples: Vec<String>,
    /// Collections of the knowledge base that it looks things up in; empty: all.
    pub collections: Vec<String>,
    /// Answers when the router is not sure. Exactly one has it.
    pub default: bool,
}

/// The specialists and the safety words.
#[derive(Clone, Debug)]
pub struct Specialists {
    specialists: Vec<Arc<Specialist>>,
    default: Arc<Specialist>,
    safety: Option<Safety>,
}

/// Why a file of specialists is refused.
#[derive(Debug, thiserror::Error)]
pub enum SpecialistsError {
    #[error("cannot read {}: {cause}", .path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    /// One fault or more.
    #[error("{}", .faults.iter().map(|fault| format!("{place}, {fault}")).collect::<Vec<_>>().join("; "))]
    Invalid { place: String, faults: Vec<Fault> },
}

/// Words that put a warning first.
#[derive(Clone, Debug)]
struct Safety {
    warning: String,
    /// By first word, all words of the phrase.
    phrases: HashMap<String, Vec<Vec<String>>>,
}

impl Specialists {
    /// The specialists in `file`, or the built-in ones.
    ///
    /// # Errors
    /// When the file cannot be read, or is not what it should be; says where.
    pub fn load(file: Option<&Path>) -> Result<Self, SpecialistsError> {
        let Some(path) = file else { return Self::parse(BUILT_IN, "config/agents.toml") };
        let unreadable = |cause| SpecialistsError::Unreadable { path: path.to_owned(), cause };
        let about = std::fs::metadata(path).map_err(unreadable)?;
        // To read a pipe would wait for ever.
        if !about.is_file() {
            return Err(unreadable(io::Error::other("it is not a file")));
        }
        let bytes = about.len();
        if bytes > MAX_FILE_BYTES {
            return Err(unreadable(io::Error::other(format!("it has {bytes} bytes; {MAX_FILE_BYTES} are allowed"))));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(unreadable)?, &path.display().to_string())
    }

    /// The specialists in `text`, which stands at `place`.
    fn parse(text: &str, place: &str) -> Result<Self, SpecialistsError> {
        let parsed =
            file::parse(text).map_err(|faults| SpecialistsError::Invalid { place: place.to_owned(), faults })?;
        let specialists: Vec<_> = parsed.specialists.into_iter().map(Arc::new).collect();
        let default = specialists
            .iter()
            .find(|specialist| specialist.default)
            .cloned()
            .expect("one is the default: it was checked");
        Ok(Self { specialists, default, safety: parsed.safety })
    }

    /// All specialists, in the order of the file. Never empty.
    pub fn all(&self) -> &[Arc<Specialist>] {
        &self.specialists
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Specialist>> {
        self.specialists.iter().find(|specialist| specialist.name == name)
    }

    /// Who answers when the router is not sure.
    pub fn default_specialist(&self) -> &Arc<Specialist> {
        &self.default
    }

    /// What can be asked about.
    pub fn topics(&self) -> Vec<String> {
        self.specialists.iter().map(|specialist| specialist.topic.clone()).collect()
    }

    /// What to say before the answer when `question` is about safety. Whole words count: "fired" is not "fire".
    pub fn safety_warning(&self, question: &str) -> Option<&str> {
        let safety = self.safety.as_ref()?;
        let words = words(question);
        let found = (0..words.len()).any(|at| {
            let phrases = safety.phrases.get(&words[at]).map(Vec::as_slice).unwrap_or_default();
            phrases.iter().any(|phrase| words[at..].starts_with(phrase))
        });
        found.then_some(&safety.warning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> Specialists {
        Specialists::load(None).unwrap()
    }

    #[test]
    fn the_built_in_ones_are_complete() {
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
    fn safety_words_count_as_whole_words_in_all_their_forms() {
        let specialists = built_in();
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
            "which air-bags are there",
            "Ｆｉｒｅ",
            "I can't steer",
        ] {
            assert!(specialists.safety_warning(question).is_some(), "{question}");
        }
        for question in [
            "What is the engine power?",
            "I was fired from my job",
            "Which firewall port?",
            "does it misfire",
            "breaking news",
            "the air is bad, a bag would help",
            "steerage, smokeless",
            "",
            "👍",
        ] {
            assert_eq!(specialists.safety_warning(question), None, "{question}");
        }
    }

    #[test]
    fn a_file_without_safety_words_warns_of_nothing() {
        let specialist = "[[agent]]\nname = \"a\"\ntopic = \"t\"\ndescription = \"d\"\nsystem_prompt = \"s\"\n";
        let text = format!("{specialist}examples = [\"e\"]\ndefault = true\n");
        assert_eq!(Specialists::parse(&text, "my.toml").unwrap().safety_warning("fire"), None);
        let refused = Specialists::parse(specialist, "my.toml").unwrap_err().to_string();
        assert!(refused.starts_with("my.toml, line 1, column 1: `agent[0]` missing field"), "{refused}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        for (path, reason) in
            [("/nowhere/agents.toml", "No such file"), ("/dev", "not a file"), ("/dev/zero", "not a file")]
        {
            let error = Specialists::load(Some(Path::new(path))).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains(reason), "{error}");
        }
    }
}
