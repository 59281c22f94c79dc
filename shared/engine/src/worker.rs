//! The worker's step: built-in tasks and subflows of the work queue, looks at databases and addresses for triggers, and
//! who is told of executions.
//!
//! Invariant: an attempt is executed by one worker at a time, and by nobody after it was stopped: a claim says who,
//! and until when that one can be alive at most.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use operon_core::exec::{Event, Outcome, PROBE_INTERVAL_MS, Reason, State};
use operon_core::expr::Masker;
use tracing::warn;

use crate::Ports;
use crate::alerts::Alerts;
use crate::claims::{self, Halted, Taken};
use crate::evaluate::{EvaluateError, Evaluator, Site};
use crate::finish::last_try;
use crate::intake::IntakeError;
use crate::launch::{Call, Launch, Prepared, output_prefix};
use crate::planner::{Active, Message, Planner};
use crate::plans::Plans;
use crate::ports::{
    AttemptId, AttemptResult, AttemptRow, ExecutionId, ExecutionRow, Outgoing, Queue, QueueName,
    ShardKey,
};
use crate::reports::{self, ended, failed};
use crate::rows;
use crate::script;
use crate::shards::Shards;
use crate::step::StepError;
use crate::subflow::{self, FlowMissing, FlowSource};
use crate::tasks::{self, HttpClients, TaskCall, TaskError, TaskOutput};
use crate::triggers::{TriggerKey, Triggers};
use crate::wire::{self, EventMessage, PlanMessage, WorkMessage};

/// How often a worker looks whether its task was stopped.
const LOOK: Duration = Duration::from_secs(5);
/// Kept of the function's time for reporting.
const REPORT: Duration = Duration::from_secs(10);
/// Seconds before a stop is looked at again.
const AGAIN_S: u64 = 5;

/// Executes built-in tasks.
pub struct Worker {
    planner: Planner,
    queue: Arc<dyn Queue>,
    flows: Arc<dyn FlowSource>,
    http: HttpClients,
    alerts: Option<Alerts>,
    triggers: Option<Triggers>,
}

impl Worker {
    /// A worker over these parts.
    #[must_use]
    pub fn new(ports: Ports, queue: Arc<dyn Queue>, flows: Arc<dyn FlowSource>) -> Self {
        let evaluator = Evaluator {
            ports,
            shards: Arc::new(Shards::default()),
            items: Arc::default(),
        };
        Self {
            planner: Planner::shared(evaluator, Arc::new(Plans::default())),
            queue,
            flows,
            http: HttpClients::default(),
            alerts: None,
            triggers: None,
        }
    }

    /// The same worker, which tells people of executions and measures them.
    #[must_use]
    pub fn telling(mut self, alerts: Alerts) -> Self {
        self.alerts = Some(alerts);
        self
    }

    /// The same worker, which looks at databases and addresses for these triggers.
    #[must_use]
    pub fn polling(mut self, triggers: Triggers) -> Self {
        self.triggers = Some(triggers);
        self
    }

    const fn evaluator(&self) -> &Evaluator {
        &self.planner.evaluator
    }

    fn ports(&self) -> &Ports {
        &self.evaluator().ports
    }

    fn now_ms(&self) -> u64 {
        self.ports().clock.now_ms()
    }

    /// Handles one message; `deadline_ms` is when this function is dead, milliseconds since the epoch.
    pub async fn handle(&self, text: &str, deadline_ms: u64) -> Result<(), StepError> {
        match wire::decode(text)? {
            WorkMessage::Execute { id, .. } => self.execute(&id, deadline_ms).await,
            WorkMessage::Stop { id, since_ms, told } => self.stop(&id, since_ms, told).await,
            WorkMessage::Tell { execution } => self.note(&execution).await,
            WorkMessage::Deliver { not_before_ms } => self.deliver(not_before_ms).await,
            // In a box: it is large, and every other message would carry its size.
            WorkMessage::Poll { trigger } => Box::pin(self.poll(&trigger, deadline_ms)).await,
        }
    }

    /// Looks for a trigger, as long as this function lives.
    async fn poll(&self, key: &TriggerKey, deadline_ms: u64) -> Result<(), StepError> {
        let Some(triggers) = &self.triggers else {
            let message = format!("this worker cannot look for trigger `{key}`");
            return Err(StepError::Other(message));
        };
        let left = Duration::from_millis(deadline_ms.saturating_sub(self.now_ms()));
        let left = left.saturating_sub(REPORT);
        if let Ok(looked) = tokio::time::timeout(left, triggers.poll(key, deadline_ms)).await {
            return Ok(looked?);
        }
        let message = format!(
            "the look took longer than the {} s that it has; the next one reads what is left",
            left.as_secs()
        );
        Ok(triggers.gave_up(key, &message).await?)
    }

    /// Takes note of an execution that began or ended, and sends what is due.
    async fn note(&self, id: &ExecutionId) -> Result<(), StepError> {
        let Some(alerts) = &self.alerts else {
            return Ok(());
        };
        if let Some(due_ms) = alerts.take_stored(id).await? {
            return self.deliver_at(due_ms).await;
        }
        alerts.deliver().await?;
        Ok(())
    }

    async fn deliver(&self, not_before_ms: Option<u64>) -> Result<(), StepError> {
        let Some(alerts) = &self.alerts else {
            return Ok(());
        };
        if let Some(at) = not_before_ms.filter(|at| *at > self.now_ms()) {
            return self.deliver_at(at).await;
        }
        alerts.deliver().await?;
        Ok(())
    }

    /// Asks for the messages of a time to come.
    async fn deliver_at(&self, due_ms: u64) -> Result<(), StepError> {
        let wait_s = due_ms.saturating_sub(self.now_ms()).div_ceil(1000);
        let message = WorkMessage::Deliver {
            not_before_ms: Some(due_ms),
        };
        let out = Outgoing::now(wire::encode(&message)?).after(wait_s);
        self.queue.send(QueueName::Work, vec![out]).await?;
        Ok(())
    }

    async fn execute(&self, id: &AttemptId, deadline_ms: u64) -> Result<(), StepError> {
        let Some(active) = self.planner.active(&id.execution).await? else {
            return Ok(());
        };
        if !self.wanted(id).await? {
            return Ok(());
        }
        let site = Site::of_attempt(&active, id);
        let Some(task) = site.task() else {
            return Ok(());
        };
        let now = self.now_ms();
        let records = &*self.ports().records;
        match claims::take(records, id, deadline_ms, now, task.idempotent).await? {
            Taken::Mine => {}
            // Whoever executes it reports; the shard asks for it when it does not.
            Taken::Running(_) | Taken::Gone => return Ok(()),
            Taken::Stopped => {
                return self.tell(reports::stopped(id)).await;
            }
        }
        let launch = match self.evaluator().prepare(site).await {
            Ok(launch) => launch,
            Err(EvaluateError::Store(error)) => {
                claims_back(records, id, now).await;
                return Err(error.into());
            }
            Err(EvaluateError::Expression(message)) => {
                let result = failed(now, now, Reason::Expression, message);
                let item = self.evaluator().item(site).await.unwrap_or_default();
                let row = rows::blank(site, id.attempt).map(|row| AttemptRow {
                    created_ms: now,
                    item,
                    ..row
                });
                return match row {
                    Some(row) => self.report(id, row, result, &[]).await,
                    None => Ok(()),
                };
            }
        };
        self.launched(&active, id, launch, deadline_ms).await
    }

    async fn launched(
        &self,
        active: &Active,
        id: &AttemptId,
        launch: Launch,
        deadline_ms: u64,
    ) -> Result<(), StepError> {
        let Launch {
            prepared,
            cache,
            row,
            secrets,
            ..
        } = launch;
        let now = self.now_ms();
        if let Some(cache) = &cache
            && let Some(outputs) = self.evaluator().reusable(cache, now).await?
        {
            return self
                .report(id, row, reports::cached(now, outputs), &[])
                .await;
        }
        let result = match prepared {
            Prepared::Process(_) => {
                warn!(execution_id = %id.execution, "a container on the work queue");
                return Ok(());
            }
            Prepared::Subflow(call) => self.subflow(active, id, &call).await?,
            Prepared::BuiltIn(call) => self.built_in(active, id, call, deadline_ms).await?,
        };
        let Some(result) = result else {
            return Ok(());
        };
        let message = self.evaluator().done(id, row, result, &secrets).await?;
        let row = cache.as_ref().and(message.row.clone());
        // First what others wait for.
        self.tell(message.into()).await?;
        if let Some(row) = row {
            self.evaluator().keep(&row, cache.as_ref()).await;
        }
        Ok(())
    }

    /// The fence: whether the shard still wants it. Read anew each time.
    async fn wanted(&self, id: &AttemptId) -> Result<bool, StepError> {
        Ok(self.live_state(id).await? == Some(State::Launching))
    }

    /// Whether somebody still waits for the end of the attempt.
    async fn waits(&self, id: &AttemptId) -> Result<bool, StepError> {
        Ok(self.live_state(id).await?.is_some())
    }

    /// The state of the attempt's task run as it is stored now; none when the attempt is over.
    async fn live_state(&self, id: &AttemptId) -> Result<Option<State>, StepError> {
        let shards = &self.evaluator().shards;
        shards.retain(&[]);
        let stored = shards.get(&*self.ports().store, &id.shard_key()).await?;
        let slot = stored
            .shard
            .as_ref()
            .and_then(|shard| shard.slots.get(usize::from(id.task_run.slot)));
        let live = slot.filter(|slot| slot.state.is_live() && slot.attempt == id.attempt);
        Ok(live.map(|slot| slot.state))
    }

    /// Executes a built-in task; none if it was stopped.
    async fn built_in(
        &self,
        active: &Active,
        id: &AttemptId,
        call: Call,
        deadline_ms: u64,
    ) -> Result<Option<AttemptResult>, StepError> {
        let started = self.now_ms();
        let left =
            Duration::from_millis(deadline_ms.saturating_sub(started)).saturating_sub(REPORT);
        let limit = call.timeout.min(left);
        let masker = Masker::new(&call.secrets);
        let task_call = TaskCall {
            task_type: &call.task_type,
            props: call.props,
            id,
            meta: &active.meta,
            ports: self.ports(),
            http: &self.http,
            artifact_prefix: output_prefix(id),
            masker: &masker,
            lines: AtomicU64::new(0),
        };
        let output = tokio::select! {
            biased;
            output = tokio::time::timeout(limit, tasks::run(task_call)) => output,
            () = self.halted(id) => {
                self.ports().logs.end(id);
                claims::release(&*self.ports().records, id, self.now_ms()).await?;
                self.tell(reports::stopped(id)).await?;
                return Ok(None);
            }
        };
        self.ports().logs.end(id);
        let now = self.now_ms();
        Ok(Some(match output {
            Ok(Ok(output)) => {
                self.take_effects(active, &output).await?;
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
            Ok(Err(TaskError {
                reason,
                message,
                outputs,
            })) => AttemptResult {
                outputs,
                ..failed(started, now, reason, message)
            },
            Err(_) => {
                let ms = limit.as_millis();
                let message = if limit < call.timeout {
                    format!(
                        "took longer than the {ms} ms that a built-in task has in the cloud; longer work \
                         belongs into a container"
                    )
                } else {
                    format!("took longer than its timeout of {ms} ms")
                };
                failed(started, now, Reason::Timeout, message)
            }
        }))
    }

    /// Returns when the attempt was told to stop.
    async fn halted(&self, id: &AttemptId) {
        loop {
            tokio::time::sleep(LOOK).await;
            let asked = claims::is_halted(&*self.ports().records, id, self.now_ms()).await;
            if asked.unwrap_or(false) {
                return;
            }
        }
    }

    /// What a built-in task does to its execution: labels, and an early end.
    async fn take_effects(&self, active: &Active, output: &TaskOutput) -> Result<(), StepError> {
        let id = &active.meta.id;
        if !output.labels.is_empty() {
            let labels = output.given_labels();
            self.ports().store.set_labels(id, &labels).await?;
        }
        if let Some(state) = output.exit {
            let event = Event::Exit {
                state,
                round: self.round(id).await?,
            };
            self.tell(EventMessage::new(ShardKey::root(id), event))
                .await?;
        }
        Ok(())
    }

    /// The round of an execution that goes on; none before it began.
    async fn round(&self, id: &ExecutionId) -> Result<Option<u8>, StepError> {
        let store = &*self.ports().store;
        let key = ShardKey::root(id);
        let shards = &self.planner.evaluator.shards;
        shards.forget(&key); // It may be older than what planners wrote meanwhile.
        let root = shards.get(store, &key).await?;
        Ok(root.shard.map(|root| root.round))
    }

    /// Starts a subflow; its result when nobody waits for it, or when it cannot be started.
    async fn subflow(
        &self,
        active: &Active,
        id: &AttemptId,
        call: &Call,
    ) -> Result<Option<AttemptResult>, StepError> {
        let started = self.now_ms();
        let Some(child) = subflow::child_id(id) else {
            return Ok(None);
        };
        let store = &*self.ports().store;
        let row = if let Some(row) = store.execution(&child).await? {
            row
        } else {
            let refused = |message: String| {
                let now = self.now_ms();
                Ok(Some(failed(started, now, Reason::InvalidInput, message)))
            };
            let plan = match self.plan(active, call).await {
                Ok(plan) => plan,
                Err(FlowMissing::Store(error)) => return Err(error.into()),
                Err(FlowMissing::No(message)) => return refused(message),
            };
            let mut request = subflow::request(active, id, child.clone(), plan, call);
            if !subflow::waits(call) {
                request.parent = None;
            }
            let created = match self.evaluator().intake(request).await {
                Ok(created) => created,
                Err(IntakeError::Store(error)) => return Err(error.into()),
                Err(error) => return refused(error.to_string()),
            };
            store.create(&created.row, &created.plan).await?;
            created.row
        };
        // A guard of its flow failed it as it was made: nothing of it ever runs, and nobody else tells of it.
        let refused = row.ended_ms.is_some() && row.started_ms.is_none();
        if refused {
            self.queue
                .send(QueueName::Work, vec![wire::telling(&child)?])
                .await?;
        } else {
            // Also when it was created before: a crash may have left this out, and starting twice is starting once.
            self.tell(EventMessage::new(ShardKey::root(&child), Event::Start))
                .await?;
        }
        let now = self.now_ms();
        let waits = subflow::waits(call);
        Ok((refused || !waits).then(|| {
            let row = waits.then_some(&row);
            subflow::result(&child, row, &call.props, started, now)
        }))
    }

    async fn plan(
        &self,
        active: &Active,
        call: &Call,
    ) -> Result<operon_core::plan::Plan, FlowMissing> {
        subflow::check_depth(&*self.ports().store, active).await?;
        let (namespace, flow) = subflow::target(active, call).map_err(FlowMissing::No)?;
        let revision = subflow::revision(call);
        self.flows.plan(&namespace, &flow, revision).await
    }

    /// Stops an attempt, and tells its shard once nothing of it is alive.
    async fn stop(&self, id: &AttemptId, since_ms: u64, told: bool) -> Result<(), StepError> {
        let Some(active) = self.planner.active(&id.execution).await? else {
            return Ok(());
        };
        let site = Site::of_attempt(&active, id);
        let Some(task) = site.task() else {
            return Ok(());
        };
        let now = self.now_ms();
        let records = &*self.ports().records;
        let halted = claims::halt(records, id, now).await?;
        if script::is_subflow(&task.task_type)
            && let Some(child) = self.last_child(id).await?
        {
            if !self.waits(id).await? {
                // A late copy: the attempt is over, and whatever the child does now somebody else wants.
                return Ok(());
            }
            // The child's end tells the parent, which is then sure that nothing of it is alive. One that has ended
            // and is followed by another try is not the last yet. It is told once: each time, it asks for the stop of
            // everything in it.
            if child.ended_ms.is_none() && !told {
                let child = &child.meta.id;
                let event = Event::Kill {
                    reason: Reason::Kill,
                    round: self.round(child).await?,
                };
                self.tell(EventMessage::new(ShardKey::root(child), event))
                    .await?;
            }
            let told = told || child.ended_ms.is_none();
            return self.again(id, since_ms, told).await;
        }
        match halted {
            Halted::Now => self.tell(reports::stopped(id)).await,
            Halted::Until(_) if script::is_subflow(&task.task_type) => {
                // Its worker starts an execution and is gone; that execution is over.
                self.tell(reports::stopped(id)).await
            }
            Halted::Until(_) => self.again(id, since_ms, false).await,
        }
    }

    /// The newest execution that the attempt of a subflow started and that is not over for good.
    async fn last_child(&self, id: &AttemptId) -> Result<Option<ExecutionRow>, StepError> {
        let store = &*self.ports().store;
        let Some(child) = subflow::child_id(id) else {
            return Ok(None);
        };
        let Some(row) = store.execution(&child).await? else {
            return Ok(None);
        };
        let row = last_try(store, row).await?;
        Ok(self.planner.goes_on(&row).await?.then_some(row))
    }

    /// Looks at a stopping attempt again, for as long as its shard does not ask anew by itself: so chains of messages do
    /// not multiply.
    async fn again(&self, id: &AttemptId, since_ms: u64, told: bool) -> Result<(), StepError> {
        if self.now_ms().saturating_sub(since_ms) >= PROBE_INTERVAL_MS {
            return Ok(());
        }
        let message = WorkMessage::Stop {
            id: id.clone(),
            since_ms,
            told,
        };
        let out = Outgoing::now(wire::encode(&message)?).after(AGAIN_S);
        self.queue.send(QueueName::Work, vec![out]).await?;
        Ok(())
    }

    async fn report(
        &self,
        id: &AttemptId,
        row: AttemptRow,
        result: AttemptResult,
        secrets: &[String],
    ) -> Result<(), StepError> {
        let message: Message = self.evaluator().done(id, row, result, secrets).await?;
        self.tell(message.into()).await
    }

    async fn tell(&self, message: EventMessage) -> Result<(), StepError> {
        let text = PlanMessage::from(message).encode()?;
        self.queue
            .send(QueueName::Plan, vec![Outgoing::now(text)])
            .await?;
        Ok(())
    }
}

/// The task was not begun after all: whoever gets the message next may.
async fn claims_back(records: &dyn crate::ports::Records, id: &AttemptId, now: u64) {
    if let Err(reason) = claims::give_back(records, id, now).await {
        warn!(%reason, execution_id = %id.execution, "a claim could not be given back");
    }
}
