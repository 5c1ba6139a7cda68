//! Front matter: the YAML mapping between two lines of `---` with which a Markdown file may begin.
//!
//! A line of `---` is also a thematic break, so the lines up to the next one are front matter only when all of them can be
//! YAML. When in doubt they are text: text that is indexed too much does less harm than text that is lost.

/// Takes the front matter off a Markdown text, and returns the `collection` that it names.
pub fn split_front_matter(markdown: &str) -> (Option<&str>, &str) {
    let Some((matter, text)) = split(markdown).filter(|(matter, _)| is_mapping(matter)) else {
        return (None, markdown);
    };
    let collection = matter
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim_end() == "collection")
        .map(|(_, value)| without_comment(value).trim().trim_matches(['"', '\'']).trim())
        .filter(|value| !value.is_empty());
    (collection, text)
}

/// The lines between the first line, when it is `---`, and the next line of `---` or `...`; and the text after it.
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

/// Whether every line can be part of a YAML mapping whose first line is a key.
fn is_mapping(matter: &str) -> bool {
    matter.lines().next().is_some_and(is_key)
        && matter.lines().all(|line| {
            let is_nested = line.starts_with([' ', '\t', '#', ']', '}']) || line.starts_with("- ") || line == "-";
            line.trim().is_empty() || is_nested || is_key(line)
        })
}

/// Whether a line is `key:` or `key: value`, with a key of one word.
fn is_key(line: &str) -> bool {
    line.split_once(':').is_some_and(|(key, value)| {
        let key = key.trim_matches(['"', '\'']);
        !key.is_empty()
            && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
            && (value.is_empty() || value.starts_with([' ', '\t']))
    })
}

fn without_comment(value: &str) -> &str {
    value.split_once(" #").map_or(value, |(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_names_the_collection_and_is_no_text() {
        for (markdown, expected) in [
            ("---\ntitle: A\ncollection: specs\n---\n# A\n", (Some("specs"), "# A\n")),
            ("---\ncollection: \"a b\" # where\n...\n# A\n", (Some("a b"), "# A\n")),
            ("---\ntitle: A\ntags:\n  - x\n- y\n# comment\n\ndate: 2026-01-01\n---\nA", (None, "A")),
            ("--- \ncollection:\n---", (None, "")),
        ] {
            assert_eq!(split_front_matter(markdown), expected, "{markdown:?}");
        }
    }

    #[test]
    fn a_text_that_begins_with_a_thematic_break_keeps_its_first_section() {
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
            assert_eq!(split_front_matter(markdown), (None, markdown));
        }
    }
}
