//! Starting executions.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use operon_engine::ids;
use operon_engine::operations::Start;
use operon_engine::ports::{RecordKey, RecordKind, RecordOutcome, RecordWrite};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use crate::extract::{Headers, Json};
use crate::mutate::{Change, Who};
use crate::problem::Problem;
use crate::state::Api;

/// Characters of an idempotency key at most.
const KEY_MAX: usize = 255;
/// Labels at most.
pub(crate) const LABELS_MAX: usize = 64;
/// Bytes of a label's key and value at most.
pub(crate) const LABEL_BYTES_MAX: (usize, usize) = (128, 1024);

/// A wish to start a flow.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StartRequest {
    /// Of the flow.
    pub(crate) namespace: String,
    /// The flow.
    pub(crate) flow: String,
    /// Which; the one that counts without it.
    #[serde(default)]
    pub(crate) revision: Option<u32>,
    /// Values by input id.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub(crate) inputs: Map<String, Value>,
    /// In addition to the flow's.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// Larger goes first among queued executions.
    #[serde(default)]
    pub(crate) priority: i32,
}

/// An execution that was started.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StartedAnswer {
    /// Its id.
    pub(crate) id: String,
    /// Its state: `FAILED` when a guard of the flow fails it.
    pub(crate) state: String,
    /// False when the same `Idempotency-Key` had started it before.
    pub(crate) created: bool,
    /// Guards that do not hold but do not forbid the execution either.
    pub(crate) warnings: Vec<String>,
}

/// Labels within their limits.
pub(crate) fn check_labels<'l>(
    labels: impl ExactSizeIterator<Item = (&'l String, Option<&'l String>)>,
) -> Result<(), Problem> {
    if labels.len() > LABELS_MAX {
        return Err(Problem::unprocessable(format!(
            "at most {LABELS_MAX} labels are possible"
        )));
    }
    let (key_max, value_max) = LABEL_BYTES_MAX;
    for (key, value) in labels {
        if key.is_empty() || key.len() > key_max {
            return Err(Problem::unprocessable(format!(
                "a label's key has 1 to {key_max} bytes"
            )));
        }
        if key.starts_with("system.") {
            return Err(Problem::unprocessable(format!(
                "the label `{key}` is the engine's; choose another name"
            )));
        }
        if value.is_some_and(|value| value.len() > value_max) {
            return Err(Problem::unprocessable(format!(
                "the label `{key}` has more than {value_max} bytes"
            )));
        }
    }
    Ok(())
}

/// Starts an execution of a deployed flow. With an `Idempotency-Key`, asking again gives the same execution.
#[utoipa::path(post, path = "/api/v1/executions", request_body = StartRequest, tag = "executions",
    params(("Idempotency-Key" = Option<String>, Header, description = "Any text that names this wish")),
    responses((status = 201, body = StartedAnswer), (status = 200, body = StartedAnswer),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn start(
    State(api): State<Api>,
    who: Who,
    headers: Headers,
    Json(wish): Json<StartRequest>,
) -> Result<(StatusCode, Answer<StartedAnswer>), Problem> {
    check_labels(wish.labels.iter().map(|(key, value)| (key, Some(value))))?;
    let now = api.ports().clock.now_ms();
    let id = match headers.get("idempotency-key") {
        None => ids::new_execution(now),
        Some(key) if key.is_empty() || key.len() > KEY_MAX => {
            return Err(Problem::bad_request(format!(
                "`Idempotency-Key` has 1 to {KEY_MAX} characters"
            )));
        }
        Some(key) => {
            claim(&api, key, &wish).await?;
            ids::derived_execution(&["request", &wish.namespace, &wish.flow, key])
        }
    };
    // Asking again for what is there changes nothing.
    let there = api.ports().store.execution(&id).await?.is_some();
    let target = id.to_string();
    let start = api.operations().start(Start {
        id,
        namespace: wish.namespace.clone(),
        flow: wish.flow.clone(),
        revision: wish.revision,
        inputs: wish.inputs.clone().into_iter().collect(),
        labels: wish.labels.clone(),
        trigger: Value::Null,
        priority: wish.priority,
    });
    // What it holds on its way is large.
    let start = Box::pin(start);
    let started = if there {
        start.await?
    } else {
        let after =
            json!({"namespace": wish.namespace, "flow": wish.flow, "revision": wish.revision});
        let change = Change::new("execution.start", target).after(after);
        who.does(&api, change, start).await?
    };
    let id = started.row.meta.id.to_string();
    let status = if started.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((
        status,
        Answer(StartedAnswer {
            id,
            state: started.row.state,
            created: started.created,
            warnings: started.warnings,
        }),
    ))
}

/// Remembers what a key was used for: the same key for something else is a mistake that must not be hidden.
async fn claim(api: &Api, key: &str, wish: &StartRequest) -> Result<(), Problem> {
    let text =
        serde_json::to_string(wish).map_err(|error| Problem::internal(&error.to_string()))?;
    let hash = hex::encode(Sha256::digest(text.as_bytes()));
    let write = RecordWrite {
        key: RecordKey::new(
            RecordKind::Request,
            format!("{}/{}", wish.namespace, wish.flow),
            hex::encode(Sha256::digest(key.as_bytes())),
        ),
        expected: 0,
        value: json!({"format": 1, "hash": hash, "atMs": api.ports().clock.now_ms()}),
        due_ms: None,
        expires_ms: None,
    };
    match api.ports().records.save_record(write).await? {
        RecordOutcome::Saved(_) => Ok(()),
        RecordOutcome::Conflict(Some(there))
            if there.value.get("hash").and_then(Value::as_str) == Some(&hash) =>
        {
            Ok(())
        }
        RecordOutcome::Conflict(_) => Err(Problem::unprocessable(
            "this `Idempotency-Key` was used for another request; take a new one",
        )),
    }
}
