//! Prices of models, from a TOML file. All amounts are whole trillionths (10⁻¹²) of the currency.

use super::usage::CallUsage;
use serde::Deserialize;
use std::{fmt, fs, io, path::Path};

/// Maximum size of the file, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// Highest price of a token: a million of the currency for a million tokens.
const MAX_PRICE: u64 = 1_000_000_000_000;

/// Prices by model. The first entry whose pattern fits applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    #[serde(default, rename = "price")]
    prices: Vec<Price>,
}

/// Price of the models that a pattern fits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Price {
    /// Name of the model; `*` stands for any text.
    model: String,
    /// Name of the provider; absent: any.
    provider: Option<String>,
    /// Trillionths for each token of the prompt.
    #[serde(deserialize_with = "price")]
    input: u64,
    /// Trillionths for each token of the prompt that the model server had cached; absent: as `input`.
    #[serde(default, deserialize_with = "optional_price")]
    cached_input: Option<u64>,
    /// Trillionths for each token of the answer, including its reasoning.
    #[serde(deserialize_with = "price")]
    output: u64,
}

/// Reason why a table of prices is refused.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("line {line}, column {column}: {problem}")]
    Invalid { line: usize, column: usize, problem: String },
}

impl PriceTable {
    /// Loads the table in a file.
    ///
    /// # Errors
    /// When the file cannot be read, or with the place of the first fault in it.
    pub fn load(path: &Path) -> Result<Self, PricesError> {
        let about = fs::metadata(path)?;
        // Reading a pipe could block for ever.
        if !about.is_file() {
            return Err(io::Error::other("it is not a file").into());
        }
        if about.len() > MAX_FILE_BYTES {
            return Err(io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes")).into());
        }
        Self::parse(&fs::read_to_string(path)?)
    }

    fn parse(text: &str) -> Result<Self, PricesError> {
        toml::from_str(text).map_err(|error| {
            let before = &text[..text.floor_char_boundary(error.span().map_or(0, |span| span.start))];
            let start_of_line = before.rfind('\n').map_or(0, |at| at + 1);
            PricesError::Invalid {
                line: before.matches('\n').count() + 1,
                column: before[start_of_line..].chars().count() + 1,
                problem: error.message().trim_end().replace('\n', "; "),
            }
        })
    }

    /// Returns the cost of a request; `None` if the price of the model is unknown. A cost that the model server reported
    /// prevails.
    pub fn cost(&self, provider: &str, model: &str, usage: &CallUsage) -> Option<u64> {
        usage.reported_cost.or_else(|| Some(self.price_of(provider, model)?.of(usage)))
    }

    /// Whether the price of a model is known.
    pub fn knows(&self, provider: &str, model: &str) -> bool {
        self.price_of(provider, model).is_some()
    }

    fn price_of(&self, provider: &str, model: &str) -> Option<&Price> {
        self.prices.iter().find(|price| price.applies_to(provider, model))
    }
}

impl Price {
    fn applies_to(&self, provider: &str, model: &str) -> bool {
        self.provider.as_deref().is_none_or(|own| own == provider) && fits(&self.model, model)
    }

    /// Cached tokens are part of the prompt, and reasoning is part of the answer: neither is charged twice.
    fn of(&self, usage: &CallUsage) -> u64 {
        let cached = usage.cached_tokens.min(usage.tokens.prompt_tokens);
        let uncached = usage.tokens.prompt_tokens - cached;
        let charge = |tokens: u32, price: u64| u64::from(tokens).saturating_mul(price);
        charge(uncached, self.input)
            .saturating_add(charge(cached, self.cached_input.unwrap_or(self.input)))
            .saturating_add(charge(usage.tokens.completion_tokens, self.output))
    }
}

/// Whether a pattern, in which `*` stands for any text, fits a name.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let (middle, end) = rest.rsplit_once('*').map_or(("", rest), |(middle, end)| (middle, end));
    for part in middle.split('*') {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(end)
}

fn price<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let price = u64::deserialize(deserializer)?;
    match price <= MAX_PRICE {
        true => Ok(price),
        false => Err(serde::de::Error::custom(TooHigh(price))),
    }
}

fn optional_price<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    price(deserializer).map(Some)
}

struct TooHigh(u64);

impl fmt::Display for TooHigh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} trillionths for a token; at most {MAX_PRICE} are allowed", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Usage;
    use proptest::prelude::*;

    const TABLE: &str = "
        [[price]]
        model = \"gpt-5-mini*\"
        input = 250_000
        cached_input = 25_000
        output = 2_000_000

        [[price]]
        model = \"*\"
        provider = \"in_house\"
        input = 0
        output = 0
    ";

    fn usage(prompt_tokens: u32, cached_tokens: u32, completion_tokens: u32) -> CallUsage {
        CallUsage { tokens: Usage { prompt_tokens, completion_tokens }, cached_tokens, ..CallUsage::default() }
    }

    #[test]
    fn cost_is_that_of_the_first_price_that_fits() {
        let table = PriceTable::parse(TABLE).unwrap();
        let used = usage(1_000, 400, 50);
        assert_eq!(
            table.cost("default", "gpt-5-mini-2025", &used),
            Some(600 * 250_000 + 400 * 25_000 + 50 * 2_000_000)
        );
        assert_eq!(table.cost("in_house", "qwen3", &used), Some(0), "a known price may be zero");
        assert_eq!(table.cost("default", "gpt-5", &used), None, "an unknown one never is");
        let reported = CallUsage { reported_cost: Some(7), ..used };
        assert_eq!(table.cost("default", "gpt-5-mini", &reported), Some(7));
        assert_eq!(PriceTable::default().cost("default", "gpt-5", &reported), Some(7));
    }

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, name, want) in [
            ("gpt", "gpt", true),
            ("gpt", "gpt-5", false),
            ("gpt*", "gpt", true),
            ("*mini", "gpt-mini", true),
            ("*mini", "mini-gpt", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("**", "é", true),
            ("*-*-*", "a-b", false),
        ] {
            assert_eq!(fits(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn a_fault_has_its_place() {
        for (text, wanted) in [
            ("[[price]]\nmodel = \"m\"\ninput = 1.5\noutput = 1", "line 3, column 9: invalid type: floating point"),
            ("[[price]]\nmodel = \"m\"\ninput = -1\noutput = 1", "line 3, column 9: "),
            ("[[price]]\nmodel = \"m\"\ninput = 1", "line 1, column 1: missing field `output`"),
            ("[[price]]\nmodel = \"m\"\ninput = 1\noutput = 1_000_000_000_001", "line 4, column 10: 1000000000001 tr"),
            ("[[prices]]", "line 1, column 3: unknown field `prices`"),
            ("[[price]]\nmodel = \"m\"\ninput = 1\noutput = 1\ncached = 1", "line 5, column 1: unknown field `cached`"),
            ("price = ", "line 1, column 9: "),
        ] {
            let error = PriceTable::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{wanted} in {error}");
        }
        assert!(PriceTable::load(Path::new("/nowhere/prices.toml")).is_err());
        assert!(PriceTable::load(Path::new("/dev/zero")).is_err());
    }

    proptest! {
        #[test]
        fn nothing_is_charged_twice(
            prompt in 0_u32..2_000_000, cached in 0_u32..2_000_000, completion in 0_u32..2_000_000,
            input in 0_u64..100_000_000, discount in 0_u64..=100, output in 0_u64..100_000_000,
        ) {
            let cached_input = Some(input / 100 * discount);
            let price = Price { model: "*".to_owned(), provider: None, input, cached_input, output };
            let cost = price.of(&usage(prompt, cached, completion));
            let full = u128::from(prompt) * u128::from(input) + u128::from(completion) * u128::from(output);
            prop_assert!(u128::from(cost) <= full, "caching never costs more");
            prop_assert_eq!(u128::from(price.of(&usage(prompt, 0, completion))), full);
            // The parts add up.
            let cached = cached.min(prompt);
            let sum = price.of(&usage(prompt - cached, 0, 0)) + price.of(&usage(cached, cached, 0))
                + price.of(&usage(0, 0, completion));
            prop_assert_eq!(cost, sum);
        }

        #[test]
        fn the_largest_usage_does_not_overflow(price in 0..=MAX_PRICE) {
            let price = Price { model: "*".to_owned(), provider: None, input: price, cached_input: None, output: price };
            let most = usage(u32::MAX, u32::MAX, u32::MAX);
            prop_assert!(price.of(&most) >= price.of(&usage(u32::MAX, 0, 0)));
        }

        #[test]
        fn a_pattern_of_parts_fits_what_holds_them_in_order(parts in prop::collection::vec("[a-c]{0,3}", 1..5), filler in "[d-f]{0,3}") {
            let pattern = parts.join("*");
            prop_assert!(fits(&pattern, &parts.join(&filler)));
            prop_assert_eq!(fits(&pattern, &format!("{}x", parts.join(&filler))), parts.len() > 1 && parts.last().is_some_and(String::is_empty));
        }
    }
}
