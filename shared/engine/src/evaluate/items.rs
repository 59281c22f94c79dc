//! `taskrun`, `item`, `parent` and `parents` of templates: the loops around a task run.

use operon_core::plan::{Layout, NodeIndex};
use serde_json::{Map, Value, json};

use super::{EvaluateError, Evaluator, Site, rfc3339};
use crate::repeated;

impl Evaluator {
    pub(super) async fn iteration_roots(
        &self,
        site: Site<'_>,
        roots: &mut Map<String, Value>,
    ) -> Result<(), EvaluateError> {
        let mut items = self.enclosing_items(site).await?;
        let own = items.pop();
        // As in Kestra: the child of a loop has the value itself; inside a group, the group is the parent that has it.
        let grouped = own.as_ref().filter(|_| in_group(site));
        let parents: Vec<Value> = grouped
            .into_iter()
            .chain(items.iter().rev())
            .filter(|item| item.get("value").is_some())
            .map(|item| json!({"taskrun": {"value": item.get("value"), "iteration": item.get("index")}}))
            .collect();
        roots.insert(
            "parent".to_owned(),
            parents.first().cloned().unwrap_or_else(|| json!({})),
        );
        roots.insert("parents".to_owned(), Value::Array(parents));
        let mut taskrun = json!({
            "id": site.plan.plan.task_run_name(site.shard, site.slot),
            "startDate": rfc3339(self.ports.clock.now_ms()),
            "attemptsCount": site.attempt.saturating_sub(1),
        });
        if let (Some(taskrun), Some(item)) = (taskrun.as_object_mut(), &own) {
            let value = item.get("value").cloned().unwrap_or_default();
            taskrun.insert("items".to_owned(), value.clone());
            taskrun.insert("value".to_owned(), value);
            taskrun.insert(
                "iteration".to_owned(),
                item.get("index").cloned().unwrap_or_default(),
            );
        }
        roots.insert("taskrun".to_owned(), taskrun);
        if let Some(item) = own {
            let mut item = shown(item);
            if let Some(item) = item.as_object_mut() {
                let parents: Vec<Value> = items.iter().rev().cloned().map(shown).collect();
                item.insert(
                    "parent".to_owned(),
                    parents.first().cloned().unwrap_or_default(),
                );
                item.insert("parents".to_owned(), Value::Array(parents));
            }
            roots.insert("item".to_owned(), item);
        }
        Ok(())
    }

    /// The `item` of every enclosing loop, outermost first.
    pub(super) async fn enclosing_items(
        &self,
        site: Site<'_>,
    ) -> Result<Vec<Value>, EvaluateError> {
        let mut items = Vec::new();
        let (mut shard, mut slot) = (site.shard.clone(), site.slot);
        while let Some((owner, loop_slot, _)) = shard.owner() {
            let layout = Layout::of(&site.plan.plan, &shard);
            let iteration = layout.and_then(|layout| layout.iteration_of(slot));
            let around = Site {
                shard: &owner,
                slot: loop_slot,
                ..site
            };
            if repeated::until(around).is_some() {
                items.push(json!({"index": iteration}));
                (shard, slot) = (owner, loop_slot);
                continue;
            }
            let key = (site.meta.id.clone(), owner.clone(), loop_slot);
            let values = self.items.get(&self.ports, &key).await.map_err(|error| {
                EvaluateError::Expression(format!("values of the loop: {error}"))
            })?;
            items.push(iteration.and_then(|i| values.get(i)).unwrap_or_default());
            (shard, slot) = (owner, loop_slot);
        }
        items.reverse();
        Ok(items)
    }

    /// Value of the innermost loop's iteration, for people and for the keys of `outputs`. Repetitions have none.
    pub async fn item(&self, site: Site<'_>) -> Result<Option<Value>, EvaluateError> {
        if site.shard.path().is_empty() {
            return Ok(None);
        }
        let items = self.enclosing_items(site).await?;
        Ok(items
            .iter()
            .rev()
            .find_map(|item| item.get("value"))
            .cloned())
    }
}

/// An item as Kestra's `Loop` has it: of a map's entry the value alone, beside its key. `taskrun.value` has both, as in
/// `ForEach`.
fn shown(mut item: Value) -> Value {
    if let Some(item) = item.as_object_mut().filter(|item| item.contains_key("key"))
        && let Some(value) = item.get_mut("value")
    {
        *value = value.get("value").cloned().unwrap_or_default();
    }
    item
}

/// Whether a group (`If`, `Parallel`, …) is around the task run, inside its iteration.
fn in_group(site: Site<'_>) -> bool {
    let Some(layout) = site.layout() else {
        return false;
    };
    let node_at = |index: NodeIndex| layout.nodes.get(usize::from(index));
    let mut node = layout.node_of(site.slot).and_then(node_at);
    while let Some(parent) = node.and_then(|node| node.parent).and_then(node_at) {
        if !parent.hidden {
            return true;
        }
        node = Some(parent);
    }
    false
}
