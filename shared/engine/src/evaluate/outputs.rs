//! `outputs` of templates: those of tasks that are over, and by value those of a loop's iterations.

use std::collections::{BTreeMap, BTreeSet};

use operon_core::lang::members::{ITEM_MERGE, SUBFLOW_OUTPUTS};
use serde_json::{Map, Value, json};

use super::{EvaluateError, Evaluator, OUTPUTS_MAX, Overlay, Site};
use crate::ports::{AttemptRow, TaskRunKey};
use crate::repeated;

/// Iterations whose outputs a template outside their loop may see.
pub const LOOP_OUTPUTS_MAX: u32 = 10_000;

impl Evaluator {
    pub(super) async fn outputs(
        &self,
        site: Site<'_>,
        wanted: &BTreeSet<String>,
        overlay: &Overlay,
    ) -> Result<Value, EvaluateError> {
        let mut outputs = Map::new();
        let everything = wanted.contains("*");
        let all = site.plan.plan.scopes.iter().flat_map(|scope| &scope.nodes);
        let ids: BTreeSet<&str> = if everything {
            all.filter(|node| !node.hidden)
                .map(|node| node.id.as_str())
                .collect()
        } else {
            wanted.iter().map(String::as_str).collect()
        };
        for id in ids {
            if let Some(value) = self.outputs_of_task(site, id, overlay).await? {
                outputs.insert(id.to_owned(), value);
            }
        }
        Ok(Value::Object(outputs))
    }

    async fn outputs_of_task(
        &self,
        site: Site<'_>,
        id: &str,
        overlay: &Overlay,
    ) -> Result<Option<Value>, EvaluateError> {
        let Some((scope, node)) = site.plan.find(id) else {
            return self.merged(site, id, overlay).await;
        };
        let Some(run) = self.located(site, scope, node, overlay).await? else {
            return self.outputs_of_loop(site, id).await.map(Some);
        };
        let Some(shard) = self.shard(site.meta, &run.shard, overlay).await? else {
            return Ok(None);
        };
        let Some(slot) = shard.slots.get(usize::from(run.slot)).copied() else {
            return Ok(None);
        };
        if !slot.state.is_terminal() && !slot.state.is_active_group() {
            return Ok(None);
        }
        let pending = overlay.rows.get(&(site.meta.id.clone(), run.clone()));
        let row = if let Some(row) = pending {
            Some(row.clone())
        } else {
            let rows = self.ports.store.attempts(&site.meta.id, &run).await?;
            rows.into_iter()
                .rev()
                .find(|row| row.attempt == slot.attempt || row.attempt == 0)
        };
        let mut outputs = match &row {
            Some(row) => self.row_outputs(row).await?,
            None => Map::new(),
        };
        let over = slot.state.is_terminal();
        let merges = over && {
            let at = (scope, node);
            self.merge_outputs(site, id, at, &run, &mut outputs).await?
        };
        let Some(row) = row else {
            // A loop that ends in this turn has no row yet.
            return Ok(merges.then_some(Value::Object(outputs)));
        };
        if scope != 0 {
            // Kestra's ForEach: `outputs.child[taskrun.value].x` also inside the iteration.
            let own = outputs.clone();
            let path = Box::pin(self.path_of(site, &row)).await?;
            nest(&mut outputs, &path, own, false);
        }
        Ok(Some(Value::Object(outputs)))
    }

    /// What Kestra calls `outputs.<id>_merge` of a `ForEachItem`.
    async fn merged(
        &self,
        site: Site<'_>,
        id: &str,
        overlay: &Overlay,
    ) -> Result<Option<Value>, EvaluateError> {
        let base = id.strip_suffix(ITEM_MERGE).unwrap_or_default();
        if site.plan.find(base).is_none() {
            return Ok(None);
        }
        let whole = Box::pin(self.outputs_of_task(site, base, overlay)).await?;
        let uri = whole.as_ref().and_then(|whole| whole.get(SUBFLOW_OUTPUTS));
        Ok(uri.map(|uri| json!({ SUBFLOW_OUTPUTS: uri })))
    }

    /// Outputs of a task inside loops, seen from outside: by the values of the iterations, from the outside in, as in
    /// Kestra (`outputs.task[outer][inner]`). Of iterations with equal values the last counts.
    async fn outputs_of_loop(&self, site: Site<'_>, id: &str) -> Result<Value, EvaluateError> {
        let rows = self
            .ports
            .store
            .attempts_of_task(&site.meta.id, id, LOOP_OUTPUTS_MAX + 1)
            .await?;
        if rows.len() > usize::try_from(LOOP_OUTPUTS_MAX).unwrap_or(usize::MAX) {
            return Err(EvaluateError::Expression(format!(
                "`outputs.{id}` has more than {LOOP_OUTPUTS_MAX} iterations; let the iterations write files \
                 and read those"
            )));
        }
        let mut latest: BTreeMap<TaskRunKey, AttemptRow> = BTreeMap::new();
        for row in rows {
            let known = latest
                .get(&row.task_run)
                .is_some_and(|known| known.attempt >= row.attempt);
            if !known {
                latest.insert(row.task_run.clone(), row);
            }
        }
        let mut outputs = Map::new();
        for row in latest.into_values() {
            if matches!(row.state.as_str(), "SUCCESS" | "WARNING") {
                let mut path = Box::pin(self.path_of(site, &row)).await?;
                if path.is_empty() {
                    path.push(row.name.clone());
                }
                nest(&mut outputs, &path, self.row_outputs(&row).await?, true);
            }
        }
        Ok(Value::Object(outputs))
    }

    /// The values of the iterations around a task run, from the outside in. Repetitions have none.
    async fn path_of(
        &self,
        site: Site<'_>,
        row: &AttemptRow,
    ) -> Result<Vec<String>, EvaluateError> {
        let Some((owner, slot, _)) = row.task_run.shard.owner() else {
            return Ok(Vec::new());
        };
        let around = Site {
            shard: &owner,
            slot,
            ..site
        };
        let mut path: Vec<String> = self
            .enclosing_items(around)
            .await?
            .iter()
            .filter_map(|item| item.get("value").map(key_of))
            .collect();
        // The row has the innermost value itself: reading one list of values per inner loop would be slow.
        if repeated::until(around).is_none() {
            path.extend(row.item.as_ref().map(key_of));
        }
        Ok(path)
    }

    /// The outputs of an attempt, also where they are an artifact.
    pub(crate) async fn row_outputs(
        &self,
        row: &AttemptRow,
    ) -> Result<Map<String, Value>, EvaluateError> {
        let Some(uri) = &row.outputs_uri else {
            return Ok(row.outputs.clone());
        };
        let failed = |error: String| {
            EvaluateError::Expression(format!("outputs of `{}`: {error}", row.name))
        };
        let uri = uri.parse().map_err(|error| failed(format!("{error}")))?;
        let bytes = self
            .ports
            .artifacts
            .get(&uri, OUTPUTS_MAX)
            .await
            .map_err(|error| failed(error.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))
    }
}

/// Puts `own` where `path` says; `over` what is there, if it is to.
fn nest(into: &mut Map<String, Value>, path: &[String], own: Map<String, Value>, over: bool) {
    let Some((last, outer)) = path.split_last() else {
        return;
    };
    let mut here = into;
    for key in outer {
        let next = here
            .entry(key.clone())
            .or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(next) = next else {
            return; // An output of that name, which counts.
        };
        here = next;
    }
    if over || !here.contains_key(last) {
        here.insert(last.clone(), Value::Object(own));
    }
}

fn key_of(item: &Value) -> String {
    item.as_str()
        .map_or_else(|| item.to_string(), str::to_owned)
}
