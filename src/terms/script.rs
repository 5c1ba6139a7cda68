//! Scripts without spaces between words. Their text is split into overlapping n-grams, which needs no dictionary.

use super::fold::fold_spelling;
use std::sync::LazyLock;
use unicode_segmentation::UnicodeSegmentation;

/// Group of scripts with the same n-gram sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// Han, kana and Bopomofo: Chinese and Japanese.
    EastAsian,
    /// Korean, which has spaces between phrases and appends endings to words.
    Hangul,
    /// Thai, Lao, Khmer, Myanmar and the Tai scripts. Alphabetic, so pairs of letters are less specific.
    SouthEastAsian,
}

impl Script {
    pub(super) fn of(c: char) -> Option<Self> {
        match c {
            '\u{2e80}'..='\u{2fdf}'
            | '\u{3005}'..='\u{3007}'
            | '\u{3021}'..='\u{3029}'
            | '\u{3038}'..='\u{303b}'
            | '\u{3041}'..='\u{309a}'
            | '\u{309d}'..='\u{309f}'
            | '\u{30a1}'..='\u{30fa}'
            | '\u{30fc}'..='\u{30ff}'
            | '\u{3105}'..='\u{312f}'
            | '\u{31a0}'..='\u{31bf}'
            | '\u{31f0}'..='\u{31ff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{3ffff}' => Some(Self::EastAsian),
            '\u{1100}'..='\u{11ff}' | '\u{3131}'..='\u{318e}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}' => {
                Some(Self::Hangul)
            }
            '\u{e01}'..='\u{e3a}'
            | '\u{e40}'..='\u{e4e}'
            | '\u{e81}'..='\u{ece}'
            | '\u{edc}'..='\u{edf}'
            | '\u{1000}'..='\u{103f}'
            | '\u{1050}'..='\u{108f}'
            | '\u{109a}'..='\u{109d}'
            | '\u{1780}'..='\u{17d3}'
            | '\u{17d7}'
            | '\u{17dc}'..='\u{17dd}'
            | '\u{1950}'..='\u{19cf}'
            | '\u{1a20}'..='\u{1a7f}'
            | '\u{a9e0}'..='\u{a9ef}'
            | '\u{aa60}'..='\u{aac2}'
            | '\u{aadb}'..='\u{aadd}' => Some(Self::SouthEastAsian),
            _ => None,
        }
    }

    /// Returns the maximum length of an n-gram, in grapheme clusters.
    const fn longest_gram(self) -> usize {
        match self {
            Self::EastAsian | Self::Hangul => 2,
            Self::SouthEastAsian => 3,
        }
    }
}

/// Run of text in one script without spaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) script: Script,
    pub(super) text: String,
}

/// N-gram of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gram {
    pub(super) text: String,
    /// Whether it overlaps a word with grammatical function.
    pub(super) is_weak: bool,
}

impl Run {
    fn clusters(&self) -> Vec<&str> {
        self.text.graphemes(true).collect()
    }

    /// Returns the n-grams of all sizes, ordered by start. Single clusters are included to match words of one cluster.
    pub(super) fn index_grams(&self) -> impl Iterator<Item = String> {
        let clusters = self.clusters();
        let longest = self.script.longest_gram();
        let grams: Vec<_> = (0..clusters.len())
            .flat_map(|start| (start + 1..=clusters.len().min(start + longest)).map(move |end| (start, end)))
            .map(|(start, end)| clusters[start..end].concat())
            .collect();
        grams.into_iter()
    }

    /// Returns the n-grams to search for. A single cluster is included only if it is the whole run.
    pub(super) fn question_grams(&self) -> impl Iterator<Item = Gram> {
        let clusters = self.clusters();
        let weak = self.weak_clusters(&clusters);
        let shortest = clusters.len().min(2);
        let longest = self.script.longest_gram();
        let grams: Vec<_> = (0..clusters.len())
            .flat_map(|start| (start + shortest..=clusters.len().min(start + longest)).map(move |end| start..end))
            .map(|range| Gram { text: clusters[range.clone()].concat(), is_weak: weak[range].contains(&true) })
            .collect();
        grams.into_iter()
    }

    /// Determines for each cluster whether it has grammatical function: particles, endings, question words.
    fn weak_clusters(&self, clusters: &[&str]) -> Vec<bool> {
        let is_hiragana = |cluster: &str| cluster.starts_with(|c| matches!(c, '\u{3041}'..='\u{309f}'));
        let mut weak: Vec<bool> = clusters.iter().map(|cluster| is_hiragana(cluster)).collect();
        for phrase in WEAK_PHRASES.iter() {
            for (at, _) in self.text.match_indices(phrase.as_str()) {
                let mut begins = 0;
                for (cluster, weak) in clusters.iter().zip(&mut weak) {
                    let ends = begins + cluster.len();
                    *weak |= begins < at + phrase.len() && at < ends;
                    begins = ends;
                }
            }
        }
        if self.script == Script::Hangul
            && let [_, _, .., last] = clusters
            && PARTICLES.contains(last)
        {
            weak[clusters.len() - 1] = true;
        }
        weak
    }
}

/// Korean particles at the end of a word.
const PARTICLES: &[&str] = &["은", "는", "이", "가", "을", "를", "의", "에", "로", "도", "와", "과"];

/// Words with grammatical function, folded like the runs that contain them.
static WEAK_PHRASES: LazyLock<Vec<String>> = LazyLock::new(|| {
    [
        // Chinese, and the kanji of Japanese question words.
        "的 是 了 吗 呢 吧 啊 么 什 怎 哪 谁 几 多少 多久 多长 多大 请问 如何 为什 可以 应该 需要 我 你 您 他 她 它 这 那 是否",
        "嗎 麼 誰 幾 多長 請問 為什 應該 這 何 教えて",
        // Korean.
        "무엇 무슨 언제 어떻게 어디 얼마 왜 누구 어느 어떤 입니까 습니까 합니까 인가요 하나요 나요 까요 해야 합니다 입니다 주세요",
        // Thai.
        "อย่างไร ยังไง อะไร เท่าไหร่ เท่าไร เมื่อไหร่ เมื่อไร ที่ไหน ทำไม ใคร ไหม มั้ย หรือไม่ ครับ ค่ะ คะ กี่ ต้อง ควร ของ ที่ คือ เป็น ได้ และ",
        // Lao, Khmer, Myanmar.
        "ແນວໃດ ຫຍັງ ເທົ່າໃດ ເມື່ອໃດ ຢູ່ໃສ ບໍ່ តើ អ្វី យ៉ាងណា ប៉ុន្មាន ពេលណា ឯណា ဘယ် ဘာ လဲ",
    ]
    .iter()
    .flat_map(|line| line.split(' '))
    .map(fold_spelling)
    .collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Run {
        let script = Script::of(text.chars().next().unwrap()).unwrap();
        Run { script, text: fold_spelling(text) }
    }

    fn question(text: &str) -> Vec<(String, bool)> {
        run(text).question_grams().map(|gram| (gram.text, gram.is_weak)).collect()
    }

    #[test]
    fn east_asian_runs_are_split_into_overlapping_pairs() {
        assert_eq!(run("空気圧").index_grams().collect::<Vec<_>>(), ["空", "空気", "気", "気圧", "圧"]);
        assert_eq!(question("空気圧"), [("空気".to_owned(), false), ("気圧".to_owned(), false)]);
        assert_eq!(question("油"), [("油".to_owned(), false)]);
    }

    #[test]
    fn alphabetic_runs_are_split_into_triples_between_clusters() {
        assert_eq!(run("ยางรถ").index_grams().filter(|gram| gram.chars().count() == 3).count(), 3);
        for gram in run("น้ำมันเครื่อง").index_grams() {
            assert!(
                !gram.starts_with(|c| matches!(c, '\u{e31}' | '\u{e34}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}')),
                "{gram:?}"
            );
        }
    }

    #[test]
    fn grams_with_grammatical_function_are_weak() {
        assert_eq!(question("气压是多少").iter().map(|(_, weak)| *weak).collect::<Vec<_>>(), [false, true, true, true]);
        assert_eq!(question("オイルは").last().unwrap(), &("ルは".to_owned(), true));
        assert_eq!(question("엔진오일은").last().unwrap(), &("일은".to_owned(), true));
        assert!(!question("엔진오일")[2].1);
    }
}
