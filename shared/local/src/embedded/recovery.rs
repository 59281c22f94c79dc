//! What an earlier engine left unfinished, taken up from state alone.
//!
//! Invariant: all executions that are taken up are known to be in progress before any of them goes on.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use operon_core::exec::{self, Command, Event};
use operon_core::plan::Layout;
use operon_engine::planner::{Effect, Message};
use operon_engine::ports::{AttemptId, ExecutionFilter, ExecutionId, ShardKey, StateStore as _};

use operon_engine::subflow::DEPTH_MAX;

use super::{Engine, EngineError};

/// Executions looked for that were created and perhaps never told to start.
const CREATED_MAX: u32 = 1000;

impl Engine {
    /// Takes up everything that an earlier engine left unfinished; the executions concerned.
    pub async fn recover(&self) -> Result<Vec<ExecutionId>, EngineError> {
        let store = &self.inner.parts.store;
        let created = self.created().await?;
        let due = store.due(u64::MAX, u32::MAX).await?;
        let found: HashSet<ExecutionId> = due
            .iter()
            .map(|key| key.execution.clone())
            .chain(created.iter().cloned())
            .collect();
        self.take_up(&found, &created, &due).await?;
        Ok(found.into_iter().collect())
    }

    /// [`Self::recover`] for one execution and those it started; nothing else goes on.
    pub async fn recover_tree(&self, top: &ExecutionId) -> Result<Vec<ExecutionId>, EngineError> {
        let store = &self.inner.parts.store;
        let mut created = self.created().await?;
        let mut due = store.due(u64::MAX, u32::MAX).await?;
        let mut members: HashMap<ExecutionId, bool> = HashMap::new();
        members.insert(top.clone(), true);
        for id in created.iter().chain(due.iter().map(|key| &key.execution)) {
            if !members.contains_key(id) {
                members.insert(id.clone(), self.descends(id, top).await?);
            }
        }
        let member = |id: &ExecutionId| members.get(id).copied().unwrap_or(false);
        created.retain(member);
        due.retain(|key| member(&key.execution));
        let mut unfinished = HashSet::new();
        for id in members.keys().filter(|id| member(id)) {
            let row = store.execution(id).await?;
            if row.is_some_and(|row| row.ended_ms.is_none()) {
                unfinished.insert(id.clone());
            }
        }
        self.take_up(&unfinished, &created, &due).await?;
        Ok(unfinished.into_iter().collect())
    }

    /// Executions that were created, and perhaps never told to start.
    async fn created(&self) -> Result<Vec<ExecutionId>, EngineError> {
        let filter = ExecutionFilter {
            states: vec!["CREATED".to_owned()],
            limit: CREATED_MAX,
            ..ExecutionFilter::default()
        };
        let rows = self.inner.parts.store.executions(&filter).await?;
        Ok(rows.into_iter().map(|row| row.meta.id).collect())
    }

    async fn take_up(
        &self,
        unfinished: &HashSet<ExecutionId>,
        created: &[ExecutionId],
        due: &[ShardKey],
    ) -> Result<(), EngineError> {
        let inner = &self.inner;
        // All of them before any goes on: a subflow that is launched again, while others are still being
        // read, must see that its execution is not over.
        inner
            .running
            .borrow_mut()
            .extend(unfinished.iter().cloned());
        for id in created {
            // Starting twice is starting once.
            inner.send(Message::new(ShardKey::root(id), Event::Start));
        }
        for key in due {
            self.recover_shard(key).await?;
        }
        Ok(())
    }

    /// Whether an execution was started by another one, directly or not.
    async fn descends(&self, id: &ExecutionId, top: &ExecutionId) -> Result<bool, EngineError> {
        let mut id = id.clone();
        for _ in 0..=DEPTH_MAX {
            let row = self.inner.parts.store.execution(&id).await?;
            match row.and_then(|row| row.meta.parent) {
                Some((parent, ..)) if parent == *top => return Ok(true),
                Some((parent, ..)) => id = parent,
                None => return Ok(false),
            }
        }
        Ok(false)
    }

    async fn recover_shard(&self, key: &ShardKey) -> Result<(), EngineError> {
        let inner = &self.inner;
        let Some(active) = inner.planner.active(&key.execution).await? else {
            return Ok(());
        };
        let stored = inner.evaluator.shards.get(&*inner.parts.store, key).await?;
        let Some(shard) = stored.shard else {
            return Ok(());
        };
        let plan = &active.plan.plan;
        let commands = exec::commands_of(plan, &key.shard, &shard, true);
        // What became of attempts comes before what their time says: it may have passed while no engine was there, and
        // an attempt that was lost with its engine is tried again, however long ago that was.
        for command in &commands {
            if let Command::Probe { slot, attempt } = command {
                Rc::clone(inner)
                    .probe(AttemptId::of(key, *slot, *attempt))
                    .await;
            }
        }
        if let Some(layout) = Layout::of(plan, &key.shard) {
            inner
                .timers
                .borrow_mut()
                .set(key, shard.due(&layout).map(|time| time.0));
        }
        for command in commands {
            // What was sent before the crash may be lost with its answer, so it counts as delivered again.
            let command = match command {
                Command::Send { to, event } => Command::Send {
                    to,
                    event: event.redelivered(),
                },
                Command::Probe { .. } => continue,
                Command::Evaluate { .. }
                | Command::Launch { .. }
                | Command::Stop { .. }
                | Command::Acquire
                | Command::Release { .. }
                | Command::Finish { .. } => command,
            };
            inner.perform(Effect::Command(key.clone(), command));
        }
        Ok(())
    }
}
