//! A page of OpenMetrics, held against the rules of the format while it is read.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: String,
    pub help: String,
    /// The names of its labels, `le` of histograms left out.
    pub labels: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub struct Page {
    pub families: BTreeMap<String, Family>,
    /// By name and labels, as they stand there.
    pub samples: BTreeMap<String, f64>,
}

impl Page {
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut open: Option<String> = None;
        let body = text.strip_suffix("# EOF\n").expect("the end is marked");
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (keyword, name, what) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
                match keyword {
                    "HELP" => {
                        assert!(what.ends_with('.'), "{line}");
                        let family = Family { kind: String::new(), help: what.to_owned(), labels: BTreeSet::new() };
                        assert_eq!(page.families.insert(name.to_owned(), family), None, "{name} is there twice");
                        open = Some(name.to_owned());
                    }
                    "TYPE" => page.families.get_mut(name).unwrap().kind = what.to_owned(),
                    "UNIT" => assert!(name.ends_with(&format!("_{what}")), "{line}"),
                    _ => panic!("{line}"),
                }
                assert_eq!(open.as_deref(), Some(name), "{line}");
            } else {
                page.read_sample(line, open.as_deref().expect("a sample without a family"));
            }
        }
        page.check_histograms();
        page
    }

    fn read_sample(&mut self, line: &str, family_name: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let family = self.families.get_mut(family_name).unwrap();
        let endings: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            kind => panic!("{kind} in {line}"),
        };
        let ending = name.strip_prefix(family_name).unwrap_or_else(|| panic!("{line} is not of {family_name}"));
        assert!(endings.contains(&ending), "{line} in a {}", family.kind);
        let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
        for label in labels.split("\",").filter(|label| !label.is_empty()) {
            let (key, value) = label.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(!value.contains('\\') && value.len() < 64, "{line}");
            if key != "le" {
                family.labels.insert(key.to_owned());
            }
        }
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert_eq!(self.samples.insert(series.to_owned(), value), None, "{series} is there twice");
    }

    fn check_histograms(&self) {
        let buckets = |series: &String| series.contains("_bucket{le=\"+Inf\"");
        for series in self.samples.keys().filter(|series| buckets(series)) {
            let (name, labels) = series.split_once("_bucket{le=\"+Inf\"").unwrap();
            let labels = labels.strip_prefix(',').map(|labels| format!("{{{labels}")).unwrap_or_default();
            assert_eq!(self.samples[series], self.of(&format!("{name}_count{labels}")), "{series}");
        }
    }

    /// The value of a series, by name and labels.
    #[track_caller]
    pub fn of(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.samples))
    }

    /// The sum of all series of a name that have these labels.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let is_one = |series: &str| {
            let (own, rest) = series.split_once('{').unwrap_or((series, ""));
            own == name && labels.iter().all(|label| rest.contains(label))
        };
        self.samples.iter().filter(|(series, _)| is_one(series)).map(|(_, value)| value).sum()
    }
}
