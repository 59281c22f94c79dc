//! What a template of a task run may see, and nothing more: only the roots that are mentioned are built.

mod items;
mod mentioned;
mod merged;
mod outputs;
mod site;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use operon_core::exec::{Shard, State};
use operon_core::expr::Context;
use operon_core::lang::model::InputType;
use operon_core::plan::{Node, NodeKind, ShardId};
use serde_json::{Map, Value, json};

use self::mentioned::Mentioned;
pub use self::outputs::LOOP_OUTPUTS_MAX;
pub use self::site::Site;
pub(crate) use self::site::address;
use crate::Ports;
use crate::finish::failed_by_outputs;
use crate::items::LoopItems;
use crate::lookups::Lookups;
use crate::ports::{AttemptRow, ExecutionId, ExecutionMeta, ShardKey, StoreError, TaskRunKey};
use crate::rows;
use crate::shards::Shards;
use crate::templates::{RenderError, Tree};

/// How the type of the task ends that gives an execution labels.
const LABELS: &str = ".execution.Labels";

/// Bytes of outputs kept in a detail item; larger ones go to an artifact (design.md, "State that scales").
pub const OUTPUTS_INLINE_MAX: usize = 4096;

/// Bytes of outputs of one task run at most.
pub const OUTPUTS_MAX: u64 = 16 * 1024 * 1024;

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
            if extra.contains_key(root) {
                continue;
            }
            let value = match root.as_str() {
                "inputs" => self.inputs(site, &mut secrets).await?,
                "vars" => Value::Object(site.plan.plan.variables.clone()),
                "labels" => self.labels(site).await?,
                "trigger" => site.meta.trigger.clone(),
                "flow" => json!({
                    "id": site.meta.flow, "namespace": site.meta.namespace, "revision": site.meta.revision,
                }),
                "execution" => self.execution(site, overlay).await?,
                "task" => task_root(site),
                "outputs" => self.outputs(site, &mentioned.outputs, overlay).await?,
                "tasks" => self.tasks(site, &mentioned.tasks, overlay).await?,
                "taskrun" | "item" | "parent" | "parents" => {
                    continue; // Below: they share their look-ups.
                }
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

    /// `labels` as they are now where the flow has a task that gives some; else as the execution was created with, which
    /// costs no look into the store.
    async fn labels(&self, site: Site<'_>) -> Result<Value, EvaluateError> {
        let mut nodes = site.plan.plan.scopes.iter().flat_map(|scope| &scope.nodes);
        let gives = |node: &Node| matches!(&node.kind, NodeKind::Task(task) if task.task_type.ends_with(LABELS));
        if !nodes.any(gives) {
            return Ok(json!(site.meta.labels));
        }
        let row = self.ports.store.execution(&site.meta.id).await?;
        Ok(json!(
            row.as_ref().map_or(&site.meta.labels, |row| &row.labels)
        ))
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
        let mut state = state
            .filter(|state| state.is_terminal())
            .map_or("RUNNING", rows::state_name);
        // What its shards do not say.
        if matches!(state, "SUCCESS" | "WARNING") && !site.plan.plan.outputs.is_empty() {
            let row = self.ports.store.execution(&site.meta.id).await?;
            if row.as_ref().is_some_and(failed_by_outputs) {
                state = "FAILED";
            }
        }
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
}

fn task_root(site: Site<'_>) -> Value {
    let Some((_, _, node)) = site.node() else {
        return Value::Null;
    };
    let mut root = Map::from_iter([("id".to_owned(), json!(node.id))]);
    if let Some(task) = site.task() {
        root.insert("type".to_owned(), json!(task.task_type));
    }
    Value::Object(root)
}

/// Milliseconds since the epoch as RFC 3339 text.
#[must_use]
pub fn rfc3339(ms: u64) -> String {
    let time = i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}
