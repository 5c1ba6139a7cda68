//! Logging to stderr: lines for people, or one JSON object per line. Every key-value of a record becomes a field of its line.
//!
//! Control characters in messages and values are escaped, so that nothing a client sends can forge a line. Callers must not
//! log secrets or message texts; nothing here removes them.

mod interval;
mod queue;

pub use interval::LogInterval;

use crate::{
    config::{LogConfig, LogFormat},
    limits::LOG_FLUSH_TIMEOUT,
};
use env_logger::{Target, WriteStyle, fmt::style::Style};
use log::{
    Metadata, Record,
    kv::{Key, Value, VisitSource},
};
use queue::{LogQueue, Loss};
use std::{
    fmt,
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    os::fd::AsFd as _,
    panic::PanicHookInfo,
    sync::{OnceLock, PoisonError, RwLock},
};

/// Fields of every JSON line. A key-value with one of these names gets an underscore appended.
const RESERVED: [&str; 4] = ["ts", "level", "target", "message"];

/// Target of actix-http's lines about single connections, which any client can cause. They are logged at most at debug level:
/// `transport` reports failed connections itself, at a bounded rate.
const PEER_ERRORS: &str = "actix_http::h1::dispatcher";

/// An error of [`init`].
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("RUST_LOG is not a valid filter, such as info,switchboard::workflow=debug: {0}")]
    Filter(#[from] env_filter::ParseError),
    #[error("a logger is already running")]
    Twice(#[from] log::SetLoggerError),
    #[error("cannot start the log: {0}")]
    Io(#[from] io::Error),
}

/// Log fields of a task, by name.
pub type Fields = Vec<(&'static str, String)>;

tokio::task_local! {
    static FIELDS: Fields;
}

/// Adds these fields to every line that `work` logs. A field of the line itself wins over one of the same name.
///
/// Not an `async fn`: its future would store `work` twice, as the argument and as the awaited future.
pub fn with_fields<T>(fields: Fields, work: impl Future<Output = T>) -> impl Future<Output = T> {
    FIELDS.scope(fields, work)
}

/// The log filter of this process; `None` before [`init`].
static LEVEL: RwLock<Option<Level>> = RwLock::new(None);

/// The lines waiting to be written to stderr; absent before [`init`].
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

struct Level {
    /// The filter as it was set.
    text: String,
    filter: env_filter::Filter,
}

/// Checks a value of `RUST_LOG` without starting the log.
///
/// # Errors
/// When it is not a valid filter.
pub fn check_filter(rust_log: &str) -> Result<(), LoggingError> {
    env_filter::Builder::new().try_parse(rust_log)?;
    Ok(())
}

/// Starts logging to stderr. `rust_log`, the value of `RUST_LOG`, overrides `log.level` unless it is empty: people set it
/// to examine a single run.
///
/// A separate thread writes the lines; see [`flush`].
///
/// # Errors
/// When the filter is invalid, a logger is already running, or the thread cannot be started.
pub fn init(config: &LogConfig, rust_log: Option<&str>) -> Result<(), LoggingError> {
    set_level(filter(config, rust_log))?;
    let format = config.format;
    let queue = LogQueue::default();
    let lines = env_logger::Builder::new()
        // `Filtered` applies the level.
        .filter_level(log::LevelFilter::Trace)
        .write_style(if has_colours() { WriteStyle::Always } else { WriteStyle::Never })
        .target(Target::Pipe(Box::new(queue.clone())))
        .format(move |out, record| {
            let (time, style) = (out.timestamp_millis(), out.default_level_style(record.level()));
            out.write_all(line(format, &time, style, record).as_bytes())
        })
        .build();
    // Not `io::stderr()`: the thread would hold its lock while a write blocks.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    log::set_boxed_logger(Box::new(Filtered(lines)))?;
    QUEUE.get_or_init(|| queue.clone());
    std::thread::Builder::new().name("log".to_owned()).spawn(move || queue.write_to(stderr, report))?;
    Ok(())
}

/// Whether stderr is a terminal with colours, by the usual conventions (`NO_COLOR`, `TERM`).
fn has_colours() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn report(loss: Loss) {
    match loss {
        Loss::Dropped(lines) => log::warn!("dropped {lines} log lines because the log's reader was too slow"),
        Loss::Failed(lines, error) => {
            log::warn!("lost {lines} log lines because the log could not be written: {error}")
        }
    }
}

/// Waits until all lines logged so far are written, at most for [`LOG_FLUSH_TIMEOUT`]: a blocked log must not keep the process
/// from exiting.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(LOG_FLUSH_TIMEOUT);
    }
}

/// Number of log lines lost since the start.
pub fn lost_lines() -> u64 {
    QUEUE.get().map_or(0, LogQueue::lost)
}

/// Installs a panic hook that logs panics. The default hook writes to stderr directly, which may block.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        let thread = std::thread::current();
        let message = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = std::backtrace::Backtrace::capture();
        log::error!(thread = thread.name().unwrap_or("unnamed"), location; "thread panicked: {message}");
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            log::error!("backtrace of the panic: {backtrace}");
        }
    }));
}

/// Sets the log filter: a level, or a list such as `info,switchboard::workflow=debug`.
///
/// # Errors
/// When the filter is invalid; the current one stays in effect.
pub fn set_level(text: &str) -> Result<(), env_filter::ParseError> {
    // env_logger would only print a warning about an invalid filter, and ignore it.
    let filter = env_filter::Builder::new().try_parse(text)?.build();
    let most = filter.filter();
    *LEVEL.write().unwrap_or_else(PoisonError::into_inner) = Some(Level { text: text.to_owned(), filter });
    log::set_max_level(most);
    Ok(())
}

/// Returns the log filter as it was set; `None` before [`init`].
pub fn level() -> Option<String> {
    let level = LEVEL.read().unwrap_or_else(PoisonError::into_inner);
    level.as_ref().map(|level| level.text.clone())
}

/// A logger whose filter can change at run time.
struct Filtered(env_logger::Logger);

impl log::Log for Filtered {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = LEVEL.read().unwrap_or_else(PoisonError::into_inner);
        level.as_ref().is_some_and(|level| level.filter.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        if record.target() == PEER_ERRORS && record.level() < log::Level::Debug {
            return self.log(&record.to_builder().level(log::Level::Debug).build());
        }
        let passes = {
            let level = LEVEL.read().unwrap_or_else(PoisonError::into_inner);
            level.as_ref().is_some_and(|level| level.filter.matches(record))
        };
        if passes {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        flush();
    }
}

fn filter<'a>(config: &'a LogConfig, rust_log: Option<&'a str>) -> &'a str {
    rust_log.filter(|filter| !filter.trim().is_empty()).unwrap_or(&config.level)
}

/// Formats a record as a line, including the line break. `style` colours the level in the format for people.
fn line(format: LogFormat, time: &dyn fmt::Display, style: Style, record: &Record<'_>) -> String {
    match format {
        LogFormat::Human => human(time, style, record),
        LogFormat::Json => json(time, record),
    }
}

fn human(time: &dyn fmt::Display, style: Style, record: &Record<'_>) -> String {
    let mut line = format!("{time} {style}{:<5}{style:#} {} ", record.level(), record.target());
    escape(&record.args().to_string(), &mut line);
    visit(record, &mut |key, value| {
        line.push(' ');
        escape(key, &mut line);
        line.push('=');
        quote(&value.to_string(), &mut line);
    });
    line.push('\n');
    line
}

fn json(time: &dyn fmt::Display, record: &Record<'_>) -> String {
    let mut fields = serde_json::Map::new();
    fields.insert("ts".to_owned(), time.to_string().into());
    fields.insert("level".to_owned(), record.level().as_str().to_lowercase().into());
    fields.insert("target".to_owned(), record.target().into());
    fields.insert("message".to_owned(), record.args().to_string().into());
    visit(record, &mut |key, value| {
        let key = if RESERVED.contains(&key) { format!("{key}_") } else { key.to_owned() };
        // A value that JSON cannot represent is written as text.
        let value = serde_json::to_value(value).unwrap_or_else(|_| value.to_string().into());
        fields.insert(key, value);
    });
    format!("{}\n", serde_json::Value::Object(fields))
}

/// Calls `each` with every key-value of the record, then with the fields of the current task.
fn visit(record: &Record<'_>, each: &mut dyn FnMut(&str, &Value<'_>)) {
    struct Visitor<'a>(&'a mut dyn FnMut(&str, &Value<'_>));

    impl<'kvs> VisitSource<'kvs> for Visitor<'_> {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
            (self.0)(key.as_str(), &value);
            Ok(())
        }
    }

    // The visitor never fails; a source that fails has already yielded its earlier pairs.
    let _ = record.key_values().visit(&mut Visitor(each));
    // There are none outside of [`with_fields`].
    let _ = FIELDS.try_with(|fields| {
        for (key, value) in fields {
            if record.key_values().get(Key::from(*key)).is_none() {
                each(key, &Value::from(value.as_str()));
            }
        }
    });
}

/// Writes a value, quoted unless it is a plain word, so that its end is unambiguous.
fn quote(value: &str, line: &mut String) {
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '\\' | '=') && !breaks_a_line(c);
    if !value.is_empty() && value.chars().all(plain) {
        line.push_str(value);
        return;
    }
    line.push('"');
    escape(&value.replace('\\', "\\\\").replace('"', "\\\""), line);
    line.push('"');
}

fn escape(text: &str, line: &mut String) {
    for c in text.chars() {
        if breaks_a_line(c) { line.extend(c.escape_default()) } else { line.push(c) }
    }
}

/// Whether a character could change how the line is displayed: control characters, Unicode line separators, and characters
/// that change the direction of writing.
pub fn breaks_a_line(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level as Severity;

    const TIME: &str = "2026-11-23T11:07:24.123Z";

    fn record(format: LogFormat, message: &str, key_values: &[(&str, Value<'_>)]) -> String {
        let args = format_args!("{message}");
        let record = Record::builder()
            .level(Severity::Info)
            .target("switchboard::turn")
            .args(args)
            .key_values(&key_values)
            .build();
        line(format, &TIME, Style::new(), &record)
    }

    #[test]
    fn a_line_for_people_has_the_message_before_the_fields() {
        let line = record(
            LogFormat::Human,
            "turn ended",
            &[("turn_id", Value::from("0192")), ("tokens", Value::from(7)), ("reason", Value::from("has stopped"))],
        );
        assert_eq!(
            line,
            format!("{TIME} INFO  switchboard::turn turn ended turn_id=0192 tokens=7 reason=\"has stopped\"\n")
        );
    }

    #[test]
    fn no_message_or_field_can_forge_a_line() {
        let evil = "x\n2026 ERROR forged\r\u{1b}[31m\u{2028}\u{202e}";
        for line in [
            record(LogFormat::Human, evil, &[]),
            record(LogFormat::Human, "x", &[("agent", Value::from(evil))]),
            record(LogFormat::Human, "x", &[(evil, Value::from(1))]),
        ] {
            let inner = line.strip_suffix('\n').expect("no end of line");
            assert!(!inner.chars().any(breaks_a_line), "{line:?}");
            assert!(inner.contains("\\n2026 ERROR forged\\r\\u{1b}[31m\\u{2028}\\u{202e}"), "{line:?}");
        }
    }

    #[test]
    fn a_value_cannot_imitate_another_field() {
        let line = record(LogFormat::Human, "x", &[("agent", Value::from("a user_id=1 \"\\"))]);
        assert!(line.ends_with("agent=\"a user_id=1 \\\"\\\\\"\n"), "{line:?}");
        assert!(record(LogFormat::Human, "x", &[("agent", Value::from(""))]).ends_with("agent=\"\"\n"));
    }

    #[test]
    fn text_of_any_script_stays_readable() {
        assert!(record(LogFormat::Human, "Größe 大きさ 🚗", &[]).ends_with("Größe 大きさ 🚗\n"));
    }

    #[test]
    fn json_lines_keep_the_types_of_fields() {
        let line = record(
            LogFormat::Json,
            "a \"sentence\"\nand more",
            &[("turn_id", Value::from("0192")), ("tokens", Value::from(7)), ("ok", Value::from(true))],
        );
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&line).unwrap(),
            serde_json::json!({
                "ts": TIME, "level": "info", "target": "switchboard::turn", "message": "a \"sentence\"\nand more",
                "turn_id": "0192", "tokens": 7, "ok": true,
            })
        );
    }

    #[tokio::test]
    async fn a_line_carries_the_fields_of_its_task() {
        let line = with_fields(vec![("turn_id", "0192".to_owned()), ("agent", "task's".to_owned())], async {
            record(LogFormat::Human, "x", &[("agent", Value::from("own"))])
        })
        .await;
        assert!(line.ends_with(" x agent=own turn_id=0192\n"), "{line:?}");
        assert!(!record(LogFormat::Human, "x", &[]).contains("turn_id"));
    }

    #[test]
    fn a_field_does_not_replace_a_reserved_one() {
        let line =
            record(LogFormat::Json, "true", &[("message", Value::from("forged")), ("level", Value::from("error"))]);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["message"], &line["message_"]), (&"true".into(), &"forged".into()));
        assert_eq!((&line["level"], &line["level_"]), (&"info".into(), &"error".into()));
    }

    #[test]
    fn a_number_that_json_cannot_represent_does_not_lose_the_line() {
        let line = record(LogFormat::Json, "x", &[("score", Value::from(f64::NAN))]);
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{line:?}");
    }

    #[test]
    fn rust_log_overrides_the_configured_level() {
        let config = LogConfig { level: "warn".to_owned(), ..LogConfig::default() };
        assert_eq!(filter(&config, None), "warn");
        assert_eq!(filter(&config, Some(" ")), "warn");
        assert_eq!(filter(&config, Some("debug")), "debug");
    }

    #[test]
    fn an_invalid_filter_is_refused() {
        assert!(matches!(init(&LogConfig::default(), Some("info,x=loud")), Err(LoggingError::Filter(_))));
    }
}
