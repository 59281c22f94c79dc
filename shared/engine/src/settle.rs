//! What became of a task on ECS: its own manifest first, then what ECS says.
//!
//! Invariant: whoever asks, and by whichever of the three signals it was woken, says the same.

use operon_core::agent::{AgentMessage, AgentResult, AgentSaid, MANIFEST};
use operon_core::exec::{Reason, Truth};
use tracing::warn;

use crate::fargate::{self, Ended};
use crate::launch::output_prefix;
use crate::ports::{
    ArtifactError, ArtifactStore, ArtifactUri, AttemptId, ECS_PAGE_MAX, Ecs, EcsError, TaskView,
};
use crate::reports;
use crate::step::StepError;
use crate::wire::PlanMessage;

/// Bytes of a manifest that are read: the list of 10,000 files with long names.
const MANIFEST_MAX: u64 = 8 * 1024 * 1024;

/// What an attempt's agent stored before it tried to report; none when it did not come so far.
pub async fn manifest(
    artifacts: &dyn ArtifactStore,
    id: &AttemptId,
) -> Result<Option<PlanMessage>, StepError> {
    let other = |error: ArtifactError| StepError::Other(error.to_string());
    let uri = ArtifactUri::new(&format!("{}{MANIFEST}", output_prefix(id))).map_err(other)?;
    let bytes = match artifacts.get(&uri, MANIFEST_MAX).await {
        Ok(bytes) => bytes,
        Err(ArtifactError::Missing(_)) => return Ok(None),
        Err(error) => return Err(other(error)),
    };
    let mut result: AgentResult = match serde_json::from_slice(&bytes) {
        Ok(result) => result,
        Err(error) => {
            warn!(execution_id = %id.execution, %error, "a manifest cannot be read");
            return Ok(None);
        }
    };
    if reports::attempt_of(&result.attempt).as_ref() != Some(id) {
        warn!(execution_id = %id.execution, "a manifest names another attempt");
        return Ok(None);
    }
    result.output_files.clear();
    Ok(Some(PlanMessage::Agent(Box::new(AgentMessage {
        format: result.format,
        attempt: result.attempt.clone(),
        said: AgentSaid::Done(Box::new(result)),
    }))))
}

/// What a stopped task has to say to the shard of its attempt.
pub async fn stopped(
    artifacts: &dyn ArtifactStore,
    id: &AttemptId,
    task: &TaskView,
    now_ms: u64,
) -> Result<PlanMessage, StepError> {
    if let Some(message) = manifest(artifacts, id).await? {
        return Ok(message);
    }
    let ended_ms = task.stopped_ms.unwrap_or(now_ms);
    let started_ms = task.started_ms.or(task.created_ms).unwrap_or(ended_ms);
    let failed = |reason, message| reports::failed(started_ms, ended_ms, reason, message);
    let arn = Some(task.arn.clone());
    Ok(match fargate::ended(task) {
        Ended::Failed {
            reason,
            message,
            exit_code,
        } => {
            let mut result = failed(reason, message);
            result.exit_code = exit_code;
            reports::seen(id, &result, arn)
        }
        Ended::Stopped => reports::probed(id, Truth::Gone).into(),
        Ended::Unproven(message) => reports::seen(id, &failed(Reason::Lost, message), arn),
    })
}

/// The name under which an attempt runs on ECS.
#[must_use]
pub fn started_by(id: &AttemptId) -> String {
    fargate::identity(id).unwrap_or_else(|| fargate::short_identity(id))
}

/// All tasks of an attempt that ECS remembers, or (none) of the whole cluster.
pub async fn tasks(ecs: &dyn Ecs, started_by: Option<&str>) -> Result<Vec<TaskView>, EcsError> {
    let mut arns: Vec<String> = Vec::new();
    for stopped in [false, true] {
        let mut next = None;
        loop {
            let (page, more) = ecs.list(started_by, stopped, next).await?;
            arns.extend(page);
            if more.is_none() {
                break;
            }
            next = more;
        }
    }
    arns.sort_unstable();
    arns.dedup();
    let mut found = Vec::with_capacity(arns.len());
    for page in arns.chunks(ECS_PAGE_MAX) {
        found.extend(ecs.describe(page).await?);
    }
    Ok(found)
}
