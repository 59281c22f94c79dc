//! Structured logs of the functions: one JSON object a line, on standard output, which Lambda gives to `CloudWatch`.
//!
//! Invariant: only fields of the closed list [`FIELDS`] are written, each cut to [`VALUE_MAX`] bytes. A message is a
//! constant sentence; what varies is a field. So a log can be searched by field, and neither a secret nor a whole
//! document gets into it because somebody wrote `?request`.

use std::fmt;
use std::io::Write as _;
use std::str::FromStr as _;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Id, Level, Subscriber, span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::Role;

/// Fields that may be written, beside `time`, `level`, `function`, `target` and `message`.
pub const FIELDS: &[&str] = &[
    "alert",
    "arn",
    "attempt",
    "bucket",
    "bytes",
    "code",
    "command",
    "conflicts",
    "count",
    "duration_ms",
    "error",
    "event",
    "execution_id",
    "flow",
    "kind",
    "line",
    "message_id",
    "namespace",
    "outcome",
    "path",
    "queue",
    "reason",
    "receives",
    "remedy",
    "request_id",
    "revision",
    "seq",
    "shard",
    "slot",
    "state",
    "status",
    "subject",
    "task",
    "task_arn",
    "task_id",
    "task_run",
    "text",
    "trigger_id",
    "uri",
    "version",
];

/// Bytes of one value at most; longer ones are cut and end with `…`.
pub const VALUE_MAX: usize = 2048;

/// Levels below `WARN` of other crates than ours say more about the SDK than about Operon.
const FOREIGN: LevelFilter = LevelFilter::WARN;

/// Begins logging; once per process. The level is a word of Lambda's, from `TRACE` to `FATAL`; `INFO` without one.
pub fn init(role: Role, level: &str) {
    let level = match level.to_lowercase().as_str() {
        "" => LevelFilter::INFO,
        "fatal" => LevelFilter::ERROR,
        word => LevelFilter::from_str(word).unwrap_or(LevelFilter::INFO),
    };
    // A second call keeps the first subscriber: tests of one process may all begin logging.
    let _ = tracing_subscriber::registry()
        .with(JsonLines::new(role, level, Stdout))
        .try_init();
}

/// Where lines go.
pub trait Out: Send + Sync + 'static {
    /// Writes one line, which ends with a line feed.
    fn line(&self, line: &[u8]);
}

struct Stdout;

impl Out for Stdout {
    fn line(&self, line: &[u8]) {
        // Nobody could be told that logging failed.
        let _ = std::io::stdout().lock().write_all(line);
    }
}

/// The layer that writes them.
pub struct JsonLines<O> {
    role: Role,
    level: LevelFilter,
    out: O,
}

impl<O: Out> JsonLines<O> {
    /// A layer that writes what is at least as important as `level`.
    pub fn new(role: Role, level: LevelFilter, out: O) -> Self {
        Self { role, level, out }
    }
}

impl<O> fmt::Debug for JsonLines<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLines")
            .field("role", &self.role)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

/// Fields of a span, kept with it.
struct Kept(Map<String, Value>);

impl<S, O> Layer<S> for JsonLines<O>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    O: Out,
{
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        let own = metadata.target().starts_with("operon");
        let limit = if own {
            self.level
        } else {
            self.level.min(FOREIGN)
        };
        *metadata.level() <= limit
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(Kept(fields.known));
        }
    }

    fn on_record(&self, id: &Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            values.record(&mut fields);
            if let Some(kept) = span.extensions_mut().get_mut::<Kept>() {
                kept.0.extend(fields.known);
            }
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = Map::new();
        let metadata = event.metadata();
        line.insert("time".to_owned(), now().into());
        line.insert("level".to_owned(), level(*metadata.level()).into());
        line.insert("function".to_owned(), self.role.name().into());
        line.insert("target".to_owned(), metadata.target().into());
        line.insert("message".to_owned(), fields.message.into());
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if let Some(kept) = span.extensions().get::<Kept>() {
                line.extend(kept.0.clone());
            }
        }
        line.extend(fields.known);
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        self.out.line(text.as_bytes());
    }
}

const fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

fn now() -> u64 {
    use operon_engine::ports::Clock as _;
    crate::clock::SystemClock.now_ms()
}

/// Collects the fields that may be written.
#[derive(Default)]
struct Fields {
    message: String,
    known: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        if name == "message" {
            self.message = match value {
                Value::String(text) => text,
                other @ (Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_)) => other.to_string(),
            };
        } else if FIELDS.contains(&name) {
            self.known.insert(name.to_owned(), value);
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, cut(value).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, cut(&format!("{value:?}")).into());
    }
}

/// At most [`VALUE_MAX`] bytes of it.
fn cut(text: &str) -> String {
    if text.len() <= VALUE_MAX {
        return text.to_owned();
    }
    let mut end = VALUE_MAX - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{info, info_span, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Out for Memory {
        fn line(&self, line: &[u8]) {
            self.0.lock().unwrap().extend_from_slice(line);
        }
    }

    fn lines(work: impl FnOnce()) -> Vec<Value> {
        let memory = Memory::default();
        let layer = JsonLines::new(Role::Planner, LevelFilter::INFO, memory.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_line_has_its_fields_and_those_of_its_spans() {
        let lines = lines(|| {
            let span = info_span!("turn", execution_id = "e1", shard = tracing::field::Empty);
            span.record("shard", "0");
            let _inside = span.enter();
            info!(attempt = 2, "launched");
        });
        let [line] = lines.as_slice() else {
            unreachable!()
        };
        assert_eq!(line["message"], "launched");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["function"], "planner");
        assert_eq!(line["execution_id"], "e1");
        assert_eq!(line["shard"], "0");
        assert_eq!(line["attempt"], 2);
    }

    #[test]
    fn other_fields_are_never_written_and_values_are_cut() {
        let lines = lines(|| {
            warn!(password = "hunter2", error = "ü".repeat(4000), "refused");
        });
        let text = lines[0].to_string();
        assert!(!text.contains("hunter2"), "{text}");
        let error = lines[0]["error"].as_str().unwrap();
        assert!(error.len() <= VALUE_MAX && error.ends_with('…'));
    }

    #[test]
    fn the_chatter_of_other_crates_is_left_out() {
        let lines = lines(|| {
            info!(target: "aws_smithy_runtime", "connecting");
            warn!(target: "aws_smithy_runtime", "no region");
            tracing::debug!("detail");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["message"], "no region");
    }

    #[test]
    fn the_list_is_sorted_and_without_repetition() {
        assert!(FIELDS.is_sorted());
        assert!(FIELDS.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
