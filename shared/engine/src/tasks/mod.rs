//! Built-in tasks: executed in process by the engine, and by the `worker` function in the cloud.
//!
//! A built-in task gets rendered properties and the ports, and gives outputs with Kestra's names. Timeouts,
//! retries, masking of outputs and storing are the engine's. Properties have their canonical names; only
//! those named by [`unrendered`] come as they were written.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use operon_core::exec::{Reason, State};
use serde_json::{Map, Value};

use crate::Ports;
use crate::ports::{
    ArtifactError, AttemptId, ExecutionMeta, LogLevel, LogLine, Metric, MetricKind, StoreError,
};

pub mod count;
pub mod execution;
pub mod http;
pub mod kv;
mod log;
mod message;
mod props;
mod services;
mod sql;
pub mod storage;

pub use http::HttpClients;
pub use sql::{FETCH_BYTES_MAX, STORE_BYTES_MAX};

/// Canonical names of all built-in tasks, without `io.kestra.plugin.`.
pub const SUPPORTED: &[&str] = &[
    "aws.lambda.Invoke",
    "aws.s3.Copy",
    "aws.s3.Delete",
    "aws.s3.List",
    "aws.sns.Publish",
    "core.debug.Echo",
    "core.debug.Return",
    "core.execution.Assert",
    "core.execution.Count",
    "core.execution.Exit",
    "core.execution.Fail",
    "core.execution.Labels",
    "core.http.Download",
    "core.http.Request",
    "core.kv.Delete",
    "core.kv.Get",
    "core.kv.GetKeys",
    "core.kv.Set",
    "core.log.Log",
    "core.output.OutputValues",
    "core.storage.Concat",
    "core.storage.DeduplicateItems",
    "core.storage.Delete",
    "core.storage.FilterItems",
    "core.storage.Reverse",
    "core.storage.Size",
    "core.storage.Split",
    "core.storage.Write",
    "email.MailSend",
    "jdbc.postgresql.Query",
    "pagerduty.PagerDutyAlert",
    "slack.notifications.SlackIncomingWebhook",
    "webhook",
];

/// Whether [`run`] knows this type, by its canonical name with or without `io.kestra.plugin.`.
#[must_use]
pub fn is_supported(task_type: &str) -> bool {
    SUPPORTED.contains(&short(task_type))
}

/// Properties that must reach [`run`] as they were written, because the task renders them once per record.
#[must_use]
pub fn unrendered(task_type: &str) -> &'static [&'static str] {
    match short(task_type) {
        "core.storage.FilterItems" => &["filterCondition"],
        "core.storage.DeduplicateItems" => &["expr"],
        _ => &[],
    }
}

fn short(task_type: &str) -> &str {
    task_type
        .strip_prefix("io.kestra.plugin.")
        .unwrap_or(task_type)
}

/// What a built-in task is called with.
pub struct TaskCall<'a> {
    /// Canonical type.
    pub task_type: &'a str,
    /// Rendered properties, but for those of [`unrendered`].
    pub props: Map<String, Value>,
    /// Which attempt.
    pub id: &'a AttemptId,
    /// Of the execution.
    pub meta: &'a ExecutionMeta,
    /// The world.
    pub ports: &'a Ports,
    /// Shared by all tasks.
    pub http: &'a HttpClients,
    /// Prefix of the keys of artifacts it writes; distinct per attempt.
    pub artifact_prefix: String,
    /// Values that must not be logged.
    pub masker: &'a operon_core::expr::Masker,
    /// Numbers the lines of the attempt's log.
    pub lines: AtomicU64,
}

impl TaskCall<'_> {
    /// Appends to the attempt's log.
    pub fn log(&self, level: LogLevel, text: &str) {
        for text in text.lines() {
            let mut text = self.masker.mask(text).into_owned();
            if text.len() > LogLine::TEXT_MAX {
                text.truncate(text.floor_char_boundary(LogLine::TEXT_MAX));
            }
            let line = LogLine {
                seq: self.lines.fetch_add(1, Ordering::Relaxed),
                time_ms: self.ports.clock.now_ms(),
                level,
                text,
            };
            self.ports.logs.line(self.id, line);
        }
    }
}

/// What a built-in task gives.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskOutput {
    /// `outputs.<task>`.
    pub outputs: Map<String, Value>,
    /// Counters and timers.
    pub metrics: Vec<Metric>,
    /// Succeeded with something to look at.
    pub warning: bool,
    /// Added to the execution.
    pub labels: BTreeMap<String, String>,
    /// Ends the whole execution in this state (`core.execution.Exit`).
    pub exit: Option<State>,
}

impl TaskOutput {
    /// [`Self::labels`] as [`StateStore::set_labels`](crate::ports::StateStore::set_labels) takes them.
    #[must_use]
    pub fn given_labels(&self) -> BTreeMap<String, Option<String>> {
        let labels = self.labels.iter();
        labels
            .map(|(key, value)| (key.clone(), Some(value.clone())))
            .collect()
    }
}

/// Why a built-in task failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct TaskError {
    /// For retry policies.
    pub reason: Reason,
    /// For people: what was wrong and what to do.
    pub message: String,
    /// What it gave nevertheless, such as the HTTP status.
    pub outputs: Map<String, Value>,
}

impl TaskError {
    /// A failure of the task itself.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Reason::TaskFailed, message)
    }

    /// A property that is not valid.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Reason::InvalidInput, message)
    }

    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            outputs: Map::new(),
        }
    }
}

impl From<StoreError> for TaskError {
    fn from(error: StoreError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<ArtifactError> for TaskError {
    fn from(error: ArtifactError) -> Self {
        let reason = match error {
            ArtifactError::BadUri(_) => Reason::InvalidInput,
            ArtifactError::Missing(_)
            | ArtifactError::TooLarge { .. }
            | ArtifactError::Refused(_) => Reason::Output,
            ArtifactError::Failed(_) => Reason::TaskFailed,
        };
        Self::new(reason, error.to_string())
    }
}

/// Executes a built-in task. Dropping the future stops it; what it has written by then stays unseen.
pub async fn run(call: TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let call = &call;
    match short(call.task_type) {
        "aws.lambda.Invoke" => services::invoke(call).await,
        "aws.s3.Copy" => services::copy(call).await,
        "aws.s3.Delete" => services::delete(call).await,
        "aws.s3.List" => services::list(call).await,
        "aws.sns.Publish" => message::sns(call).await,
        "core.debug.Echo" => log::echo(call),
        "core.debug.Return" => Ok(log::give(call)),
        "core.execution.Assert" => execution::assert(call),
        "core.execution.Count" => count::count(call).await,
        "core.execution.Exit" => execution::exit(call),
        "core.execution.Fail" => execution::fail(call),
        "core.execution.Labels" => execution::labels(call),
        "core.http.Download" => http::download(call).await,
        "core.http.Request" => http::request(call).await,
        "core.kv.Delete" => kv::delete(call).await,
        "core.kv.Get" => kv::get(call).await,
        "core.kv.GetKeys" => kv::get_keys(call).await,
        "core.kv.Set" => kv::set(call).await,
        "core.log.Log" => log::log(call),
        "core.output.OutputValues" => log::values(call),
        "core.storage.Concat" => storage::concat(call).await,
        "core.storage.DeduplicateItems" => storage::deduplicate(call).await,
        "core.storage.Delete" => storage::delete(call).await,
        "core.storage.FilterItems" => storage::filter(call).await,
        "core.storage.Reverse" => storage::reverse(call).await,
        "core.storage.Size" => storage::size(call).await,
        "core.storage.Split" => storage::split(call).await,
        "core.storage.Write" => storage::write(call).await,
        "email.MailSend" => message::email(call).await,
        "jdbc.postgresql.Query" => sql::query(call).await,
        "pagerduty.PagerDutyAlert" => message::pagerduty(call).await,
        "slack.notifications.SlackIncomingWebhook" => message::slack(call).await,
        "webhook" => message::webhook(call).await,
        _ => Err(TaskError::invalid(format!(
            "no built-in task of type `{}` in this release",
            call.task_type
        ))),
    }
}

fn outputs<const N: usize>(entries: [(&str, Value); N]) -> TaskOutput {
    TaskOutput {
        outputs: entries
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        ..TaskOutput::default()
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "metrics are floats; counts beyond 2^53 do not occur"
)]
fn counter(name: &str, count: usize) -> Metric {
    Metric {
        name: name.to_owned(),
        kind: MetricKind::Counter,
        value: count as f64,
        tags: BTreeMap::new(),
    }
}
