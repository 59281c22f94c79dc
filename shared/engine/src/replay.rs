//! Replay: a new execution of a flow that begins at a task and reuses what came before it.
//!
//! The new execution's shards are made with the reused task runs already in their terminal states, and their
//! attempts' rows are copied under its id; from then on it is an execution like any other. Invariant: a task
//! run is reused only if it let its dependents pass, and nothing that is executed again comes before it.
//! Invariant: shards and rows are stored before the execution, so that a crash in between starts nothing.

mod origin;
mod scope;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use operon_core::exec::{Shard, ShardError, Slot, Time};
use operon_core::plan::{Layout, NodeKind, Place, Plan, ShardId};
use serde_json::Value;

use crate::evaluate::Evaluator;
use crate::intake::{Created, IntakeError, Origin};
use crate::plans::{LoadedPlan, PlanError, Plans};
use crate::ports::{
    AttemptRow, ExecutionId, ExecutionMeta, ExecutionRow, ShardKey, ShardWrite, StoreError,
    TaskRunKey, Write,
};

pub use origin::Reuse;
use scope::Reused;

/// Rows copied in one write.
const PAGE: u32 = 1000;
/// Reason of a task run that was not executed again.
pub const REUSED: &str = "reused";

/// A wish to replay.
#[derive(Debug, Clone)]
pub struct ReplayRequest {
    /// The id the new execution gets.
    pub id: ExecutionId,
    /// The execution to be replayed; it must be over.
    pub of: ExecutionId,
    /// First task to be executed again.
    pub from: String,
    /// Another revision of the flow and the directory of its files; none takes the one that was executed.
    pub plan: Option<(Plan, Option<String>)>,
}

/// An execution ready to be stored and started.
#[derive(Debug, Clone)]
pub struct Replay {
    /// What is to be stored and started.
    pub created: Created,
    /// Task runs that are not executed again.
    pub reused: u32,
}

/// Why an execution cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is none with that id.
    #[error("there is no execution `{0}`")]
    Missing(ExecutionId),
    /// It may still change.
    #[error("execution {id} is {state}; only what is over can be replayed")]
    Unfinished {
        /// Of the execution.
        id: ExecutionId,
        /// What it is doing.
        state: String,
    },
    /// The flow has no such task.
    #[error("flow `{flow}` has no task `{task}`")]
    UnknownTask {
        /// Of the flow.
        flow: String,
        /// Asked for.
        task: String,
    },
    /// A loop is replayed as a whole (docs/decisions/0012-replays-and-loops.md).
    #[error(
        "task `{task}` is inside the loop `{outer}`, which is replayed as a whole: replay from `{outer}`, or retry the \
         failed iterations of execution {id} without a replay"
    )]
    InLoop {
        /// Asked for.
        task: String,
        /// The loop outside all others.
        outer: String,
        /// Of the execution.
        id: ExecutionId,
    },
    /// What handles the end of an execution follows from the execution.
    #[error(
        "task `{0}` belongs to `errors`, `finally` or `afterExecution`; replay from a task before it"
    )]
    Handler(String),
    /// The flow given instead is another one, or asks for other inputs.
    #[error("{0}; start it with `operon run`")]
    OtherFlow(String),
    /// The inputs given instead are not valid.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The plan is not there.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The state is not what this release understands.
    #[error(transparent)]
    Shard(#[from] ShardError),
}

impl Evaluator {
    /// Prepares a replay: stores what is reused, and gives the execution to be started.
    pub async fn replay(&self, request: ReplayRequest) -> Result<Replay, ReplayError> {
        self.replay_from(request, Origin::LOCAL, None).await
    }

    /// [`Self::replay`] of another origin, with other inputs if any are given.
    pub async fn replay_from(
        &self,
        request: ReplayRequest,
        origin: Origin,
        inputs: Option<BTreeMap<String, Value>>,
    ) -> Result<Replay, ReplayError> {
        let store = &*self.ports.store;
        let ReplayRequest { id, of, from, plan } = request;
        let source = store.execution(&of).await?;
        let source = source.ok_or_else(|| ReplayError::Missing(of.clone()))?;
        if source.ended_ms.is_none() {
            let state = source.state;
            return Err(ReplayError::Unfinished { id: of, state });
        }
        let old = Plans::default().get(store, &source.meta.plan_hash).await?;
        let (plan, flow_dir) = match plan {
            Some((plan, flow_dir)) => (plan, flow_dir),
            None => (old.plan.clone(), source.meta.flow_dir.clone()),
        };
        same_flow(&old.plan, &plan)?;
        let now = self.ports.clock.now_ms();
        let hash = plan.hash();
        let revision = match origin.revision {
            Some(revision) => revision,
            None => store.revision(&plan.namespace, &plan.flow, &hash).await?,
        };
        let states = self.states(&of, &old.plan).await?;
        let reused = Reused::find(&plan, &states, &from, &of)?;
        let mut meta = ExecutionMeta {
            revision,
            plan_hash: hash.clone(),
            created_ms: now,
            parent: None,
            replay_of: Some((of.clone(), from)),
            flow_dir,
            id: id.clone(),
            ..source.meta
        };
        if let Some(inputs) = inputs {
            let loaded = LoadedPlan::new(plan.clone(), hash);
            meta.inputs = self
                .resolve(&loaded, &meta, &plan.inputs, &inputs, origin)
                .await?;
        }
        let copier = Copier {
            old: &old.plan,
            new: &plan,
            reused: &reused,
            id: &id,
        };
        for (shard_id, shard) in copier.shards(Time(now)) {
            let write = ShardWrite {
                key: ShardKey {
                    execution: id.clone(),
                    shard: shard_id,
                },
                expected: 0,
                bytes: shard.encode(),
                due_ms: None,
            };
            let shards = vec![write];
            store
                .write(Write {
                    shards,
                    ..Write::default()
                })
                .await?;
        }
        let count = self.copy_attempts(&of, &copier).await?;
        let row = ExecutionRow {
            state: "CREATED".to_owned(),
            reason: None,
            started_ms: None,
            ended_ms: None,
            outputs: serde_json::Map::new(),
            labels: meta.labels.clone(),
            meta,
        };
        let created = Created {
            row,
            plan: plan.canonical_json(),
            warnings: reused.warnings(&old.plan, &plan),
        };
        Ok(Replay {
            created,
            reused: count,
        })
    }

    /// The task runs outside loops by task id.
    async fn states(
        &self,
        id: &ExecutionId,
        plan: &Plan,
    ) -> Result<BTreeMap<String, Slot>, ReplayError> {
        let mut states = BTreeMap::new();
        for (part, _) in (0_u16..).zip(plan.scopes.first().map_or(&[][..], |scope| &scope.shards)) {
            let key = ShardKey {
                execution: id.clone(),
                shard: ShardId::of_part(part),
            };
            let (Some(row), Some(layout)) = (
                self.ports.store.shard(&key).await?,
                Layout::of(plan, &key.shard),
            ) else {
                continue;
            };
            let shard = Shard::decode(&row.bytes)?;
            for (slot, state) in (0_u16..).zip(&shard.slots) {
                let node = layout.node_of(slot);
                if let Some(node) = node.and_then(|node| layout.nodes.get(usize::from(node))) {
                    states.insert(node.id.clone(), *state);
                }
            }
        }
        Ok(states)
    }

    /// Copies the attempts of what is reused; the number of task runs.
    async fn copy_attempts(
        &self,
        of: &ExecutionId,
        copier: &Copier<'_>,
    ) -> Result<u32, StoreError> {
        let store = &*self.ports.store;
        let mut after: Option<(TaskRunKey, u8)> = None;
        let mut count = 0;
        let mut last = None;
        loop {
            let page = store.attempts_page(of, after.clone(), PAGE).await?;
            let Some(end) = page.last() else {
                return Ok(count);
            };
            after = Some((end.task_run.clone(), end.attempt));
            let attempts: Vec<AttemptRow> = page
                .into_iter()
                .filter_map(|row| copier.attempt(row))
                .collect();
            for row in &attempts {
                if row.attempt > 0 && last.as_ref() != Some(&row.task_run) {
                    count += 1;
                    last = Some(row.task_run.clone());
                }
            }
            store
                .write(Write {
                    attempts,
                    ..Write::default()
                })
                .await?;
        }
    }
}

/// Only another revision of the same flow with the same inputs can take over what was executed.
fn same_flow(old: &Plan, new: &Plan) -> Result<(), ReplayError> {
    if (&old.namespace, &old.flow) != (&new.namespace, &new.flow) {
        return Err(ReplayError::OtherFlow(format!(
            "the file holds flow `{}.{}`, and the execution is one of `{}.{}`",
            new.namespace, new.flow, old.namespace, old.flow
        )));
    }
    if old.inputs != new.inputs {
        return Err(ReplayError::OtherFlow(
            "the flow declares other inputs than the revision that was executed".to_owned(),
        ));
    }
    Ok(())
}

/// Translates from the executed plan to the new one.
struct Copier<'a> {
    old: &'a Plan,
    new: &'a Plan,
    reused: &'a Reused,
    id: &'a ExecutionId,
}

impl Copier<'_> {
    /// The static shards, with what is reused in its final state.
    fn shards(&self, now: Time) -> Vec<(ShardId, Shard)> {
        let parts = self
            .new
            .scopes
            .first()
            .map_or(0, |scope| scope.shards.len());
        let parts = u16::try_from(parts).unwrap_or(u16::MAX);
        let mut shards = Vec::new();
        for part in 0..parts {
            let id = ShardId::of_part(part);
            let Some(layout) = Layout::of(self.new, &id) else {
                continue;
            };
            let mut shard = Shard::fresh(&layout, now);
            for (slot, state) in (0_u16..).zip(&mut shard.slots) {
                let node = layout.node_of(slot);
                if let Some(kept) = node.and_then(|node| self.reused.state(node)) {
                    // Due times counted from the epoch of the other execution.
                    *state = Slot { due: 0, ..kept };
                }
            }
            shards.push((id, shard));
        }
        shards
    }

    /// The row of an attempt under the new execution; none if its task run is executed again.
    fn attempt(&self, row: AttemptRow) -> Option<AttemptRow> {
        let outermost = row
            .task_run
            .shard
            .path()
            .first()
            .map_or(row.task_run.slot, |(slot, _)| *slot);
        let home = ShardId::of_part(row.task_run.shard.part());
        let layout = Layout::of(self.old, &home)?;
        let node = layout.nodes.get(usize::from(layout.node_of(outermost)?))?;
        if !self.reused.holds(&node.id) {
            return None;
        }
        let said = format!("{}{}", origin::FROM, row.execution);
        Some(AttemptRow {
            execution: self.id.clone(),
            task_run: self.translate(&row.task_run)?,
            reason: Some(REUSED.to_owned()),
            message: Some(said),
            ..row
        })
    }

    /// Where a task run of the old plan is in the new one: by ids of tasks and numbers of iterations.
    fn translate(&self, key: &TaskRunKey) -> Option<TaskRunKey> {
        let layout = Layout::of(self.old, &key.shard)?;
        let id = &layout.nodes.get(usize::from(layout.node_of(key.slot)?))?.id;
        let Some((parent, slot, _)) = key.shard.owner() else {
            let nodes = &self.new.scopes.first()?.nodes;
            let node = nodes.iter().position(|node| node.id == *id)?;
            let (part, slot) = self.new.home(u16::try_from(node).ok()?)?;
            return Some(TaskRunKey {
                shard: ShardId::of_part(part),
                slot,
            });
        };
        let outer = self.translate(&TaskRunKey {
            shard: parent,
            slot,
        })?;
        let around = Layout::of(self.new, &outer.shard)?;
        let node = around.nodes.get(usize::from(around.node_of(outer.slot)?))?;
        if !matches!(node.kind, NodeKind::Loop { .. }) {
            return None;
        }
        let inside = Layout::of(self.new, &outer.shard.of_loop(outer.slot, 0))?;
        let Place::Chunk {
            items_per_shard, ..
        } = inside.place
        else {
            return None;
        };
        let iteration = layout.iteration_of(key.slot)?;
        let place = inside.nodes.iter().position(|node| node.id == *id)?;
        let row = usize::try_from(iteration % items_per_shard).ok()?;
        let slot = u16::try_from(row * inside.nodes.len() + place).ok()?;
        Some(TaskRunKey {
            shard: outer.shard.of_loop(outer.slot, iteration / items_per_shard),
            slot,
        })
    }
}
