//! From how `main` ended to the result: what it means, what it left, what people read.
//!
//! Invariant: success only on explicit evidence, an exit code of 0 that nobody asked for.

use std::sync::Arc;

use operon_core::agent::{
    AgentResult, AgentSaid, AgentSpec, FORMAT, MANIFEST, MESSAGE_BYTES_MAX, OUTPUTS_INLINE_MAX,
    OUTPUTS_MAX, OutputFile, Usage,
};
use operon_core::agent::{LogLevel, StageNote};
use operon_core::exec::{Outcome, Reason};
use serde_json::{Map, Value};

use crate::collect;
use crate::fluent::{SharedLog, locked};
use crate::log::now_ms;
use crate::metadata::Task;
use crate::store::{Store, StoreError};
use crate::upload;
use crate::volume::{Volume, read_small};

/// Large outputs, beside the output files.
const OUTPUTS_NAME: &str = ".operon/outputs.json";

/// Bytes of outputs that are stored at most; the engine reads no more.
const OUTPUTS_STORED_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a key in S3 at most.
const KEY_MAX: usize = 1024;
/// Characters of the message at most.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// How `main` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    pub(crate) exit_code: Option<i32>,
    pub(crate) message: Option<String>,
}

impl Ending {
    fn failed(reason: Reason, exit_code: Option<i32>, message: String) -> Self {
        Self {
            outcome: Outcome::Failed(reason),
            exit_code,
            message: Some(message),
        }
    }

    /// `stage` failed, for the reason it left or none.
    pub(crate) fn of_stage(note: Option<StageNote>) -> Self {
        let note = note.unwrap_or_else(|| StageNote {
            reason: Reason::Launch,
            message: "the files of the task could not be prepared; the log of the container `stage` says why"
                .to_owned(),
        });
        Self::failed(note.reason, None, note.message)
    }

    /// The time is over.
    pub(crate) fn of_timeout(timeout_ms: u64) -> Self {
        let seconds = timeout_ms / 1_000;
        let message = format!("the task took longer than its timeout of {seconds} s");
        Self::failed(Reason::Timeout, None, message)
    }

    /// What a stopped `main` means. `told` if somebody asked for its end before it came.
    pub(crate) fn of(task: &Task, told: bool, usage: Usage, memory_mib: u32) -> Self {
        let main = task.main();
        let code = main.and_then(|main| main.exit_code);
        let started = main.is_some_and(|main| main.started_ms().is_some());
        match code {
            _ if told => Self::failed(
                Reason::Interrupted,
                code,
                "the task was stopped before it ended".to_owned(),
            ),
            Some(0) => Self {
                outcome: Outcome::Success,
                exit_code: Some(0),
                message: None,
            },
            // Nobody asked, so it was the kernel: nothing else sends SIGKILL into a container.
            Some(137) => Self::failed(Reason::OutOfMemory, code, memory_message(usage, memory_mib)),
            Some(code) => Self::failed(
                Reason::ExitCode,
                Some(code),
                format!("the container ended with exit code {code}"),
            ),
            None if started => Self::failed(
                Reason::Lost,
                None,
                "the container ended and ECS knows no exit code".to_owned(),
            ),
            None => Self::failed(
                Reason::Launch,
                None,
                "the container did not start".to_owned(),
            ),
        }
    }
}

fn memory_message(usage: Usage, memory_mib: u32) -> String {
    let peak = usage.peak_rss_bytes >> 20;
    let of = if memory_mib > 0 {
        format!(" of {memory_mib} MiB")
    } else {
        String::new()
    };
    format!("the container ran out of memory (exit code 137); {peak} MiB{of} were seen in use")
}

/// Puts the result of one attempt together.
pub(crate) struct Finish<'a> {
    pub(crate) spec: &'a AgentSpec,
    pub(crate) volume: &'a Volume,
    pub(crate) log: &'a SharedLog,
    pub(crate) store: &'a Arc<dyn Store>,
}

impl Finish<'_> {
    /// The result, with everything it names stored. An interrupted attempt's files are not waited for.
    pub(crate) async fn result(&self, ending: Ending, task: &Task, usage: Usage) -> AgentResult {
        let mut result = self.blank(ending, task, usage);
        let leaves = !matches!(
            result.outcome,
            Outcome::Failed(Reason::Interrupted | Reason::Timeout | Reason::Kill)
        );
        let mut problem = None;
        if leaves && result.exit_code.is_some() {
            self.values();
            problem = locked(self.log).emitted.problem.take();
            let files = self.files(&mut result).await;
            problem = problem.or(files.err());
        }
        self.outputs(&mut result);
        problem = problem.or(self.store_outputs(&mut result).await.err());
        self.verdict(&mut result, problem);
        result
    }

    fn blank(&self, ending: Ending, task: &Task, usage: Usage) -> AgentResult {
        let main = task.main();
        let ended_ms = main
            .and_then(super::metadata::Container::finished_ms)
            .unwrap_or_else(now_ms);
        AgentResult {
            format: FORMAT,
            attempt: self.spec.attempt.clone(),
            outcome: ending.outcome,
            exit_code: ending.exit_code,
            message: ending.message,
            outputs: Map::new(),
            outputs_uri: None,
            cache: self.spec.cache.clone(),
            output_files: Vec::new(),
            metrics: Vec::new(),
            usage: Usage {
                provision_seconds: task.provision_seconds(),
                ..usage
            },
            started_ms: main
                .and_then(super::metadata::Container::started_ms)
                .unwrap_or(ended_ms),
            ended_ms,
            task_arn: task.arn.clone(),
            log: task.log(),
        }
    }

    /// Reads the files in which the program handed back values.
    fn values(&self) {
        let limit = u64::try_from(OUTPUTS_MAX).unwrap_or(u64::MAX);
        let mut log = locked(self.log);
        match read_small(&self.volume.outputs_file(), limit) {
            Ok(Some(bytes)) => log
                .emitted
                .take_outputs_file(&String::from_utf8_lossy(&bytes)),
            Ok(None) => {}
            Err(error) => log.emitted.fail(format!(
                "the file named by OPERON_OUTPUTS cannot be read: {error}"
            )),
        }
        let warnings = match read_small(&self.volume.metrics_file(), limit) {
            Ok(Some(bytes)) => log
                .emitted
                .take_metrics_file(&String::from_utf8_lossy(&bytes)),
            Ok(None) => Vec::new(),
            Err(error) => vec![format!(
                "the file named by OPERON_METRICS cannot be read: {error}"
            )],
        };
        for warning in warnings {
            log.note(LogLevel::Warn, &warning);
        }
    }

    async fn files(&self, result: &mut AgentResult) -> Result<(), String> {
        let found = collect::find(self.volume, &self.spec.output_files, &self.spec.limits)
            .map_err(|error| format!("the output files cannot be read: {error}"))?;
        for warning in &found.warnings {
            locked(self.log).note(LogLevel::Warn, warning);
        }
        let target = &self.spec.target;
        for (name, (path, bytes)) in &found.files {
            let key = format!("{}/{name}", target.key);
            if key.len() > KEY_MAX {
                return Err(format!("the name of the output file `{name}` is too long"));
            }
            let sha256 = upload::file(self.store, &target.bucket, &key, path, *bytes)
                .await
                .map_err(|error| format!("output file `{name}`: {error}"))?;
            result.output_files.push(OutputFile {
                name: name.clone(),
                uri: format!("{}/{name}", target.uri),
                bytes: *bytes,
                sha256,
            });
        }
        found.problem.map_or(Ok(()), Err)
    }

    /// `outputs.<task>`, without secrets.
    fn outputs(&self, result: &mut AgentResult) {
        let mut log = locked(self.log);
        if let Some(code) = result.exit_code {
            result
                .outputs
                .insert("exitCode".to_owned(), Value::from(code));
            let vars = std::mem::take(&mut log.emitted.vars);
            let vars = Value::Object(log.secrets().map(vars));
            result.outputs.insert("vars".to_owned(), vars);
            let files = result.output_files.iter();
            let files = files.map(|file| (file.name.clone(), Value::from(file.uri.clone())));
            let files = Value::Object(files.collect());
            result.outputs.insert("outputFiles".to_owned(), files);
        }
        result.metrics = std::mem::take(&mut log.emitted.metrics);
        for metric in &mut result.metrics {
            metric.name = log.secrets().text(&metric.name);
            let tags = std::mem::take(&mut metric.tags).into_iter();
            metric.tags = tags
                .map(|(key, value)| (log.secrets().text(&key), log.secrets().text(&value)))
                .collect();
        }
    }

    /// Large outputs become an artifact.
    async fn store_outputs(&self, result: &mut AgentResult) -> Result<(), String> {
        let bytes = serde_json::to_vec(&result.outputs).map_err(|error| error.to_string())?;
        if bytes.len() <= OUTPUTS_INLINE_MAX {
            return Ok(());
        }
        result.outputs = Map::new();
        if bytes.len() > OUTPUTS_STORED_MAX {
            return Err(format!(
                "the outputs have {} bytes; at most {OUTPUTS_STORED_MAX} are possible: write a file and name it in `outputFiles`",
                bytes.len()
            ));
        }
        self.put(OUTPUTS_NAME, bytes)
            .await
            .map_err(|error| format!("the outputs cannot be stored: {error}"))?;
        result.outputs_uri = Some(format!("{}/{OUTPUTS_NAME}", self.spec.target.uri));
        Ok(())
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let target = &self.spec.target;
        let key = format!("{}/{name}", target.key);
        let sum = upload::sha256(&bytes);
        self.store
            .put(&target.bucket, &key, bytes.into(), &sum)
            .await
    }

    /// A program that succeeded and whose outputs cannot be taken has failed.
    fn verdict(&self, result: &mut AgentResult, problem: Option<String>) {
        let mut log = locked(self.log);
        if let Some(problem) = problem {
            match result.outcome {
                Outcome::Success | Outcome::Warning => {
                    log.note(LogLevel::Error, &problem);
                    result.outcome = Outcome::Failed(Reason::Output);
                    result.message = Some(problem);
                }
                Outcome::Failed(_) => log.note(LogLevel::Warn, &problem),
            }
        }
        let last = log.last_error.clone();
        let message = result
            .message
            .take()
            .map(|message| match (&result.outcome, last) {
                (Outcome::Failed(Reason::ExitCode), Some(last)) => format!("{message}: {last}"),
                _ => message,
            });
        result.message = message.map(|message| {
            let masked = log.secrets().text(&message);
            masked.chars().take(MESSAGE_CHARS_MAX).collect()
        });
    }

    /// Stores the manifest: the result as it is, with the list of files.
    pub(crate) async fn manifest(&self, result: &AgentResult) -> Result<(), String> {
        let bytes = serde_json::to_vec(result).map_err(|error| error.to_string())?;
        let stored = self.put(MANIFEST, bytes).await;
        stored.map_err(|error| format!("the manifest cannot be stored: {error}"))
    }
}

/// The result as it is sent: without the list of files, and with the metrics only if they fit.
pub(crate) fn said(mut result: AgentResult) -> AgentSaid {
    result.output_files.clear();
    let size = serde_json::to_vec(&result.metrics).map_or(0, |bytes| bytes.len());
    if size > MESSAGE_BYTES_MAX / 2 {
        result.metrics.clear();
    }
    AgentSaid::Done(Box::new(result))
}
