//! What a template of a task run may see, and nothing more: only the roots that are mentioned are built.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use operon_core::exec::{Shard, State};
use operon_core::expr::Context;
use operon_core::lang::model::InputType;
use operon_core::plan::{Layout, Node, NodeIndex, NodeKind, ScopeIndex, ShardId, TaskNode};
use serde_json::{Map, Value, json};

use crate::Ports;
use crate::items::LoopItems;
use crate::lookups::Lookups;
use crate::planner::Active;
use crate::plans::LoadedPlan;
use crate::ports::{
    AttemptId, AttemptRow, ExecutionId, ExecutionMeta, ShardKey, StoreError, TaskRunKey,
};
use crate::repeated;
use crate::rows;
use crate::shards::Shards;
use crate::templates::{RenderError, Tree};

/// Iterations whose outputs a template outside their loop may see.
pub const LOOP_OUTPUTS_MAX: u32 = 10_000;

/// Bytes of outputs kept in a detail item; larger ones go to an artifact (design.md, "State that scales").
pub const OUTPUTS_INLINE_MAX: usize = 4096;

/// Bytes of outputs of one task run at most.
pub const OUTPUTS_MAX: u64 = 16 * 1024 * 1024;

/// Where a template is evaluated.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The plan of the execution.
    pub plan: &'a LoadedPlan,
    /// The execution.
    pub meta: &'a ExecutionMeta,
    /// The task run's shard.
    pub shard: &'a ShardId,
    /// The task run's place there.
    pub slot: u16,
    /// Live attempt, or the next one.
    pub attempt: u8,
}

impl<'a> Site<'a> {
    /// The flow itself: what is evaluated outside any task.
    #[must_use]
    pub fn flow(plan: &'a LoadedPlan, meta: &'a ExecutionMeta) -> Self {
        static ROOT: ShardId = ShardId::ROOT;
        Self {
            plan,
            meta,
            shard: &ROOT,
            slot: 0,
            attempt: 0,
        }
    }

    /// An attempt of an execution that is being worked on.
    #[must_use]
    pub fn of_attempt(active: &'a Active, id: &'a AttemptId) -> Self {
        Self {
            plan: &active.plan,
            meta: &active.meta,
            shard: &id.task_run.shard,
            slot: id.task_run.slot,
            attempt: id.attempt,
        }
    }

    /// The layout of the task run's shard.
    #[must_use]
    pub fn layout(&self) -> Option<Layout<'a>> {
        Layout::of(&self.plan.plan, self.shard)
    }

    /// The node the task run is an instance of.
    #[must_use]
    pub fn node(&self) -> Option<(ScopeIndex, NodeIndex, &'a Node)> {
        let layout = self.layout()?;
        let index = layout.node_of(self.slot)?;
        Some((layout.scope, index, layout.nodes.get(usize::from(index))?))
    }

    /// What is launched here; none for control around tasks.
    #[must_use]
    pub fn task(&self) -> Option<&'a TaskNode> {
        if let NodeKind::Task(task) = &self.node()?.2.kind {
            Some(task)
        } else {
            None
        }
    }

    /// Whether a person is waited for here.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        let node = self.node();
        node.is_some_and(|(_, _, node)| matches!(node.kind, NodeKind::Pause { .. }))
    }

    /// The task run's address.
    #[must_use]
    pub fn task_run(&self) -> TaskRunKey {
        TaskRunKey {
            shard: self.shard.clone(),
            slot: self.slot,
        }
    }
}

/// What a turn has decided and not yet written.
#[derive(Debug, Default)]
pub struct Overlay {
    /// Attempts reported in this turn.
    pub rows: HashMap<(ExecutionId, TaskRunKey), AttemptRow>,
    /// Shards as they will be written.
    pub shards: HashMap<ShardKey, Arc<Shard>>,
}

/// Why something could not be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The expression or what it looks up is wrong; the task run fails with this message.
    #[error("{0}")]
    Expression(String),
    /// The store did not answer; the turn is repeated.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RenderError> for EvaluateError {
    fn from(error: RenderError) -> Self {
        Self::Expression(error.to_string())
    }
}

/// Evaluates templates for task runs.
#[derive(Clone)]
pub struct Evaluator {
    /// The world.
    pub ports: Ports,
    /// Shards in memory.
    pub shards: Arc<Shards>,
    /// Loop values in memory.
    pub items: Arc<LoopItems>,
}

/// A rendered value with the secrets that flowed in.
#[derive(Clone, Default)]
pub struct RenderedValue {
    /// The value.
    pub value: Value,
    /// Must not be stored or shown.
    pub secrets: Vec<String>,
}

impl Evaluator {
    /// Renders a tree for a task run.
    pub async fn render(
        &self,
        site: Site<'_>,
        tree: &Tree,
        extra: &Map<String, Value>,
        overlay: &Overlay,
    ) -> Result<RenderedValue, EvaluateError> {
        if let Tree::Constant(value) = tree {
            return Ok(RenderedValue {
                value: value.clone(),
                secrets: Vec::new(),
            });
        }
        let lookups = self.lookups(site);
        let context = self
            .context(site, &[tree], extra, overlay, &lookups)
            .await?;
        let (value, secrets) = lookups
            .resolve(&self.ports, || {
                let mut secrets = Vec::new();
                tree.render(&context, &mut secrets)
                    .map(|value| (value, secrets))
            })
            .await?;
        Ok(RenderedValue { value, secrets })
    }

    pub(crate) fn lookups(&self, site: Site<'_>) -> Arc<Lookups> {
        let identity = format!(
            "{}/{}/{}/{}",
            site.meta.id, site.shard, site.slot, site.attempt
        );
        let seed = identity
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Arc::new(Lookups::new(
            &site.meta.namespace,
            site.meta.flow_dir.as_deref(),
            self.ports.clock.now_ms(),
            seed,
        ))
    }

    async fn context(
        &self,
        site: Site<'_>,
        trees: &[&Tree],
        extra: &Map<String, Value>,
        overlay: &Overlay,
        lookups: &Arc<Lookups>,
    ) -> Result<Context, EvaluateError> {
        let mentioned = Mentioned::of(site.plan, trees);
        let mut roots = Map::new();
        let mut secrets = Vec::new();
        for root in &mentioned.roots {
            let value = match root.as_str() {
                "inputs" => self.inputs(site, &mut secrets).await?,
                "vars" => Value::Object(site.plan.plan.variables.clone()),
                "labels" => json!(site.meta.labels),
                "trigger" => site.meta.trigger.clone(),
                "flow" => json!({
                    "id": site.meta.flow, "namespace": site.meta.namespace, "revision": site.meta.revision,
                }),
                "execution" => self.execution(site, overlay).await?,
                "task" => site
                    .node()
                    .map_or(Value::Null, |(_, _, node)| json!({"id": node.id})),
                "outputs" => self.outputs(site, &mentioned.outputs, overlay).await?,
                "tasks" => self.tasks(site, &mentioned.tasks, overlay).await?,
                "taskrun" | "item" | "parent" | "parents" => {
                    continue; // Below: they share their look-ups.
                }
                "envs" | "globals" => json!({}),
                _ => continue,
            };
            roots.insert(root.clone(), value);
        }
        if ["taskrun", "item", "parent", "parents"]
            .iter()
            .any(|r| mentioned.roots.contains(*r))
        {
            self.iteration_roots(site, &mut roots).await?;
        }
        for (name, value) in extra {
            roots.insert(name.clone(), value.clone());
        }
        Ok(Context::new(roots, lookups.clone()).with_secrets(secrets))
    }

    /// `inputs`, with the values of SECRET inputs looked up by the name they hold.
    async fn inputs(
        &self,
        site: Site<'_>,
        secrets: &mut Vec<String>,
    ) -> Result<Value, EvaluateError> {
        let mut inputs = Value::Object(site.meta.inputs.clone());
        for input in site
            .plan
            .plan
            .inputs
            .iter()
            .filter(|i| i.input_type == InputType::Secret)
        {
            let pointer = format!("/{}", input.id.replace('.', "/"));
            let Some(place) = inputs.pointer_mut(&pointer) else {
                continue;
            };
            let Some(name) = place.as_str().map(str::to_owned) else {
                continue;
            };
            let value = self
                .ports
                .secrets
                .secret(&site.meta.namespace, &name)
                .await
                .map_err(|error| {
                    EvaluateError::Expression(format!("input `{}`: {error}", input.id))
                })?;
            secrets.push(value.clone());
            *place = Value::String(value);
        }
        Ok(inputs)
    }

    async fn execution(&self, site: Site<'_>, overlay: &Overlay) -> Result<Value, EvaluateError> {
        let root = self.shard(site.meta, &ShardId::ROOT, overlay).await?;
        let state = root.and_then(|shard| shard.slots.first().map(|slot| slot.state));
        let state = state
            .filter(|state| state.is_terminal())
            .map_or("RUNNING", rows::state_name);
        Ok(json!({
            "id": site.meta.id,
            "startDate": rfc3339(site.meta.created_ms),
            "originalId": site.meta.replay_of.as_ref().map_or(&site.meta.id, |(id, _)| id),
            "state": state,
        }))
    }

    async fn shard(
        &self,
        meta: &ExecutionMeta,
        shard: &ShardId,
        overlay: &Overlay,
    ) -> Result<Option<Arc<Shard>>, StoreError> {
        let key = ShardKey {
            execution: meta.id.clone(),
            shard: shard.clone(),
        };
        if let Some(found) = overlay.shards.get(&key) {
            return Ok(Some(Arc::clone(found)));
        }
        Ok(self.shards.get(&*self.ports.store, &key).await?.shard)
    }

    async fn outputs(
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
            return Ok(None);
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
        let Some(row) = row else { return Ok(None) };
        let mut outputs = self.row_outputs(&row).await?;
        if let Some(item) = row.item.as_ref().filter(|_| scope != 0) {
            // Kestra's ForEach: `outputs.child[taskrun.value].x` also inside the iteration.
            let own = Value::Object(outputs.clone());
            outputs.entry(key_of(item)).or_insert(own);
        }
        Ok(Some(Value::Object(outputs)))
    }

    /// Outputs of a task inside a loop, seen from outside: by the iteration's value.
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
                let key = row.item.as_ref().map_or_else(|| row.name.clone(), key_of);
                outputs.insert(key, Value::Object(self.row_outputs(&row).await?));
            }
        }
        Ok(Value::Object(outputs))
    }

    async fn row_outputs(&self, row: &AttemptRow) -> Result<Map<String, Value>, EvaluateError> {
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

    /// `tasks.<id>.state` of tasks in this and the enclosing scopes.
    async fn tasks(
        &self,
        site: Site<'_>,
        wanted: &BTreeSet<String>,
        overlay: &Overlay,
    ) -> Result<Value, EvaluateError> {
        let mut tasks = Map::new();
        for id in wanted {
            let Some((scope, node)) = site.plan.find(id) else {
                continue;
            };
            let Some(run) = address(site, scope, node) else {
                continue;
            };
            let shard = self.shard(site.meta, &run.shard, overlay).await?;
            let slot = shard.and_then(|shard| shard.slots.get(usize::from(run.slot)).copied());
            let state = slot.map_or(State::Waiting, |slot| slot.state);
            tasks.insert(id.clone(), json!({"state": rows::state_name(state)}));
        }
        Ok(Value::Object(tasks))
    }

    async fn iteration_roots(
        &self,
        site: Site<'_>,
        roots: &mut Map<String, Value>,
    ) -> Result<(), EvaluateError> {
        let mut items = self.enclosing_items(site).await?;
        let own = items.pop();
        let parents: Vec<Value> = items
            .iter()
            .rev()
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
        if let Some(mut item) = own {
            if let Some(item) = item.as_object_mut() {
                let parents: Vec<Value> = items.iter().rev().cloned().collect();
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
    async fn enclosing_items(&self, site: Site<'_>) -> Result<Vec<Value>, EvaluateError> {
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

/// Address of the instance of a node that the task run at `site` sees: its own iteration's, or that of an
/// enclosing scope. None when the node is inside a loop that does not enclose the task run.
pub(crate) fn address(site: Site<'_>, scope: ScopeIndex, node: NodeIndex) -> Option<TaskRunKey> {
    if scope == 0 {
        let (part, slot) = site.plan.plan.home(node)?;
        return Some(TaskRunKey {
            shard: ShardId::of_part(part),
            slot,
        });
    }
    let (mut shard, mut slot) = (site.shard.clone(), site.slot);
    loop {
        let layout = Layout::of(&site.plan.plan, &shard)?;
        if layout.scope == scope {
            let nodes = u16::try_from(layout.nodes.len()).ok()?;
            return Some(TaskRunKey {
                slot: layout.item_of(slot) * nodes + node,
                shard,
            });
        }
        (shard, slot) = shard.owner().map(|(owner, slot, _)| (owner, slot))?;
    }
}

fn key_of(item: &Value) -> String {
    item.as_str()
        .map_or_else(|| item.to_string(), str::to_owned)
}

/// Milliseconds since the epoch as RFC 3339 text.
#[must_use]
pub fn rfc3339(ms: u64) -> String {
    let time = i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// What templates mention.
#[derive(Debug, Default)]
struct Mentioned {
    roots: BTreeSet<String>,
    outputs: BTreeSet<String>,
    tasks: BTreeSet<String>,
}

impl Mentioned {
    fn of(plan: &LoadedPlan, trees: &[&Tree]) -> Self {
        let mut mentioned = Self::default();
        let mut renders = false;
        for tree in trees {
            renders |= mentioned.add(tree);
        }
        if renders {
            // `render(vars.x)` sees whatever the variables mention.
            if let Ok(tree) = Tree::parse(&Value::Object(plan.plan.variables.clone())) {
                mentioned.add(&tree);
            }
        }
        mentioned
    }

    /// Whether the tree renders other templates.
    fn add(&mut self, tree: &Tree) -> bool {
        let mut renders = false;
        tree.templates(&mut |template| {
            for reference in template.references() {
                let Some(root) = reference.path.first() else {
                    continue;
                };
                self.roots.insert(root.clone());
                let second = reference.path.get(1).map_or("*", String::as_str);
                match root.as_str() {
                    "outputs" => self.outputs.insert(second.to_owned()),
                    "tasks" => self.tasks.insert(second.to_owned()),
                    _ => false,
                };
            }
            renders |= template
                .calls()
                .iter()
                .any(|call| call.name.starts_with("render"));
        });
        renders
    }
}
