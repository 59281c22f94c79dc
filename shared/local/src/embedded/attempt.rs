//! Attempts: launched, stopped, probed.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use operon_core::exec::{Event, Outcome, Reason, State, Truth};
use operon_core::expr::Masker;
use operon_core::plan::NodeKind;
use operon_engine::evaluate::{EvaluateError, Site};
use operon_engine::launch::{Call, Launch, Prepared, output_prefix};
use operon_engine::planner::{Active, Message};
use operon_engine::ports::{
    AttemptId, AttemptResult, AttemptRow, RunnerError, ShardKey, StateStore as _, Write,
};
use operon_engine::reports::{cached, ended, failed};
use operon_engine::rows;
use operon_engine::tasks::{self, TaskCall, TaskError, TaskOutput};
use serde_json::Map;
use tracing::warn;

use super::{Inner, STORE_PAUSE};
use crate::store::Claim;

/// How long an attempt runs before the store is told that it does.
const SHOWN_AFTER: Duration = Duration::from_millis(100);

impl Inner {
    /// Executes an attempt to its end and reports it, if the state still wants it.
    pub(super) async fn launch(self: Rc<Self>, id: AttemptId) {
        let message = self.attempt(&id).await;
        self.attempts.borrow_mut().remove(&id);
        if let Some(message) = message {
            self.send(message);
        }
    }

    async fn attempt(self: &Rc<Self>, id: &AttemptId) -> Option<Message> {
        let key = ShardKey {
            execution: id.execution.clone(),
            shard: id.task_run.shard.clone(),
        };
        let active = loop {
            match self.planner.active(&id.execution).await {
                Ok(active) => break active?,
                Err(reason) => {
                    warn!(%reason, attempt = %id, "the attempt waits for its execution");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        };
        let site = Site::of_attempt(&active, id);
        let launch = loop {
            if !self.wanted(id, &key).await {
                return None;
            }
            match self.evaluator.prepare(site).await {
                Ok(launch) => break launch,
                Err(EvaluateError::Store(reason)) => {
                    warn!(%reason, attempt = %id, "the attempt waits for the store");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
                Err(EvaluateError::Expression(message)) => {
                    let row = rows::blank(site, id.attempt)?;
                    let now = self.parts.ports.clock.now_ms();
                    let row = AttemptRow {
                        created_ms: now,
                        item: self.evaluator.item(site).await.unwrap_or_default(),
                        ..row
                    };
                    let result = failed(now, now, Reason::Expression, message);
                    return Some(self.report(id, row, result, &[], now).await);
                }
            }
        };
        self.execute(&active, site, launch).await
    }

    /// The fence: whether the state still wants this attempt launched.
    async fn wanted(&self, id: &AttemptId, key: &ShardKey) -> bool {
        let Ok(stored) = self.evaluator.shards.get(&*self.parts.store, key).await else {
            return true; // Asked again before anything starts.
        };
        let slot = usize::from(id.task_run.slot);
        stored
            .shard
            .as_ref()
            .and_then(|shard| shard.slots.get(slot))
            .is_some_and(|slot| slot.state == State::Launching && slot.attempt == id.attempt)
    }

    async fn execute(
        self: &Rc<Self>,
        active: &Arc<Active>,
        site: Site<'_>,
        launch: Launch,
    ) -> Option<Message> {
        let Launch {
            id,
            prepared,
            cache,
            row,
            secrets,
        } = launch;
        let created = row.created_ms;
        if let Some(cache) = &cache
            && let Ok(Some(outputs)) = self.evaluator.reusable(cache, created).await
        {
            let result = cached(created, outputs);
            return Some(self.report(&id, row, result, &[], created).await);
        }
        let result = match prepared {
            Prepared::Process(spec) => {
                let row = AttemptRow {
                    state: "RUNNING".to_owned(),
                    started_ms: Some(created),
                    ..row.clone()
                };
                self.show(&id, row);
                match self.parts.runner.run(*spec).await {
                    Ok(result) => result,
                    Err(RunnerError::AlreadyLaunched) => {
                        self.launched_before(&id).await;
                        return None;
                    }
                    Err(RunnerError::Stopped) => return None,
                    Err(error @ (RunnerError::Unavailable(_) | RunnerError::Failed(_))) => {
                        let now = self.parts.ports.clock.now_ms();
                        failed(created, now, Reason::Launch, error.to_string())
                    }
                }
            }
            Prepared::BuiltIn(call) => self.built_in(active, site, &id, call).await?,
            Prepared::Subflow(call) => {
                self.show(
                    &id,
                    AttemptRow {
                        state: "RUNNING".to_owned(),
                        started_ms: Some(created),
                        ..row.clone()
                    },
                );
                self.subflow(active, &id, call).await?
            }
        };
        let message = self.report(&id, row, result, &secrets, created).await;
        if let Some(row) = &message.row {
            self.evaluator.keep(row, cache.as_ref()).await;
        }
        Some(message)
    }

    /// Shows that an attempt runs: at once to the observer, and in the store when it lasts. For people:
    /// nothing depends on it, and a thousand short attempts need not cost a thousand writes.
    fn show(self: &Rc<Self>, id: &AttemptId, row: AttemptRow) {
        self.parts.observer.task_run(&row);
        let (inner, id) = (Rc::clone(self), id.clone());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(SHOWN_AFTER).await;
            // An attempt leaves the table before its end is sent, so its last row is written after this.
            if !inner.attempts.borrow().contains_key(&id) {
                return;
            }
            let write = Write {
                attempts: vec![row],
                ..Write::default()
            };
            if let Err(reason) = inner.parts.store.write(write).await {
                warn!(%reason, "a running attempt is not shown");
            }
        });
    }

    async fn report(
        &self,
        id: &AttemptId,
        row: AttemptRow,
        result: AttemptResult,
        secrets: &[String],
        created: u64,
    ) -> Message {
        let age_ms = match id.attempt {
            0 | 1 => result.ended_ms.saturating_sub(created),
            _ => {
                let first = self.parts.store.attempts(&id.execution, &id.task_run).await;
                let first = first
                    .ok()
                    .and_then(|rows| rows.first().map(|row| row.created_ms));
                result.ended_ms.saturating_sub(first.unwrap_or(created))
            }
        };
        let (row, outcome) = self.evaluator.report(row, result, secrets).await;
        let key = ShardKey {
            execution: id.execution.clone(),
            shard: id.task_run.shard.clone(),
        };
        let (slot, attempt) = (id.task_run.slot, id.attempt);
        let mut message = Message::new(
            key,
            Event::Done {
                slot,
                attempt,
                outcome,
                age_ms,
            },
        );
        message.row = Some(Box::new(row));
        message
    }

    /// Executes a built-in task; none if it was stopped or launched before.
    async fn built_in(
        self: &Rc<Self>,
        active: &Arc<Active>,
        site: Site<'_>,
        id: &AttemptId,
        call: Call,
    ) -> Option<AttemptResult> {
        if !idempotent(site) && !self.claim(id).await {
            self.launched_before(id).await;
            return None;
        }
        let started = self.parts.ports.clock.now_ms();
        let inner = Rc::clone(self);
        let (task_id, owner) = (id.clone(), Arc::clone(active));
        let handle = tokio::task::spawn_local(async move {
            let masker = Masker::new(&call.secrets);
            let task_call = TaskCall {
                task_type: &call.task_type,
                props: call.props,
                id: &task_id,
                meta: &owner.meta,
                ports: &inner.parts.ports,
                http: &inner.parts.http,
                artifact_prefix: output_prefix(&task_id),
                masker: &masker,
                lines: AtomicU64::new(0),
            };
            run_call(task_call, call.timeout).await
        });
        self.attempts
            .borrow_mut()
            .insert(id.clone(), Some(handle.abort_handle()));
        let output = match handle.await {
            Ok(output) => output,
            Err(error) if error.is_cancelled() => return None,
            Err(error) => Err(TaskError::failed(format!("the task panicked: {error}"))),
        };
        let now = self.parts.ports.clock.now_ms();
        Some(match output {
            Ok(output) => {
                self.take_effects(active, &output).await;
                let outcome = if output.warning {
                    Outcome::Warning
                } else {
                    Outcome::Success
                };
                AttemptResult {
                    outputs: output.outputs,
                    metrics: output.metrics,
                    ..ended(started, now, outcome)
                }
            }
            Err(error) => AttemptResult {
                outputs: error.outputs,
                ..failed(started, now, error.reason, error.message)
            },
        })
    }

    /// What a built-in task does to its execution: labels, and an early end.
    async fn take_effects(&self, active: &Active, output: &TaskOutput) {
        if !output.labels.is_empty() {
            let row = {
                let mut row = active
                    .row
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                row.labels.extend(output.labels.clone());
                row.clone()
            };
            self.parts.observer.execution(&row);
            let labels = output.given_labels();
            if let Err(reason) = self.parts.store.set_labels(&row.meta.id, &labels).await {
                warn!(%reason, execution_id = %active.meta.id, "labels could not be stored");
            }
        }
        if let Some(state) = output.exit {
            self.send(Message::new(
                ShardKey::root(&active.meta.id),
                Event::Exit { state, round: None },
            ));
        }
    }

    /// The attempt was launched before. If that was by an engine of the past nobody reports it, and whoever
    /// asked for it meanwhile took it for alive, because it was on its way here: so it is asked for again.
    async fn launched_before(self: &Rc<Self>, id: &AttemptId) {
        self.attempts.borrow_mut().remove(id);
        Rc::clone(self).probe(id.clone()).await;
    }

    /// Takes the claim of an attempt that must not be launched twice.
    async fn claim(&self, id: &AttemptId) -> bool {
        loop {
            match self.parts.store.claim(id, None).await {
                Ok(Claim::New) => return true,
                Ok(Claim::Launched(_) | Claim::Stopped) => return false,
                Err(reason) => {
                    warn!(%reason, attempt = %id, "the attempt waits for its claim");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    /// Stops an attempt with everything it started, and reports that nothing of it is alive.
    pub(super) async fn stop(self: Rc<Self>, id: AttemptId) {
        let Ok(Some(active)) = self.planner.active(&id.execution).await else {
            return;
        };
        let site = Site::of_attempt(&active, &id);
        let Some(task) = site.task() else {
            return;
        };
        if operon_engine::script::is_process(&task.task_type) {
            if let Err(reason) = self.parts.runner.stop(&id).await {
                // The probe of the shard asks again.
                return warn!(%reason, attempt = %id, "the attempt could not be stopped");
            }
        } else {
            if operon_engine::script::is_subflow(&task.task_type) {
                self.stop_subflow(&id).await;
            }
            let handle = self.attempts.borrow_mut().remove(&id).flatten();
            if let Some(handle) = handle {
                handle.abort();
            }
        }
        self.parts.ports.logs.end(&id);
        let (slot, attempt) = (id.task_run.slot, id.attempt);
        let key = ShardKey {
            execution: id.execution,
            shard: id.task_run.shard,
        };
        self.send(Message::new(key, Event::Stopped { slot, attempt }));
    }

    /// Asks what is known of an attempt, and tells its shard.
    pub(super) async fn probe(self: Rc<Self>, id: AttemptId) {
        let Ok(Some(active)) = self.planner.active(&id.execution).await else {
            return;
        };
        let site = Site::of_attempt(&active, &id);
        let Some(task) = site.task() else {
            return;
        };
        let executing = self.attempts.borrow().contains_key(&id);
        let truth = if operon_engine::script::is_process(&task.task_type) {
            match self.parts.runner.probe(&id).await {
                Ok(truth) => truth,
                Err(reason) => {
                    return warn!(%reason, attempt = %id, "the attempt could not be probed");
                }
            }
        } else if executing {
            Truth::Alive
        } else if task.idempotent {
            // Built-in tasks die with their engine; this one may be launched again under its name.
            Truth::Absent
        } else {
            match self.parts.store.lookup_claim(&id).await {
                Ok(None | Some(Claim::New)) => Truth::Absent,
                Ok(Some(Claim::Launched(_) | Claim::Stopped)) => Truth::Gone,
                Err(reason) => {
                    return warn!(%reason, attempt = %id, "the attempt could not be probed");
                }
            }
        };
        let (slot, attempt) = (id.task_run.slot, id.attempt);
        let key = ShardKey {
            execution: id.execution,
            shard: id.task_run.shard,
        };
        // What is alive is no news, and would be written for nothing.
        if truth != Truth::Alive {
            self.send(Message::new(
                key,
                Event::Probed {
                    slot,
                    attempt,
                    truth,
                },
            ));
        }
    }
}

fn idempotent(site: Site<'_>) -> bool {
    let Some((_, _, node)) = site.node() else {
        return true;
    };
    if let NodeKind::Task(task) = &node.kind {
        task.idempotent
    } else {
        true
    }
}

async fn run_call(call: TaskCall<'_>, timeout: Duration) -> Result<TaskOutput, TaskError> {
    let id = call.id;
    let logs = Arc::clone(&call.ports.logs);
    let result = match tokio::time::timeout(timeout, tasks::run(call)).await {
        Ok(result) => result,
        Err(_) => Err(TaskError {
            reason: Reason::Timeout,
            message: format!("took longer than its timeout of {} ms", timeout.as_millis()),
            outputs: Map::new(),
        }),
    };
    logs.end(id);
    result
}
