//! Holds one layer against the table of settings: keys that nobody knows, values that are not allowed.

use super::{Problem, SETTINGS, Setting};
use figment::value::{Dict, Value};

/// Holds the values of a layer under `path` against the table of settings.
pub(super) fn inspect(origin: &str, path: &str, values: &Dict, problems: &mut Vec<Problem>) {
    for (name, value) in values {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (Setting::find(&key), value) {
            (Some(setting), value) if setting.allows(value) => {}
            (Some(setting), value) => problems.push(Problem {
                value: setting.shown(value),
                key,
                origin: Some(origin.to_owned()),
                allowed: format!("must be {}", setting.kind),
            }),
            (None, Value::Dict(_, values)) if is_section(&key) => inspect(origin, &key, values, problems),
            (None, _) => problems.push(unknown(origin, &key)),
        }
    }
}

fn is_section(key: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// That there is no such setting. Its value is not shown: it may be a secret under a mistyped key.
pub(super) fn unknown(origin: &str, key: &str) -> Problem {
    let allowed = if is_section(key) {
        format!("is a section, not a setting; it has {}", names_in(key))
    } else {
        let section = key.rsplit_once('.').map_or("", |(section, _)| section);
        let section = if is_section(section) { section } else { "" };
        let place = if section.is_empty() { "at the top".to_owned() } else { format!("in `{section}`") };
        format!("is not a setting; {place} there are {}", names_in(section))
    };
    Problem { key: key.to_owned(), value: None, origin: Some(origin.to_owned()), allowed }
}

/// The settings and sections right under `section`, in the order of the table.
fn names_in(section: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for setting in SETTINGS {
        let rest = match section {
            "" => Some(setting.key),
            section => setting.key.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')),
        };
        let name = rest.map(|rest| rest.split('.').next().unwrap_or(rest));
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_section_are_its_settings_and_sections() {
        assert_eq!(names_in("database"), "url, readers, busy_timeout_ms, audit_retention_days");
        assert!(names_in("provider").ends_with("total_timeout_ms, extractive, scripted"));
        assert!(names_in("").starts_with("env, data_dir, server, log"));
    }

    #[test]
    fn a_section_is_not_a_setting_nor_the_beginning_of_a_name() {
        assert!(is_section("provider") && is_section("provider.scripted"));
        assert!(!is_section("provider.kind") && !is_section("prov") && !is_section(""));
    }

    #[test]
    fn what_is_allowed_is_said_for_a_key_that_nobody_knows() {
        assert_eq!(
            unknown("x.toml", "log.levl").to_string(),
            "log.levl (from x.toml): is not a setting; in `log` there are format, level"
        );
        let nowhere = unknown("x.toml", "sevrer.port").to_string();
        assert!(nowhere.contains("at the top there are env, data_dir"), "{nowhere}");
    }
}
