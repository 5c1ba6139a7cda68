//! The specialists, and the words that put a safety warning first: read from TOML, checked, then fixed.
//!
//! `config/agents.toml` is built in; another domain needs only another file (`workflow.agents_file`).

use super::words::words;
use serde::Deserialize;
use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

const BUILT_IN: &str = include_str!("../../config/agents.toml");
/// The largest file, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// A specialist.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
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
    #[serde(default)]
    pub collections: Vec<String>,
    /// Answers when the router is not sure. Exactly one has it.
    #[serde(default)]
    pub default: bool,
}

/// The specialists and the safety words.
#[derive(Clone, Debug)]
pub struct Agents {
    agents: Vec<Arc<Agent>>,
    default: Arc<Agent>,
    safety: Option<Safety>,
}

/// Why there are no specialists.
#[derive(Debug, thiserror::Error)]
pub enum AgentsError {
    #[error("cannot read {path}: {cause}", path = path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
    /// The cause names line and column.
    #[error("{place} is not a file of agents: {cause}")]
    Unparsable { place: String, cause: Box<toml::de::Error> },
    #[error("{place}: {problem}")]
    Invalid { place: String, problem: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentsFile {
    safety: Option<SafetyTable>,
    agent: Vec<Agent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SafetyTable {
    words: Vec<String>,
    warning: String,
}

/// Words that put a warning first.
#[derive(Clone, Debug)]
struct Safety {
    warning: String,
    /// By first word, all words of the phrase.
    phrases: HashMap<String, Vec<Vec<String>>>,
}

impl Agents {
    /// The specialists in `file`, or the built-in ones.
    ///
    /// # Errors
    /// When the file cannot be read, or is not what it should be; says where.
    pub fn load(file: Option<&Path>) -> Result<Self, AgentsError> {
        let Some(path) = file else { return Self::parse(BUILT_IN, "config/agents.toml") };
        let unreadable = |cause| AgentsError::Unreadable { path: path.to_owned(), cause };
        let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
        if bytes > MAX_FILE_BYTES {
            let problem = format!("has {bytes} bytes; {MAX_FILE_BYTES} are allowed");
            return Err(AgentsError::Invalid { place: path.display().to_string(), problem });
        }
        Self::parse(&std::fs::read_to_string(path).map_err(unreadable)?, &path.display().to_string())
    }

    /// The specialists in `text`, which stands at `place`.
    fn parse(text: &str, place: &str) -> Result<Self, AgentsError> {
        let file: AgentsFile = toml::from_str(text)
            .map_err(|cause| AgentsError::Unparsable { place: place.to_owned(), cause: Box::new(cause) })?;
        let invalid = |problem| AgentsError::Invalid { place: place.to_owned(), problem };
        let mut names = HashSet::new();
        for (index, agent) in file.agent.iter().enumerate() {
            agent.check().map_err(|problem| invalid(format!("agent {} ({:?}): {problem}", index + 1, agent.name)))?;
            if !names.insert(agent.name.as_str()) {
                return Err(invalid(format!("there are two agents with the name {:?}", agent.name)));
            }
        }
        let safety =
            file.safety.map(Safety::new).transpose().map_err(|problem| invalid(format!("safety: {problem}")))?;
        let agents: Vec<_> = file.agent.into_iter().map(Arc::new).collect();
        let mut defaults = agents.iter().filter(|agent| agent.default);
        let (Some(default), None) = (defaults.next().cloned(), defaults.next()) else {
            return Err(invalid("exactly one agent must have `default = true`".to_owned()));
        };
        Ok(Self { agents, default, safety })
    }

    /// All specialists, in the order of the file. Never empty.
    pub fn all(&self) -> &[Arc<Agent>] {
        &self.agents
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Agent>> {
        self.agents.iter().find(|agent| agent.name == name)
    }

    /// Who answers when the router is not sure.
    pub fn default_agent(&self) -> &Arc<Agent> {
        &self.default
    }

    /// What can be asked about.
    pub fn topics(&self) -> Vec<String> {
        self.agents.iter().map(|agent| agent.topic.clone()).collect()
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

impl Agent {
    fn check(&self) -> Result<(), String> {
        let of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if self.name.is_empty() || self.name.len() > MAX_NAME_BYTES || !self.name.chars().all(of_name) {
            return Err(format!("`name` must be 1 to {MAX_NAME_BYTES} of a-z, 0-9, `-` and `_`"));
        }
        let is_blank = |text: &String| text.trim().is_empty();
        for (key, value) in
            [("topic", &self.topic), ("description", &self.description), ("system_prompt", &self.system_prompt)]
        {
            if is_blank(value) {
                return Err(format!("`{key}` is empty"));
            }
        }
        if self.examples.is_empty() || self.examples.iter().any(is_blank) {
            return Err("`examples` needs one question or more, none of them empty".to_owned());
        }
        if self.collections.iter().any(is_blank) {
            return Err("`collections` has an empty name".to_owned());
        }
        Ok(())
    }
}

impl Safety {
    fn new(table: SafetyTable) -> Result<Self, String> {
        if table.warning.trim().is_empty() {
            return Err("`warning` is empty".to_owned());
        }
        if table.words.is_empty() {
            return Err("`words` is empty".to_owned());
        }
        let mut phrases: HashMap<String, Vec<Vec<String>>> = HashMap::new();
        for entry in &table.words {
            let phrase = words(entry);
            let first = phrase.first().ok_or_else(|| format!("`words` has an entry without a word: {entry:?}"))?;
            phrases.entry(first.clone()).or_default().push(phrase);
        }
        Ok(Self { warning: table.warning, phrases })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> Agents {
        Agents::load(None).unwrap()
    }

    #[test]
    fn the_built_in_ones_are_complete() {
        let agents = built_in();
        let names: Vec<_> = agents.all().iter().map(|agent| agent.name.as_str()).collect();
        assert_eq!(names, ["specs", "maintenance", "troubleshoot"]);
        assert_eq!(agents.default_agent().name, "specs");
        for agent in agents.all() {
            assert_eq!(agents.get(&agent.name), Some(agent));
            assert_eq!(agent.collections, [agent.name.as_str()]);
        }
        assert_eq!(agents.get("sales"), None);
    }

    #[test]
    fn safety_words_count_as_whole_words_in_all_their_forms() {
        let agents = built_in();
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
            assert!(agents.safety_warning(question).is_some(), "{question}");
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
            assert_eq!(agents.safety_warning(question), None, "{question}");
        }
    }

    fn agent(name: &str, rest: &str) -> String {
        format!(
            "[[agent]]\nname = \"{name}\"\ntopic = \"t\"\ndescription = \"d\"\nsystem_prompt = \"s\"\nexamples = [\"e\"]\n{rest}\n"
        )
    }

    #[test]
    fn what_is_wrong_is_named() {
        let one = agent("a", "default = true");
        for (text, want) in [
            ("agent = []".to_owned(), "exactly one agent"),
            (agent("a", ""), "exactly one agent"),
            (format!("{one}{}", agent("b", "default = true")), "exactly one agent"),
            (format!("{one}{}", agent("a", "")), "two agents with the name \"a\""),
            (agent("A b", "default = true"), "agent 1 (\"A b\"): `name`"),
            (one.replace("\"e\"", ""), "`examples`"),
            (one.replace("\"e\"", "\" \""), "`examples`"),
            (one.replace("\"t\"", "\" \""), "`topic`"),
            (one.replace("\"d\"", "\"\""), "`description`"),
            (one.replace("\"s\"", "\"\""), "`system_prompt`"),
            (format!("{one}[safety]\nwords = []\nwarning = \"w\""), "safety: `words`"),
            (format!("{one}[safety]\nwords = [\"!\"]\nwarning = \"w\""), "safety: `words`"),
            (format!("{one}[safety]\nwords = [\"w\"]\nwarning = \"\""), "safety: `warning`"),
            (agent("a", "default = true\ntemprature = 1"), "temprature"),
            (agent("a", "default = 1"), "line 7"),
            ("agent = [".to_owned(), "line 1"),
        ] {
            let error = Agents::parse(&text, "my.toml").unwrap_err().to_string();
            assert!(error.contains(want) && error.contains("my.toml"), "{want:?} in {error}");
        }
        assert_eq!(Agents::parse(&one, "my.toml").unwrap().safety_warning("fire"), None);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = Agents::load(Some(Path::new("/nowhere/agents.toml"))).unwrap_err();
        assert!(error.to_string().contains("/nowhere/agents.toml"), "{error}");
    }
}
