//! Front matter: a YAML mapping between two lines of `---` at the start of a Markdown file.
//!
//! A line of `---` is also a thematic break, so the lines up to the next one are front matter only if all of them can be YAML.
//! In doubt they are text: indexing too much does less harm than losing text.

/// Splits the front matter off a Markdown text. Returns the `collection` that it names, and the text after it.
pub fn split_front_matter(markdown: &str) -> (Option<&str>, &str) {
    let Some((matter, text)) = split(markdown).filter(|(matter, _)| is_mapping(matter)) else {
        return (None, markdown);
    };
    let collection = matter
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim_end() == "collection")
        .map(|(_, value)| strip_comment(value).trim().trim_matches(['"', '\'']).trim())
        .filter(|value| !value.is_empty());
    (collection, text)
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
    value.split_once(" #").map_or(value, |(value, _)| value)
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
            assert_eq!(split_front_matter(markdown), expected, "{markdown:?}");
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
            assert_eq!(split_front_matter(markdown), (None, markdown));
        }
    }
}
