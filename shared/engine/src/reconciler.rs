//! The reconciler's step: whoever has not been heard of is asked for, and what is due is woken.
//!
//! It asks ECS; it does not guess. An attempt of which ECS knows nothing, twice, after its time to start, is lost
//! (E8). It is the third of three signals, so everything it says was or could have been said before, and saying
//! it again changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use operon_core::exec::{Event, LAUNCH_GRACE_MS, Shard, State, Truth};
use serde::Serialize;
use tracing::{info, warn};

use crate::Ports;
use crate::fargate::{self, Answer, Bucket, Rate};
use crate::finish::begins_ms;
use crate::ports::{
    AttemptId, ECS_PAGE_MAX, Ecs, ExecutionFilter, Outgoing, Queue, QueueName, RecordKind,
    ShardKey, StoreError, TaskView,
};
use crate::reports;
use crate::settle;
use crate::step::{Outbox, StepError};
use crate::watcher;
use crate::wire::{self, EventMessage, LaunchMessage, WorkMessage};

/// Attempts for which ECS is asked one by one; for more, the whole cluster is read, 100 tasks a call (E7).
const SINGLE_MAX: usize = 3;
/// Seconds before an attempt that ECS did not know is asked for again.
const AGAIN_S: u64 = 60;
/// Milliseconds by which a shard is overdue before the schedule wakes it: its own tick has then been lost.
const OVERDUE_MS: u64 = 60_000;
/// Shards woken by one schedule at most.
const DUE_MAX: u32 = 2000;
/// Executions looked at that were stored and perhaps never started.
const CREATED_MAX: u32 = 200;
/// Minutes between two looks for tasks that nobody wants any more.
const GHOSTS_MIN: u64 = 15;
/// Milliseconds for which a task is left alone although its attempt is over: its agent may still be storing.
const GHOST_MS: u64 = 10 * 60 * 1000;

/// Asks ECS, and wakes what is due.
pub struct Reconciler {
    ports: Ports,
    queue: Arc<dyn Queue>,
    ecs: Arc<dyn Ecs>,
    bucket: Mutex<Bucket>,
}

/// A question about an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Which.
    pub id: AttemptId,
    /// When it was launched.
    pub launched_ms: u64,
    /// How often ECS knew nothing of it.
    pub missed: u8,
}

/// What one schedule did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Shards woken.
    pub woken: usize,
    /// Executions started that were only stored.
    pub started: usize,
    /// Tasks stopped that nobody wants any more.
    pub ghosts: usize,
}

impl Reconciler {
    /// A reconciler over these parts.
    #[must_use]
    pub fn new(ports: Ports, queue: Arc<dyn Queue>, ecs: Arc<dyn Ecs>) -> Self {
        let now = ports.clock.now_ms();
        let rate = Rate {
            per_second: 10.0,
            burst: 20.0,
        };
        Self {
            ports,
            queue,
            ecs,
            bucket: Mutex::new(Bucket::new(rate, now)),
        }
    }

    /// Asks ECS about attempts, and tells their shards.
    pub async fn ask(&self, probes: Vec<Probe>) -> Result<(), StepError> {
        if probes.is_empty() {
            return Ok(());
        }
        let mut outbox = Outbox::default();
        match self.look(&probes).await {
            Ok(found) => {
                let mut shards = HashMap::new();
                for probe in &probes {
                    let name = settle::started_by(&probe.id);
                    let tasks = found.get(&name).map_or(&[][..], Vec::as_slice);
                    self.answer(probe, tasks, &mut shards, &mut outbox).await?;
                }
            }
            Err(StepError::Ecs(error)) if fargate::answer(&error) == Answer::Throttled => {
                let now = self.ports.clock.now_ms();
                self.bucket().throttled(now);
                for probe in &probes {
                    later(probe, probe.missed, &mut outbox)?;
                }
            }
            Err(error) => return Err(error),
        }
        outbox.send(&*self.queue).await?;
        Ok(())
    }

    fn bucket(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tasks by `startedBy`.
    async fn look(&self, probes: &[Probe]) -> Result<HashMap<String, Vec<TaskView>>, StepError> {
        let calls = if probes.len() <= SINGLE_MAX {
            probes.len()
        } else {
            1
        };
        for _ in 0..calls {
            if self.bucket().take(self.ports.clock.now_ms()).is_err() {
                // As if ECS had said so itself: it is asked later.
                return Err(StepError::Ecs(crate::ports::EcsError {
                    code: "ThrottlingException".to_owned(),
                    message: "the reconciler's own limit".to_owned(),
                    resource_ids: Vec::new(),
                }));
            }
        }
        let mut found: HashMap<String, Vec<TaskView>> = HashMap::new();
        let mut add = |tasks: Vec<TaskView>| {
            for task in tasks {
                found.entry(task.started_by.clone()).or_default().push(task);
            }
        };
        if probes.len() <= SINGLE_MAX {
            for probe in probes {
                let name = settle::started_by(&probe.id);
                add(settle::tasks(&*self.ecs, Some(&name)).await?);
            }
        } else {
            add(settle::tasks(&*self.ecs, None).await?);
        }
        Ok(found)
    }

    async fn answer(
        &self,
        probe: &Probe,
        tasks: &[TaskView],
        shards: &mut HashMap<ShardKey, Option<Shard>>,
        outbox: &mut Outbox,
    ) -> Result<(), StepError> {
        let id = &probe.id;
        let now = self.ports.clock.now_ms();
        let age = now.saturating_sub(probe.launched_ms);
        if let Some(task) = tasks.iter().find(|task| !task.is_stopped()) {
            self.start_in_time(task, now).await?;
            if self.state(id, shards).await? == Some(State::Launching) {
                outbox.say(&reports::probed(id, Truth::Alive).into())?;
            }
            return Ok(());
        }
        if let Some(task) = tasks.iter().max_by_key(|task| task.stopped_ms) {
            let message = settle::stopped(&*self.ports.artifacts, id, task, now).await?;
            return Ok(outbox.say(&message)?);
        }
        if let Some(message) = settle::manifest(&*self.ports.artifacts, id).await? {
            return Ok(outbox.say(&message)?);
        }
        if age < LAUNCH_GRACE_MS {
            // Its launch may be on its way; launching it again under the same token is launching it once.
            return Ok(outbox.say(&reports::probed(id, Truth::Absent).into())?);
        }
        if probe.missed == 0 {
            return later(probe, 1, outbox);
        }
        info!(execution_id = %id.execution, "ECS knows nothing of an attempt");
        Ok(outbox.say(&reports::probed(id, Truth::Gone).into())?)
    }

    /// Stops a task that has not started in its time; its end then says why.
    async fn start_in_time(&self, task: &TaskView, now: u64) -> Result<(), StepError> {
        let waits = task.started_ms.is_none() && task.desired_status != "STOPPED";
        let since = task.created_ms.unwrap_or(now);
        if waits && now.saturating_sub(since) > LAUNCH_GRACE_MS {
            warn!(task_arn = %task.arn, "a task does not start");
            self.ecs.stop(&task.arn, fargate::START_TIMEOUT).await?;
        }
        Ok(())
    }

    async fn state(
        &self,
        id: &AttemptId,
        shards: &mut HashMap<ShardKey, Option<Shard>>,
    ) -> Result<Option<State>, StoreError> {
        let key = id.shard_key();
        if !shards.contains_key(&key) {
            let row = self.ports.store.shard(&key).await?;
            let shard = row.and_then(|row| Shard::decode(&row.bytes).ok());
            shards.insert(key.clone(), shard);
        }
        let shard = shards.get(&key).and_then(Option::as_ref);
        let slot = shard.and_then(|shard| shard.slots.get(usize::from(id.task_run.slot)));
        Ok(slot
            .filter(|slot| slot.attempt == id.attempt)
            .map(|slot| slot.state))
    }

    /// Wakes what is overdue, starts what was only stored, and now and then stops what nobody wants.
    pub async fn schedule(&self) -> Result<Summary, StepError> {
        let now = self.ports.clock.now_ms();
        let mut outbox = Outbox::default();
        let mut summary = Summary::default();
        let overdue = now.saturating_sub(OVERDUE_MS);
        for key in self.ports.store.due(overdue, DUE_MAX).await? {
            outbox.say(&EventMessage::new(key, Event::Tick).into())?;
            summary.woken += 1;
        }
        let filter = ExecutionFilter {
            states: vec!["CREATED".to_owned()],
            limit: CREATED_MAX,
            ..ExecutionFilter::default()
        };
        for row in self.ports.store.executions(&filter).await? {
            if begins_ms(&row) < overdue {
                let key = ShardKey::root(&row.meta.id);
                outbox.say(&EventMessage::new(key, Event::Start).into())?;
                summary.started += 1;
            }
        }
        let records = &self.ports.records;
        let told = records.due_records(RecordKind::Incident, now, 1).await?;
        if !told.is_empty() {
            let message = WorkMessage::Deliver {
                not_before_ms: None,
            };
            outbox.push(QueueName::Work, Outgoing::now(wire::encode(&message)?));
        }
        outbox.send(&*self.queue).await?;
        if (now / 60_000).is_multiple_of(GHOSTS_MIN) {
            // What ECS refuses here must not keep the rest of the minute from being done.
            match self.stop_ghosts(now).await {
                Ok(stopped) => summary.ghosts = stopped,
                Err(error) => warn!(%error, "tasks that nobody wants could not be stopped"),
            }
        }
        Ok(summary)
    }

    /// Stops tasks whose attempt is over: a container whose first process is gone may never stop by itself, and
    /// costs until it does (E6).
    async fn stop_ghosts(&self, now: u64) -> Result<usize, StepError> {
        let mut next = None;
        let mut shards = HashMap::new();
        let mut stopped = 0;
        loop {
            let (arns, more) = self.ecs.list(None, false, next).await?;
            for page in arns.chunks(ECS_PAGE_MAX) {
                for task in self.ecs.describe(page).await? {
                    if self.is_ghost(&task, now, &mut shards).await? {
                        self.ecs
                            .stop(&task.arn, "Operon: its attempt is over")
                            .await?;
                        stopped += 1;
                    }
                }
            }
            if more.is_none() {
                return Ok(stopped);
            }
            next = more;
        }
    }

    async fn is_ghost(
        &self,
        task: &TaskView,
        now: u64,
        shards: &mut HashMap<ShardKey, Option<Shard>>,
    ) -> Result<bool, StepError> {
        let young = now.saturating_sub(task.created_ms.unwrap_or(now)) < GHOST_MS;
        if young || task.is_stopped() {
            return Ok(false);
        }
        let Some(id) = watcher::attempt(&self.ports, &task.started_by).await? else {
            return Ok(false);
        };
        let state = self.state(&id, shards).await?;
        Ok(!state.is_some_and(State::is_live))
    }
}

fn later(probe: &Probe, missed: u8, outbox: &mut Outbox) -> Result<(), StepError> {
    let message = LaunchMessage::Probe {
        id: probe.id.clone(),
        launched_ms: probe.launched_ms,
        missed,
    };
    Ok(outbox.launch_later(&message, AGAIN_S, None)?)
}

/// A batch of the launch queue: launches and stops one by one, questions together. What is to be said of them goes out
/// together at the end: were it lost, their redelivery would say it again.
pub async fn handle_launches(
    launcher: &crate::launcher::Launcher,
    reconciler: &Reconciler,
    texts: &[&str],
) -> Vec<Result<(), StepError>> {
    let mut outcomes: BTreeMap<usize, Result<(), StepError>> = BTreeMap::new();
    let mut probes = Vec::new();
    let mut outbox = Outbox::default();
    launcher.begin();
    for (index, text) in texts.iter().enumerate() {
        let outcome = match wire::decode(text) {
            Err(error) => Err(error.into()),
            Ok(LaunchMessage::Launch { id, since_ms }) => {
                launcher.launch(&id, since_ms, &mut outbox).await
            }
            Ok(LaunchMessage::Stop {
                id,
                since_ms,
                missed,
            }) => launcher.stop(&id, since_ms, missed, &mut outbox).await,
            Ok(LaunchMessage::Probe {
                id,
                launched_ms,
                missed,
            }) => {
                let probe = Probe {
                    id,
                    launched_ms,
                    missed,
                };
                probes.push((index, probe));
                continue;
            }
        };
        outcomes.insert(index, outcome);
    }
    if let Err(error) = launcher.send(outbox).await {
        let text = error.to_string();
        let said = outcomes.values_mut().filter(|outcome| outcome.is_ok());
        said.for_each(|outcome| *outcome = Err(StepError::Other(text.clone())));
    }
    let asked = probes.iter().map(|(_, probe)| probe.clone()).collect();
    let answered = reconciler.ask(asked).await;
    for (index, _) in probes {
        let outcome = match &answered {
            Ok(()) => Ok(()),
            Err(error) => Err(StepError::Other(error.to_string())),
        };
        outcomes.insert(index, outcome);
    }
    outcomes.into_values().collect()
}
