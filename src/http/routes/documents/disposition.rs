//! Parser of a part's `Content-Disposition`: field name and file name, in the encodings that clients use.
//!
//! RFC 7578 specifies file names in UTF-8. In practice they also arrive as `filename*` of RFC 5987 (.NET sends both), as encoded
//! words of RFC 2047 (.NET, mail programs), percent-encoded, in Latin-1, and with the sender's local path.

use crate::domain::is_invisible;
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use encoding_rs::{Encoding, WINDOWS_1252};
use percent_encoding::percent_decode;

/// Base64 of an encoded word; some clients omit the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The relevant parameters of a `Content-Disposition`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Disposition {
    pub(super) is_form_data: bool,
    /// Name of the form field.
    pub(super) name: Option<String>,
    filename: Option<String>,
    filename_ext: Option<String>,
}

impl Disposition {
    /// Parses a header's value and skips malformed parameters.
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

    /// Returns the file name without its path and without invisible characters. `None` if nothing remains.
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

/// Splits off a token or quoted string; also returns the text after the next `;`. A backslash escapes only a quote or a backslash:
/// before other characters it separates folders of a Windows path.
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

/// Decodes UTF-8, or otherwise Windows-1252, a superset of Latin-1.
fn decoded(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).map(str::to_owned);
    text.unwrap_or_else(|_| WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned())
}

/// Decodes the value of `filename*`: `charset'language'percent-encoded`. `None` if it is malformed.
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

/// Decodes encodings that are not allowed in `filename` but occur: encoded words, and percent-encoding if every `%` starts an
/// escape and the result is UTF-8.
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

/// Decodes a name that consists of encoded words of RFC 2047, such as `=?utf-8?B?w6QucGRm?=`.
fn encoded_words(name: &str) -> Option<String> {
    let mut decoded = String::new();
    for word in name.split_ascii_whitespace() {
        let mut fields = word.strip_prefix("=?")?.strip_suffix("?=")?.splitn(3, '?');
        let (charset, encoding, text) = (fields.next()?, fields.next()?, fields.next()?);
        let bytes = match encoding {
            "B" | "b" => BASE64.decode(text).ok()?,
            // The Q encoding is percent-encoding with `=` for `%`, and `_` for a space.
            "Q" | "q" => {
                percent_decode(text.replace('_', " ").replace('%', "=25").replace('=', "%").as_bytes()).collect()
            }
            _ => return None,
        };
        // RFC 2231 allows `*language` after the charset.
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
    fn file_names_are_decoded_from_every_supported_encoding() {
        for (parameters, expected) in [
            ("filename=\"Prüfbericht.pdf\"", "Prüfbericht.pdf"),
            ("filename=plain.md", "plain.md"),
            ("filename=\"a;b=c.md\"", "a;b=c.md"),
            // .NET sends both; `filename*` takes precedence.
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
    fn paths_and_invisible_characters_are_removed() {
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
    fn malformed_parameters_are_skipped() {
        for header in
            ["", ";", "form-data", "form-data; name", "form-data; name=\"file", "attachment; name=x", ";;;==;\"\""]
        {
            let disposition = Disposition::parse(header.as_bytes());
            assert_eq!(disposition.is_form_data, header.starts_with("form-data"), "{header}");
            assert_eq!(disposition.file_name(), None, "{header}");
        }
    }
}
