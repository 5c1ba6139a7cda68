//! Live settings: the log level and the limits that operators can change while the server runs. Changes last until the next
//! start. The declarations in [`crate::config`] mark these settings with `live`.

use crate::{
    config::{Config, LimitsChange, LimitsInForce, Problem, WorkflowChange, WorkflowInForce},
    limiter::Limiter,
    logging,
    workflow::Turns,
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Current values of the settings that can change while the server runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SettingsInForce {
    #[schema(example = "info,switchboard::workflow=debug")]
    pub log_level: String,
    pub limits: LimitsInForce,
    pub workflow: WorkflowInForce,
}

/// New values of settings; absent ones keep theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsChange {
    /// Same as `log.level` in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "info,switchboard::workflow=debug")]
    pub log_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "section")]
    pub limits: Option<LimitsChange>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "section")]
    pub workflow: Option<WorkflowChange>,
}

/// Accepts an object or `null`. By itself serde would also accept an array, as the fields in their order.
fn section<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    struct Section<T>(PhantomData<T>);

    impl<'de, T: DeserializeOwned> Visitor<'de> for Section<T> {
        type Value = Option<T>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_any(Section(PhantomData))
}

/// The live settings of the server.
pub struct Settings {
    config: Mutex<Config>,
    limiter: Arc<Limiter>,
    turns: Arc<Turns>,
}

/// The reason why a change was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Names each rejected setting and what it must be.
    #[error("{0}")]
    Refused(String),
    #[error("`log_level` {0}")]
    LogLevel(String),
}

impl Settings {
    /// `config` is the configuration that the server started with.
    pub fn new(config: Config, limiter: Arc<Limiter>, turns: Arc<Turns>) -> Self {
        Self { config: Mutex::new(config), limiter, turns }
    }

    pub fn in_force(&self) -> SettingsInForce {
        in_force(&self.lock())
    }

    /// Checks a change without making it, by the rules of the configuration.
    ///
    /// # Errors
    /// Names each rejected setting.
    pub fn check(&self, change: &SettingsChange) -> Result<(), SettingsError> {
        changed(&self.lock(), change).map(drop)
    }

    /// Applies the whole change, or none of it.
    ///
    /// # Errors
    /// Names each rejected setting.
    pub fn change(&self, change: &SettingsChange) -> Result<SettingsInForce, SettingsError> {
        let mut config = self.lock();
        let next = changed(&config, change)?;
        if let Some(level) = &change.log_level {
            logging::set_level(level).map_err(|error| SettingsError::LogLevel(error.to_string()))?;
        }
        self.limiter.change(&next.limits);
        self.turns.change_limits(next.workflow.max_running_turns, next.workflow.max_running_turns_per_user);
        *config = next;
        Ok(in_force(&config))
    }

    /// Ignores poisoning: the configuration is replaced as a whole, so a panic cannot leave it half changed.
    fn lock(&self) -> MutexGuard<'_, Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_force(config: &Config) -> SettingsInForce {
    SettingsInForce {
        // `RUST_LOG` may override the configured level.
        log_level: logging::level().unwrap_or_else(|| config.log.level.clone()),
        limits: LimitsInForce::from(&config.limits),
        workflow: WorkflowInForce::from(&config.workflow),
    }
}

fn changed(config: &Config, change: &SettingsChange) -> Result<Config, SettingsError> {
    let mut next = config.clone();
    if let Some(level) = &change.log_level {
        next.log.level.clone_from(level);
    }
    if let Some(limits) = change.limits {
        limits.apply(&mut next.limits);
    }
    if let Some(workflow) = change.workflow {
        workflow.apply(&mut next.workflow);
    }
    next.check().map_err(|problems| rejection(&problems))?;
    Ok(next)
}

fn rejection(problems: &[Problem]) -> SettingsError {
    let named = problems.iter().map(|problem| {
        // The one key that this route names differently.
        let key = if problem.key == "log.level" { "log_level" } else { &problem.key };
        format!("`{key}` {}", problem.allowed)
    });
    SettingsError::Refused(named.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SETTINGS;
    use std::collections::BTreeSet;

    fn settings() -> Settings {
        let config = Config::default();
        let limiter = Arc::new(Limiter::new(&config.limits));
        let turns = Turns::new(&config.workflow, Arc::clone(&limiter));
        Settings::new(config, limiter, turns)
    }

    fn change(json: serde_json::Value) -> SettingsChange {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn absent_settings_keep_their_values() {
        let settings = settings();
        let before = settings.in_force();
        assert_eq!(settings.change(&SettingsChange::default()).unwrap(), before);
        let after = settings.change(&change(serde_json::json!({"limits": {"frames_per_s": 7}}))).unwrap();
        assert_eq!(after.limits, LimitsInForce { frames_per_s: 7, ..before.limits });
        assert_eq!((after.workflow, settings.limiter.limits().frames_per_s), (before.workflow, 7));
    }

    #[test]
    fn a_rejected_change_names_every_problem_and_changes_nothing() {
        let settings = settings();
        let before = settings.in_force();
        let wrong = change(serde_json::json!({
            "log_level": "info,x=loud",
            "limits": {"connections_per_user": 3, "frame_burst": 0},
            "workflow": {"max_running_turns": 2},
        }));
        let rejected = settings.change(&wrong).unwrap_err();
        for named in ["`log_level`", "`limits.frame_burst`", "workflow.max_running_turns"] {
            assert!(rejected.to_string().contains(named), "{named} is not in {rejected}");
        }
        assert_eq!(settings.check(&wrong), Err(rejected));
        assert_eq!(settings.in_force(), before);
    }

    #[test]
    fn the_live_settings_are_those_that_the_configuration_marks() {
        let in_force = serde_json::to_value(settings().in_force()).unwrap();
        let mut keys = Vec::new();
        for (name, value) in in_force.as_object().unwrap() {
            match value.as_object() {
                Some(section) => keys.extend(section.keys().map(|field| format!("{name}.{field}"))),
                None => keys.push(name.replacen('_', ".", 1)),
            }
        }
        let marked = SETTINGS.iter().filter(|setting| setting.live.is_some()).map(|setting| setting.key.to_owned());
        assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), marked.collect());
    }

    #[test]
    fn unknown_settings_are_rejected() {
        for json in [r#"{"limits":{"json_depth":9}}"#, r#"{"auth":{}}"#, r#"{"limits":{"frames_per_s":-1}}"#] {
            assert!(serde_json::from_str::<SettingsChange>(json).is_err(), "{json}");
        }
    }
}
