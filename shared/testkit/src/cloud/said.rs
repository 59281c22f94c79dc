//! What is heard of a task: from its agent, and from ECS.

use operon_core::agent::{AgentResult, AgentSpec, CacheEntry, ENV_SPEC};
use operon_core::exec::{Outcome, Reason};
use operon_engine::ports::{AttemptId, RunTask, Usage};
use operon_engine::reports;
use serde_json::{Map, Value, json};

use super::ecs::{Shape, Task};

/// What the agent of a task has to say; none when it does not live to say it.
pub(super) fn result_of(task: &Task) -> Option<AgentResult> {
    let started = task.view.started_ms?;
    if task.view.stop_code.as_deref() == Some("UserInitiated") {
        return None;
    }
    let (outcome, exit_code) = match &task.fate.shape {
        Shape::Success | Shape::NeverStops | Shape::Unstoppable => (Outcome::Success, 0),
        Shape::Exit(code) => (Outcome::Failed(Reason::ExitCode), *code),
        Shape::OutOfMemory
        | Shape::Spot
        | Shape::NeverStarts(_)
        | Shape::Stuck
        | Shape::Vanishes
        | Shape::Mute => return None,
    };
    let mut outputs = Map::new();
    outputs.insert("exitCode".to_owned(), json!(exit_code));
    Some(AgentResult {
        format: operon_core::agent::FORMAT,
        attempt: reports::name_of(&task.id),
        outcome,
        exit_code: Some(exit_code),
        message: None,
        outputs,
        outputs_uri: None,
        cache: cache_of(&task.run),
        output_files: Vec::new(),
        metrics: Vec::new(),
        usage: Usage::default(),
        started_ms: started,
        ended_ms: started + task.fate.runs_ms,
        task_arn: Some(task.view.arn.clone()),
        log: None,
    })
}

/// Where its specification says that the outputs are kept; the agent hands it back.
fn cache_of(run: &RunTask) -> Option<CacheEntry> {
    let mut variables = run.containers.iter().flat_map(|one| &one.environment);
    let (_, text) = variables.find(|(name, _)| name == ENV_SPEC)?;
    let spec: AgentSpec = serde_json::from_str(text).ok()?;
    spec.cache
}

/// The message that says it.
pub(super) fn message_of(id: &AttemptId, result: &AgentResult) -> String {
    json!({
        "agent": operon_core::agent::FORMAT, "attempt": reports::name_of(id),
        "said": {"done": result},
    })
    .to_string()
}

/// The filtered rule of aws.md 6.3.
pub(super) fn passes_the_rule(task: &Task) -> bool {
    let view = &task.view;
    view.is_stopped()
        && (view.stop_code.as_deref() != Some("EssentialContainerExited")
            || view.containers.iter().any(|one| one.exit_code != Some(0)))
}

/// What ECS says of a task that has stopped.
pub(super) fn event_of(task: &Task) -> String {
    let view = &task.view;
    let time = |ms: Option<u64>| {
        let ms = i64::try_from(ms?).ok()?;
        Some(jiff::Timestamp::from_millisecond(ms).ok()?.to_string())
    };
    let containers: Vec<Value> = view
        .containers
        .iter()
        .map(|one| json!({"name": one.name, "exitCode": one.exit_code, "reason": one.reason}))
        .collect();
    json!({
        "version": "0", "source": "aws.ecs", "detail-type": "ECS Task State Change",
        "detail": {
            "taskArn": view.arn, "startedBy": view.started_by, "lastStatus": view.last_status,
            "desiredStatus": view.desired_status, "stopCode": view.stop_code,
            "stoppedReason": view.stopped_reason, "containers": containers, "version": view.version,
            "createdAt": time(view.created_ms), "startedAt": time(view.started_ms),
            "stoppedAt": time(view.stopped_ms),
        },
    })
    .to_string()
}
