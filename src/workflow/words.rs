//! Normalised words of a text, for comparisons. Unrelated to the tokens of models.

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// Returns the words of `text`: NFKC-normalised, in lower case, without a possessive `'s`.
pub(super) fn words(text: &str) -> Vec<String> {
    let text: String = text.nfkc().collect::<String>().to_lowercase().replace('’', "'");
    text.unicode_words().map(|word| word.strip_suffix("'s").unwrap_or(word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_equal_in_any_spelling() {
        assert_eq!(words("The BRAKES' brake's, brake’s air-bag!"), ["the", "brakes", "brake", "brake", "air", "bag"]);
        assert_eq!(words("Fru\u{308}hstu\u{308}ck ＦＩＲＥ"), ["frühstück", "fire"]);
        assert_eq!(words("won't ... 👍"), ["won't"]);
    }
}
