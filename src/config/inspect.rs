//! Validation of one layer: unknown keys and values that are not allowed.

use super::{Problem, Section, Setting, named::NAMED_PROVIDERS};
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
            (None, Value::Dict(_, values)) if key == NAMED_PROVIDERS.path || Section::find(&key).is_some() => {
                inspect(origin, &key, values, problems);
            }
            (None, _) => problems.push(unknown(origin, &key)),
        }
    }
}

/// The problem of a key that is not a setting. The value is left out: it may be a secret under a mistyped key.
pub(super) fn unknown(origin: &str, key: &str) -> Problem {
    let names = |section: &Section| section.names().collect::<Vec<_>>().join(", ");
    let parent = key.rsplit_once('.').map_or("", |(parent, _)| parent);
    let allowed = match (Section::find(key).filter(|section| !section.path.is_empty()), Section::find(parent)) {
        _ if parent == NAMED_PROVIDERS.path => format!(
            "is not a provider; [{}.NAME] has a name of a-z, 0-9 and single underscores other than {}",
            NAMED_PROVIDERS.path,
            NAMED_PROVIDERS.reserved.join(" and ")
        ),
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
        assert!(nested.contains("expected one of kind, base_url") && nested.contains("breaker_cooldown_s, extractive"));
        for key in ["sevrer.port", "prov", ""] {
            let unknown = unknown("x.toml", key).to_string();
            assert!(unknown.contains("expected one of env, data_dir, server, log"), "{unknown}");
        }
    }

    #[test]
    fn a_named_provider_has_the_settings_of_the_default_one() {
        let found = |values: &str| {
            let values = Value::serialize(toml::from_str::<toml::Table>(values).unwrap()).unwrap();
            let mut problems = Vec::new();
            inspect("x.toml", "", &values.into_dict().unwrap(), &mut problems);
            problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(found("[providers]").is_empty());
        assert!(found("[providers.fast_2]\nmodel = \"m\"\nscripted.tokens = 3").is_empty());
        assert_eq!(
            found("[providers.backup]\ntemperature = 3.5"),
            ["providers.backup.temperature = 3.5 (from x.toml): must be a number from 0 to 2"]
        );
        let mistyped = found("[providers.backup]\nmodle = 1");
        assert!(mistyped[0].starts_with("providers.backup.modle (from x.toml): unknown setting; expected one of kind"));
        for name in ["Backup", "default", "extractive", "a__b", "_a", "2a", "a-b"] {
            let refused = found(&format!("[providers.{name}]\nmodel = \"m\""));
            assert!(refused[0].contains("is not a provider; [providers.NAME] has a name of a-z"), "{refused:?}");
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
