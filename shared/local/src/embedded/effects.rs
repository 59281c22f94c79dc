//! Effects of a turn: what is done after it is written.

use std::rc::Rc;
use std::sync::PoisonError;

use operon_core::exec::{Command, Event, RootPhase, Shard, Time};
use operon_core::plan::NodeKind;
use operon_engine::evaluate::EvaluateError;
use operon_engine::planner::{Active, Effect, Message};
use operon_engine::ports::{AttemptId, ExecutionId, ExecutionRow, ShardKey, StoreError};
use operon_engine::shards::Versioned;
use tracing::{error, warn};

use super::{Inner, STORE_PAUSE};

impl Inner {
    /// Sets an effect going; never waits.
    pub(super) fn perform(self: &Rc<Self>, effect: Effect) {
        match effect {
            Effect::Due(key, due, _) => self.timers.borrow_mut().set(&key, due),
            Effect::TaskRun(row) => self.parts.observer.task_run(&row),
            Effect::Execution(row) => self.parts.observer.execution(&row),
            Effect::Command(key, command) => self.command(key, command),
        }
    }

    fn command(self: &Rc<Self>, key: ShardKey, command: Command) {
        match command {
            // The planner has evaluated what the turn called for; what recovery finds is asked again.
            Command::Evaluate { .. } => self.send(Message::new(key, Event::Tick)),
            Command::Send { to, event } => {
                let key = ShardKey {
                    execution: key.execution,
                    shard: to,
                };
                self.queue.borrow_mut().push_back(Message::new(key, event));
            }
            Command::Launch { slot, attempt } => {
                let id = AttemptId::of(&key, slot, attempt);
                // Sent twice while it is under way is sent once.
                if !self.attempts.borrow().contains_key(&id) {
                    self.attempts.borrow_mut().insert(id.clone(), None);
                    let inner = Rc::clone(self);
                    tokio::task::spawn_local(async move { inner.launch(id).await });
                }
            }
            Command::Stop { slot, attempt } => {
                let id = AttemptId::of(&key, slot, attempt);
                let inner = Rc::clone(self);
                tokio::task::spawn_local(async move { inner.stop(id).await });
            }
            Command::Probe { slot, attempt } => {
                let id = AttemptId::of(&key, slot, attempt);
                let inner = Rc::clone(self);
                tokio::task::spawn_local(async move { inner.probe(id).await });
            }
            Command::Acquire => {
                let inner = Rc::clone(self);
                tokio::task::spawn_local(async move { inner.acquire(key.execution).await });
            }
            Command::Release { quarantine_until } => {
                let inner = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    inner.release(key.execution, quarantine_until).await;
                });
            }
            Command::Finish { .. } => {
                let inner = Rc::clone(self);
                tokio::task::spawn_local(async move { inner.finish(key.execution).await });
            }
        }
    }

    async fn acquire(self: Rc<Self>, id: ExecutionId) {
        let messages = loop {
            let Ok(Some(active)) = self.planner.active(&id).await else {
                return;
            };
            match self.evaluator.acquire(&active).await {
                Ok(messages) => break messages,
                Err(EvaluateError::Store(reason)) => {
                    warn!(%reason, execution_id = %id, "the lock cannot be taken yet");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
                Err(EvaluateError::Expression(message)) => {
                    error!(%message, execution_id = %id, "the lock has no name");
                    let state = operon_core::exec::State::Failed;
                    break vec![Message::new(ShardKey::root(&id), Event::Refused { state })];
                }
            }
        };
        for message in messages {
            self.send(message);
        }
    }

    async fn release(self: Rc<Self>, id: ExecutionId, quarantine: Option<Time>) {
        loop {
            let Ok(Some(active)) = self.planner.active(&id).await else {
                return;
            };
            match self.evaluator.release(&active, quarantine).await {
                Ok(messages) => {
                    return messages.into_iter().for_each(|message| self.send(message));
                }
                Err(EvaluateError::Store(reason)) => {
                    warn!(%reason, execution_id = %id, "the lock cannot be given back yet");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
                Err(EvaluateError::Expression(message)) => {
                    return error!(%message, execution_id = %id, "the lock has no name");
                }
            }
        }
    }

    /// The execution is over: outputs, whoever waits, memory.
    async fn finish(self: Rc<Self>, id: ExecutionId) {
        let (row, root) = loop {
            let Ok(Some(active)) = self.planner.active(&id).await else {
                return;
            };
            match self.finished(&active).await {
                Ok(finished) => break finished,
                Err(reason) => {
                    warn!(%reason, execution_id = %id, "the outputs cannot be stored yet");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        };
        let over = |shard: &Shard| shard.phase == RootPhase::Over;
        if root.shard.as_deref().is_some_and(over) {
            if !self.keeps_directories(&id, &row).await {
                self.parts.runner.forget(&id).await;
            }
            let next = self.try_again(&id, root.version).await;
            self.over(&next.unwrap_or(row));
        }
    }

    /// Whether a restart may need what the children of a `WorkingDirectory` left: it goes on where they stopped.
    async fn keeps_directories(&self, id: &ExecutionId, row: &ExecutionRow) -> bool {
        if !matches!(row.state.as_str(), "FAILED" | "KILLED") {
            return false;
        }
        let Ok(Some(active)) = self.planner.active(id).await else {
            return false;
        };
        let mut nodes = active
            .plan
            .plan
            .scopes
            .iter()
            .flat_map(|scope| &scope.nodes);
        nodes.any(|node| {
            matches!(
                node.kind,
                NodeKind::Group {
                    working_directory: true,
                    ..
                }
            )
        })
    }

    /// Stores the outputs; the row with them, and the root shard.
    async fn finished(&self, active: &Active) -> Result<(ExecutionRow, Versioned), StoreError> {
        let key = ShardKey::root(&active.meta.id);
        let root = self.evaluator.shards.get(&*self.parts.store, &key).await?;
        let row = self.evaluator.finish(active, root.version).await?;
        let mut known = active.row.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone_from(&row);
        drop(known);
        Ok((row, root))
    }

    /// Starts the execution that follows a failed one, if its flow asks for it; the failed one's new row.
    /// `read` is the version of its root shard.
    async fn try_again(self: &Rc<Self>, id: &ExecutionId, read: u64) -> Option<ExecutionRow> {
        let active = self.planner.active(id).await.ok().flatten()?;
        let (next, wait) = match self.evaluator.next_execution(&active, read).await {
            Ok(next) => next?,
            Err(reason) => {
                warn!(%reason, execution_id = %id, "the next execution cannot be created");
                return None;
            }
        };
        let next_id = next.meta.id.clone();
        self.running.borrow_mut().insert(next_id.clone());
        self.parts.observer.execution(&next);
        let inner = Rc::clone(self);
        // A crash meanwhile starts it at once: it is stored as created.
        tokio::task::spawn_local(async move {
            tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
            inner.send(Message::new(ShardKey::root(&next_id), Event::Start));
        });
        Some(active.row())
    }

    fn over(&self, row: &ExecutionRow) {
        let id = &row.meta.id;
        if !self.running.borrow_mut().remove(id) {
            return;
        }
        self.wake.notify_one();
        self.parts.observer.execution(row);
        self.planner.retire(id);
        for waiter in self.waiters.borrow_mut().remove(id).unwrap_or_default() {
            // Who waited may have been stopped.
            let _ = waiter.send(row.clone());
        }
    }
}
