//! Removal of embedded data from a text: `data:` URIs and long runs of Base64, which are useless in search and mislead models.
//! Descriptions such as the alternative text of a picture are kept.

/// Maximum length of a `data:` URI up to the comma, in bytes.
const MAX_HEADER_BYTES: usize = 256;
/// Maximum length of the label of a link reference definition, including white space, in bytes.
const MAX_LABEL_BYTES: usize = 512;
/// Minimum length of a run of Base64 to remove. Shorter ones may be names, hashes or keys that users search for.
const MIN_BLOB_BYTES: usize = 256;
/// Minimum length of a line of Base64 that may continue on the next line.
const MIN_BLOB_LINE_BYTES: usize = 48;
/// Replacement for a run of Base64.
const BLOB_MARK: &str = "…";

/// Removes embedded data from a text.
pub fn strip_embedded_data(text: &str) -> String {
    strip_blobs(&strip_data_uris(text))
}

/// Removes `data:` URIs and the link reference definitions that consist of one.
fn strip_data_uris(text: &str) -> String {
    const SCHEME: &str = "data:";
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = find_ignoring_case(rest, SCHEME) {
        let (before, uri) = rest.split_at(at);
        let opening = before.chars().next_back().or_else(|| kept.chars().next_back());
        let length = uri_length(uri, opening);
        kept.push_str(before);
        match length {
            None => {
                kept.push_str(&uri[..SCHEME.len()]);
                rest = &uri[SCHEME.len()..];
            }
            Some(length) => {
                rest = &uri[length..];
                if opening == Some('<') && rest.starts_with('>') {
                    kept.pop();
                    rest = &rest[1..];
                }
                remove_label(&mut kept);
            }
        }
    }
    kept.push_str(rest);
    kept
}

fn find_ignoring_case(text: &str, pattern: &str) -> Option<usize> {
    text.as_bytes().windows(pattern.len()).position(|window| window.eq_ignore_ascii_case(pattern.as_bytes()))
}

/// Returns the length of the `data:` URI at the start of `text`, in bytes; `None` for prose, such as "data: 5".
fn uri_length(text: &str, opening: Option<char>) -> Option<usize> {
    if opening.is_some_and(char::is_alphanumeric) {
        return None;
    }
    let scheme = "data:".len();
    let header_end = text.bytes().take(MAX_HEADER_BYTES).position(|byte| byte == b',')?;
    let header = text.get(scheme..header_end)?;
    let media_type = header.split(';').next().unwrap_or_default();
    let is_media_type = media_type.split_once('/').is_some_and(|(kind, subtype)| {
        let is_token = |token: &str| {
            !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-_*".contains(&byte))
        };
        is_token(kind) && is_token(subtype)
    });
    let is_header =
        is_media_type || header.starts_with(';') || (header.is_empty() && opening.is_some_and(|c| "(\"'<".contains(c)));
    // Spaces are allowed only in quoted parameters, which are rare enough to ignore.
    if !is_header || header.contains(char::is_whitespace) {
        return None;
    }
    let data = &text[header_end + 1..];
    let is_base64 = header.to_ascii_lowercase().ends_with(";base64");
    let length = if is_base64 { base64_length(data) } else { text_length(data, opening) };
    Some(header_end + 1 + length)
}

/// Returns the length of Base64 at the start of `data`, which may be percent-encoded and wrapped into lines.
fn base64_length(data: &str) -> usize {
    let bytes = data.as_bytes();
    let mut end = 0;
    loop {
        let run = bytes[end..].iter().take_while(|&&byte| is_base64(byte) || byte == b'%').count();
        end += run;
        let space = bytes[end..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let next = bytes[end + space..].iter().take_while(|&&byte| is_base64(byte)).count();
        if space == 0 || run < MIN_BLOB_LINE_BYTES || next == 0 {
            return end;
        }
        // The last line may be as short as a word of prose. Unlike prose, its length is a multiple of four, and it stands
        // alone.
        let is_last = match bytes.get(end + space + next) {
            None | Some(b')' | b'"' | b'\'' | b'>') => true,
            Some(byte) => {
                next % 4 == 0 && matches!(byte, b'\r' | b'\n') && data[end..end + space].matches('\n').count() == 1
            }
        };
        if next < MIN_BLOB_LINE_BYTES && !is_last {
            return end;
        }
        end += space;
    }
}

/// Returns the length of unencoded data: up to the character that closes `opening`, or to the next white space.
fn text_length(data: &str, opening: Option<char>) -> usize {
    let closing = match opening {
        Some('"') => Some('"'),
        Some('\'') => Some('\''),
        Some('<') => Some('>'),
        Some('(') => Some(')'),
        _ => None,
    };
    let space = data.find(char::is_whitespace).unwrap_or(data.len());
    let Some(closing) = closing else { return space };
    let mut depth = 0_usize;
    for (at, c) in data.char_indices() {
        match c {
            '(' if closing == ')' => depth += 1,
            ')' if closing == ')' && depth > 0 => depth -= 1,
            c if c == closing => return at,
            // Not closed: a URI cannot continue in the next paragraph or contain another one.
            '\n' if data[at + 1..].starts_with('\n') => return space,
            'd' if data[at..].starts_with("data:") => return space,
            _ => {}
        }
    }
    space
}

/// Removes a `[label]: ` at the end of `kept`, left over from a link reference definition.
fn remove_label(kept: &mut String) {
    let from = kept.floor_char_boundary(kept.len().saturating_sub(MAX_LABEL_BYTES));
    let start = kept[from..].rfind('\n').map_or(from, |at| from + at + 1);
    let line = kept[start..].trim();
    if line.starts_with('[') && line.ends_with("]:") {
        kept.truncate(start);
    }
}

const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_')
}

/// Replaces long runs of Base64, on one line or wrapped, by [`BLOB_MARK`].
fn strip_blobs(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let bytes = text.as_bytes();
    let (mut done, mut at) = (0, 0);
    while at < bytes.len() {
        let end = blob_end(bytes, at);
        if end - at >= MIN_BLOB_BYTES && is_random(&bytes[at..end]) {
            kept.push_str(&text[done..at]);
            kept.push_str(BLOB_MARK);
            done = end;
        }
        at = end.max(at + 1);
    }
    kept.push_str(&text[done..]);
    kept
}

/// Returns the end of a run of Base64 that may be wrapped into lines of equal length.
fn blob_end(bytes: &[u8], start: usize) -> usize {
    let run = |from: usize| bytes[from..].iter().take_while(|&&byte| is_base64(byte)).count();
    let mut end = start + run(start);
    let mut line = end - start;
    while line >= MIN_BLOB_LINE_BYTES {
        let Some(next) = bytes[end..].strip_prefix(b"\r\n").or_else(|| bytes[end..].strip_prefix(b"\n")) else { break };
        let next_start = bytes.len() - next.len();
        let next_line = run(next_start);
        // Only complete lines that are no longer than the one before: otherwise the next line may be prose.
        let is_whole = bytes.get(next_start + next_line).is_none_or(u8::is_ascii_whitespace);
        if next_line == 0 || next_line > line || !is_whole || bytes[next_start..].starts_with(b"-----") {
            break;
        }
        end = next_start + next_line;
        line = next_line;
    }
    end
}

/// Whether both letter cases and digits are as frequent as in encoded data, unlike words, paths, numbers and sequences.
fn is_random(run: &[u8]) -> bool {
    let count = |is: fn(&u8) -> bool| run.iter().filter(|byte| is(byte)).count();
    let share = |part: usize, percent: usize| part * 100 >= run.len() * percent;
    share(count(u8::is_ascii_uppercase), 15)
        && share(count(u8::is_ascii_lowercase), 15)
        && share(count(u8::is_ascii_digit), 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// Returns `bytes` bytes that look like encoded data.
    fn blob(bytes: usize) -> String {
        "iVBORw0KGgoAAAANSUhEUgAA+x/9".chars().cycle().take(bytes).collect()
    }

    fn lines(bytes: usize) -> String {
        blob(bytes)
            .as_bytes()
            .chunks(76)
            .map(|line| std::str::from_utf8(line).unwrap().to_owned())
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn data_uris_are_removed_and_their_descriptions_kept() {
        let data = format!("data:image/png;base64,{}", blob(1_000));
        let wrapped = format!("data:image/png;base64,{}", lines(1_000));
        let svg = "data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg'><path d='M0 (0)'/></svg>";
        for (text, expected) in [
            (format!("![The fuse box]({data})"), "![The fuse box]()"),
            (format!("![The fuse box]({data} \"A title\") and more"), "![The fuse box]( \"A title\") and more"),
            (format!("![The fuse box]({wrapped}) and more"), "![The fuse box]() and more"),
            (format!("![The fuse box][1]\n\n[1]: {data}\n\nMore."), "![The fuse box][1]\n\n\n\nMore."),
            (format!("![The fuse box][1]\n\n  [1]: <{data}>\nMore."), "![The fuse box][1]\n\n\nMore."),
            (format!("<img alt=\"The fuse box\" src=\"{data}\">"), "<img alt=\"The fuse box\" src=\"\">"),
            (format!("<img src='{wrapped}' alt='x'>"), "<img src='' alt='x'>"),
            (format!("<img src=\"{svg}\" alt=\"x\">"), "<img src=\"\" alt=\"x\">"),
            (format!("![x]({svg}) more"), "![x]() more"),
            (format!("a {{ background: url({data}) }}"), "a { background: url() }"),
            (format!("See <{data}>."), "See ."),
            (format!("[A file](DATA:application/pdf;name=a.pdf;base64,{})", blob(40)), "[A file]()"),
            (format!("{data} and prose"), " and prose"),
            ("[x](data:,Hello%20world) more".to_owned(), "[x]() more"),
            ("data:text/html,%3Ch1%3EHi more".to_owned(), " more"),
            (format!("({wrapped}\nThen there is a sentence.)"), "(\nThen there is a sentence.)"),
        ] {
            assert_eq!(strip_embedded_data(&text), expected, "{text}");
        }
    }

    #[test]
    fn prose_about_data_is_kept() {
        for text in [
            "data: 5, 6",
            "The data:text is, well, here.",
            "metadata:text/plain,x",
            "Data:, and so on",
            "data:image/png of the car, see below",
            "data:",
            "Zürich data:",
        ] {
            assert_eq!(strip_embedded_data(text), text);
        }
    }

    #[test]
    fn long_runs_of_base64_are_replaced() {
        let (one, many) = (blob(1_000), lines(1_000));
        for (text, expected) in [
            (format!("{{\"image\": \"{one}\"}}"), "{\"image\": \"…\"}"),
            (
                format!("-----BEGIN CERTIFICATE-----\n{many}\n-----END CERTIFICATE-----\nMore."),
                "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\nMore.",
            ),
            (
                format!("Attached:\r\n\r\n{}\r\n\r\nRegards", many.replace('\n', "\r\n")),
                "Attached:\r\n\r\n…\r\n\r\nRegards",
            ),
            (format!("{many}\nA sentence comes next."), "…\nA sentence comes next."),
        ] {
            assert_eq!(strip_embedded_data(&text), expected);
        }
    }

    #[test]
    fn text_other_than_base64_and_short_codes_are_kept() {
        for text in [
            blob(64),
            "0123456789abcdef".repeat(32),
            "ACGT".repeat(200),
            "word".repeat(200),
            "/usr/local/share/some_folder".repeat(20),
            "2026-11-26-00-00".repeat(40),
            "Donaudampfschifffahrt".repeat(20),
            "A line of prose that is long enough to fill the page from left to right\n".repeat(20),
        ] {
            assert_eq!(strip_embedded_data(&text), text);
        }
    }

    #[test]
    fn the_cost_is_linear() {
        for unit in [
            "data:",
            "data:a/b,",
            "data:a/b;base64,",
            "(data:a/b, ",
            "[a]: data:a/b, ",
            "\"data:a/b, \n",
            "aB3",
            "aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3\n",
        ] {
            let text = unit.repeat(1024 * 1024 / unit.len());
            let started = Instant::now();
            let _ = strip_embedded_data(&text);
            assert!(started.elapsed() < Duration::from_secs(20), "{unit:?} took {:?}", started.elapsed());
        }
    }
}
