//! Admission: which executions of a flow with `concurrency` may run.
//!
//! A lock is granted in the order of the queue. An owner whose execution is over gave it back or crashed
//! before it could; both are seen by asking for its root shard, so nothing leaks (invariant 6).

mod in_use;

pub use in_use::LockInUse;

use operon_core::exec::{Event, Lock, Reason, RootPhase, Slot, State, Time};
use operon_core::lang::model::{Concurrency, ConcurrencyBehavior};
use operon_core::plan::Plan;
use serde_json::Map;

use crate::evaluate::{EvaluateError, Evaluator, Overlay, Site};
use crate::planner::{Active, Message};
use crate::plans::LoadedPlan;
use crate::ports::{ExecutionId, ExecutionMeta, SaveOutcome, ShardKey, StoreError};
use crate::script::text_of;
use crate::templates::Tree;

/// How often a conditional write of a lock is repeated.
const CONFLICTS_MAX: usize = 50;
/// Queued executions looked at in one admission.
const QUEUE_LOOK: u32 = 100;

impl Evaluator {
    /// The name of the lock an execution takes.
    pub async fn lock_name(
        &self,
        plan: &LoadedPlan,
        meta: &ExecutionMeta,
        concurrency: &Concurrency,
    ) -> Result<String, EvaluateError> {
        let Some(key) = &concurrency.key else {
            return Ok(format!("{}/{}", meta.namespace, meta.flow));
        };
        let tree = Tree::parse(&serde_json::Value::String(key.clone()))?;
        let site = Site::flow(plan, meta);
        // As the execution was created with: who takes a lock and who gives it back must name the same one.
        let labels = serde_json::json!(meta.labels);
        let extra = Map::from_iter([("labels".to_owned(), labels)]);
        let rendered = self
            .render(site, &tree, &extra, &Overlay::default())
            .await?;
        let name = text_of(&rendered.value);
        if name.is_empty() || name.len() > 512 || !rendered.secrets.is_empty() {
            return Err(EvaluateError::Expression(
                "`concurrency.key` must give 1 to 512 bytes of text and use no secret".to_owned(),
            ));
        }
        Ok(match name.strip_prefix("shared:") {
            Some(shared) => format!("{}/shared:{shared}", meta.namespace),
            None => format!("{}/{}:{name}", meta.namespace, meta.flow),
        })
    }

    /// Carries out `Acquire`: queues the execution and admits whoever is next.
    pub async fn acquire(&self, active: &Active) -> Result<Vec<Message>, EvaluateError> {
        let Some(concurrency) = &active.plan.plan.concurrency else {
            return Ok(Vec::new());
        };
        let meta = &active.meta;
        let name = self.lock_name(&active.plan, meta, concurrency).await?;
        self.ports
            .store
            .set_queued(&name, &meta.id, meta.priority, true)
            .await?;
        let mut messages = self.admit(&name, concurrency.limit).await?;
        let admitted = messages
            .iter()
            .any(|message| message.key.execution == meta.id);
        if !admitted && self.take_over(&name, &meta.id).await? {
            // Granted before, and the message was lost, or restarted in its quarantine: whoever is ahead in the queue cannot be served, so
            // the queue would never come to it.
            self.ports
                .store
                .set_queued(&name, &meta.id, meta.priority, false)
                .await?;
            messages.push(Message::new(ShardKey::root(&meta.id), Event::Admitted));
            return Ok(messages);
        }
        let state = match concurrency.behavior {
            ConcurrencyBehavior::Cancel if !admitted => State::Cancelled,
            ConcurrencyBehavior::Fail if !admitted => State::Failed,
            ConcurrencyBehavior::Queue
            | ConcurrencyBehavior::Cancel
            | ConcurrencyBehavior::Fail => return Ok(messages),
        };
        self.ports
            .store
            .set_queued(&name, &meta.id, meta.priority, false)
            .await?;
        Ok(messages
            .into_iter()
            .chain([Message::new(
                ShardKey::root(&meta.id),
                Event::Refused { state },
            )])
            .collect())
    }

    /// Whether the execution holds a slot already; see [`Lock::take_over`].
    async fn take_over(&self, name: &str, id: &ExecutionId) -> Result<bool, StoreError> {
        for _ in 0..CONFLICTS_MAX {
            let (version, mut lock) = self.load_lock(name).await?;
            let before = lock.clone();
            if !lock.take_over(id.as_str()) {
                return Ok(false);
            }
            if lock == before || self.save_lock(name, version, &lock).await? {
                return Ok(true);
            }
        }
        Err(StoreError::Busy(format!(
            "lock `{name}` is written by others all the time"
        )))
    }

    /// Carries out `Release` and admits whoever is next.
    pub async fn release(
        &self,
        active: &Active,
        quarantine: Option<Time>,
    ) -> Result<Vec<Message>, EvaluateError> {
        let Some(concurrency) = &active.plan.plan.concurrency else {
            return Ok(Vec::new());
        };
        let stored = self
            .shards
            .get(&*self.ports.store, &ShardKey::root(&active.meta.id))
            .await?;
        let over = |phase| matches!(phase, RootPhase::Ended | RootPhase::Over);
        if stored.shard.is_some_and(|shard| !over(shard.phase)) {
            // A late command of the round before: the execution was restarted and needs its slot.
            return Ok(Vec::new());
        }
        let name = self
            .lock_name(&active.plan, &active.meta, concurrency)
            .await?;
        self.ports
            .store
            .set_queued(&name, &active.meta.id, 0, false)
            .await?;
        for _ in 0..CONFLICTS_MAX {
            let (version, mut lock) = self.load_lock(&name).await?;
            let before = lock.clone();
            lock.release(active.meta.id.as_str(), quarantine);
            if lock == before || self.save_lock(&name, version, &lock).await? {
                return Ok(self.admit(&name, concurrency.limit).await?);
            }
        }
        Err(StoreError::Busy(format!("lock `{name}` is written by others all the time")).into())
    }

    /// A quarantine may be over: frees its slot and grants it to whoever is next, with the limit of that
    /// execution's flow.
    pub async fn admit_next(
        &self,
        name: &str,
        limit_of: impl AsyncFn(&ExecutionId) -> Option<u32>,
    ) -> Result<Vec<Message>, StoreError> {
        let next = self.ports.store.queued(name, 1).await?;
        let limit = match next.first() {
            Some(id) => limit_of(id).await.unwrap_or(0),
            None => 0,
        };
        self.admit(name, limit).await
    }

    /// Grants free slots in the order of the queue.
    pub async fn admit(&self, name: &str, limit: u32) -> Result<Vec<Message>, StoreError> {
        let now = Time(self.ports.clock.now_ms());
        for _ in 0..CONFLICTS_MAX {
            let (version, mut lock) = self.load_lock(name).await?;
            let before = lock.clone();
            lock.expire(now);
            self.drop_finished(&mut lock).await?;
            // Also when nobody queues: a quarantine that is over must not be due for ever.
            lock.expire(now);
            let mut granted = Vec::new();
            for execution in self.ports.store.queued(name, QUEUE_LOOK).await? {
                if self.has_ended(&execution).await? {
                    // It was killed while it waited; a slot would only go to waste.
                    self.ports
                        .store
                        .set_queued(name, &execution, 0, false)
                        .await?;
                    continue;
                }
                if !lock.acquire(execution.as_str(), limit, now) {
                    break;
                }
                granted.push(execution);
            }
            if lock != before && !self.save_lock(name, version, &lock).await? {
                continue;
            }
            // Only now: a crash before this leaves the execution queued and owning, and the next admission
            // grants it again.
            for execution in &granted {
                self.ports
                    .store
                    .set_queued(name, execution, 0, false)
                    .await?;
            }
            return Ok(granted
                .iter()
                .map(|execution| Message::new(ShardKey::root(execution), Event::Admitted))
                .collect());
        }
        Err(StoreError::Busy(format!(
            "lock `{name}` is written by others all the time"
        )))
    }

    /// Whether an execution needs no slot any more.
    async fn has_ended(&self, id: &ExecutionId) -> Result<bool, StoreError> {
        let stored = self
            .shards
            .get(&*self.ports.store, &ShardKey::root(id))
            .await?;
        Ok(stored
            .shard
            .is_some_and(|shard| matches!(shard.phase, RootPhase::Ended | RootPhase::Over)))
    }

    /// Frees the slots of executions that are over.
    async fn drop_finished(&self, lock: &mut Lock) -> Result<(), StoreError> {
        let held: Vec<String> = lock
            .owners()
            .iter()
            .filter(|owner| owner.quarantined_until.is_none())
            .map(|owner| owner.execution.clone())
            .collect();
        for owner in held {
            match owner.parse::<ExecutionId>() {
                Err(_) => lock.release(&owner, None),
                Ok(id) => {
                    let stored = self
                        .shards
                        .get(&*self.ports.store, &ShardKey::root(&id))
                        .await?;
                    // An owner without a root shard has only just been created.
                    let Some(shard) = stored.shard else { continue };
                    if shard.phase == RootPhase::Over {
                        let unknown =
                            shard.slots.first().map(Slot::reason) == Some(Reason::OutcomeUnknown);
                        let until = if unknown {
                            self.quarantine_until(&id).await?
                        } else {
                            None
                        };
                        lock.release(&owner, until);
                    }
                }
            }
        }
        Ok(())
    }

    /// Until when an execution that ended with an unknown outcome keeps its slot.
    async fn quarantine_until(&self, id: &ExecutionId) -> Result<Option<Time>, StoreError> {
        let store = &*self.ports.store;
        let Some(row) = store.execution(id).await? else {
            return Ok(None);
        };
        let Some(bytes) = store.plan(&row.meta.plan_hash).await? else {
            return Ok(None);
        };
        let plan: Plan = serde_json::from_slice(&bytes)
            .map_err(|error| StoreError::Corrupt(format!("plan of {id}: {error}")))?;
        let ended = Time(row.ended_ms.unwrap_or(row.meta.created_ms));
        Ok(Some(ended.plus(plan.longest_quarantine_ms())))
    }

    async fn load_lock(&self, name: &str) -> Result<(u64, Lock), StoreError> {
        match self.ports.store.lock(name).await? {
            None => Ok((0, Lock::default())),
            Some(row) => {
                let lock = serde_json::from_slice(&row.bytes)
                    .map_err(|error| StoreError::Corrupt(format!("lock `{name}`: {error}")))?;
                Ok((row.version, lock))
            }
        }
    }

    async fn save_lock(&self, name: &str, version: u64, lock: &Lock) -> Result<bool, StoreError> {
        let bytes = serde_json::to_vec(lock)
            .map_err(|error| StoreError::Corrupt(format!("lock `{name}`: {error}")))?;
        let due = lock.due().map(|time| time.0);
        let outcome = self
            .ports
            .store
            .save_lock(name, version, &bytes, due)
            .await?;
        Ok(matches!(outcome, SaveOutcome::Saved(_)))
    }
}
