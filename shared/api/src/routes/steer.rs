//! Kill, restart, replay, resume, retry of failed items, labels.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use operon_engine::ids;
use operon_engine::operations::Resume;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::executions::{existing, id_of, run_of};
use super::start::check_labels;
use crate::dto::ExecutionSummary;
use crate::extract::{Json, Path};
use crate::mutate::{Change, Who};
use crate::problem::Problem;
use crate::state::Api;

type Accepted = (StatusCode, Answer<ExecutionSummary>);

/// The execution as it is when the wish was given on: what comes of it is seen in its events.
async fn accepted(api: &Api, id: &str) -> Result<Accepted, Problem> {
    let row = existing(api, &id_of(id)?).await?;
    Ok((StatusCode::ACCEPTED, Answer(ExecutionSummary::from(&row))))
}

/// Kills an execution with everything it started; what is alive is stopped, and that is verified.
#[utoipa::path(post, path = "/api/v1/executions/{id}/kill", params(("id" = String, Path)), tag = "executions",
    responses((status = 202, body = ExecutionSummary), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn kill(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
) -> Result<Accepted, Problem> {
    let row = existing(&api, &id_of(&id)?).await?;
    let change = Change::new("execution.kill", &id).before(json!({"state": row.state}));
    who.does(&api, change, api.operations().kill(&row.meta.id))
        .await?;
    accepted(&api, &id).await
}

/// Continues an execution that is over: what has not succeeded begins again.
#[utoipa::path(post, path = "/api/v1/executions/{id}/restart", params(("id" = String, Path)), tag = "executions",
    responses((status = 202, body = ExecutionSummary), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn restart(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
) -> Result<Accepted, Problem> {
    let row = existing(&api, &id_of(&id)?).await?;
    let change = Change::new("execution.restart", &id).before(json!({"state": row.state}));
    who.does(&api, change, api.operations().restart(&row.meta.id))
        .await?;
    accepted(&api, &id).await
}

/// Continues an execution that is over and has failed iterations: those that have not succeeded begin again.
#[utoipa::path(post, path = "/api/v1/executions/{id}/retry-failed", params(("id" = String, Path)), tag = "executions",
    responses((status = 202, body = ExecutionSummary), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn retry_failed(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
) -> Result<Accepted, Problem> {
    let row = existing(&api, &id_of(&id)?).await?;
    let change = Change::new("execution.retry-failed", &id).before(json!({"state": row.state}));
    who.does(&api, change, api.operations().retry_failed(&row.meta.id))
        .await?;
    accepted(&api, &id).await
}

/// From where and how an execution is replayed.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReplayBody {
    /// First task that is executed again.
    from: String,
    /// Another revision of the flow.
    #[serde(default)]
    revision: Option<u32>,
    /// Other inputs; those of the execution without it.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    inputs: Option<Map<String, Value>>,
}

/// A replay that was started.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Replayed {
    /// The new execution.
    id: String,
    /// Task runs that are not executed again.
    reused: u32,
    /// What may surprise.
    warnings: Vec<String>,
}

/// Starts a new execution that begins at a task and reuses what came before it.
#[utoipa::path(post, path = "/api/v1/executions/{id}/replay", params(("id" = String, Path)), tag = "executions",
    request_body = ReplayBody,
    responses((status = 201, body = Replayed), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn replay(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Json(body): Json<ReplayBody>,
) -> Result<(StatusCode, Answer<Replayed>), Problem> {
    let of = id_of(&id)?;
    let new = ids::new_execution(api.ports().clock.now_ms());
    let inputs = body.inputs.map(|inputs| inputs.into_iter().collect());
    let after = json!({"id": new, "from": body.from, "revision": body.revision});
    let change = Change::new("execution.replay", &id).after(after);
    let replay = api
        .operations()
        .replay(new.clone(), of, body.from.clone(), body.revision, inputs);
    let replay = who.does(&api, change, replay).await?;
    Ok((
        StatusCode::CREATED,
        Answer(Replayed {
            id: new.to_string(),
            reused: replay.reused,
            warnings: replay.created.warnings,
        }),
    ))
}

/// An answer to pauses.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ResumeBody {
    /// `shard:slot`; every pause that waits for a person without it.
    task_run: Option<String>,
    /// False ends the pause as failed.
    #[schema(default = true)]
    go_on: Option<bool>,
    /// Typed values that the pause asks for.
    #[schema(value_type = Object)]
    inputs: Map<String, Value>,
}

/// Pauses that were answered.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Resumed {
    /// How many.
    resumed: usize,
}

/// Answers a pause, with the typed values it asks for.
#[utoipa::path(post, path = "/api/v1/executions/{id}/resume", params(("id" = String, Path)), tag = "executions",
    request_body = ResumeBody,
    responses((status = 202, body = Resumed), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn resume(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Json(body): Json<ResumeBody>,
) -> Result<(StatusCode, Answer<Resumed>), Problem> {
    let execution = id_of(&id)?;
    let go_on = body.go_on.unwrap_or(true);
    let task_run = body.task_run.as_deref().map(run_of).transpose()?;
    let names: Vec<String> = body.inputs.keys().cloned().collect();
    let resume = Resume {
        task_run,
        go_on,
        inputs: body.inputs.into_iter().collect(),
        by: who.0.subject.clone(),
    };
    // Values may be anything that a person wrote: the trail has their names only.
    let after = json!({"goOn": go_on, "taskRun": body.task_run, "inputs": names});
    let change = Change::new("execution.resume", &id).after(after);
    let resume = api.operations().resume(&execution, resume);
    let resumed = who.does(&api, change, resume).await?;
    Ok((StatusCode::ACCEPTED, Answer(Resumed { resumed })))
}

/// Labels to be set, or (null) removed.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabelsBody {
    /// By key.
    #[schema(value_type = Object)]
    labels: BTreeMap<String, Option<String>>,
}

/// Sets or removes labels of an execution. Those of the flow's text cannot be removed.
#[utoipa::path(post, path = "/api/v1/executions/{id}/labels", params(("id" = String, Path)), tag = "executions",
    request_body = LabelsBody,
    responses((status = 202, body = ExecutionSummary), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn labels(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
    Json(body): Json<LabelsBody>,
) -> Result<Accepted, Problem> {
    check_labels(body.labels.iter().map(|(key, value)| (key, value.as_ref())))?;
    let row = existing(&api, &id_of(&id)?).await?;
    let fixed = body
        .labels
        .iter()
        .find(|(key, value)| value.is_none() && row.meta.labels.contains_key(*key));
    if let Some((key, _)) = fixed {
        return Err(Problem::unprocessable(format!(
            "the label `{key}` came with the execution; it can be changed, not removed"
        )));
    }
    let change = Change::new("execution.labels", &id)
        .before(json!(ExecutionSummary::from(&row).labels))
        .after(json!(body.labels));
    let store = &api.ports().store;
    who.does(&api, change, store.set_labels(&row.meta.id, &body.labels))
        .await?;
    accepted(&api, &id).await
}
