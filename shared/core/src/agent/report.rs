//! What the agent answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AttemptName, CacheEntry};
use crate::exec::{Outcome, Reason};

/// One message of the agent on the plan queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentMessage {
    /// [`FORMAT`](super::FORMAT) of this message; the name of the field tells it from other messages.
    #[serde(rename = "agent")]
    pub format: u16,
    /// Which attempt speaks.
    pub attempt: AttemptName,
    /// What it says.
    pub said: AgentSaid,
}

/// What an attempt's agent says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AgentSaid {
    /// `main` runs, since then.
    #[serde(rename_all = "camelCase")]
    Started {
        /// Milliseconds since the epoch.
        started_ms: u64,
    },
    /// `main` still runs.
    #[serde(rename_all = "camelCase")]
    Alive {
        /// Milliseconds since the epoch.
        at_ms: u64,
        /// What it used so far.
        usage: Usage,
    },
    /// What people should know while `main` runs; said by the watcher, of what ECS warns about.
    #[serde(rename_all = "camelCase")]
    Warned {
        /// Milliseconds since the epoch.
        at_ms: u64,
        /// For people.
        message: String,
    },
    /// `main` is over, and everything is stored.
    Done(Box<AgentResult>),
}

/// How an attempt ended. Stored as its manifest, and sent without the list of files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentResult {
    /// [`FORMAT`](super::FORMAT) of this document.
    pub format: u16,
    /// Which attempt.
    pub attempt: AttemptName,
    /// For the core.
    pub outcome: Outcome,
    /// Of `main`; none when it never started.
    pub exit_code: Option<i32>,
    /// Sentence for people when it failed.
    pub message: Option<String>,
    /// `outputs.<task>` (`vars`, `outputFiles`, `exitCode`); empty when [`Self::outputs_uri`] is set.
    #[serde(default)]
    pub outputs: Map<String, Value>,
    /// Artifact with the outputs, when they are larger than [`OUTPUTS_INLINE_MAX`](super::OUTPUTS_INLINE_MAX).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs_uri: Option<String>,
    /// As it was asked for with [`AgentSpec`](super::AgentSpec): where outputs of a success are kept for reuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheEntry>,
    /// Output files with their checksums; in the manifest only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output_files: Vec<OutputFile>,
    /// Counters and timers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// What it used.
    pub usage: Usage,
    /// Of `main`, milliseconds since the epoch; of the agent when `main` never started.
    pub started_ms: u64,
    /// Milliseconds since the epoch.
    pub ended_ms: u64,
    /// The ECS task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_arn: Option<String>,
    /// Where its log is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogPlace>,
}

/// An output file that was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputFile {
    /// Relative to the working directory.
    pub name: String,
    /// Artifact URI.
    pub uri: String,
    /// Its size.
    pub bytes: u64,
    /// Of its content, in hexadecimal.
    pub sha256: String,
}

/// A log stream of CloudWatch Logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogPlace {
    /// Log group.
    pub group: String,
    /// Log stream.
    pub stream: String,
}

/// Why `stage` failed: how it tells `watch`, through the volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageNote {
    /// For the core.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

/// What an attempt used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Largest resident set of any of its processes, in bytes.
    pub peak_rss_bytes: u64,
    /// User and system time of all its processes, in seconds.
    pub cpu_seconds: f64,
    /// Between having a machine and the start of its program: image pulled, files staged, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub provision_seconds: f64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "shaped for serde")]
#[allow(
    clippy::float_cmp,
    reason = "exactly what is set where nothing was measured"
)]
fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}

/// Something a task counted or timed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Such as `sequences_processed`.
    pub name: String,
    /// How values add up.
    #[serde(rename = "type", default)]
    pub kind: MetricKind,
    /// A count, or seconds.
    pub value: f64,
    /// Dimensions.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// How values of a metric add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricKind {
    /// Summed.
    #[default]
    Counter,
    /// Seconds; averaged.
    Timer,
    /// Last one counts.
    Gauge,
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the names are Kestra's and say it all")]
pub enum LogLevel {
    Trace,
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

/// One line of an attempt's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// From 0 without gaps within the attempt.
    pub seq: u64,
    /// Milliseconds since the epoch.
    pub time_ms: u64,
    /// Standard error gives `ERROR` only where the task says so; it is `WARN` by itself.
    pub level: LogLevel,
    /// Without line end; at most [`LogLine::TEXT_MAX`] bytes, secrets masked.
    pub text: String,
}

impl LogLine {
    /// Longer lines are cut and say so.
    pub const TEXT_MAX: usize = 16 * 1024;
}
