//! Citations in texts that arrive in pieces: by hand, composed of known fragments, and at random.

use super::*;
use proptest::prelude::*;

const SOURCES: usize = 12;

/// Result of filtering a text that arrives in `pieces`.
struct Filtered {
    text: String,
    found: Vec<FoundCitation>,
    most_held: usize,
}

fn filtered(pieces: &[&str], sources: usize) -> Filtered {
    let mut filter = CitationFilter::new(sources);
    let (mut text, mut most_held) = (String::new(), 0);
    for piece in pieces {
        text += &filter.push((*piece).to_owned());
        most_held = most_held.max(filter.held_bytes());
    }
    text += &filter.finish();
    Filtered { text, found: filter.found().to_vec(), most_held }
}

fn whole(text: &str) -> Filtered {
    filtered(&[text], SOURCES)
}

/// Cited numbers with the text of each citation.
fn cited(filtered: &Filtered) -> Vec<(u32, &str)> {
    filtered.found.iter().map(|found| (found.n, &filtered.text[found.start..found.end])).collect()
}

/// Splits a text at some of its characters.
fn split<'a>(text: &'a str, cuts: &[prop::sample::Index]) -> Vec<&'a str> {
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut at: Vec<usize> = cuts.iter().map(|cut| ends[cut.index(ends.len())]).chain([0, text.len()]).collect();
    at.sort_unstable();
    at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

#[test]
fn numbers_without_a_source_are_removed() {
    for (text, wanted, numbers) in [
        ("Oil [1].", "Oil [1].", &[(1, "[1]")][..]),
        ("Oil [12][3]", "Oil [12][3]", &[(12, "[12]"), (3, "[3]")]),
        ("Oil[13].", "Oil.", &[]),
        ("Oil [13] is", "Oil is", &[]),
        ("[0] Oil", "Oil", &[]),
        ("Oil [007] and [099].", "Oil [007] and .", &[(7, "[007]")]),
        ("Oil [1, 2].", "Oil [1, 2].", &[(1, "[1, 2]"), (2, "[1, 2]")]),
        (
            "Oil [1,2,3,4,5,6].",
            "Oil [1,2,3,4,5,6].",
            &[
                (1, "[1,2,3,4,5,6]"),
                (2, "[1,2,3,4,5,6]"),
                (3, "[1,2,3,4,5,6]"),
                (4, "[1,2,3,4,5,6]"),
                (5, "[1,2,3,4,5,6]"),
                (6, "[1,2,3,4,5,6]"),
            ],
        ),
        ("Oil [1, 99].", "Oil [1].", &[(1, "[1]")]),
        ("Oil [99, 1].", "Oil [1].", &[(1, "[1]")]),
        ("Oil [98, 99].", "Oil .", &[]),
        ("Oil [97, 98, 99, 100, 101].", "Oil .", &[]),
        ("Oil [97, 98, 99, 1, 101].", "Oil [1].", &[(1, "[1]")]),
        ("Oil [1, 97, 98, 99, 2].", "Oil [1, 2].", &[(1, "[1, 2]"), (2, "[1, 2]")]),
        ("Oil [1, 1].", "Oil [1, 1].", &[(1, "[1, 1]")]),
        ("Oil [[1]].", "Oil [[1]].", &[(1, "[[1]]")]),
        ("Oil [[99]].", "Oil .", &[]),
        ("Oil [[1], [99]].", "Oil [[1], ].", &[(1, "[1]")]),
        ("Öl 🛢️ [2]", "Öl 🛢️ [2]", &[(2, "[2]")]),
        // Brackets that only a removal would join.
        ("[[99]99]", "[]", &[]),
        ("[9[99]9]", "[9", &[]),
        ("[9[99]9]]]", "[9", &[]),
        ("[1[99], 2]", "[1, 2]", &[(1, "[1, 2]"), (2, "[1, 2]")]),
        ("Oil [1, 2024].", "Oil [1].", &[(1, "[1]")]),
    ] {
        let result = whole(text);
        assert_eq!((result.text.as_str(), cited(&result)), (wanted, numbers.to_vec()), "{text}");
    }
}

#[test]
fn everything_else_is_left_as_it_is() {
    for text in [
        "- [x] done\n- [ ] open",
        "[1](https://example.com/) and [99](https://example.com/) and [[99]](https://example.com/)",
        "![99](image.png)",
        "[a], [1a], [1-3], [97–99], [^99], [99.5], [-99], [99 apples], [ 99 ], [99,], [99,  1]",
        "[12345678], [1234567, a], [98, 99 km]",
        "Since [2024] and [100], [[1999]], [2024, 1], [9[100]9].",
        "Use `list[99]` or ``a ` [99]``.",
        "```python\nlist[99] = [97, 98]\n```\ndone",
        "~~~\n[99]\n~~~",
        "Code:\n\n    list[99]\n",
        r"Escaped: \[99\] and \[99](x)",
        "[99",
        "[",
        "[[",
        "[1",
        "[99, 1",
    ] {
        let result = whole(text);
        assert_eq!(result.text, text);
        assert!(result.found.is_empty(), "{text}: {:?}", result.found);
    }
}

#[test]
fn without_sources_nothing_is_cited() {
    assert_eq!(filtered(&["Oil [1]", ", `a[1]` [", "2]"], 0).text, "Oil , `a[1]` ");
}

#[test]
fn a_text_loses_its_citations() {
    let text = "Oil [1]: 5.2 l [2, 3], since [2024]. See [4](x) and `a[5]`.";
    assert_eq!(without_citations(text.to_owned()), "Oil : 5.2 l , since [2024]. See [4](x) and `a[5]`.");
}

#[test]
fn text_goes_out_when_the_wait_ends() {
    for (before, released, after, wanted) in [
        ("Oil [", "Oil [", "1] is", "Oil [1] is"),
        ("Oil [", "Oil [", "99] is", "Oil [] is"),
        ("Oil [1", "Oil [1", "] is", "Oil [1] is"),
        ("Oil [9", "Oil [9", "9] is", "Oil [9 is"),
        ("Since [20", "Since [20", "24] it", "Since [2024] it"),
        ("Oil [99]", "Oil ", " is", "Oil is"),
        ("Oil [99, 1", "Oil [1", "] is", "Oil [1] is"),
        ("Oil [1, 99", "Oil [1, 99", "] is", "Oil [1, 99 is"),
        ("Oil [[99]", "Oil [", "] is", "Oil [] is"),
        ("Oil [1]", "Oil [1]", "(x)", "Oil [1](x)"),
    ] {
        let mut filter = CitationFilter::new(SOURCES);
        let mut text = filter.push(before.to_owned());
        text += &filter.release();
        assert_eq!((text.as_str(), filter.held_bytes()), (released, 0), "{before}");
        text += &filter.push(after.to_owned());
        text += &filter.finish();
        assert_eq!(text, wanted, "{before}");
        assert!(filter.found().iter().all(|found| text[found.start..found.end] == *"[1]"), "{before}");
    }
}

#[test]
fn offsets_count_bytes_and_utf16_units() {
    let before = "⚠️ Danger.\n\n";
    let result = filtered(&["Öl 🛢️ [", "1, 9", "9, 2] 漢字 👨\u{200d}👩\u{200d}👧[3]."], SOURCES);
    let text = format!("{before}{}", result.text);
    let units: Vec<u16> = text.encode_utf16().collect();
    let located = located(&text, before.len(), &result.found);
    assert_eq!(located.iter().map(|citation| citation.n).collect::<Vec<_>>(), [1, 2, 3]);
    for (citation, wanted) in located.iter().zip(["[1, 2]", "[1, 2]", "[3]"]) {
        let Citation { start, end, start_utf16, end_utf16, .. } = *citation;
        assert_eq!(&text[start as usize..end as usize], wanted);
        assert_eq!(String::from_utf16(&units[start_utf16 as usize..end_utf16 as usize]).unwrap(), wanted);
    }
    assert!(located[2].start_utf16 < located[2].start);
}

/// A piece of Markdown with the text that passes, and the numbers that it cites.
fn fragments() -> impl Strategy<Value = (String, String, Vec<u32>)> {
    let number = || prop_oneof![1..=12_u32, 13..=999_u32];
    let list = prop::collection::vec(number(), 1..5).prop_map(|numbers| {
        let joined = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let mut known: Vec<u32> = numbers.iter().copied().filter(|number| *number <= 12).collect();
        let text = format!("[{}]", joined(&numbers));
        if numbers[0] > 99 {
            return (text.clone(), text, Vec::new());
        }
        let passed = if known.is_empty() { String::new() } else { format!("[{}]", joined(&known)) };
        known.dedup();
        (text, passed, known)
    });
    let same = |text: String| (text.clone(), text, Vec::new());
    prop_oneof![
        4 => "[a-zé🛢️ .,]{1,6}".prop_map(same),
        4 => list,
        1 => number().prop_map(move |number| same(format!("[{number}](https://example.com/)"))),
        1 => number().prop_map(move |number| same(format!("`a[{number}]`"))),
        1 => number().prop_map(move |number| same(format!("\n```\na[{number}]\n```\n"))),
        1 => number().prop_map(move |number| same(format!("[{number}a]"))),
        1 => Just(same("\n- [x] ".to_owned())),
        1 => Just(same("\n\n".to_owned())),
    ]
}

proptest! {
    #[test]
    fn known_numbers_pass_and_others_do_not(parts in prop::collection::vec(fragments(), 0..12), cuts: Vec<prop::sample::Index>) {
        // A letter between fragments: a removal may remove the space after it, and backticks of two fragments must not join.
        let text: String = parts.iter().map(|(text, ..)| format!("a{text}")).collect();
        let wanted: String = parts.iter().map(|(_, passed, _)| format!("a{passed}")).collect();
        let numbers: Vec<u32> = parts.iter().flat_map(|(_, _, numbers)| numbers.clone()).collect();
        let result = filtered(&split(&text, &cuts), SOURCES);
        prop_assert_eq!(&result.text, &wanted, "{:?}", text);
        prop_assert_eq!(result.found.iter().map(|found| found.n).collect::<Vec<_>>(), numbers);
        for (n, citation) in cited(&result) {
            let inner = citation.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap();
            prop_assert!(inner.split(", ").any(|number| number == n.to_string()), "{citation}");
        }
    }

    #[test]
    fn the_division_into_pieces_does_not_matter(
        text in "(\\[|\\]|\\(|,| |[0-9]|[0-9]|`|\n|a|é|\\\\){0,40}",
        cuts: Vec<prop::sample::Index>,
    ) {
        let (result, wanted) = (filtered(&split(&text, &cuts), SOURCES), whole(&text));
        prop_assert_eq!(&result.text, &wanted.text);
        prop_assert_eq!(result.found, wanted.found);
        prop_assert!(result.most_held <= MAX_HELD_BYTES);
    }

    #[test]
    fn no_number_without_a_source_is_left(text in "(\\[|\\[|\\]|\\]|,|, |[0-9]|1|a){0,40}") {
        let result = whole(&text);
        let again = whole(&result.text);
        prop_assert_eq!(&again.text, &result.text);
        for (at, _) in result.text.match_indices('[') {
            let Some(inner) = result.text[at + 1..].split(']').next() else { continue };
            let is_closed = result.text[at + 1 + inner.len()..].starts_with(']');
            let number = inner.parse::<usize>().ok().filter(|_| is_closed && inner.len() <= 6);
            let is_right = |number| (1..=SOURCES).contains(&number) || number > MAX_NUMBER;
            prop_assert!(number.is_none_or(is_right), "{} of {}", result.text, text);
        }
        prop_assert!(cited(&result).iter().all(|(_, citation)| citation.starts_with('[') && citation.ends_with(']')));
    }
}
