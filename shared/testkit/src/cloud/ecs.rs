//! ECS in memory: one task per token, states that advance with time, and every fault that the evidence of aws.md
//! names.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use operon_core::agent::ENV_ATTEMPT;
use operon_engine::ports::{
    AttemptId, Clock as _, ContainerView, Ecs, EcsError, EcsFailure, RunReply, RunTask,
    TaskDefinition, TaskView,
};
use operon_engine::reports;

use super::Faults;
use crate::memory::TestClock;

/// Milliseconds from a launch until the task runs, as on Fargate.
const START_MS: u64 = 30_000;
/// Milliseconds for which a stopped task is known, and its token with it.
const REMEMBERED_MS: u64 = 60 * 60 * 1000;

/// How the containers of a task end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// `main` ends with 0, and the agent stores and reports.
    Success,
    /// `main` ends with this code; the agent reports.
    Exit(i32),
    /// Everything is killed for its memory; no agent is left to report.
    OutOfMemory,
    /// The spot capacity goes.
    Spot,
    /// Never runs, for this reason; ECS stops it, without containers.
    NeverStarts(String),
    /// Stays `PROVISIONING` until somebody stops it.
    Stuck,
    /// `main` is over and the agent reports, but ECS never says that the task stopped.
    NeverStops,
    /// As [`Self::NeverStops`], and whoever stops it is answered and not obeyed.
    Unstoppable,
    /// Vanishes: ECS knows nothing of it any more, and nobody reports.
    Vanishes,
    /// Ends with 0 everywhere without having stored or reported anything.
    Mute,
}

/// Which of the signals of an end arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signals {
    /// The agent's message.
    pub agent: bool,
    /// The manifest in the store.
    pub manifest: bool,
    /// The event of ECS.
    pub event: bool,
}

impl Signals {
    /// All of them.
    pub const ALL: Self = Self {
        agent: true,
        manifest: true,
        event: true,
    };
}

/// What becomes of an attempt once it is launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// How it ends.
    pub shape: Shape,
    /// How long it runs, in milliseconds.
    pub runs_ms: u64,
    /// Who hears of it.
    pub signals: Signals,
}

impl Fate {
    /// Success after a minute.
    #[must_use]
    pub const fn success() -> Self {
        Self {
            shape: Shape::Success,
            runs_ms: 60_000,
            signals: Signals::ALL,
        }
    }

    /// This end after a minute.
    #[must_use]
    pub fn ends(shape: Shape) -> Self {
        Self {
            shape,
            ..Self::success()
        }
    }
}

/// A task.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) view: TaskView,
    pub(super) run: RunTask,
    pub(super) id: AttemptId,
    pub(super) fate: Fate,
    pub(super) begun_ms: u64,
    /// Its end was told to whoever hears of it.
    pub(super) told: bool,
    vanished: bool,
}

type Script = Box<dyn Fn(&AttemptId) -> Fate + Send>;

#[derive(Default)]
struct Inside {
    tasks: BTreeMap<String, Task>,
    tokens: BTreeMap<String, String>,
    definitions: Vec<TaskDefinition>,
    answers: Vec<Answer>,
    script: Option<Script>,
    launches: u64,
}

enum Answer {
    Error(EcsError),
    Failure(EcsFailure),
    /// The task is started, and the answer is lost.
    Lost,
}

/// ECS in memory.
pub struct MemoryEcs {
    inside: Mutex<Inside>,
    clock: Arc<TestClock>,
    faults: Arc<Faults>,
    /// Whether a token makes a launch happen once.
    pub tokens: bool,
    /// Whether an error carries its text, or its code alone.
    pub texts: bool,
    start_ms: AtomicU64,
}

impl MemoryEcs {
    /// No tasks.
    #[must_use]
    pub fn new(clock: Arc<TestClock>, faults: Arc<Faults>) -> Self {
        Self {
            inside: Mutex::default(),
            clock,
            faults,
            tokens: true,
            texts: true,
            start_ms: AtomicU64::new(START_MS),
        }
    }

    /// Lets tasks run so many milliseconds after their launch.
    pub fn start_after(&self, ms: u64) {
        self.start_ms.store(ms, Ordering::Relaxed);
    }

    fn start_ms(&self) -> u64 {
        self.start_ms.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of each attempt.
    pub fn script(&self, script: impl Fn(&AttemptId) -> Fate + Send + 'static) {
        self.lock().script = Some(Box::new(script));
    }

    /// The next launch is answered with this error.
    pub fn refuse(&self, code: &str, message: &str) {
        self.lock().answers.push(Answer::Error(EcsError {
            code: code.to_owned(),
            message: message.to_owned(),
            resource_ids: Vec::new(),
        }));
    }

    /// The next launch is taken and not placed.
    pub fn fail(&self, reason: &str) {
        self.lock().answers.push(Answer::Failure(EcsFailure {
            reason: reason.to_owned(),
            detail: String::new(),
        }));
    }

    /// The next launch starts a task, and its answer is lost.
    pub fn lose_answer(&self) {
        self.lock().answers.push(Answer::Lost);
    }

    /// Every launch that was carried out, in order.
    #[must_use]
    pub fn launches(&self) -> Vec<(AttemptId, RunTask)> {
        let inside = self.lock();
        let tasks = inside.tasks.values();
        tasks
            .map(|task| (task.id.clone(), task.run.clone()))
            .collect()
    }

    /// Task definitions that were registered.
    #[must_use]
    pub fn definitions(&self) -> Vec<TaskDefinition> {
        self.lock().definitions.clone()
    }

    /// Tasks that have not stopped.
    #[must_use]
    pub fn alive(&self) -> usize {
        let inside = self.lock();
        let alive = |task: &&Task| !task.view.is_stopped() && !task.vanished;
        inside.tasks.values().filter(alive).count()
    }

    /// Lets time do its work; the tasks whose ends are to be told now.
    pub(super) fn progress(&self) -> Vec<Task> {
        let (now, start_ms) = (self.clock.now_ms(), self.start_ms());
        let mut ended = Vec::new();
        for task in self.lock().tasks.values_mut() {
            if advance(task, now, start_ms) {
                ended.push(task.clone());
            }
        }
        ended
    }

    /// Forgets tasks that are over and told of, as ECS does after an hour: a world with very many is slow with them.
    pub fn forget_told(&self) {
        self.lock().tasks.retain(|_, task| !task.told);
    }

    /// When the next task changes by itself, milliseconds since the epoch.
    pub(super) fn next_change(&self) -> Option<u64> {
        let (now, start_ms) = (self.clock.now_ms(), self.start_ms());
        let inside = self.lock();
        let times = inside.tasks.values().filter_map(|task| {
            if task.told || task.fate.shape == Shape::Stuck && task.view.desired_status == "RUNNING"
            {
                return None;
            }
            let start = task.begun_ms + start_ms;
            Some(if now < start {
                start
            } else {
                start + task.fate.runs_ms
            })
        });
        times.min()
    }
}

fn code(name: &str, exit_code: i32) -> ContainerView {
    ContainerView {
        name: name.to_owned(),
        exit_code: Some(exit_code),
        reason: None,
    }
}

/// Moves a task on; true when its end is to be told now.
fn advance(task: &mut Task, now: u64, start_ms: u64) -> bool {
    let start = task.begun_ms + start_ms;
    if task.told || now < start {
        return false;
    }
    let view = &mut task.view;
    let stopping = view.desired_status == "STOPPED";
    if stopping && task.fate.shape == Shape::Unstoppable {
        task.told = true;
        return false;
    }
    if stopping && view.stop_code.as_deref() == Some("UserInitiated") {
        if view.started_ms.is_some() {
            view.containers = vec![code("stage", 0), code("main", 143), code("agent", 143)];
        }
        return stop(task, now, "UserInitiated");
    }
    match &task.fate.shape {
        Shape::Stuck => return false,
        Shape::NeverStarts(reason) => {
            let reason = reason.clone();
            task.view.stopped_reason = Some(reason);
            return stop(task, now, "TaskFailedToStart");
        }
        Shape::Vanishes => {
            task.vanished = true;
            task.told = true;
            return false;
        }
        Shape::Success
        | Shape::Exit(_)
        | Shape::OutOfMemory
        | Shape::Spot
        | Shape::NeverStops
        | Shape::Unstoppable
        | Shape::Mute => {}
    }
    if view.started_ms.is_none() {
        view.started_ms = Some(start);
        "RUNNING".clone_into(&mut view.last_status);
        view.version += 1;
    }
    if now < start + task.fate.runs_ms {
        return false;
    }
    let heard = task.fate.signals.agent;
    let agent = if heard { 0 } else { 75 };
    match task.fate.shape.clone() {
        Shape::Success => {
            task.view.containers = vec![code("stage", 0), code("main", 0), code("agent", agent)];
            stop(task, now, "EssentialContainerExited")
        }
        Shape::Mute => {
            task.view.containers = vec![code("stage", 0), code("main", 0), code("agent", 0)];
            stop(task, now, "EssentialContainerExited")
        }
        Shape::Exit(exit) => {
            task.view.containers = vec![code("stage", 0), code("main", exit), code("agent", agent)];
            stop(task, now, "EssentialContainerExited")
        }
        Shape::OutOfMemory => {
            let mut main = code("main", 137);
            main.reason = Some("OutOfMemoryError: Container killed due to memory usage".to_owned());
            task.view.containers = vec![code("stage", 0), main, code("agent", 137)];
            stop(task, now, "EssentialContainerExited")
        }
        Shape::Spot => {
            task.view.containers = vec![code("stage", 0), code("main", 143), code("agent", 143)];
            stop(task, now, "SpotInterruption")
        }
        Shape::NeverStops | Shape::Unstoppable => {
            task.told = true;
            true
        }
        Shape::Stuck | Shape::NeverStarts(_) | Shape::Vanishes => false,
    }
}

fn stop(task: &mut Task, now: u64, stop_code: &str) -> bool {
    task.view.stop_code = Some(stop_code.to_owned());
    "STOPPED".clone_into(&mut task.view.last_status);
    "STOPPED".clone_into(&mut task.view.desired_status);
    task.view.stopped_ms = Some(now);
    task.view.version += 1;
    task.told = true;
    true
}

fn attempt_of(run: &RunTask) -> Option<AttemptId> {
    let environment = run.containers.iter().flat_map(|one| &one.environment);
    let mut named = environment.filter(|(name, _)| name == ENV_ATTEMPT);
    let (_, text) = named.next()?;
    reports::attempt_of(&text.parse().ok()?)
}

fn unanswered(message: String) -> EcsError {
    EcsError {
        code: "Timeout".to_owned(),
        message,
        resource_ids: Vec::new(),
    }
}

impl MemoryEcs {
    fn run(&self, run: &RunTask) -> Result<RunReply, EcsError> {
        let now = self.clock.now_ms();
        let mut guard = self.lock();
        let inside = &mut *guard;
        let answer = (!inside.answers.is_empty()).then(|| inside.answers.remove(0));
        match &answer {
            Some(Answer::Error(error)) => {
                let mut error = error.clone();
                if !self.texts {
                    error.message.clear();
                }
                return Err(error);
            }
            Some(Answer::Failure(failure)) => {
                return Ok(RunReply {
                    tasks: Vec::new(),
                    failures: vec![failure.clone()],
                });
            }
            Some(Answer::Lost) | None => {}
        }
        if self.tokens
            && let Some(arn) = inside.tokens.get(&run.client_token)
            && let Some(task) = inside.tasks.get(arn)
            && task
                .view
                .stopped_ms
                .is_none_or(|stopped| now < stopped + REMEMBERED_MS)
        {
            if task.run == *run {
                return Ok(RunReply {
                    tasks: vec![arn.clone()],
                    failures: Vec::new(),
                });
            }
            return Err(EcsError {
                code: "ConflictException".to_owned(),
                message: "the token was used with other parameters".to_owned(),
                resource_ids: vec![arn.clone()],
            });
        }
        let Some(id) = attempt_of(run) else {
            return Err(EcsError {
                code: "InvalidParameterException".to_owned(),
                message: "no attempt in the environment".to_owned(),
                resource_ids: Vec::new(),
            });
        };
        inside.launches += 1;
        let arn = format!("arn:aws:ecs:memory:1:task/operon/{:08}", inside.launches);
        let fate = inside
            .script
            .as_ref()
            .map_or_else(Fate::success, |script| script(&id));
        let view = TaskView {
            arn: arn.clone(),
            started_by: run.started_by.clone(),
            last_status: "PROVISIONING".to_owned(),
            desired_status: "RUNNING".to_owned(),
            created_ms: Some(now),
            version: 1,
            ..TaskView::default()
        };
        let task = Task {
            view,
            run: run.clone(),
            id,
            fate,
            begun_ms: now,
            told: false,
            vanished: false,
        };
        inside.tasks.insert(arn.clone(), task);
        inside.tokens.insert(run.client_token.clone(), arn.clone());
        if matches!(answer, Some(Answer::Lost)) {
            return Err(unanswered("the answer was lost".to_owned()));
        }
        Ok(RunReply {
            tasks: vec![arn],
            failures: Vec::new(),
        })
    }

    /// Whether ECS still knows the task.
    fn knows(&self, task: &Task) -> bool {
        let now = self.clock.now_ms();
        let old = task
            .view
            .stopped_ms
            .is_some_and(|stopped| now >= stopped + REMEMBERED_MS);
        !task.vanished && !old
    }
}

#[async_trait]
impl Ecs for MemoryEcs {
    async fn register(&self, definition: &TaskDefinition) -> Result<String, EcsError> {
        let arn = format!(
            "arn:aws:ecs:memory:1:task-definition/{}:1",
            definition.family
        );
        self.faults
            .write("ECS", "register", || {
                self.lock().definitions.push(definition.clone());
            })
            .map_err(unanswered)?;
        // Others get a turn while ECS works.
        tokio::task::yield_now().await;
        Ok(arn)
    }

    async fn run_task(&self, run: &RunTask) -> Result<RunReply, EcsError> {
        self.faults
            .write("ECS", "run task", || self.run(run))
            .map_err(unanswered)?
    }

    async fn describe(&self, arns: &[String]) -> Result<Vec<TaskView>, EcsError> {
        self.faults.read("ECS", "describe").map_err(unanswered)?;
        let inside = self.lock();
        let found = arns.iter().filter_map(|arn| inside.tasks.get(arn));
        Ok(found
            .filter(|task| self.knows(task))
            .map(|task| task.view.clone())
            .collect())
    }

    async fn list(
        &self,
        started_by: Option<&str>,
        stopped: bool,
        next: Option<String>,
    ) -> Result<(Vec<String>, Option<String>), EcsError> {
        self.faults.read("ECS", "list").map_err(unanswered)?;
        let inside = self.lock();
        let wanted = |task: &&Task| {
            started_by.is_none_or(|by| task.view.started_by == by)
                && (task.view.desired_status == "STOPPED") == stopped
                && next.as_ref().is_none_or(|next| task.view.arn > *next)
                && self.knows(task)
        };
        let mut found: Vec<String> = inside
            .tasks
            .values()
            .filter(wanted)
            .map(|task| task.view.arn.clone())
            .collect();
        let more = found.len() > 100;
        found.truncate(100);
        let next = found.last().cloned().filter(|_| more);
        Ok((found, next))
    }

    async fn stop(&self, arn: &str, reason: &str) -> Result<(), EcsError> {
        self.faults
            .write("ECS", "stop", || {
                if let Some(task) = self.lock().tasks.get_mut(arn)
                    && !task.view.is_stopped()
                {
                    "STOPPED".clone_into(&mut task.view.desired_status);
                    task.view.stop_code = Some("UserInitiated".to_owned());
                    task.view.stopped_reason = Some(reason.to_owned());
                    task.told = false;
                }
            })
            .map_err(unanswered)
    }
}
