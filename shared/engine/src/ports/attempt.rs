//! One attempt: what a runner is asked to do and what it reports.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use operon_core::agent::{LogLevel, LogLine, Metric, MetricKind, Usage};
use operon_core::exec::Outcome;
use operon_core::lang::model::Resources;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ArtifactUri, ExecutionId, ShardKey, TaskRunKey};
use crate::registry::RegistryLogin;

/// Names one attempt, everywhere and for ever: the ECS client token and the claim are derived from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// Whose.
    pub execution: ExecutionId,
    /// Which task run.
    pub task_run: TaskRunKey,
    /// From 1.
    pub attempt: u8,
}

impl AttemptId {
    /// An attempt of the task run in a slot of a shard.
    #[must_use]
    pub fn of(key: &ShardKey, slot: u16, attempt: u8) -> Self {
        Self {
            execution: key.execution.clone(),
            task_run: TaskRunKey {
                shard: key.shard.clone(),
                slot,
            },
            attempt,
        }
    }

    /// The shard that decides about it.
    #[must_use]
    pub fn shard_key(&self) -> ShardKey {
        ShardKey {
            execution: self.execution.clone(),
            shard: self.task_run.shard.clone(),
        }
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}:{}",
            self.execution, self.task_run.shard, self.task_run.slot, self.attempt
        )
    }
}

/// Everything a runner needs; all expressions are rendered.
#[derive(Debug, Clone)]
pub struct AttemptSpec {
    /// Which attempt.
    pub id: AttemptId,
    /// For people: `align[12]`.
    pub name: String,
    /// Container image; none runs a process of this machine.
    pub image: Option<String>,
    /// The program that a script of this task is for (`python3`, `node`, `Rscript`); none is a shell. Where everything
    /// is a container and no image is named, it chooses one.
    pub interpreter: Option<&'static str>,
    /// Replaces the image's entrypoint; none leaves it as it is (invariant 9).
    pub entrypoint: Option<Vec<String>>,
    /// Arguments. For a process, the program and its arguments.
    pub command: Vec<String>,
    /// Added to the image's environment. A process gets these plus `PATH`, `HOME`, `LANG`, `TZ` of the machine.
    pub env: BTreeMap<String, String>,
    /// Written before the start, relative to the working directory.
    pub input_files: Vec<InputFile>,
    /// Globs collected after the end, relative to the working directory.
    pub output_files: Vec<String>,
    /// Prefix of the keys under which output files are stored; distinct per attempt.
    pub output_prefix: String,
    /// Name of a directory shared with other task runs (`WorkingDirectory`); none means a fresh one.
    pub shared_directory: Option<String>,
    /// Nothing is started: input files are written and output files collected (`LocalFiles`).
    pub only_files: bool,
    /// Counted from the start of the process.
    pub timeout: Duration,
    /// False: launched at most once, even across a loss of power.
    pub idempotent: bool,
    /// What it may use; the dispatcher's currency.
    pub resources: Resources,
    /// Larger goes first; then the longer `rank`.
    pub priority: i32,
    /// Tasks on the longest path to the end of the execution.
    pub rank: u32,
    /// Pull policy, network, user, volumes and other properties of a container runner.
    pub runner_options: Map<String, Value>,
    /// For whoever pulls the image, and nobody else.
    pub registry: Option<RegistryLogin>,
    /// Values that must not appear in logs or outputs.
    pub secrets: Vec<String>,
}

/// A file in the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// Relative, without `..`.
    pub path: String,
    /// Where its content comes from.
    pub source: FileSource,
    /// Mode bits such as 0o755 for scripts.
    pub executable: bool,
}

/// Content of an input file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSource {
    /// As it stands.
    Inline(String),
    /// From internal storage.
    Artifact(ArtifactUri),
    /// From this machine (namespace files of the local engine).
    Path(PathBuf),
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptResult {
    /// For the core.
    pub outcome: Outcome,
    /// Of the main process.
    pub exit_code: Option<i32>,
    /// Sentence for people when it failed.
    pub message: Option<String>,
    /// `outputs.<task>`, with Kestra's names (`vars`, `outputFiles`, `exitCode`, `body`, …).
    pub outputs: Map<String, Value>,
    /// Counters and timers.
    pub metrics: Vec<Metric>,
    /// What it used.
    pub usage: Usage,
    /// Milliseconds since the epoch.
    pub started_ms: u64,
    /// Milliseconds since the epoch.
    pub ended_ms: u64,
}

/// Takes the log of attempts. Lines of one attempt come in order.
pub trait LogSink: Send + Sync {
    /// Appends a line.
    fn line(&self, attempt: &AttemptId, line: LogLine);
    /// Ends the attempt's log: nothing follows.
    fn end(&self, attempt: &AttemptId);
}
