//! Front matter: a YAML mapping between two lines of `---` at the start of a Markdown file.
//!
//! A line of `---` is also a thematic break, so the lines up to the next one are front matter only if all of them can be YAML.
//! In doubt they are text: indexing too much does less harm than losing text.

use super::keywords::split_keywords;

/// Markdown text with what its front matter says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FrontMatter<'a> {
    pub collection: Option<&'a str>,
    /// Keywords of the document, each with its line.
    pub keywords: Vec<(usize, String)>,
    /// Text after the front matter.
    pub text: &'a str,
    /// Number of the first line of the text.
    pub first_line: usize,
}

/// Splits the front matter off a Markdown text.
pub fn split_front_matter(markdown: &str) -> FrontMatter<'_> {
    let Some((matter, text)) = split(markdown).filter(|(matter, _)| is_mapping(matter)) else {
        return FrontMatter { text: markdown, first_line: 1, ..FrontMatter::default() };
    };
    let collection = matter
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim_end() == "collection")
        .map(|(_, value)| unquoted(strip_comment(value)))
        .filter(|value| !value.is_empty());
    let first_line = 3 + matter.lines().count();
    FrontMatter { collection, keywords: keywords(matter), text, first_line }
}

/// Reads `keywords`: a list in brackets, a list of `- item` lines, or a text with commas or semicolons.
fn keywords(matter: &str) -> Vec<(usize, String)> {
    let mut lines = (2..).zip(matter.lines());
    let first = lines.find_map(|(number, line)| {
        line.split_once(':').filter(|(key, _)| key.trim_end() == "keywords").map(|(_, value)| (number, value))
    });
    let more = lines.take_while(|(_, line)| !is_key(line));
    let items = first.into_iter().chain(more).flat_map(|(number, line)| {
        let line = strip_comment(line).trim();
        let line = line.strip_prefix("- ").unwrap_or(line);
        let items = line.trim_start_matches('[').trim_end_matches(']').split([',', ';']).map(unquoted);
        items.flat_map(move |item| split_keywords(item, &[])).map(move |(_, keyword)| (number, keyword))
    });
    items.collect()
}

/// Splits off the lines between a first line of `---` and the next line of `---` or `...`.
fn split(markdown: &str) -> Option<(&str, &str)> {
    let (first, rest) = markdown.split_once('\n')?;
    if first.trim_end() != "---" {
        return None;
    }
    let mut at = 0;
    for line in rest.split_inclusive('\n') {
        if matches!(line.trim_end(), "---" | "...") {
            return Some((&rest[..at], &rest[at + line.len()..]));
        }
        at += line.len();
    }
    None
}

/// Whether all lines can belong to a YAML mapping and the first is a key.
fn is_mapping(matter: &str) -> bool {
    matter.lines().next().is_some_and(is_key)
        && matter.lines().all(|line| {
            let is_nested = line.starts_with([' ', '\t', '#', ']', '}']) || line.starts_with("- ") || line == "-";
            line.trim().is_empty() || is_nested || is_key(line)
        })
}

/// Whether a line is `key:` or `key: value` with a single word as key.
fn is_key(line: &str) -> bool {
    line.split_once(':').is_some_and(|(key, value)| {
        let key = key.trim_matches(['"', '\'']);
        !key.is_empty()
            && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
            && (value.is_empty() || value.starts_with([' ', '\t']))
    })
}

fn strip_comment(value: &str) -> &str {
    let value = if value.trim_start().starts_with('#') { "" } else { value };
    value.split_once(" #").map_or(value, |(value, _)| value)
}

fn unquoted(value: &str) -> &str {
    value.trim().trim_matches(['"', '\'']).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_names_the_collection_and_is_removed() {
        for (markdown, expected) in [
            ("---\ntitle: A\ncollection: specs\n---\n# A\n", (Some("specs"), "# A\n")),
            ("---\ncollection: \"a b\" # where\n...\n# A\n", (Some("a b"), "# A\n")),
            ("---\ntitle: A\ntags:\n  - x\n- y\n# comment\n\ndate: 2026-01-01\n---\nA", (None, "A")),
            ("--- \ncollection:\n---", (None, "")),
        ] {
            let FrontMatter { collection, text, .. } = split_front_matter(markdown);
            assert_eq!((collection, text), expected, "{markdown:?}");
        }
    }

    #[test]
    fn text_after_a_thematic_break_is_not_front_matter() {
        for markdown in [
            "# A\n---\ncollection: x\n---\n",
            "---\n\n# Engine\n\nPower: 100 kW\n\n---\n\nMore.\n",
            "---\n# Engine\nPower: 100 kW\n---\n",
            "---\nThe engine has 100 kW.\n---\nMore.\n",
            "---\nMind this: the jack is in the boot.\n\n---\nMore.\n",
            "---\nhttps://example.org\n---\nMore.\n",
            "---\nkey: value\n\nThen a sentence.\n---\nMore.\n",
            "---\n---\nMore.\n",
            "---\ntitle: never closed\n",
            "----\ntitle: A\n----\n",
        ] {
            let expected = FrontMatter { text: markdown, first_line: 1, ..FrontMatter::default() };
            assert_eq!(split_front_matter(markdown), expected);
        }
    }

    #[test]
    fn keywords_are_read_in_every_form_of_a_list() {
        for (matter, expected) in [
            (
                "keywords: [opening hours, \"Öffnungszeiten\", 'x y'] # search\n",
                &[(2, "opening hours"), (2, "Öffnungszeiten"), (2, "x y")][..],
            ),
            ("title: A\nkeywords: a; b\ndate: x\n", &[(3, "a"), (3, "b")]),
            ("keywords:\n  - a b\n# note\n\n- \"c\"\ntags:\n- d\n", &[(3, "a b"), (6, "c")]),
            ("keywords: [a,\n  b,\n]\n", &[(2, "a"), (3, "b")]),
            ("keywords:\ntitle: A\n", &[]),
            ("title: A\n", &[]),
        ] {
            let markdown = format!("---\n{matter}---\nText.\n");
            let found = split_front_matter(&markdown);
            let keywords: Vec<_> = found.keywords.iter().map(|(line, keyword)| (*line, keyword.as_str())).collect();
            assert_eq!(keywords, expected, "{matter}");
            let lines: Vec<_> = markdown.lines().collect();
            assert_eq!(lines[found.first_line - 1], "Text.");
        }
    }
}
