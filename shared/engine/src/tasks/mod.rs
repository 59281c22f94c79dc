//! Built-in tasks: executed in process by the engine, and by the `worker` function in the cloud.
//!
//! A built-in task gets rendered properties and the ports, and gives outputs with Kestra's names. Timeouts,
//! retries, masking of outputs and storing are the engine's.

use std::collections::BTreeMap;

use operon_core::exec::{Reason, State};
use serde_json::{Map, Value, json};

use crate::Ports;
use crate::ports::{AttemptId, ExecutionMeta, LogLevel, LogLine, Metric};

/// What a built-in task is called with.
pub struct TaskCall<'a> {
    /// Canonical type.
    pub task_type: &'a str,
    /// Rendered properties.
    pub props: Map<String, Value>,
    /// Which attempt.
    pub id: &'a AttemptId,
    /// Of the execution.
    pub meta: &'a ExecutionMeta,
    /// The world.
    pub ports: &'a Ports,
    /// Shared by all tasks.
    pub http: &'a reqwest::Client,
    /// Prefix of the keys of artifacts it writes; distinct per attempt.
    pub artifact_prefix: String,
    /// Values that must not be logged.
    pub masker: &'a operon_core::expr::Masker,
    /// Numbers the lines of the attempt's log.
    pub lines: std::cell::Cell<u64>,
}

impl TaskCall<'_> {
    /// Appends to the attempt's log.
    pub fn log(&self, level: LogLevel, text: &str) {
        for text in text.lines() {
            let seq = self.lines.get();
            self.lines.set(seq + 1);
            let mut text = self.masker.mask(text).into_owned();
            if text.len() > LogLine::TEXT_MAX {
                let end = (0..=LogLine::TEXT_MAX)
                    .rev()
                    .find(|at| text.is_char_boundary(*at));
                text.truncate(end.unwrap_or(0));
            }
            let time_ms = self.ports.clock.now_ms();
            self.ports.logs.line(
                self.id,
                LogLine {
                    seq,
                    time_ms,
                    level,
                    text,
                },
            );
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
        Self {
            reason: Reason::TaskFailed,
            message: message.into(),
            outputs: Map::new(),
        }
    }

    /// A property that is not valid.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self {
            reason: Reason::InvalidInput,
            message: message.into(),
            outputs: Map::new(),
        }
    }
}

/// Executes a built-in task.
#[allow(clippy::unused_async, reason = "most task types wait for something")]
pub async fn run(call: TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let name = call
        .task_type
        .strip_prefix("io.kestra.plugin.")
        .unwrap_or(call.task_type);
    match name {
        "core.log.Log" => {
            let message = call.props.get("message").cloned().unwrap_or_default();
            let messages = if let Value::Array(messages) = message {
                messages
            } else {
                vec![message]
            };
            for message in messages {
                let text = message
                    .as_str()
                    .map_or_else(|| message.to_string(), str::to_owned);
                call.log(LogLevel::Info, &text);
            }
            Ok(TaskOutput::default())
        }
        "core.debug.Return" | "core.debug.Echo" => {
            let value = call.props.get("format").cloned().unwrap_or_default();
            let outputs = json!({ "value": value })
                .as_object()
                .cloned()
                .unwrap_or_default();
            Ok(TaskOutput {
                outputs,
                ..TaskOutput::default()
            })
        }
        _ => Err(TaskError::invalid(format!(
            "no built-in task of type `{}` in this release",
            call.task_type
        ))),
    }
}
