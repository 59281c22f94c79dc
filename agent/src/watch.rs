//! Beside the image: watches it through the task metadata endpoint, reports while it runs and when it is over.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use operon_core::agent::{
    AgentSaid, AgentSpec, EXIT_CANNOT_REPORT, EXIT_CANNOT_WATCH, EXIT_CONFIG, EXIT_INTERRUPTED,
    EXIT_TIMED_OUT, LogLevel,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::aws::Aws;
use crate::config::Config;
use crate::fluent::{Router, SharedLog, locked};
use crate::log::{Log, Plain, now_ms};
use crate::metadata::{Metadata, MetadataError, Task};
use crate::queue::{self, RESULT_MAX};
use crate::result::{Ending, Finish, said};
use crate::secrets::Secrets;
use crate::spec;
use crate::store::{Queue, Store};
use crate::usage::Peak;
use crate::volume::Volume;

/// How often ECS is asked at first, when most short programs end.
const SOON: Duration = Duration::from_millis(200);
/// How long that is.
const SOON_FOR: Duration = Duration::from_secs(10);
/// How often it is asked later.
const LATER: Duration = Duration::from_secs(1);
/// How long the metadata endpoint may be away.
const AWAY_MAX: Duration = Duration::from_mins(2);
/// How long `main` may take to start: pulling a large image takes minutes.
const START_MAX: Duration = Duration::from_mins(40);
/// How long `main` may still run after the agent was told to stop. ECS stops `main` first.
const STOP_MAX: Duration = Duration::from_secs(20);
/// How long a report that is not the result is tried.
const REPORT_MAX: Duration = Duration::from_secs(30);

/// Runs `operon-agent watch`; gives its exit code.
pub(crate) async fn run(config: Config) -> i32 {
    match prepare(&config).await {
        Ok((mut watch, stop)) => {
            let router = watch.listen(&config);
            let seen = watch.until_over(&stop).await;
            watch.finish(seen, router).await
        }
        Err(why) => {
            Plain::stdout().note(LogLevel::Error, &why);
            EXIT_CONFIG
        }
    }
}

async fn prepare(config: &Config) -> Result<(Watch, Arc<Notify>), String> {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let mut signals = signal(SignalKind::terminate()).map_err(|error| say(&error))?;
    let stop = Arc::<Notify>::default();
    let told = stop.clone();
    tokio::spawn(async move {
        signals.recv().await;
        told.notify_one();
    });
    let aws = Arc::new(Aws::new(&config.variables, &config.plan_queue_url)?);
    let spec = spec::load(config, &*aws)
        .await
        .map_err(|error| say(&error))?;
    let secrets = Secrets::of(&spec, &config.variables).map_err(|error| say(&error))?;
    let log = Log::new(Plain::stdout(), secrets, spec.limits.log_bytes);
    let watch = Watch {
        volume: Volume::new(&config.volume),
        metadata: Metadata::new(&config.metadata_uri),
        log: Arc::new(Mutex::new(log)),
        store: aws.clone(),
        queue: aws,
        peak: Peak::default(),
        patience: RESULT_MAX,
        spec,
    };
    Ok((watch, stop))
}

/// What came of watching.
enum Seen {
    /// `main` is over, or will never start.
    Over(Task, Ending),
    TimedOut(Task),
    /// Told to stop, and `main` did not end.
    NotStopped,
    /// Nothing is known.
    Unseen(String),
}

struct Watch {
    spec: AgentSpec,
    volume: Volume,
    metadata: Metadata,
    log: SharedLog,
    store: Arc<dyn Store>,
    queue: Arc<dyn Queue>,
    peak: Peak,
    /// How long the result is tried to be sent.
    patience: Duration,
}

/// When the agent was asked to stop.
struct Told {
    at: Instant,
    /// Milliseconds since the epoch, as the runtime says when `main` ended.
    ms: u64,
}

impl Told {
    fn now() -> Self {
        Self {
            at: Instant::now(),
            ms: now_ms(),
        }
    }
}

/// What was reported, and when the next report is due.
#[derive(Default)]
struct Reported {
    started: bool,
    alive_ms: u64,
}

impl Watch {
    /// Takes the log of `main`, where the task definition routes it here.
    fn listen(&self, config: &Config) -> Option<Router> {
        match Router::listen(&config.log_socket, self.log.clone()) {
            Ok(router) => Some(router),
            Err(error) => {
                let note = format!(
                    "the log of the task cannot be taken at {}: {error}",
                    config.log_socket.display()
                );
                locked(&self.log).note(LogLevel::Warn, &note);
                None
            }
        }
    }

    async fn until_over(&mut self, stop: &Notify) -> Seen {
        let began = Instant::now();
        let mut told: Option<Told> = None;
        let mut answered = began;
        let mut reported = Reported::default();
        let mut started = false;
        loop {
            match self.look().await {
                Ok(task) => {
                    answered = Instant::now();
                    let main = task.main();
                    started |= main.is_some_and(|main| main.started_ms().is_some());
                    if task.stage_failed() && !started {
                        let ending = Ending::of_stage(self.volume.note());
                        return Seen::Over(task, ending);
                    }
                    if main.is_some_and(super::metadata::Container::is_stopped) {
                        return Seen::Over(task.clone(), self.ending(&task, told.as_ref()));
                    }
                    if self.is_too_late(&task) {
                        return Seen::TimedOut(task);
                    }
                    self.report(&task, &mut reported);
                    if !started && began.elapsed() > START_MAX {
                        return Seen::Unseen("the task's container does not start".to_owned());
                    }
                }
                Err(error) if answered.elapsed() > AWAY_MAX => {
                    return Seen::Unseen(error.to_string());
                }
                Err(_) => {}
            }
            if told
                .as_ref()
                .is_some_and(|told| told.at.elapsed() > STOP_MAX)
            {
                return Seen::NotStopped;
            }
            let soon = began.elapsed() < SOON_FOR || told.is_some();
            tokio::select! {
                () = sleep(if soon { SOON } else { LATER }) => {}
                () = stop.notified() => { told.get_or_insert_with(Told::now); }
            }
        }
    }

    /// Asks for the state, and takes a sample while `main` runs.
    async fn look(&mut self) -> Result<Task, MetadataError> {
        let task = self.metadata.task().await?;
        if let Some(main) = task.main().filter(|main| main.is_running()) {
            // A missing sample is no reason to give up.
            let stats = self.metadata.stats().await.unwrap_or_default();
            if let Some(Some(stats)) = stats.get(&main.docker_id) {
                self.peak.take(stats);
            }
        }
        Ok(task)
    }

    fn ending(&self, task: &Task, told: Option<&Told>) -> Ending {
        // ECS stops `main` before it tells the agent: what failed shortly before was stopped. What had succeeded was not,
        // unless ECS itself says so.
        let done = task.main().filter(|main| main.exit_code == Some(0));
        let done_ms = done.and_then(super::metadata::Container::finished_ms);
        let signalled = told.is_some_and(|told| done_ms.is_none_or(|ended| told.ms <= ended));
        let told = task.was_told_to_stop() || signalled;
        Ending::of(task, told, self.peak.usage(), self.spec.memory_mib)
    }

    fn is_too_late(&self, task: &Task) -> bool {
        let started = task.main().filter(|main| main.is_running());
        let started = started.and_then(super::metadata::Container::started_ms);
        started.is_some_and(|started| now_ms().saturating_sub(started) >= self.spec.timeout_ms)
    }

    /// Says that `main` has started, and then that it is alive, when it is time.
    fn report(&self, task: &Task, reported: &mut Reported) {
        let Some(started_ms) = task
            .main()
            .filter(|main| main.is_running())
            .and_then(super::metadata::Container::started_ms)
        else {
            return;
        };
        let times = self.spec.reports;
        let at_ms = now_ms();
        let due = |since: u64, after: u64| after > 0 && at_ms.saturating_sub(since) >= after;
        if !reported.started && due(started_ms, times.started_after_ms) {
            reported.started = true;
            self.speak(AgentSaid::Started { started_ms });
        }
        if due(reported.alive_ms.max(started_ms), times.heartbeat_ms) {
            reported.alive_ms = at_ms;
            let usage = self.peak.usage();
            self.speak(AgentSaid::Alive { at_ms, usage });
        }
    }

    /// Sends a report beside the watching; it may be lost.
    fn speak(&self, report: AgentSaid) {
        let (queue, attempt) = (self.queue.clone(), self.spec.attempt.clone());
        let log = self.log.clone();
        tokio::spawn(async move {
            if let Err(error) = queue::say(&*queue, &attempt, report, REPORT_MAX).await {
                locked(&log).note(LogLevel::Warn, &format!("a report is lost: {error}"));
            }
        });
    }

    async fn finish(&self, seen: Seen, router: Option<Router>) -> i32 {
        match seen {
            Seen::Over(task, ending) => {
                if let Some(router) = router.filter(|_| ending.exit_code.is_some()) {
                    router.drain().await;
                }
                self.tell(&task, ending).await
            }
            Seen::TimedOut(task) => {
                // No `Done`: `main` still runs. The agent's end makes ECS stop it.
                let ending = Ending::of_timeout(self.spec.timeout_ms);
                self.note(
                    LogLevel::Error,
                    ending.message.as_deref().unwrap_or_default(),
                );
                let finish = self.finisher();
                let result = finish.result(ending, &task, self.peak.usage()).await;
                if let Err(why) = finish.manifest(&result).await {
                    self.note(LogLevel::Warn, &why);
                }
                EXIT_TIMED_OUT
            }
            Seen::NotStopped => EXIT_INTERRUPTED,
            Seen::Unseen(why) => {
                self.note(LogLevel::Error, &why);
                EXIT_CANNOT_WATCH
            }
        }
    }

    const fn finisher(&self) -> Finish<'_> {
        Finish {
            spec: &self.spec,
            volume: &self.volume,
            log: &self.log,
            store: &self.store,
        }
    }

    async fn tell(&self, task: &Task, ending: Ending) -> i32 {
        let finish = self.finisher();
        let result = finish.result(ending, task, self.peak.usage()).await;
        if let Err(why) = finish.manifest(&result).await {
            self.note(LogLevel::Warn, &why);
        }
        match queue::say(
            &*self.queue,
            &self.spec.attempt,
            said(result),
            self.patience,
        )
        .await
        {
            Ok(()) => 0,
            Err(error) => {
                self.note(LogLevel::Error, &format!("the result is not sent: {error}"));
                EXIT_CANNOT_REPORT
            }
        }
    }

    fn note(&self, level: LogLevel, text: &str) {
        locked(&self.log).note(level, text);
    }
}

#[cfg(test)]
mod tests;
