//! How a task hands back values: Kestra's lines on standard output, and two files.
//!
//! A line `::{"outputs": {…}, "metrics": […], "logs": […]}::` is not shown; its outputs become
//! `outputs.<task>.vars`. The file named by `OPERON_OUTPUTS` holds a JSON object, or one per line, or lines
//! `key=value`; the file named by `OPERON_METRICS` holds JSON metrics. Later values win.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{LogLevel, Metric};

/// How a line of the protocol begins.
pub const PREFIX: &str = "::{";
/// Bytes of such a line at most.
pub const LINE_MAX: usize = 1024 * 1024;
/// Bytes of JSON that an attempt may hand back as values. Larger things are files.
pub const OUTPUTS_MAX: usize = 1024 * 1024;
/// Metrics of one attempt at most; further ones are dropped with a warning.
pub const METRICS_MAX: usize = 1000;

/// The text of a message as queues take it: SQS refuses U+FFFE and U+FFFF, which JSON need not escape. JSON in, JSON
/// out.
#[must_use]
pub fn for_queue(json: &str) -> Cow<'_, str> {
    if json.contains(['\u{fffe}', '\u{ffff}']) {
        let escaped = json.replace('\u{fffe}', "\\ufffe");
        Cow::Owned(escaped.replace('\u{ffff}', "\\uffff"))
    } else {
        Cow::Borrowed(json)
    }
}

/// What an attempt has said so far.
#[derive(Debug, Default)]
pub struct Emitted {
    /// `outputs.<task>.vars`.
    pub vars: Map<String, Value>,
    /// Counters and timers.
    pub metrics: Vec<Metric>,
    /// Why the outputs cannot be taken.
    pub problem: Option<String>,
    bytes: usize,
    metrics_dropped: bool,
}

/// One line of the protocol.
#[derive(Debug, Default, Deserialize)]
pub struct Said {
    #[serde(default)]
    outputs: Map<String, Value>,
    #[serde(default)]
    metrics: Vec<Value>,
    #[serde(default)]
    logs: Vec<SaidLog>,
}

#[derive(Debug, Deserialize)]
struct SaidLog {
    #[serde(default)]
    level: LogLevel,
    message: String,
}

/// Reads a line; none when it is an ordinary one.
#[must_use]
pub fn parse_line(text: &str) -> Option<Result<Said, String>> {
    let text = text.trim_end();
    if !text.starts_with(PREFIX) {
        return None;
    }
    let inner = text.strip_prefix("::")?;
    let Some(json) = inner.strip_suffix("::") else {
        // A long line lost its end; the caller knows that.
        return Some(Err("it does not end with `}::`".to_owned()));
    };
    Some(serde_json::from_str(json).map_err(|error| error.to_string()))
}

impl Emitted {
    /// Notes why the outputs cannot be taken; the first reason is kept.
    pub fn fail(&mut self, why: String) {
        self.problem.get_or_insert(why);
    }

    /// Takes a line of `bytes` bytes; gives the log lines it carries.
    pub fn take(&mut self, said: Said, bytes: usize) -> Vec<(LogLevel, String)> {
        let mut lines: Vec<_> = said
            .logs
            .into_iter()
            .map(|log| (log.level, log.message))
            .collect();
        if !said.outputs.is_empty() {
            self.vars(said.outputs, bytes);
        }
        for metric in said.metrics {
            lines.extend(self.metric(metric).map(|why| (LogLevel::Warn, why)));
        }
        lines
    }

    fn vars(&mut self, vars: Map<String, Value>, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > OUTPUTS_MAX {
            self.fail(format!(
                "the outputs have more than {OUTPUTS_MAX} bytes; write large values to a file and name it in `outputFiles`"
            ));
        } else {
            self.vars.extend(vars);
        }
    }

    /// Takes a metric; gives a warning when it cannot.
    fn metric(&mut self, value: Value) -> Option<String> {
        if self.metrics.len() >= METRICS_MAX {
            let first = !std::mem::replace(&mut self.metrics_dropped, true);
            return first.then(|| {
                format!("an attempt may have {METRICS_MAX} metrics; the rest is dropped")
            });
        }
        match serde_json::from_value::<Metric>(value) {
            Ok(metric) if metric.value.is_finite() => {
                self.metrics.push(metric);
                None
            }
            Ok(metric) => Some(format!(
                "the metric `{}` is not a finite number",
                metric.name
            )),
            Err(error) => Some(format!(
                "a metric is not readable ({error}); write {{\"name\": …, \"type\": \"counter\", \"value\": …}}"
            )),
        }
    }

    /// Takes the content of the file of outputs.
    pub fn take_outputs_file(&mut self, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        let parsed = match serde_json::from_str::<Map<String, Value>>(text) {
            Ok(vars) => Ok(vars),
            Err(_) => by_line(text),
        };
        match parsed {
            Ok(vars) => self.vars(vars, text.len()),
            Err(why) => self.fail(format!(
                "the file named by OPERON_OUTPUTS is not readable: {why}"
            )),
        }
    }

    /// Takes the content of the file of metrics; gives warnings.
    pub fn take_metrics_file(&mut self, text: &str) -> Vec<String> {
        let values: Result<Vec<Value>, _> = match serde_json::from_str::<Vec<Value>>(text) {
            Ok(values) => Ok(values),
            Err(_) => text
                .lines()
                .filter(|line| !line.trim().is_empty())
                .map(serde_json::from_str)
                .collect(),
        };
        match values {
            Ok(values) => values
                .into_iter()
                .filter_map(|value| self.metric(value))
                .collect(),
            Err(error) => vec![format!(
                "the file named by OPERON_METRICS is not readable: {error}"
            )],
        }
    }
}

/// JSON objects or `key=value`, one per line.
fn by_line(text: &str) -> Result<Map<String, Value>, String> {
    let mut vars = Map::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() {
            continue;
        }
        if line.trim_start().starts_with('{') {
            let object: Map<String, Value> = serde_json::from_str(line)
                .map_err(|error| format!("line {}: {error}", number + 1))?;
            vars.extend(object);
        } else if let Some((key, value)) = line.split_once('=') {
            vars.insert(key.trim().to_owned(), Value::String(value.to_owned()));
        } else {
            return Err(format!(
                "line {} is neither a JSON object nor `key=value`",
                number + 1
            ));
        }
    }
    Ok(vars)
}
