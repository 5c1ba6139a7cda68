//! Keywords: words and phrases that the author of a document gives to it or to one of its sections, so that searches in other words
//! find them. They are indexed and never shown.

use super::extract_error::ExtractError;
use crate::domain::is_invisible;

/// Maximum number of keywords of a passage, those of its document included.
pub const MAX_KEYWORDS: usize = 100;
/// Maximum length of a keyword, in characters.
pub const MAX_KEYWORD_CHARS: usize = 100;

/// Splits a list of keywords. Returns each with its offset, without surrounding and repeated white space and without invisible
/// characters.
pub fn split_keywords<'a>(list: &'a str, separators: &'a [char]) -> impl Iterator<Item = (usize, String)> + 'a {
    list.split(separators).filter_map(|part| {
        let words: Vec<String> = part
            .split_whitespace()
            .map(|word| word.chars().filter(|c| !is_invisible(*c)).collect())
            .filter(|word: &String| !word.is_empty())
            .collect();
        let at = part.as_ptr() as usize - list.as_ptr() as usize + (part.len() - part.trim_start().len());
        (!words.is_empty()).then(|| (at, words.join(" ")))
    })
}

/// Adds keywords, each with its line in the document, to those of a passage, unless it has them.
///
/// # Errors
/// When a keyword is too long or there are too many.
pub fn add_keywords(
    to: &mut Vec<String>,
    keywords: impl IntoIterator<Item = (usize, String)>,
) -> Result<(), ExtractError> {
    for (line, keyword) in keywords {
        if keyword.chars().count() > MAX_KEYWORD_CHARS {
            return Err(ExtractError::LongKeyword { line, limit: MAX_KEYWORD_CHARS });
        }
        if to.contains(&keyword) {
            continue;
        }
        if to.len() >= MAX_KEYWORDS {
            return Err(ExtractError::TooManyKeywords { line, limit: MAX_KEYWORDS });
        }
        to.push(keyword);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_bounded_and_distinct() {
        let mut keywords = Vec::new();
        let numbered = |count: usize| (1..=count).map(|n| (n, n.to_string()));
        add_keywords(&mut keywords, numbered(MAX_KEYWORDS)).unwrap();
        add_keywords(&mut keywords, numbered(3)).unwrap();
        assert_eq!(keywords.len(), MAX_KEYWORDS);
        let refused = add_keywords(&mut keywords, [(7, "more".to_owned())]);
        assert_eq!(refused, Err(ExtractError::TooManyKeywords { line: 7, limit: MAX_KEYWORDS }));
        let refused = add_keywords(&mut Vec::new(), [(8, "ä".repeat(MAX_KEYWORD_CHARS + 1))]);
        assert_eq!(refused, Err(ExtractError::LongKeyword { line: 8, limit: MAX_KEYWORD_CHARS }));
    }
}
