//! Settings that change while the server runs: the log's level, and limits. What is changed is forgotten at the next start.

use crate::{
    config::{Config, Problem},
    limiter::Limiter,
    logging,
    protocol::{ApiError, ErrorCode},
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

macro_rules! section {
    ($section:ident, $in_force:ident, $change:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* }) => {
        /// Settings that can be changed while the server runs, as they are now.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
        pub struct $in_force {
            $($(#[$doc])* pub $field: $type,)*
        }

        /// What is absent stays as it is.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $change {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)*
        }

        impl $in_force {
            fn of(config: &Config) -> Self {
                Self { $($field: config.$section.$field),* }
            }
        }

        impl $change {
            fn apply(self, config: &mut Config) {
                $(if let Some(value) = self.$field {
                    config.$section.$field = value;
                })*
            }
        }
    };
}

section! {
    limits, LimitsInForce, LimitsChange {
        /// Sockets that are open stay.
        connections_per_address: usize,
        /// Sockets that are open stay.
        connections_per_user: usize,
        requests_per_s_per_user: u32,
        requests_per_s_per_address: u32,
        logins_per_minute_per_address: u32,
        logins_per_minute_per_account: u32,
        registrations_per_minute_per_address: u32,
        /// For sockets that open from now on.
        frames_per_s: u32,
        /// For sockets that open from now on.
        frame_burst: u32,
        /// For sockets that open from now on.
        violations_per_minute: u32,
    }
}

section! {
    workflow, WorkflowInForce, WorkflowChange {
        /// Turns that run go on.
        max_running_turns: usize,
        /// Turns that run go on.
        max_running_turns_per_user: usize,
    }
}

/// The settings that can be changed while the server runs, as they are now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SettingsInForce {
    #[schema(example = "info,switchboard::workflow=debug")]
    pub log_level: String,
    pub limits: LimitsInForce,
    pub workflow: WorkflowInForce,
}

/// What is to change; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsChange {
    /// As `log.level` in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "info,switchboard::workflow=debug")]
    pub log_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "section")]
    pub limits: Option<LimitsChange>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "section")]
    pub workflow: Option<WorkflowChange>,
}

/// An object or `null`. serde would take an array, too, field by field, and an empty one as no change at all.
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

pub struct Settings {
    config: Mutex<Config>,
    limiter: Arc<Limiter>,
    turns: Arc<Turns>,
}

impl Settings {
    /// `config` is what the server was started with.
    pub fn new(config: Config, limiter: Arc<Limiter>, turns: Arc<Turns>) -> Self {
        Self { config: Mutex::new(config), limiter, turns }
    }

    pub fn in_force(&self) -> SettingsInForce {
        in_force(&self.lock())
    }

    /// Whether a change would be taken, which is what the configuration would say to it.
    ///
    /// # Errors
    /// `INVALID_FIELD` with each setting that is refused.
    pub fn check(&self, change: &SettingsChange) -> Result<(), ApiError> {
        changed(&self.lock(), change).map(drop)
    }

    /// Changes all of it, or nothing.
    ///
    /// # Errors
    /// `INVALID_FIELD` with each setting that is refused.
    pub fn change(&self, change: &SettingsChange) -> Result<SettingsInForce, ApiError> {
        let mut config = self.lock();
        let next = changed(&config, change)?;
        if let Some(level) = &change.log_level {
            logging::set_level(level).map_err(|error| ApiError::invalid_field("log_level", error))?;
        }
        self.limiter.change(&next.limits);
        self.turns.change_limits(next.workflow.max_running_turns, next.workflow.max_running_turns_per_user);
        *config = next;
        Ok(in_force(&config))
    }

    /// A configuration is put in its place as a whole, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_force(config: &Config) -> SettingsInForce {
    SettingsInForce {
        // `RUST_LOG` may have put another in the place of what is configured.
        log_level: logging::level().unwrap_or_else(|| config.log.level.clone()),
        limits: LimitsInForce::of(config),
        workflow: WorkflowInForce::of(config),
    }
}

fn changed(config: &Config, change: &SettingsChange) -> Result<Config, ApiError> {
    let mut next = config.clone();
    if let Some(level) = &change.log_level {
        next.log.level.clone_from(level);
    }
    if let Some(limits) = change.limits {
        limits.apply(&mut next);
    }
    if let Some(workflow) = change.workflow {
        workflow.apply(&mut next);
    }
    next.check().map_err(|problems| refused(&problems))?;
    Ok(next)
}

fn refused(problems: &[Problem]) -> ApiError {
    let named = problems.iter().map(|problem| {
        // What the configuration calls otherwise.
        let key = if problem.key == "log.level" { "log_level" } else { &problem.key };
        format!("`{key}` {}", problem.allowed)
    });
    ApiError::new(ErrorCode::InvalidField, named.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_is_absent_stays() {
        let settings = settings();
        let before = settings.in_force();
        assert_eq!(settings.change(&SettingsChange::default()).unwrap(), before);
        let after = settings.change(&change(serde_json::json!({"limits": {"frames_per_s": 7}}))).unwrap();
        assert_eq!(after.limits, LimitsInForce { frames_per_s: 7, ..before.limits });
        assert_eq!((after.workflow, settings.limiter.limits().frames_per_s), (before.workflow, 7));
    }

    #[test]
    fn all_that_is_wrong_is_named_and_nothing_is_changed() {
        let settings = settings();
        let before = settings.in_force();
        let wrong = change(serde_json::json!({
            "log_level": "info,x=loud",
            "limits": {"connections_per_user": 3, "frame_burst": 0},
            "workflow": {"max_running_turns": 2},
        }));
        let refused = settings.change(&wrong).unwrap_err();
        for named in ["`log_level`", "`limits.frame_burst`", "workflow.max_running_turns"] {
            assert!(refused.message.contains(named), "{named} is not in {}", refused.message);
        }
        assert_eq!(settings.check(&wrong).unwrap_err().message, refused.message);
        assert_eq!(settings.in_force(), before);
    }

    #[test]
    fn what_nobody_knows_is_refused() {
        for json in [r#"{"limits":{"json_depth":9}}"#, r#"{"auth":{}}"#, r#"{"limits":{"frames_per_s":-1}}"#] {
            assert!(serde_json::from_str::<SettingsChange>(json).is_err(), "{json}");
        }
    }
}
