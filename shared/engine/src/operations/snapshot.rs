//! The state of an execution, as far as wishes depend on it, and the events a wish becomes.

use operon_core::exec::{Event, Reason, RootPhase, Shard, State, Time, failed_items};
use operon_core::lang::model::Input;
use operon_core::plan::{Layout, NodeKind, Plan, ShardId};

use super::OperationError;
use crate::plans::PlanError;
use crate::ports::{ExecutionRow, ShardKey, StateStore, StoreError, TaskRunKey};

/// What is sent to which shards.
pub type Wishes = Vec<(ShardKey, Event)>;

/// An execution with its shards.
pub struct Snapshot {
    /// Its row.
    pub row: ExecutionRow,
    /// Its plan.
    pub plan: Plan,
    root: Shard,
    shards: Vec<(ShardId, Shard)>,
}

/// A pause that waits for a person.
#[derive(Debug, Clone, PartialEq)]
pub struct PausedTask {
    /// Where it is.
    pub task_run: TaskRunKey,
    /// Of the task in the flow.
    pub task: String,
    /// For people: `approve[3]`.
    pub name: String,
    /// What it asks for.
    pub inputs: Vec<Input>,
    /// The round it belongs to: a restart asks again.
    pub round: u8,
}

impl Snapshot {
    /// Reads the shards of an execution.
    pub async fn read(store: &dyn StateStore, row: ExecutionRow) -> Result<Self, OperationError> {
        let hash = &row.meta.plan_hash;
        let bytes = store.plan(hash).await?;
        let bytes = bytes.ok_or_else(|| PlanError::Missing(hash.clone()))?;
        let plan: Plan = serde_json::from_slice(&bytes).map_err(|error| PlanError::Damaged {
            hash: hash.clone(),
            what: error.to_string(),
        })?;
        let mut shards = Vec::new();
        for (id, stored) in store.shards(&row.meta.id).await? {
            shards.push((id, Shard::decode(&stored.bytes)?));
        }
        let stored = shards.iter().find(|(id, _)| *id == ShardId::ROOT);
        let root = stored.map(|(_, shard)| shard.clone()).or_else(|| {
            let layout = Layout::of(&plan, &ShardId::ROOT)?;
            Some(Shard::fresh(&layout, Time(0)))
        });
        let root =
            root.ok_or_else(|| StoreError::Corrupt("a plan has no root shard".to_owned()))?;
        Ok(Self {
            row,
            plan,
            root,
            shards,
        })
    }

    fn to_root(&self, event: Event) -> Wishes {
        vec![(ShardKey::root(&self.row.meta.id), event)]
    }

    /// Kills what runs.
    pub fn kill(&self) -> Result<Wishes, OperationError> {
        if self.row.ended_ms.is_some() {
            return Err(OperationError::refused(format!(
                "execution {} is over: it ended {}",
                self.row.meta.id, self.row.state
            )));
        }
        Ok(self.to_root(Event::Kill {
            reason: Reason::Kill,
            round: Some(self.root.round),
        }))
    }

    /// Begins a new round with what has not succeeded.
    pub fn restart(&self) -> Result<Wishes, OperationError> {
        let id = &self.row.meta.id;
        self.check_over("restarted")?;
        if self.row.state == "SUCCESS" {
            return Err(OperationError::refused(format!(
                "execution {id} succeeded: there is nothing to restart"
            ))
            .with_help(format!(
                "`operon executions replay {id} --from TASK` runs it again"
            )));
        }
        Ok(self.to_root(Event::Restart {
            round: self.next_round()?,
            tolerated: false,
        }))
    }

    /// Begins a new round with the iterations that have not succeeded, and with what follows them.
    pub fn retry_failed(&self) -> Result<Wishes, OperationError> {
        let id = &self.row.meta.id;
        self.check_over("retried")?;
        let failed = self.failed_items();
        let passed = matches!(self.row.state.as_str(), "SUCCESS" | "WARNING");
        if failed > 0 && passed && !self.plan.is_one_shard() {
            return Err(OperationError::refused(format!(
                "execution {id} ended {}, and its flow is too large to begin again with items that it tolerated",
                self.row.state
            ))
            .with_help(format!(
                "`operon executions replay {id} --from LOOP` runs the loop again, and what follows it"
            )));
        }
        if failed == 0 {
            return Err(
                OperationError::refused(format!("execution {id} has no failed items")).with_help(
                    format!(
                        "`operon executions restart {id}` begins again with other failed tasks"
                    ),
                ),
            );
        }
        Ok(self.to_root(Event::Restart {
            round: self.next_round()?,
            tolerated: true,
        }))
    }

    /// Iterations of loops in which something failed or was killed, also if the flow tolerates it.
    #[must_use]
    pub fn failed_items(&self) -> usize {
        let chunks = self.shards.iter();
        chunks
            .filter_map(|(id, shard)| Some(failed_items(&Layout::of(&self.plan, id)?, shard)))
            .sum()
    }

    fn check_over(&self, done: &str) -> Result<(), OperationError> {
        let over = self.root.phase == RootPhase::Over;
        if self.row.ended_ms.is_some() && over {
            return Ok(());
        }
        Err(OperationError::refused(format!(
            "execution {} is {}; only what is over can be {done}",
            self.row.meta.id, self.row.state
        ))
        .with_help("wait for its end, or kill it"))
    }

    fn next_round(&self) -> Result<u8, OperationError> {
        self.root.round.checked_add(1).ok_or_else(|| {
            OperationError::refused(format!(
                "execution {} was restarted 255 times already",
                self.row.meta.id
            ))
            .with_help("replay it instead")
        })
    }

    /// The pauses that wait for a person: all of them, or the one asked for.
    pub fn pauses(&self, wanted: Option<&TaskRunKey>) -> Result<Vec<PausedTask>, OperationError> {
        let mut found = Vec::new();
        for (shard_id, shard) in &self.shards {
            let Some(layout) = Layout::of(&self.plan, shard_id) else {
                continue;
            };
            for (slot, state) in (0_u16..).zip(&shard.slots) {
                let task_run = TaskRunKey {
                    shard: shard_id.clone(),
                    slot,
                };
                if state.state != State::Paused || wanted.is_some_and(|key| *key != task_run) {
                    continue;
                }
                let node = layout.node_of(slot);
                let node = node.and_then(|node| layout.nodes.get(usize::from(node)));
                let Some((node, NodeKind::Pause { on_resume, .. })) =
                    node.map(|node| (node, &node.kind))
                else {
                    continue;
                };
                let name = self.plan.task_run_name(shard_id, slot);
                found.push(PausedTask {
                    task: node.id.clone(),
                    name: name.unwrap_or_else(|| node.id.clone()),
                    inputs: on_resume.clone(),
                    round: shard.round,
                    task_run,
                });
            }
        }
        if found.is_empty() {
            let (id, state) = (&self.row.meta.id, &self.row.state);
            return Err(OperationError::refused(match wanted {
                None => format!("execution {id} is {state} and waits in no pause"),
                Some(key) => format!(
                    "task run {}:{} of execution {id} is no pause that waits for a person",
                    key.shard, key.slot
                ),
            }));
        }
        Ok(found)
    }

    /// Answers pauses.
    #[must_use]
    pub fn resume(&self, pauses: &[PausedTask], go_on: bool) -> Wishes {
        let answer = |pause: &PausedTask| {
            let key = ShardKey {
                execution: self.row.meta.id.clone(),
                shard: pause.task_run.shard.clone(),
            };
            let slot = pause.task_run.slot;
            (key, Event::Resume { slot, go_on })
        };
        pauses.iter().map(answer).collect()
    }

    /// The shards, for counting states.
    #[must_use]
    pub fn shards(&self) -> &[(ShardId, Shard)] {
        &self.shards
    }
}
