//! Macros that declare settings. Each setting is declared once; everything else about it is derived.

/// Declares a section: the struct that holds its values, their defaults and the [`Section`](super::Section) that describes
/// it.
///
/// ```text
/// settings! {
///     /// Description of the section.
///     ServerConfig [server] {
///         /// Description of the setting, for rustdoc, `config/default.toml` and `docs/CONFIGURATION.md`.
///         port: u16 = 8_000, in 0..=65_535;
///         /// A setting without a default is optional. The generated file shows the example.
///         certificate: Option<PathBuf>, example "\"/etc/ssl/chat.pem\"";
///     }
///     sections { tls: TlsConfig }
/// }
/// ```
///
/// Integers need a range, floating-point numbers a `fraction in` range; for other types [`Plain`](super::setting::Plain)
/// says which values are allowed. `live "…"` marks a setting that operators can change while the server runs and says what a
/// change affects; a section with such settings also names its [`live_settings!`] types. `sections` lists nested sections,
/// `named` a table of sections that users name and that have the settings of another one
/// ([`NamedSections`](super::named::NamedSections)), `internal` fields that are not settings.
macro_rules! settings {
    (@key [$($part:ident).*] $field:ident) => { concat!($(stringify!($part), ".",)* stringify!($field)) };
    (@path []) => { "" };
    (@path [$first:ident $(. $part:ident)*]) => { concat!(stringify!($first) $(, ".", stringify!($part))*) };
    (@kind $type:ty) => { <$type as $crate::config::setting::Plain>::KIND };
    (@kind $type:ty, in $range:expr) => { $crate::config::Kind::whole($range) };
    (@kind $type:ty, fraction in $range:expr) => { $crate::config::Kind::number($range) };
    (@optional) => { true };
    (@optional $default:expr) => { false };
    (@default) => { None };
    (@default $default:expr) => { $default };
    (@some) => { None };
    (@some $value:expr) => { Some($value) };
    (@live $live:literal, $value:expr) => { $value };

    (
        $(#[doc = $about:literal])*
        $(#[derive($($derive:ident),*)])?
        $Config:ident $section:tt {
            $(
                $(#[doc = $doc:literal])*
                $(#[serde($($serde:tt)*)])?
                $field:ident: $type:ty
                    $(= $default:expr)?
                    $(, in $range:expr)?
                    $(, fraction in $fraction:expr)?
                    $(, example $example:literal)?
                    $(, live $live:literal)?;
            )*
        }
        $(sections { $($name:ident: $Nested:ty),* })?
        $(named { $(#[doc = $named_doc:literal])* $named:ident: $Named:ty })?
        $(internal { $(#[doc = $internal_doc:literal])* $internal:ident: $internal_type:ty })?
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, serde::Deserialize, serde::Serialize $($(, $derive)*)?)]
        #[serde(deny_unknown_fields, default)]
        pub struct $Config {
            $($(#[doc = $doc])* $(#[serde($($serde)*)])? pub $field: $type,)*
            $($(pub $name: $Nested,)*)?
            $($(#[doc = $named_doc])* pub $named: std::collections::BTreeMap<String, $Named>,)?
            $($(#[doc = $internal_doc])* #[serde(skip)] pub $internal: $internal_type,)?
        }

        impl Default for $Config {
            fn default() -> Self {
                Self {
                    $($field: settings!(@default $($default)?),)*
                    $($($name: <$Nested>::default(),)*)?
                    $($named: std::collections::BTreeMap::new(),)?
                    $($internal: <$internal_type>::default(),)?
                }
            }
        }

        impl $Config {
            pub(super) const SECTION: $crate::config::Section = $crate::config::Section {
                path: settings!(@path $section),
                about: &[$($about),*],
                settings: &[$($crate::config::Setting {
                    key: settings!(@key $section $field),
                    kind: settings!(@kind $type $(, in $range)? $(, fraction in $fraction)?),
                    optional: settings!(@optional $($default)?),
                    about: &[$($doc),*],
                    example: settings!(@some $($example)?),
                    live: settings!(@some $($live)?),
                }),*],
                sections: &[$($(&<$Nested>::SECTION),*)?],
            };
        }
    };

    (
        $(#[$($meta:tt)*])*
        $Config:ident $section:tt, live $InForce:ident $Change:ident { $($body:tt)* }
    ) => {
        settings! { $(#[$($meta)*])* $Config $section { $($body)* } }
        live_settings! { $Config, $InForce $Change { $($body)* } }
    };
}

/// Declares the types of the settings of a section that can change while the server runs: their current values, and a
/// change to some of them.
macro_rules! live_settings {
    (
        $Config:ident, $InForce:ident $Change:ident {
            $(
                $(#[doc = $doc:literal])*
                $field:ident: $type:ty
                    $(= $default:expr)?
                    $(, in $range:expr)?
                    $(, fraction in $fraction:expr)?
                    $(, example $example:literal)?
                    $(, live $live:literal)?;
            )*
        }
    ) => {
        /// Current values of the settings that can change while the server runs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
        pub struct $InForce {
            $($(#[doc = $live] pub $field: $type,)?)*
        }

        /// New values of settings; absent ones keep theirs.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $Change {
            $($(#[doc = $live] #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)?)*
        }

        impl From<&$Config> for $InForce {
            fn from(config: &$Config) -> Self {
                Self { $($($field: settings!(@live $live, config.$field),)?)* }
            }
        }

        impl $Change {
            /// Writes the new values to `config`.
            pub fn apply(self, config: &mut $Config) {
                $($(config.$field = settings!(@live $live, self.$field).unwrap_or(config.$field);)?)*
            }
        }
    };
}

/// Declares the type of a setting that is one of several names.
macro_rules! choices {
    (
        $(#[doc = $about:literal])*
        $Name:ident {
            $($(#[doc = $doc:literal])* $Variant:ident = $name:literal,)*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
        pub enum $Name {
            $($(#[doc = $doc])* #[serde(rename = $name)] $Variant,)*
        }

        impl $Name {
            pub const ALL: &[Self] = &[$(Self::$Variant),*];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$Variant => $name,)*
                }
            }
        }

        impl $crate::config::setting::Plain for $Name {
            const KIND: $crate::config::Kind =
                $crate::config::Kind::OneOf(&[$($crate::config::Choice { name: $name, about: &[$($doc),*] }),*]);
        }
    };
}

pub(super) use {choices, live_settings, settings};
