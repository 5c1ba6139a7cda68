//! The `Content-Disposition` of a part: its name in the form, and the name of its file in the encodings that clients use.
//!
//! RFC 7578 has file names in UTF-8. In fact they come as `filename*` of RFC 5987 as well (.NET sends both), as encoded
//! words of RFC 2047 (.NET, mail programs), percent-encoded, in Latin-1, and with the folders of the sender's machine.

use crate::knowledge::is_invisible;
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use encoding_rs::{Encoding, WINDOWS_1252};
use percent_encoding::percent_decode;

/// Base64 of an encoded word, which some clients leave without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The parameters of a `Content-Disposition` that matter here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Disposition {
    pub(super) is_form_data: bool,
    /// The name of the field.
    pub(super) name: Option<String>,
    filename: Option<String>,
    filename_ext: Option<String>,
}

impl Disposition {
    /// Parses a header's value, and skips what it cannot parse.
    pub(super) fn parse(value: &[u8]) -> Self {
        let (kind, mut rest) = split_at_byte(value, b';');
        let mut parsed = Self { is_form_data: kind.trim_ascii().eq_ignore_ascii_case(b"form-data"), ..Self::default() };
        while !rest.is_empty() {
            let (key, after_key) = split_at_byte(rest, b'=');
            let (value, after_value) = parameter_value(after_key.trim_ascii_start());
            rest = after_value;
            match key.trim_ascii().to_ascii_lowercase().as_slice() {
                b"name" => parsed.name = parsed.name.or(Some(decoded(&value))),
                b"filename" => parsed.filename = parsed.filename.or(Some(decoded(&value))),
                b"filename*" => parsed.filename_ext = parsed.filename_ext.or_else(|| extended(&value)),
                _ => {}
            }
        }
        parsed
    }

    /// The name of the file without its folders, and without characters that have no place in a name. `None` when nothing
    /// is left.
    pub(super) fn file_name(&self) -> Option<String> {
        let name = self.filename_ext.clone().or_else(|| self.filename.as_deref().map(unencoded))?;
        let name: String = name.rsplit(['/', '\\']).next()?.chars().filter(|c| !is_invisible(*c)).collect();
        let name = name.trim();
        (!matches!(name, "" | "." | "..")).then(|| name.to_owned())
    }
}

/// Splits at the first `byte`.
fn split_at_byte(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    match text.iter().position(|&b| b == byte) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, b""),
    }
}

/// A token or a quoted string, and what comes after the next `;`. A backslash escapes a quote or a backslash only: before
/// other characters it is one of a path of Windows.
fn parameter_value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let (token, rest) = split_at_byte(text, b';');
        return (token.trim_ascii_end().to_vec(), rest);
    };
    let (mut value, mut at) = (Vec::new(), 0);
    while let Some(&byte) = quoted.get(at).filter(|byte| **byte != b'"') {
        let escaped = quoted.get(at + 1).copied().filter(|next| byte == b'\\' && matches!(next, b'"' | b'\\'));
        value.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 2 } else { 1 };
    }
    let after = quoted.get(at + 1..).unwrap_or_default();
    (value, split_at_byte(after, b';').1)
}

/// Bytes as text: UTF-8, or else Latin-1 (of which Windows-1252 is a superset).
fn decoded(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).map(str::to_owned);
    text.unwrap_or_else(|_| WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned())
}

/// The value of `filename*`: `charset'language'percent-encoded`. `None` when it is not that.
fn extended(value: &[u8]) -> Option<String> {
    let (charset, rest) = split_at_byte(value, b'\'');
    let (_language, encoded) = split_at_byte(rest, b'\'');
    let bytes: Vec<u8> = percent_decode(encoded).collect();
    in_charset(charset, &bytes).filter(|name| !name.is_empty())
}

fn in_charset(charset: &[u8], bytes: &[u8]) -> Option<String> {
    let text = Encoding::for_label(charset)?.decode_without_bom_handling_and_without_replacement(bytes)?;
    Some(text.into_owned())
}

/// A name without the encodings that do not belong into `filename`: encoded words, and percent-encoding when every `%` is
/// part of it and UTF-8 comes out.
fn unencoded(name: &str) -> String {
    let name = encoded_words(name).unwrap_or_else(|| name.to_owned());
    let is_encoded = name.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !is_encoded {
        return name;
    }
    let bytes: Vec<u8> = percent_decode(name.as_bytes()).collect();
    String::from_utf8(bytes).unwrap_or(name)
}

/// A name that is nothing but encoded words of RFC 2047, such as `=?utf-8?B?w6QucGRm?=`.
fn encoded_words(name: &str) -> Option<String> {
    let mut decoded = String::new();
    for word in name.split_ascii_whitespace() {
        let mut fields = word.strip_prefix("=?")?.strip_suffix("?=")?.splitn(3, '?');
        let (charset, encoding, text) = (fields.next()?, fields.next()?, fields.next()?);
        let bytes = match encoding {
            "B" | "b" => BASE64.decode(text).ok()?,
            // The Q encoding is percent-encoding with another sign, and `_` for a space.
            "Q" | "q" => {
                percent_decode(text.replace('_', " ").replace('%', "=25").replace('=', "%").as_bytes()).collect()
            }
            _ => return None,
        };
        // A language may follow the charset after a star.
        let charset = charset.split('*').next().unwrap_or_default();
        decoded.push_str(&in_charset(charset.as_bytes(), &bytes)?);
    }
    (!decoded.is_empty()).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_name(parameters: &str) -> Option<String> {
        file_name_of_bytes(parameters.as_bytes())
    }

    fn file_name_of_bytes(parameters: &[u8]) -> Option<String> {
        let header = [b"form-data; name=\"file\"; ", parameters].concat();
        let disposition = Disposition::parse(&header);
        assert!(disposition.is_form_data);
        assert_eq!(disposition.name.as_deref(), Some("file"));
        disposition.file_name()
    }

    #[test]
    fn names_come_in_many_encodings() {
        for (parameters, expected) in [
            ("filename=\"Prüfbericht.pdf\"", "Prüfbericht.pdf"),
            ("filename=plain.md", "plain.md"),
            ("filename=\"a;b=c.md\"", "a;b=c.md"),
            // .NET sends both; the extended one is right.
            ("filename=\"=?utf-8?B?UHLDvGYucGRm?=\"; filename*=utf-8''Pr%C3%BCf.pdf", "Prüf.pdf"),
            ("filename==?utf-8?B?UHLDvGYucGRm?=", "Prüf.pdf"),
            ("filename=\"=?UTF-8?Q?Pr=C3=BCf_1.pdf?=\"", "Prüf 1.pdf"),
            ("filename=\"=?iso-8859-1?Q?Pr=FCf.pdf?=\"", "Prüf.pdf"),
            ("filename=\"=?utf-8?B?UHLD?= =?utf-8?Q?x?=\"", "=?utf-8?B?UHLD?= =?utf-8?Q?x?="),
            ("filename*=UTF-8'de'Pr%C3%BCf.pdf", "Prüf.pdf"),
            ("filename*=iso-8859-1''Pr%FCf.pdf", "Prüf.pdf"),
            ("filename*=\"utf-8''Pr%C3%BCf.pdf\"", "Prüf.pdf"),
            ("filename*=koi8-r''%F0.pdf", "П.pdf"),
            ("filename=\"fallback.pdf\"; filename*=x-none''%F0", "fallback.pdf"),
            ("filename=\"fallback.pdf\"; filename*=utf-8''%FF", "fallback.pdf"),
            ("filename=\"Pr%C3%BCf.pdf\"", "Prüf.pdf"),
            ("filename=\"100% cotton.md\"", "100% cotton.md"),
            ("filename=\"with %22quotes%22.md\"", "with \"quotes\".md"),
            ("filename=\"with \\\"quotes\\\".md\"", "with \"quotes\".md"),
        ] {
            assert_eq!(file_name(parameters).as_deref(), Some(expected), "{parameters}");
        }
        let latin = b"filename=\"Pr\xfcf.pdf\"";
        assert_eq!(file_name_of_bytes(latin).as_deref(), Some("Prüf.pdf"));
    }

    #[test]
    fn folders_and_invisible_characters_go() {
        for (parameters, expected) in [
            ("filename=\"C:\\dir\\x.docx\"", Some("x.docx")),
            ("filename=\"C:\\\\dir\\\\x.docx\"", Some("x.docx")),
            ("filename=\"../../x.docx\"", Some("x.docx")),
            ("filename=\"%2e%2e%2fx.docx\"", Some("x.docx")),
            ("filename*=utf-8''..%5Cx.docx", Some("x.docx")),
            ("filename=\"a\u{202e}fdp.md\"", Some("afdp.md")),
            ("filename=\"a\u{200b}%00%0D%0A.md\"", Some("a.md")),
            ("filename=\"..\"", None),
            ("filename=\"dir/\"", None),
            ("filename=\" \"", None),
            ("filename=\"\"", None),
            ("x=y", None),
        ] {
            assert_eq!(file_name(parameters).as_deref(), expected, "{parameters}");
        }
    }

    #[test]
    fn a_header_that_is_broken_is_parsed_as_far_as_it_goes() {
        for header in
            ["", ";", "form-data", "form-data; name", "form-data; name=\"file", "attachment; name=x", ";;;==;\"\""]
        {
            let disposition = Disposition::parse(header.as_bytes());
            assert_eq!(disposition.is_form_data, header.starts_with("form-data"), "{header}");
            assert_eq!(disposition.file_name(), None, "{header}");
        }
    }
}
