//! Traces of executions for OpenTelemetry, by configuration: one trace per execution, a span per task run and attempt.
//!
//! Spans are made from the stored rows when an execution is over, so a trace says what the console says, and nothing is
//! sent while tasks run. They travel as OTLP over HTTP in JSON; why not by the `opentelemetry` crates is in
//! docs/decisions/0041-traces.md.
//!
//! Invariant: ids follow from the execution: a trace that is sent again is the same trace.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::ports::{AttemptRow, ExecutionId, ExecutionRow, MessageError, TaskRunKey};
use crate::tasks::HttpClients;

/// Spans of one execution; further ones are left out, and counted on the first.
pub const SPANS_MAX: usize = 20_000;
/// Spans in one request.
const REQUEST_SPANS: usize = 500;
/// Characters of an attribute.
const TEXT_CHARS_MAX: usize = 1000;
/// Labels of an execution that become attributes.
const LABELS_MAX: usize = 20;

/// The variable with the collector's address, to which `/v1/traces` is added (OpenTelemetry's own name).
pub const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The variable with the whole address of the collector for traces.
pub const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// The variable with headers, `name=value,name=value`.
pub const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
/// The variable with the service's name; `operon` without it.
pub const SERVICE: &str = "OTEL_SERVICE_NAME";

/// Sends traces to a collector.
#[derive(Clone)]
pub struct Exporter {
    url: String,
    headers: Map<String, Value>,
    service: String,
    http: HttpClients,
}

impl std::fmt::Debug for Exporter {
    // Headers hold keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

impl Exporter {
    /// As OpenTelemetry's variables say; none where they name no collector.
    #[must_use]
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let url = given(TRACES_ENDPOINT).or_else(|| {
            given(ENDPOINT).map(|base| format!("{}/v1/traces", base.trim_end_matches('/')))
        })?;
        let headers = given(HEADERS).unwrap_or_default();
        let headers = headers.split(',').filter_map(|pair| pair.split_once('='));
        Some(Self {
            url,
            headers: headers
                .map(|(name, value)| (name.trim().to_owned(), json!(value.trim())))
                .collect(),
            service: given(SERVICE).unwrap_or_else(|| "operon".to_owned()),
            http: HttpClients::default(),
        })
    }

    /// Sends the trace of an execution that is over.
    pub async fn send(
        &self,
        row: &ExecutionRow,
        attempts: &[AttemptRow],
    ) -> Result<(), MessageError> {
        for spans in spans(row, attempts).chunks(REQUEST_SPANS) {
            let body = json!({"resourceSpans": [{
                "resource": {"attributes": [text("service.name", &self.service)]},
                "scopeSpans": [{
                    "scope": {"name": "operon", "version": env!("CARGO_PKG_VERSION")},
                    "spans": spans,
                }],
            }]});
            self.http.post_json(&self.url, &self.headers, &body).await?;
        }
        Ok(())
    }
}

/// Digits of the hash of these parts.
fn hash(parts: &[&str], bytes: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length in front, so that no two lists of parts look the same.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize().get(..bytes).unwrap_or_default())
}

/// The trace of an execution: 16 bytes in hexadecimal.
#[must_use]
pub fn trace_id(id: &ExecutionId) -> String {
    hash(&["trace", id.as_str()], 16)
}

fn execution_span(id: &ExecutionId) -> String {
    hash(&["execution", id.as_str()], 8)
}

fn task_run_span(id: &ExecutionId, key: &TaskRunKey) -> String {
    let place = format!("{}:{}", key.shard, key.slot);
    hash(&["task run", id.as_str(), &place], 8)
}

fn attempt_span(row: &AttemptRow) -> String {
    let place = format!(
        "{}:{}:{}",
        row.task_run.shard, row.task_run.slot, row.attempt
    );
    hash(&["attempt", row.execution.as_str(), &place], 8)
}

fn text(key: &str, value: &str) -> Value {
    let value: String = value.chars().take(TEXT_CHARS_MAX).collect();
    json!({"key": key, "value": {"stringValue": value}})
}

fn number(key: &str, value: i64) -> Value {
    // 64 bits are text in OTLP's JSON.
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

fn nanoseconds(ms: u64) -> String {
    format!("{ms}000000")
}

/// What all spans have.
struct Span<'a> {
    trace: &'a str,
    id: String,
    parent: Option<String>,
    name: String,
    from_ms: u64,
    to_ms: u64,
    state: &'a str,
    message: Option<&'a str>,
    attributes: Vec<Value>,
}

impl Span<'_> {
    fn value(self) -> Map<String, Value> {
        // 1 is "ok", 2 an error.
        let status = match self.state {
            "SUCCESS" | "WARNING" => json!({"code": 1}),
            "FAILED" | "KILLED" | "CANCELLED" => {
                let message: String = self
                    .message
                    .unwrap_or(self.state)
                    .chars()
                    .take(TEXT_CHARS_MAX)
                    .collect();
                json!({"code": 2, "message": message})
            }
            _ => json!({}),
        };
        let mut attributes = vec![text("operon.state", self.state)];
        attributes.extend(self.attributes);
        let mut span = Map::new();
        span.insert("traceId".to_owned(), json!(self.trace));
        span.insert("spanId".to_owned(), json!(self.id));
        if let Some(parent) = self.parent {
            span.insert("parentSpanId".to_owned(), json!(parent));
        }
        span.insert("name".to_owned(), json!(self.name));
        span.insert("kind".to_owned(), json!(1));
        span.insert(
            "startTimeUnixNano".to_owned(),
            json!(nanoseconds(self.from_ms)),
        );
        let to = self.to_ms.max(self.from_ms);
        span.insert("endTimeUnixNano".to_owned(), json!(nanoseconds(to)));
        span.insert("attributes".to_owned(), attributes.into());
        span.insert("status".to_owned(), status);
        span
    }
}

/// The spans of an execution: itself, its task runs, their attempts.
#[must_use]
pub fn spans(row: &ExecutionRow, attempts: &[AttemptRow]) -> Vec<Map<String, Value>> {
    let id = &row.meta.id;
    let trace = trace_id(id);
    let mut runs: BTreeMap<&TaskRunKey, Vec<&AttemptRow>> = BTreeMap::new();
    for attempt in attempts {
        runs.entry(&attempt.task_run).or_default().push(attempt);
    }
    let by_name: BTreeMap<&str, &TaskRunKey> = attempts
        .iter()
        .map(|attempt| (attempt.name.as_str(), &attempt.task_run))
        .collect();
    let mut spans = Vec::new();
    for (key, rows) in &runs {
        let parent = rows.first().and_then(|row| row.parent.as_deref());
        let parent = parent.and_then(|name| by_name.get(name));
        let parent = match parent {
            Some(parent) => task_run_span(id, parent),
            None => execution_span(id),
        };
        of_task_run(&trace, row, key, rows, parent, &mut spans);
    }
    let omitted = spans.len().saturating_sub(SPANS_MAX - 1);
    spans.truncate(SPANS_MAX - 1);
    spans.insert(0, of_execution(&trace, row, omitted));
    spans
}

fn of_execution(trace: &str, row: &ExecutionRow, omitted: usize) -> Map<String, Value> {
    let meta = &row.meta;
    let mut attributes = vec![
        text("operon.execution", meta.id.as_str()),
        text("operon.namespace", &meta.namespace),
        text("operon.flow", &meta.flow),
        number("operon.revision", i64::from(meta.revision)),
    ];
    attributes.extend(
        row.reason
            .as_deref()
            .map(|reason| text("operon.reason", reason)),
    );
    let labels = row.labels.iter().take(LABELS_MAX);
    attributes.extend(labels.map(|(key, value)| text(&format!("operon.label.{key}"), value)));
    if omitted > 0 {
        let omitted = i64::try_from(omitted).unwrap_or(i64::MAX);
        attributes.push(number("operon.spans_omitted", omitted));
    }
    let mut span = Span {
        trace,
        id: execution_span(&meta.id),
        parent: None,
        name: format!("{}/{}", meta.namespace, meta.flow),
        from_ms: meta.created_ms,
        to_ms: row.ended_ms.unwrap_or(meta.created_ms),
        state: &row.state,
        message: row.reason.as_deref(),
        attributes,
    }
    .value();
    if let Some((execution, task_run, attempt)) = &meta.parent {
        let place = format!("{}:{}:{attempt}", task_run.shard, task_run.slot);
        let link = json!([{
            "traceId": trace_id(execution),
            "spanId": hash(&["attempt", execution.as_str(), &place], 8),
        }]);
        span.insert("links".to_owned(), link);
    }
    span
}

fn of_task_run(
    trace: &str,
    execution: &ExecutionRow,
    key: &TaskRunKey,
    rows: &[&AttemptRow],
    parent: String,
    spans: &mut Vec<Map<String, Value>>,
) {
    let Some(last) = rows.iter().max_by_key(|row| row.attempt) else {
        return;
    };
    let id = &execution.meta.id;
    let end = |row: &AttemptRow| {
        row.ended_ms
            .or(execution.ended_ms)
            .unwrap_or(row.created_ms)
    };
    let from = rows.iter().map(|row| row.created_ms).min();
    let to = rows.iter().map(|row| end(row)).max();
    let own = task_run_span(id, key);
    let span = Span {
        trace,
        id: own.clone(),
        parent: Some(parent),
        name: last.name.clone(),
        from_ms: from.unwrap_or(last.created_ms),
        to_ms: to.unwrap_or(last.created_ms),
        state: &last.state,
        message: last.message.as_deref().or(last.reason.as_deref()),
        attributes: vec![text("operon.task", &last.task)],
    };
    spans.push(span.value());
    for row in rows.iter().filter(|row| row.attempt > 0) {
        let mut attributes = vec![number("operon.attempt", i64::from(row.attempt))];
        attributes.extend(
            row.reason
                .as_deref()
                .map(|reason| text("operon.reason", reason)),
        );
        attributes.extend(
            row.exit_code
                .map(|code| number("operon.exit_code", code.into())),
        );
        let mut span = Span {
            trace,
            id: attempt_span(row),
            parent: Some(own.clone()),
            name: format!("{} attempt {}", row.name, row.attempt),
            from_ms: row.created_ms,
            to_ms: end(row),
            state: &row.state,
            message: row.message.as_deref().or(row.reason.as_deref()),
            attributes,
        }
        .value();
        if let Some(started) = row.started_ms {
            let event = json!([{"timeUnixNano": nanoseconds(started), "name": "started"}]);
            span.insert("events".to_owned(), event);
        }
        spans.push(span);
    }
}
