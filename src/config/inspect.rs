//! Validation of one layer: unknown keys and values that are not allowed.

use super::{Problem, Section, Setting};
use figment::value::{Dict, Value};

/// Adds a problem for each unknown key and each value that is not allowed. `values` is the part of a layer at `path`.
pub(super) fn inspect(origin: &str, path: &str, values: &Dict, problems: &mut Vec<Problem>) {
    for (name, value) in values {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (Setting::find(&key), value) {
            (Some(setting), value) if setting.allows(value) => {}
            (Some(setting), value) => problems.push(Problem {
                value: setting.shown(value),
                key,
                origin: Some(origin.to_owned()),
                allowed: setting.requirement(),
            }),
            (None, Value::Dict(_, values)) if Section::find(&key).is_some() => inspect(origin, &key, values, problems),
            (None, _) => problems.push(unknown(origin, &key)),
        }
    }
}

/// The problem of a key that is not a setting. The value is left out: it may be a secret under a mistyped key.
pub(super) fn unknown(origin: &str, key: &str) -> Problem {
    let names = |section: &Section| section.names().collect::<Vec<_>>().join(", ");
    let parent = key.rsplit_once('.').map_or("", |(parent, _)| parent);
    let allowed = match (Section::find(key).filter(|section| !section.path.is_empty()), Section::find(parent)) {
        (Some(section), _) => format!("is a section, not a setting; it contains {}", names(section)),
        (None, Some(section)) if !section.path.is_empty() => {
            format!("unknown setting; expected one of {} in `{}`", names(section), section.path)
        }
        (None, _) => format!("unknown setting; expected one of {}", names(&super::Config::SECTION)),
    };
    Problem { key: key.to_owned(), value: None, origin: Some(origin.to_owned()), allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_answered_with_the_names_in_its_section() {
        assert_eq!(
            unknown("x.toml", "log.levl").to_string(),
            "log.levl (from x.toml): unknown setting; expected one of format, level in `log`"
        );
        let nested = unknown("x.toml", "provider.x").to_string();
        assert!(nested.contains("expected one of kind, base_url") && nested.contains("total_timeout_ms, extractive"));
        for key in ["sevrer.port", "prov", ""] {
            let unknown = unknown("x.toml", key).to_string();
            assert!(unknown.contains("expected one of env, data_dir, server, log"), "{unknown}");
        }
    }

    #[test]
    fn a_section_is_not_a_setting() {
        let section = unknown("SWITCHBOARD__DATABASE", "database").allowed;
        let names = "url, readers, busy_timeout_ms, audit_retention_days";
        assert_eq!(section, format!("is a section, not a setting; it contains {names}"));
        let nested = unknown("x.toml", "provider.scripted").allowed;
        assert!(nested.starts_with("is a section, not a setting; it contains tokens, interval_ms"), "{nested}");
    }
}
