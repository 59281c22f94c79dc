//! The end of an execution: its outputs.

use std::str::FromStr;
use std::sync::PoisonError;

use operon_core::exec::Reason;
use operon_core::lang::inputs::check_output;
use operon_core::lang::model::{FlowOutput, FlowRetry, FlowRetryBehavior, SlaBehavior, SlaKind};
use operon_core::plan::Plan;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::evaluate::{EvaluateError, Evaluator, Overlay, RenderedValue, Site};
use crate::launch::mask_value;
use crate::planner::Active;
use crate::ports::{ExecutionId, ExecutionRow, ShardKey, StateStore, StoreError, Write};
use crate::templates::Tree;

/// Label that numbers the executions of a flow with `retry.behavior: CREATE_NEW_EXECUTION`, from 2.
const TRY_LABEL: &str = "system.try";
/// Label with the time at which the first of them was created, in milliseconds since the epoch.
const FIRST_LABEL: &str = "system.first-try";
/// Label with the time before which such an execution does not begin, in milliseconds since the epoch.
const BEGINS_LABEL: &str = "system.begins";

/// The execution that follows one whose flow asks for a new one when it failed.
fn successor(id: &ExecutionId) -> Result<ExecutionId, String> {
    let digest = Sha256::digest(format!("{id}/try"));
    hex::encode(digest.get(..11).unwrap_or_default()).parse()
}

/// The execution that a `RETRIED` one came to: the last that was started for it, which is over, too, or not yet.
pub async fn last_try(
    store: &dyn StateStore,
    mut row: ExecutionRow,
) -> Result<ExecutionRow, StoreError> {
    // Each has a number of its own, of 8 bits, among its labels.
    for _ in 0..=u8::MAX {
        if row.state != "RETRIED" {
            break;
        }
        let id = successor(&row.meta.id).map_err(StoreError::Failed)?;
        let Some(next) = store.execution(&id).await? else {
            break;
        };
        row = next;
    }
    Ok(row)
}

/// Whether an execution that has ended may be followed by another one, which is not there yet: what waits for its end
/// waits for that one, too.
pub(crate) fn may_be_tried_again(row: &ExecutionRow, plan: &Plan) -> bool {
    let policy = plan.retry.as_ref();
    policy.is_some_and(|policy| try_after(row, policy).is_some())
}

/// The number of the execution that follows a failed one, and in how many milliseconds it begins; none when its flow
/// asks for none, or its tries are used up.
fn try_after(failed: &ExecutionRow, policy: &FlowRetry) -> Option<(u8, u64)> {
    // What a guard refused would be refused again, and was never begun.
    if failed.state != "FAILED"
        || failed.started_ms.is_none()
        || policy.behavior != FlowRetryBehavior::CreateNewExecution
    {
        return None;
    }
    let tries = labelled(failed, TRY_LABEL).unwrap_or(1_u8);
    let elapsed = failed
        .ended_ms
        .unwrap_or_default()
        .saturating_sub(first_created_ms(failed));
    let wait = policy.retry.interval.delay_ms(tries, seed(&failed.meta.id));
    let used_up = policy.retry.max_attempts.is_some_and(|max| tries >= max)
        || policy
            .retry
            .max_duration_ms
            .is_some_and(|max| elapsed.saturating_add(wait) > max);
    (!used_up).then(|| (tries.saturating_add(1), wait))
}

/// The number that one of these labels holds.
fn labelled<T: FromStr>(row: &ExecutionRow, label: &str) -> Option<T> {
    row.meta.labels.get(label)?.parse().ok()
}

/// When the first of the executions that were tried one after the other was created.
fn first_created_ms(row: &ExecutionRow) -> u64 {
    labelled(row, FIRST_LABEL).unwrap_or(row.meta.created_ms)
}

/// When a stored execution is to begin, if it was not told to; one that is tried again waits.
pub(crate) fn begins_ms(row: &ExecutionRow) -> u64 {
    labelled(row, BEGINS_LABEL).unwrap_or(row.meta.created_ms)
}

/// The same for the same execution, whoever asks.
fn seed(id: &ExecutionId) -> u64 {
    let digest = Sha256::digest(id.as_str());
    digest
        .iter()
        .take(8)
        .fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

impl Evaluator {
    /// Stores the flow's outputs with the execution's row, unless the turn that ended it has done so. `read` is the
    /// version of its root shard that said so.
    pub async fn finish(&self, active: &Active, read: u64) -> Result<ExecutionRow, StoreError> {
        let mut row = active.row();
        if active.plan.plan.outputs.is_empty() || !row.outputs.is_empty() {
            return Ok(row);
        }
        // How it ended is known; a value that was left out then may only be added.
        let (state, reason) = (row.state.clone(), row.reason.clone());
        self.put_outputs(active, &mut row, &Overlay::default())
            .await?;
        (row.state, row.reason) = (state, reason);
        self.put_row(&row, read).await?;
        Ok(row)
    }

    /// Stores an execution's row that comes from the given version of its root shard.
    pub(crate) async fn put_row(&self, row: &ExecutionRow, read: u64) -> Result<(), StoreError> {
        let write = Write {
            executions: vec![row.clone()],
            read: vec![(ShardKey::root(&row.meta.id), read)],
            ..Write::default()
        };
        self.ports.store.write(write).await.map(drop)
    }

    /// Renders the flow's outputs into the row of an execution that has ended. One that succeeded has failed if a required
    /// output is missing, or if one is not of its type; the reason names it.
    pub(crate) async fn put_outputs(
        &self,
        active: &Active,
        row: &mut ExecutionRow,
        overlay: &Overlay,
    ) -> Result<(), StoreError> {
        label_breaches(active, row);
        let mut outputs = Map::new();
        let mut wrong = None;
        for output in &active.plan.plan.outputs {
            let found = match self.flow_output(active, &output.value, overlay).await {
                Ok(RenderedValue { mut value, secrets }) => {
                    if !secrets.is_empty() {
                        mask_value(&operon_core::expr::Masker::new(&secrets), &mut value);
                    }
                    of_type(output, value)
                }
                Err(EvaluateError::Store(error)) => return Err(error),
                Err(EvaluateError::Expression(_)) if !output.required => Ok(None),
                Err(EvaluateError::Expression(error)) => Err(format!("is missing: {error}")),
            };
            match found {
                Ok(value) => outputs.extend(value.map(|value| (output.id.clone(), value))),
                Err(why) => {
                    wrong.get_or_insert_with(|| format!("{OUTPUT}{}` {why}", output.id));
                }
            }
        }
        row.outputs = outputs;
        if matches!(row.state.as_str(), "SUCCESS" | "WARNING")
            && let Some(wrong) = wrong
        {
            "FAILED".clone_into(&mut row.state);
            row.reason = Some(wrong);
        }
        Ok(())
    }

    /// The execution that follows a failed one whose flow asks for a new one; none when its tries are used
    /// up. Its id is derived, so that asking twice gives one execution. The failed one becomes `RETRIED`; `read` is
    /// the version of its root shard.
    pub async fn next_execution(
        &self,
        active: &Active,
        read: u64,
    ) -> Result<Option<(ExecutionRow, u64)>, StoreError> {
        let mut failed = active.row();
        let Some(policy) = &active.plan.plan.retry else {
            return Ok(None);
        };
        let Some((number, wait)) = try_after(&failed, policy) else {
            return Ok(None);
        };
        let mut meta = failed.meta.clone();
        meta.id = successor(&meta.id).map_err(StoreError::Failed)?;
        meta.created_ms = self.ports.clock.now_ms();
        meta.labels.insert(TRY_LABEL.to_owned(), number.to_string());
        let first = first_created_ms(&failed).to_string();
        meta.labels.insert(FIRST_LABEL.to_owned(), first);
        let begins = meta.created_ms.saturating_add(wait).to_string();
        meta.labels.insert(BEGINS_LABEL.to_owned(), begins);
        "RETRIED".clone_into(&mut failed.state);
        failed.reason = Some(format!("tried again as execution {}", meta.id));
        let next = ExecutionRow {
            state: "CREATED".to_owned(),
            reason: None,
            started_ms: None,
            ended_ms: None,
            outputs: Map::new(),
            labels: meta.labels.clone(),
            meta,
        };
        // First the new one: a crash between the two writes repeats this.
        self.ports
            .store
            .create(&next, &active.plan.plan.canonical_json())
            .await?;
        self.put_row(&failed, read).await?;
        *active.row.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        Ok(Some((next, wait)))
    }

    async fn flow_output(
        &self,
        active: &Active,
        value: &Value,
        overlay: &Overlay,
    ) -> Result<RenderedValue, EvaluateError> {
        let tree = Tree::parse(value)?;
        let site = Site::flow(&active.plan, &active.meta);
        self.render(site, &tree, &Map::new(), overlay).await
    }
}

/// How the reason begins of an execution that failed by its outputs alone.
const OUTPUT: &str = "output `";

/// Whether all tasks of an execution ended well, and it failed by its outputs: its shards do not say that.
pub(crate) fn failed_by_outputs(row: &ExecutionRow) -> bool {
    row.state == "FAILED"
        && row
            .reason
            .as_deref()
            .is_some_and(|reason| reason.starts_with(OUTPUT))
}

/// An output's value in the form of its type; none where there need not be one.
fn of_type(output: &FlowOutput, value: Value) -> Result<Option<Value>, String> {
    if value.is_null() {
        return if output.required {
            Err("is null".to_owned())
        } else {
            Ok(Some(value))
        };
    }
    check_output(output.output_type, &value).map(Some)
}

/// Adds the labels of service levels on the duration that were missed: those that took as long, and the one that ended
/// the execution, whatever the clocks of those who saw it begin and end say.
fn label_breaches(active: &Active, row: &mut ExecutionRow) {
    let (Some(started), Some(ended)) = (row.started_ms, row.ended_ms) else {
        return;
    };
    let levels = &active.plan.plan.sla;
    let ending = levels
        .iter()
        .filter(|sla| sla.behavior != SlaBehavior::None)
        .filter_map(|sla| match sla.kind {
            SlaKind::MaxDuration { duration_ms } => Some(duration_ms),
            SlaKind::ExecutionAssertion { .. } => None,
        })
        .min()
        .filter(|_| row.reason.as_deref() == Some(Reason::ServiceLevel.words()));
    let took = ended.saturating_sub(started).max(ending.unwrap_or(0));
    for sla in levels {
        if let SlaKind::MaxDuration { duration_ms } = sla.kind
            && took >= duration_ms
        {
            row.labels.extend(sla.labels.clone());
        }
    }
}
