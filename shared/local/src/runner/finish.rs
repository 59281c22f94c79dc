//! The end of an attempt, whatever ran it: files and values are collected, and the result is put together.
//!
//! Invariant: no secret is in the result.

use operon_core::agent::OUTPUTS_MAX;
use operon_core::exec::{Outcome, Reason};
use operon_engine::ports::{ArtifactStore, AttemptResult, AttemptSpec, LogLevel, Usage};
use serde_json::{Map, Value};

use super::collect;
use super::directory::{WorkDir, read_small};
use super::log::{AttemptLog, now_ms};
use super::stage::StageError;

/// How the main process ended.
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    /// For people, when it failed.
    pub(crate) message: Option<String>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) usage: Usage,
}

/// The result of an attempt that could not start.
pub(crate) fn not_started(
    created_ms: u64,
    log: &mut AttemptLog,
    error: &StageError,
) -> AttemptResult {
    let message = log.mask().text(&error.message);
    log.note(LogLevel::Error, &message);
    AttemptResult {
        outcome: Outcome::Failed(error.reason),
        exit_code: None,
        message: Some(message),
        outputs: Map::new(),
        metrics: Vec::new(),
        usage: Usage::default(),
        started_ms: created_ms,
        ended_ms: now_ms(),
    }
}

/// Notes how long it took to start, since it was given its place at `created_ms`.
#[allow(clippy::cast_precision_loss, reason = "milliseconds far below 2^53")]
pub(crate) fn provisioned(mut result: AttemptResult, created_ms: u64) -> AttemptResult {
    let taken = result.started_ms.saturating_sub(created_ms);
    result.usage.provision_seconds = taken as f64 / 1000.0;
    result
}

/// Collects what the attempt left behind. Of one that failed, what is there is kept and nothing is missed.
pub(crate) async fn collect(
    spec: &AttemptSpec,
    dir: &WorkDir,
    log: &mut AttemptLog,
    artifacts: &dyn ArtifactStore,
    ending: Ending,
) -> AttemptResult {
    if ending.outcome == Outcome::Failed(Reason::Kill) {
        return stopped(ending);
    }
    values(dir, log);
    let mut problem = log.emitted.problem.take();
    let mut files = Map::new();
    match collect::find_async(dir, &spec.output_files).await {
        Ok(found) => {
            for warning in &found.warnings {
                log.note(LogLevel::Warn, warning);
            }
            match collect::store(&found, dir, &spec.output_prefix, artifacts).await {
                Ok(uris) => files = uris,
                Err(why) => problem = problem.or(Some(why)),
            }
            problem = problem.or(found.problem);
        }
        Err(error) => {
            problem = problem.or(Some(format!("the output files cannot be read: {error}")));
        }
    }
    let mut outputs = Map::new();
    if let Some(code) = ending.exit_code {
        outputs.insert("exitCode".to_owned(), Value::from(code));
    }
    let vars = std::mem::take(&mut log.emitted.vars);
    outputs.insert("vars".to_owned(), Value::Object(log.mask().map(vars)));
    outputs.insert("outputFiles".to_owned(), Value::Object(files));
    let (outcome, message) = verdict(log, ending.outcome, ending.message, problem);
    AttemptResult {
        outcome,
        exit_code: ending.exit_code,
        message,
        outputs,
        metrics: std::mem::take(&mut log.emitted.metrics),
        usage: ending.usage,
        started_ms: 0,
        ended_ms: 0,
    }
}

/// Whoever stopped it does not wait for its files.
fn stopped(ending: Ending) -> AttemptResult {
    AttemptResult {
        outcome: ending.outcome,
        exit_code: ending.exit_code,
        message: ending.message,
        outputs: Map::new(),
        metrics: Vec::new(),
        usage: ending.usage,
        started_ms: 0,
        ended_ms: 0,
    }
}

/// Reads the files in which the task handed back values.
fn values(dir: &WorkDir, log: &mut AttemptLog) {
    let limit = u64::try_from(OUTPUTS_MAX).unwrap_or(u64::MAX);
    match read_small(&dir.outputs_file(), limit) {
        Ok(Some(bytes)) => log
            .emitted
            .take_outputs_file(&String::from_utf8_lossy(&bytes)),
        Ok(None) => {}
        Err(error) => log.emitted.fail(format!(
            "the file named by OPERON_OUTPUTS cannot be read: {error}"
        )),
    }
    let warnings = match read_small(&dir.metrics_file(), limit) {
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

/// A process that succeeded and whose outputs cannot be taken has failed.
fn verdict(
    log: &mut AttemptLog,
    outcome: Outcome,
    message: Option<String>,
    problem: Option<String>,
) -> (Outcome, Option<String>) {
    if let Some(problem) = problem {
        let problem = log.mask().text(&problem);
        match outcome {
            Outcome::Success | Outcome::Warning => {
                log.note(LogLevel::Error, &problem);
                return (Outcome::Failed(Reason::Output), Some(problem));
            }
            Outcome::Failed(_) => log.note(LogLevel::Warn, &problem),
        }
    }
    let message = message.map(|message| match (&outcome, &log.last_error) {
        (Outcome::Failed(Reason::ExitCode), Some(last)) => {
            format!("{}: {last}", log.mask().text(&message))
        }
        _ => log.mask().text(&message),
    });
    (outcome, message)
}
