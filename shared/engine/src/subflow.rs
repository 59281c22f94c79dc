//! `Subflow`: an attempt that is an execution of another flow.
//!
//! Invariant: the child's id follows from the attempt, so launching it twice starts it once; and its end is told to
//! the attempt that waits, by whoever finds it out first.

use std::collections::BTreeMap;

use async_trait::async_trait;
use operon_core::exec::{Outcome, Reason};
use operon_core::plan::Plan;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::flows::{FlowError, Flows};
use crate::intake::Request;
use crate::launch::Call;
use crate::planner::Active;
use crate::ports::{
    AttemptId, AttemptResult, ExecutionId, ExecutionRow, StateStore, StoreError, Usage,
};

/// Subflows inside subflows at most: a flow that calls itself ends with an error, not with a full table.
pub const DEPTH_MAX: usize = 20;

/// Finds deployed flows by name.
#[async_trait]
pub trait FlowSource: Send + Sync {
    /// The plan of a revision of a flow, of the one that counts if none is asked for. The error is a sentence for
    /// people.
    async fn plan(
        &self,
        namespace: &str,
        flow: &str,
        revision: Option<u32>,
    ) -> Result<Plan, FlowMissing>;
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum FlowMissing {
    /// There is no such flow, or it does not compile, or it is disabled.
    #[error("{0}")]
    No(String),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The execution of a subflow has one name per attempt.
#[must_use]
pub fn child_id(id: &AttemptId) -> Option<ExecutionId> {
    let mut text = hex::encode(Sha256::digest(id.to_string().as_bytes()));
    text.truncate(22);
    text.parse().ok()
}

/// Whether the attempt waits for its child.
#[must_use]
pub fn waits(call: &Call) -> bool {
    flag(&call.props, "wait", true)
}

fn flag(props: &Map<String, Value>, key: &str, default: bool) -> bool {
    props.get(key).and_then(Value::as_bool).unwrap_or(default)
}

/// The flow that is called: namespace and id.
pub fn target(active: &Active, call: &Call) -> Result<(String, String), String> {
    let text = |key: &str| call.props.get(key).and_then(Value::as_str);
    let namespace = text("namespace").unwrap_or(&active.meta.namespace);
    let flow = text("flowId").ok_or("`flowId` is missing")?;
    Ok((namespace.to_owned(), flow.to_owned()))
}

/// Which revision of it, if the call asks for one.
#[must_use]
pub fn revision(call: &Call) -> Option<u32> {
    let number = call.props.get("revision").and_then(Value::as_u64)?;
    // What does not fit is no revision, and is said to be missing.
    Some(u32::try_from(number).unwrap_or(u32::MAX))
}

/// The request for the child's execution.
#[must_use]
pub fn request(
    active: &Active,
    id: &AttemptId,
    child: ExecutionId,
    plan: Plan,
    call: &Call,
) -> Request {
    let mut labels = BTreeMap::new();
    if flag(&call.props, "inheritLabels", false) {
        labels.extend(active.row().labels);
    }
    if let Some(Value::Object(own)) = call.props.get("labels") {
        labels.extend(own.iter().map(|(key, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (key.clone(), text)
        }));
    }
    let inputs = match call.props.get("inputs") {
        Some(Value::Object(inputs)) => inputs.clone().into_iter().collect(),
        _ => BTreeMap::new(),
    };
    Request {
        id: child,
        plan,
        flow_dir: None,
        inputs,
        labels,
        trigger: json!({
            "executionId": active.meta.id, "flowId": active.meta.flow,
            "namespace": active.meta.namespace, "flowRevision": active.meta.revision,
        }),
        parent: Some((active.meta.id.clone(), id.task_run.clone(), id.attempt)),
        replay_of: None,
        priority: active.meta.priority,
    }
}

/// Refuses a flow that calls itself without end.
pub async fn check_depth(store: &dyn StateStore, active: &Active) -> Result<(), FlowMissing> {
    let mut parent = active.meta.parent.clone();
    for _ in 0..DEPTH_MAX {
        let Some((id, ..)) = parent else {
            return Ok(());
        };
        parent = store.execution(&id).await?.and_then(|row| row.meta.parent);
    }
    Err(FlowMissing::No(format!(
        "more than {DEPTH_MAX} subflows inside each other; does the flow call itself?"
    )))
}

/// What an attempt that started a child gives when it does not wait, or when the child is over.
#[must_use]
pub fn result(
    child: &ExecutionId,
    over: Option<&ExecutionRow>,
    props: &Map<String, Value>,
    started_ms: u64,
    now_ms: u64,
) -> AttemptResult {
    // The last try is the one that counts, and the one to look at.
    let child = over.map_or(child, |row| &row.meta.id);
    let mut outputs = Map::new();
    outputs.insert("executionId".to_owned(), json!(child));
    let mut outcome = Outcome::Success;
    let mut message = None;
    if let Some(row) = over {
        outputs.insert("state".to_owned(), json!(row.state));
        outputs.insert("outputs".to_owned(), Value::Object(row.outputs.clone()));
        let transmit = flag(props, "transmitFailed", true);
        outcome = match row.state.as_str() {
            "SUCCESS" => Outcome::Success,
            "WARNING" if transmit => Outcome::Warning,
            _ if transmit => Outcome::Failed(Reason::ChildFailed),
            _ => Outcome::Success,
        };
        if matches!(outcome, Outcome::Failed(_)) {
            message = Some(ended(row));
        }
    }
    AttemptResult {
        outcome,
        exit_code: None,
        message,
        outputs,
        metrics: Vec::new(),
        usage: Usage::default(),
        started_ms,
        ended_ms: now_ms,
    }
}

/// How an execution ended, for whoever looks at the task that started it.
fn ended(row: &ExecutionRow) -> String {
    let meta = &row.meta;
    let mut text = format!(
        "execution {} of flow `{}.{}` ended {}",
        meta.id, meta.namespace, meta.flow, row.state
    );
    if let Some(reason) = row.reason.as_deref().filter(|reason| !reason.is_empty()) {
        text.push_str(": ");
        text.push_str(reason);
    }
    text
}

#[async_trait]
impl FlowSource for Flows {
    async fn plan(
        &self,
        namespace: &str,
        flow: &str,
        revision: Option<u32>,
    ) -> Result<Plan, FlowMissing> {
        match self.asked(namespace, flow, revision).await {
            Ok((head, _)) if head.disabled => Err(FlowMissing::No(format!(
                "flow `{flow}` of namespace `{namespace}` is disabled"
            ))),
            Ok((_, revision)) => Ok(revision.plan.clone()),
            Err(FlowError::Store(error)) => Err(FlowMissing::Store(error)),
            Err(error) => Err(FlowMissing::No(error.to_string())),
        }
    }
}
