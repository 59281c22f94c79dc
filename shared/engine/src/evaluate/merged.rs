//! Outputs of a `ForEachItem`: what the flows that it started gave, in one file.
//!
//! Invariant: the file's content follows from what is stored, so that writing it twice writes it once.

use std::collections::BTreeMap;

use operon_core::lang::members::{ITEM_SUBFLOW, SUBFLOW_OUTPUTS};
use operon_core::plan::{NodeIndex, ScopeIndex};
use serde_json::{Map, Value, json};

use super::outputs::LOOP_OUTPUTS_MAX;
use super::{EvaluateError, Evaluator, Site};
use crate::ports::{ArtifactUri, AttemptRow, TaskRunKey};

/// The task inside that starts the flow, if the node is a `ForEachItem`.
fn inside(site: Site<'_>, id: &str, at: (ScopeIndex, NodeIndex)) -> Option<String> {
    let child = format!("{id}{ITEM_SUBFLOW}");
    let (scope, _) = site.plan.find(&child)?;
    let body = site.plan.plan.scopes.get(usize::from(scope))?;
    (body.owner == Some(at) && body.nodes.len() == 1).then_some(child)
}

impl Evaluator {
    /// Adds the file with the outputs of all started flows to the outputs of a `ForEachItem` that is over; false for
    /// any other task.
    pub(super) async fn merge_outputs(
        &self,
        site: Site<'_>,
        id: &str,
        at: (ScopeIndex, NodeIndex),
        run: &TaskRunKey,
        outputs: &mut Map<String, Value>,
    ) -> Result<bool, EvaluateError> {
        let Some(child) = inside(site, id, at) else {
            return Ok(false);
        };
        let failed = |error: String| EvaluateError::Expression(format!("`outputs.{id}`: {error}"));
        let store = &self.ports.store;
        let rows = store
            .attempts_of_task(&site.meta.id, &child, LOOP_OUTPUTS_MAX + 1)
            .await?;
        if rows.len() > usize::try_from(LOOP_OUTPUTS_MAX).unwrap_or(usize::MAX) {
            return Err(failed(format!(
                "more than {LOOP_OUTPUTS_MAX} flows were started; make the batches larger"
            )));
        }
        let mut latest: BTreeMap<TaskRunKey, AttemptRow> = BTreeMap::new();
        for row in rows {
            let owner = row.task_run.shard.owner();
            let own = owner.is_some_and(|(shard, slot, _)| shard == run.shard && slot == run.slot);
            let known = latest.get(&row.task_run);
            if own && known.is_none_or(|known| known.attempt < row.attempt) {
                latest.insert(row.task_run.clone(), row);
            }
        }
        let mut lines = Vec::new();
        for row in latest.into_values() {
            if matches!(row.state.as_str(), "SUCCESS" | "WARNING") {
                let mut given = self.row_outputs(&row).await?;
                let given = given.remove("outputs").unwrap_or_else(|| json!({}));
                lines.extend(given.to_string().into_bytes());
                lines.push(b'\n');
            }
        }
        let shard = run.shard.to_string().replace('/', "-");
        let key = format!(
            "executions/{}/loops/{shard}-{}-outputs.jsonl",
            site.meta.id, run.slot
        );
        let uri = ArtifactUri::new(&key).map_err(|error| failed(error.to_string()))?;
        let stored = self.ports.artifacts.put(&uri, lines.into()).await;
        stored.map_err(|error| failed(error.to_string()))?;
        outputs.insert(SUBFLOW_OUTPUTS.to_owned(), json!(uri.to_string()));
        Ok(true)
    }
}
