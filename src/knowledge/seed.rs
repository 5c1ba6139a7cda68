//! Built-in documents about a fictional car, so that a fresh installation can answer questions.

macro_rules! documents {
    ($($name:literal)*) => {
        /// Pairs of name and text.
        pub(super) const DOCUMENTS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/knowledge/", $name)))),*];
    };
}

documents! {
    "brakes-and-tyres.md"
    "dimensions-and-capacities.md"
    "engine-and-performance.md"
    "infotainment-and-assistance.md"
    "maintenance-schedule.md"
    "safety.md"
    "troubleshooting.md"
    "warning-lights.md"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs};

    #[test]
    fn every_file_in_the_folder_is_built_in() {
        let files: BTreeSet<_> = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/config/knowledge"))
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(files, DOCUMENTS.iter().map(|(name, _)| (*name).to_owned()).collect());
    }
}
