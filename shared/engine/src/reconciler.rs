//! The reconciler's step: whoever has not been heard of is asked for, and what is due is woken.
//!
//! It asks ECS; it does not guess. An attempt of which ECS knows nothing, twice, after its time to start, is lost
//! (E8). It is the third of three signals, so everything it says was or could have been said before, and saying
//! it again changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use operon_core::exec::{Event, LAUNCH_GRACE_MS, Shard, State, Truth};
use serde::Serialize;
use tracing::{info, warn};

use crate::Ports;
use crate::fargate::{self, Answer, Bucket, Rate};
use crate::finish::begins_ms;
use crate::launcher::Launcher;
use crate::ports::{
    AttemptId, ECS_PAGE_MAX, Ecs, ExecutionFilter, Outgoing, Queue, QueueName, RecordKind,
    ShardKey, StoreError, TaskView,
};
use crate::reports;
use crate::settle;
use crate::step::{self, Outbox, StepError};
use crate::watcher;
use crate::wire::{self, EventMessage, LaunchMessage, WorkMessage};

/// Attempts for which ECS is asked one by one; for more, what runs in the cluster is read first, 100 tasks a call (E7).
const SINGLE_MAX: usize = 3;
/// Pages of what runs that are read for one batch of questions; who is not on them is asked for alone.
const RUNNING_PAGES_MAX: usize = 10;
/// Milliseconds before the end of an invocation in which nothing new is begun: what there is to say is sent then.
const RESERVE_MS: u64 = 12_000;
/// Seconds before a message comes again for which an invocation had no time left.
const AGAIN_LATE_S: u64 = 5;
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

/// Shards that were read; an error for those that this release cannot read.
type Shards = HashMap<ShardKey, Result<Option<Shard>, ()>>;

/// What is stored of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Another attempt's turn, or nothing at all.
    Over,
    /// The state of its task run.
    Is(State),
    /// Something that this release cannot read.
    Unreadable,
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
        let mut shards = Shards::new();
        let running = match self.running(&probes).await {
            Ok(running) => running,
            Err(error) => return self.all_later(&probes, error).await,
        };
        for (index, probe) in probes.iter().enumerate() {
            let name = settle::started_by(&probe.id);
            let tasks = match running.get(&name) {
                Some(tasks) => Ok(tasks.clone()),
                None => self.single(&name).await,
            };
            match tasks {
                Ok(tasks) => self.answer(probe, &tasks, &mut shards, &mut outbox).await?,
                Err(error) => {
                    // What was answered so far is said all the same.
                    outbox.send(&*self.queue).await?;
                    let rest = probes.get(index..).unwrap_or_default();
                    return self.all_later(rest, error).await;
                }
            }
        }
        outbox.send(&*self.queue).await?;
        Ok(())
    }

    /// [`Self::ask`], while there is time; what there is none for is asked later.
    async fn ask_until(&self, probes: Vec<Probe>, deadline_ms: u64) -> Result<(), StepError> {
        let asked = Box::pin(self.ask(probes.clone()));
        let left = self.left(deadline_ms);
        if !left.is_zero()
            && let Ok(outcome) = tokio::time::timeout(left, asked).await
        {
            return outcome;
        }
        warn!(
            probes = probes.len(),
            "attempts are asked after later: there is no time left"
        );
        self.all_later(&probes, StepError::Throttled).await
    }

    /// The time that an invocation that ends then has left for work. Whatever is cut off by it may be done twice.
    fn left(&self, deadline_ms: u64) -> Duration {
        step::left(self.ports.clock.now_ms(), deadline_ms, RESERVE_MS)
    }

    /// ECS was asked too fast, or was about to be: these are asked for later. Any other error is passed on.
    async fn all_later(&self, probes: &[Probe], error: StepError) -> Result<(), StepError> {
        match error {
            StepError::Ecs(error) if fargate::answer(&error) == Answer::Throttled => {
                let now = self.ports.clock.now_ms();
                self.bucket().throttled(now);
            }
            StepError::Throttled => {}
            error @ (StepError::Store(_)
            | StepError::Queue(_)
            | StepError::Turn(_)
            | StepError::Wire(_)
            | StepError::Ecs(_)
            | StepError::Other(_)) => return Err(error),
        }
        let mut outbox = Outbox::default();
        for probe in probes {
            later(probe, probe.missed, &mut outbox)?;
        }
        outbox.send(&*self.queue).await?;
        Ok(())
    }

    fn bucket(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pays for one call of ECS.
    fn pay(&self) -> Result<(), StepError> {
        let now = self.ports.clock.now_ms();
        self.bucket().take(now).map_err(|_| StepError::Throttled)
    }

    /// What runs in the cluster, by `startedBy`, as far as that is worth it; nothing for a few questions.
    async fn running(&self, probes: &[Probe]) -> Result<HashMap<String, Vec<TaskView>>, StepError> {
        let mut found: HashMap<String, Vec<TaskView>> = HashMap::new();
        if probes.len() <= SINGLE_MAX {
            return Ok(found);
        }
        let mut next = None;
        for _ in 0..RUNNING_PAGES_MAX {
            self.pay()?;
            let (arns, more) = self.ecs.list(None, false, next).await?;
            for page in arns.chunks(ECS_PAGE_MAX) {
                self.pay()?;
                for task in self.ecs.describe(page).await? {
                    found.entry(task.started_by.clone()).or_default().push(task);
                }
            }
            next = more;
            if next.is_none() {
                break;
            }
        }
        // One that has stopped since may have another beside it.
        found.retain(|_, tasks| tasks.iter().any(|task| !task.is_stopped()));
        Ok(found)
    }

    async fn single(&self, started_by: &str) -> Result<Vec<TaskView>, StepError> {
        // Two lists and a description.
        for _ in 0..3 {
            self.pay()?;
        }
        Ok(settle::tasks(&*self.ecs, Some(started_by)).await?)
    }

    async fn answer(
        &self,
        probe: &Probe,
        tasks: &[TaskView],
        shards: &mut Shards,
        outbox: &mut Outbox,
    ) -> Result<(), StepError> {
        let id = &probe.id;
        let now = self.ports.clock.now_ms();
        let age = now.saturating_sub(probe.launched_ms);
        if let Some(task) = tasks.iter().find(|task| !task.is_stopped()) {
            self.start_in_time(task, now).await?;
            if self.state(id, shards).await? == Known::Is(State::Launching) {
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

    async fn state(&self, id: &AttemptId, shards: &mut Shards) -> Result<Known, StoreError> {
        let key = id.shard_key();
        if !shards.contains_key(&key) {
            let row = self.ports.store.shard(&key).await?;
            let shard = row.map(|row| Shard::decode(&row.bytes)).transpose();
            let shard = shard.inspect_err(|error| {
                warn!(execution_id = %id.execution, shard = %key.shard, %error, "a shard of another release");
            });
            shards.insert(key.clone(), shard.map_err(drop));
        }
        let Some(Ok(shard)) = shards.get(&key) else {
            return Ok(Known::Unreadable);
        };
        let slot = shard
            .as_ref()
            .and_then(|shard| shard.slots.get(usize::from(id.task_run.slot)))
            .filter(|slot| slot.attempt == id.attempt);
        Ok(slot.map_or(Known::Over, |slot| Known::Is(slot.state)))
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
        let mut shards = Shards::new();
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
        shards: &mut Shards,
    ) -> Result<bool, StepError> {
        let young = now.saturating_sub(task.created_ms.unwrap_or(now)) < GHOST_MS;
        if young || task.is_stopped() {
            return Ok(false);
        }
        let Some(id) = watcher::attempt(&self.ports, &task.started_by).await? else {
            return Ok(false);
        };
        Ok(match self.state(&id, shards).await? {
            Known::Over => true,
            Known::Is(state) => !state.is_live(),
            // Of another release while both are in use: whoever can read it decides.
            Known::Unreadable => false,
        })
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

/// A launch or a stop.
async fn one(
    launcher: &Launcher,
    message: &LaunchMessage,
    outbox: &mut Outbox,
) -> Result<(), StepError> {
    match message {
        LaunchMessage::Launch { id, since_ms } => launcher.launch(id, *since_ms, outbox).await,
        LaunchMessage::Stop {
            id,
            since_ms,
            missed,
        } => launcher.stop(id, *since_ms, *missed, outbox).await,
        LaunchMessage::Probe { .. } => Ok(()),
    }
}

/// A batch of the launch queue: launches and stops one by one, questions together. What is to be said of them goes out
/// together at the end: were it lost, their redelivery would say it again. What `deadline_ms`, the end of the
/// invocation, leaves no time to begin comes again by itself: one that is slow makes no dead letters of the others.
pub async fn handle_launches(
    launcher: &Launcher,
    reconciler: &Reconciler,
    texts: &[&str],
    deadline_ms: u64,
) -> Vec<Result<(), StepError>> {
    let mut outcomes: BTreeMap<usize, Result<(), StepError>> = BTreeMap::new();
    let mut probes = Vec::new();
    let mut outbox = Outbox::default();
    launcher.begin();
    for (index, text) in texts.iter().enumerate() {
        let message = match wire::decode(text) {
            Ok(message) => message,
            Err(error) => {
                outcomes.insert(index, Err(error.into()));
                continue;
            }
        };
        if let LaunchMessage::Probe {
            id,
            launched_ms,
            missed,
        } = &message
        {
            let probe = Probe {
                id: id.clone(),
                launched_ms: *launched_ms,
                missed: *missed,
            };
            probes.push((index, probe));
            continue;
        }
        let outcome = if reconciler.left(deadline_ms).is_zero() {
            outbox
                .launch_later(&message, AGAIN_LATE_S, None)
                .map_err(StepError::from)
        } else {
            let work = Box::pin(one(launcher, &message, &mut outbox));
            // One that alone takes that long is seen, and in the end a dead letter.
            let late = || Err(StepError::Other("it takes too long".to_owned()));
            tokio::time::timeout(reconciler.left(deadline_ms), work)
                .await
                .unwrap_or_else(|_| late())
        };
        outcomes.insert(index, outcome);
    }
    if let Err(error) = launcher.send(outbox).await {
        let text = error.to_string();
        let said = outcomes.values_mut().filter(|outcome| outcome.is_ok());
        said.for_each(|outcome| *outcome = Err(StepError::Other(text.clone())));
    }
    let asked: Vec<Probe> = probes.iter().map(|(_, probe)| probe.clone()).collect();
    let answered = reconciler.ask_until(asked, deadline_ms).await;
    for (index, _) in probes {
        let outcome = match &answered {
            Ok(()) => Ok(()),
            Err(error) => Err(StepError::Other(error.to_string())),
        };
        outcomes.insert(index, outcome);
    }
    outcomes.into_values().collect()
}
