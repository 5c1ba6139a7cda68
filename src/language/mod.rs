//! Languages: how messages greet, thank, ask back and speak of danger, and the words by which a language is recognised. Pure.
//!
//! A language is a file of phrases, `config/languages/CODE.toml`. English and German are built in; the files in
//! `workflow.languages_dir` replace and add languages. Nothing here depends on the subject of the documents.

mod danger;
mod detect;
mod entries;
mod file;
mod follow_up;
mod phrases;
mod questions;
mod replies;
mod small_talk;
mod spellings;
mod words;

pub use danger::DangerRules;
use danger::Message;
pub use follow_up::FollowUpMarks;
pub use questions::Piece;
pub use replies::Replies;
pub use small_talk::SmallTalk;

pub(crate) use entries::{DangerTable, Entries, EntryReader};
pub(crate) use phrases::Phrases;

use crate::toml_file::{self, Fault};
use detect::Detector;
use follow_up::FollowUpPhrases;
use questions::QuestionPhrases;
use small_talk::SmallTalkPhrases;
use spellings::Spellings;
use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
};
use words::{fold, words};

const BUILT_IN: [(&str, &str); 2] =
    [("en", include_str!("../../config/languages/en.toml")), ("de", include_str!("../../config/languages/de.toml"))];
/// Maximum size of a language file, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// Maximum number of languages.
const MAX_LANGUAGES: usize = 32;

/// One language and its phrases.
#[derive(Clone, Debug)]
pub struct Language {
    /// ISO 639 code, such as `en`.
    pub code: String,
    /// Name of the language in itself.
    pub name: String,
    /// Function words in lower case.
    pub stop_words: Vec<String>,
    folded_stop_words: HashSet<String>,
    small_talk: SmallTalkPhrases,
    follow_up: FollowUpPhrases,
    danger: DangerRules,
    questions: QuestionPhrases,
    spellings: Spellings,
    /// Sentences of the embedded answerer.
    pub replies: Replies,
    /// Words of all phrases, from which the language is recognised.
    listed: Vec<String>,
}

/// All languages, never empty; the first one is the default.
#[derive(Clone, Debug)]
pub struct Languages {
    languages: Vec<Language>,
    detector: Detector,
}

/// The reason why language files are refused.
#[derive(Debug, thiserror::Error)]
pub enum LanguagesError {
    #[error("cannot read {}: {cause}", .path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    /// Holds at least one fault.
    #[error("{}", .faults.iter().map(|fault| format!("{}, {fault}", .path.display())).collect::<Vec<_>>().join("; "))]
    Invalid { path: PathBuf, faults: Vec<Fault> },
}

impl Language {
    /// Whether a word, in any spelling, is a function word.
    pub fn is_stop_word(&self, word: &str) -> bool {
        self.folded_stop_words.contains(&fold(word))
    }
}

impl Languages {
    /// Returns English and German.
    ///
    /// # Panics
    /// Never: tests parse the built-in files.
    pub fn built_in() -> Self {
        let parse = |(code, text)| file::parse(text, code).expect("a built-in language file is valid");
        Self::of(BUILT_IN.map(parse).into())
    }

    /// Returns the built-in languages, replaced and extended by the files `CODE.toml` of a folder.
    ///
    /// # Errors
    /// If the folder or a file cannot be read, or a file is invalid, with the position of each fault.
    pub fn load(folder: Option<&Path>) -> Result<Self, LanguagesError> {
        let Self { mut languages, .. } = Self::built_in();
        for path in folder.map(files).transpose()?.unwrap_or_default() {
            let code = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let unreadable = |cause| LanguagesError::Unreadable { path: path.clone(), cause };
            if !is_code(code) {
                let reason = "a language file is named by its ISO 639 code, such as fr.toml";
                return Err(unreadable(io::Error::other(reason)));
            }
            let text = toml_file::read(&path, MAX_FILE_BYTES).map_err(unreadable)?;
            let language =
                file::parse(&text, code).map_err(|faults| LanguagesError::Invalid { path: path.clone(), faults })?;
            match languages.iter().position(|other: &Language| other.code == language.code) {
                Some(replaced) => languages[replaced] = language,
                None if languages.len() >= MAX_LANGUAGES => {
                    let reason = format!("at most {MAX_LANGUAGES} languages are allowed");
                    return Err(unreadable(io::Error::other(reason)));
                }
                None => languages.push(language),
            }
        }
        Ok(Self::of(languages))
    }

    fn of(languages: Vec<Language>) -> Self {
        let detector = Detector::new(&languages);
        Self { languages, detector }
    }

    /// All languages, built-in ones first.
    pub fn all(&self) -> &[Language] {
        &self.languages
    }

    /// The language for messages whose language is not recognised.
    pub fn default_language(&self) -> &Language {
        &self.languages[0]
    }

    pub fn get(&self, code: &str) -> Option<&Language> {
        self.languages.iter().find(|language| language.code == code)
    }

    /// Recognises the language of a text; `None` if none is clearly more likely than the others.
    pub fn detect(&self, text: &str) -> Option<&Language> {
        self.detector.detect(text).map(|index| &self.languages[index])
    }

    /// Whether a word, in any spelling, is a function word of any language.
    pub fn is_stop_word(&self, word: &str) -> bool {
        let folded = fold(word);
        self.languages.iter().any(|language| language.folded_stop_words.contains(&folded))
    }

    /// Returns other spellings of a lower-case word, in any language.
    pub fn spellings<'a>(&'a self, word: &str) -> impl Iterator<Item = &'a str> {
        self.languages.iter().flat_map(|language| language.spellings.of(word)).collect::<Vec<_>>().into_iter()
    }

    /// Returns the kind of small talk that a message consists of, in any language; `None` if something telling remains of it.
    pub fn small_talk(&self, text: &str) -> Option<SmallTalk> {
        let message = words(text);
        self.languages.iter().filter_map(|language| language.small_talk(text, &message)).min()
    }

    /// Returns a complaint, or the wish to talk to a person, in a message that also has something else in it.
    pub fn aside(&self, text: &str) -> Option<SmallTalk> {
        let message = words(text);
        self.languages.iter().filter_map(|language| language.aside(&message)).min()
    }

    /// Splits a message in a language into its questions, at most `limit`; with more, the message is one. Courtesies before them and
    /// announcements ("two things:") are left out.
    pub fn questions<'a>(&self, language: &Language, text: &'a str, limit: usize) -> Vec<Piece<'a>> {
        language.questions(self.without_courtesies(text), limit)
    }

    /// Returns a message without the greetings, thanks and fillers at its beginning; the whole message if nothing else is in it.
    fn without_courtesies<'a>(&self, text: &'a str) -> &'a str {
        let message = words(text);
        let leading = self.languages.iter().map(|language| language.small_talk.leading_words(&message)).max();
        let leading = leading.filter(|leading| *leading < message.len()).unwrap_or(0);
        let end = leading.checked_sub(1).map_or(0, |last| message[last].at.end);
        text[end..].trim_start_matches(|c: char| c.is_whitespace() || ",.!?:;…".contains(c))
    }

    /// Returns the marks of a follow-up in a message, by the rules of its language, or of all languages if that is not recognised.
    pub fn follow_up_marks(&self, text: &str) -> FollowUpMarks {
        let message = words(text);
        if let Some(language) = self.detect(text) {
            return language.follow_up_marks(&message);
        }
        let all = self.languages.iter().map(|language| language.follow_up_marks(&message));
        let any = all.reduce(|a, b| FollowUpMarks {
            opens: a.opens || b.opens,
            points_back: a.points_back || b.points_back,
            is_alone: a.is_alone || b.is_alone,
            telling_words: a.telling_words.min(b.telling_words),
        });
        any.unwrap_or_default()
    }

    /// Whether one of the phrases occurs in a message.
    pub(crate) fn has_phrase(text: &str, phrases: &Phrases) -> bool {
        phrases.occurs_in(&words(text))
    }

    /// Whether a message is about danger: by the rules of all languages and by `domain`, those for the subject of the documents.
    pub fn is_dangerous(&self, text: &str, domain: Option<&DangerRules>) -> bool {
        let rules: Vec<&DangerRules> = self.languages.iter().map(|language| &language.danger).chain(domain).collect();
        danger::is_dangerous(Message { text, words: &words(text) }, &rules)
    }
}

/// Returns the files with the ending `.toml` in a folder, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>, LanguagesError> {
    let unreadable = |cause| LanguagesError::Unreadable { path: folder.to_owned(), cause };
    let entries = std::fs::read_dir(folder).map_err(unreadable)?;
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(unreadable)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    Ok(paths)
}

/// Whether a text has the form of a language code: two or three lower-case letters.
fn is_code(text: &str) -> bool {
    (2..=3).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests;
