//! An attempt of which nothing is started (`LocalFiles`): files are put into a shared directory, and some are kept.

use std::time::Duration;

use operon_core::exec::{Outcome, Reason};
use operon_engine::ports::{AttemptResult, AttemptSpec, Usage};
use serde_json::{Map, Value};

use super::Shared;
use crate::runner::directory::WorkDir;
use crate::runner::finish::{self, Ending};
use crate::runner::log::{AttemptLog, now_ms};
use crate::runner::stage::{self, For, StageError};

/// Writes the input files, then collects the output files.
pub(super) async fn run(
    shared: &Shared,
    spec: &AttemptSpec,
    dir: &WorkDir,
    log: &mut AttemptLog,
) -> Result<AttemptResult, StageError> {
    let limit = spec.timeout;
    match tokio::time::timeout(limit, both(shared, spec, dir, log)).await {
        Ok(result) => result,
        Err(_) => Err(late(limit)),
    }
}

async fn both(
    shared: &Shared,
    spec: &AttemptSpec,
    dir: &WorkDir,
    log: &mut AttemptLog,
) -> Result<AttemptResult, StageError> {
    let started_ms = now_ms();
    stage::input_files(
        dir,
        &spec.input_files,
        shared.artifacts.as_ref(),
        For::Process,
    )
    .await?;
    let ending = Ending {
        outcome: Outcome::Success,
        message: None,
        exit_code: None,
        usage: Usage::default(),
    };
    let mut result = finish::collect(spec, dir, log, shared.artifacts.as_ref(), ending).await;
    // Kestra's name, and nothing of what only a process has.
    let uris = result.outputs.remove("outputFiles");
    result.outputs = Map::from_iter([("uris".to_owned(), uris.unwrap_or_else(none))]);
    result.started_ms = started_ms;
    result.ended_ms = now_ms();
    Ok(result)
}

fn none() -> Value {
    Value::Object(Map::new())
}

fn late(limit: Duration) -> StageError {
    StageError {
        reason: Reason::Timeout,
        message: format!(
            "took longer than its timeout of {} ms; raise `timeout`",
            limit.as_millis()
        ),
    }
}
