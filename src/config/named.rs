//! Sections that users name: `[providers.NAME]`.

use std::borrow::Cow;

/// Name of the provider that `[provider]` describes.
pub const DEFAULT_PROVIDER: &str = "default";
/// Name of the built-in answerer, which needs no section of its own.
pub const EXTRACTIVE_PROVIDER: &str = "extractive";

/// Further providers, each with the settings of `[provider]`.
pub(super) const NAMED_PROVIDERS: NamedSections =
    NamedSections { path: "providers", like: "provider", reserved: &[DEFAULT_PROVIDER, EXTRACTIVE_PROVIDER] };

/// A table of sections that users name, such as `[providers.backup]`. All have the settings of one declared section.
#[derive(Debug)]
pub struct NamedSections {
    /// The name of the table.
    pub path: &'static str,
    /// The path of the section whose settings they have.
    pub like: &'static str,
    /// Names that are taken.
    pub reserved: &'static [&'static str],
}

impl NamedSections {
    /// Whether a section may have this name. It can be part of the name of an environment variable.
    pub fn allows(&self, name: &str) -> bool {
        let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.split('_').all(|word| !word.is_empty() && is_word(word))
            && !self.reserved.contains(&name)
    }

    /// The path of the declared setting or section: `provider.model` of `providers.backup.model`.
    pub(super) fn declared<'a>(&self, path: &'a str) -> Cow<'a, str> {
        let named = path.strip_prefix(self.path).and_then(|rest| rest.strip_prefix('.'));
        let Some((name, rest)) = named.map(|named| named.split_once('.').unwrap_or((named, ""))) else {
            return Cow::Borrowed(path);
        };
        match (self.allows(name), rest) {
            (false, _) => Cow::Borrowed(path),
            (true, "") => Cow::Borrowed(self.like),
            (true, rest) => Cow::Owned(format!("{}.{rest}", self.like)),
        }
    }
}
