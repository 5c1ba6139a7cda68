//! Operators' TOML files, such as that of the specialists: bounded reading, and faults with their positions.

use serde::de::DeserializeOwned;
use std::{fmt, io, ops::Range, path::Path};

/// One fault in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The key, such as `agent[0].name`; empty for the file as a whole.
    pub key: String,
    /// The description of the fault, as a clause that follows the key.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "`{}` ", self.key)?;
        }
        write!(f, "{}", self.problem)
    }
}

/// A place in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// Returns the place of a byte in a text.
    pub(crate) fn of(text: &str, byte: usize) -> Self {
        let (line, column) = line_and_column(text, byte);
        Self { line, column }
    }
}

/// The faults found so far in a text.
pub(crate) struct Faults<'a> {
    text: &'a str,
    found: Vec<Fault>,
}

impl<'a> Faults<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Adds a fault at a range of bytes.
    pub(crate) fn add(&mut self, at: Range<usize>, key: String, problem: impl Into<String>) {
        let (line, column) = line_and_column(self.text, at.start);
        self.found.push(Fault { line, column, key, problem: problem.into() });
    }

    /// Returns the faults in the order of the file, or `value` if there are none.
    pub(crate) fn into_result<T>(mut self, value: T) -> Result<T, Vec<Fault>> {
        self.found.sort_by_key(|fault| (fault.line, fault.column));
        if self.found.is_empty() { Ok(value) } else { Err(self.found) }
    }
}

/// Reads a file of at most `max_bytes`.
///
/// # Errors
/// If it cannot be read, is too large, or is not a file: reading a pipe could block for ever.
pub(crate) fn read(path: &Path, max_bytes: u64) -> io::Result<String> {
    let about = std::fs::metadata(path)?;
    if !about.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let bytes = about.len();
    if bytes > max_bytes {
        return Err(io::Error::other(format!("it has {bytes} bytes; at most {max_bytes} are allowed")));
    }
    std::fs::read_to_string(path)
}

/// Parses a text into a type whose fields may be `toml::Spanned`.
///
/// # Errors
/// The first fault, if the text is not TOML or has the wrong structure.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    let fault = |error: &toml::de::Error, key: String| {
        let (line, column) = line_and_column(text, error.span().map_or(0, |span| span.start));
        Fault { line, column, key, problem: error.message().trim_end().replace('\n', "; ") }
    };
    let deserializer = toml::Deserializer::parse(text).map_err(|error| fault(&error, String::new()))?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        // `Spanned` adds path segments that are not keys of the file.
        let key = error.path().to_string();
        let key: Vec<_> = key.split('.').filter(|part| !part.is_empty() && !part.contains("$__")).collect();
        let key = key.join(".");
        fault(error.inner(), if key == "?" { String::new() } else { key })
    })
}

/// Returns the line and column of a byte offset, from 1.
fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(byte)];
    let line = before.rsplit('\n').next().unwrap_or(before);
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_reported_in_file_order() {
        let text = "a = 1\nüb = 2\n";
        let mut faults = Faults::new(text);
        faults.add(text.find('2').unwrap()..text.len(), "b".to_owned(), "is 2");
        faults.add(0..1, String::new(), "is wrong");
        let found: Vec<_> = faults.into_result(()).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["line 1, column 1: is wrong", "line 2, column 6: `b` is 2"]);
        assert_eq!(Faults::new(text).into_result(5), Ok(5));
    }

    #[test]
    fn only_bounded_files_are_read() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a.toml");
        std::fs::write(&path, "a = 1").unwrap();
        assert_eq!(read(&path, 5).unwrap(), "a = 1");
        assert!(read(&path, 4).unwrap_err().to_string().contains("it has 5 bytes; at most 4 are allowed"));
        assert!(read(folder.path(), 5).unwrap_err().to_string().contains("not a file"));
    }
}
