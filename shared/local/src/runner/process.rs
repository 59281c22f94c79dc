//! Runs attempts as processes of this machine.
//!
//! Invariant: before anything starts, the attempt is claimed durably; a second launch is refused.
//! Invariant: an attempt is over only when its process group and every marked descendant are gone.
//! Invariant: nothing of an attempt outlives the engine's next start ([`ProcessRunner::recover_orphans`]).

mod attempt;
mod child;
mod system;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use operon_core::exec::{Outcome, Truth};
use operon_engine::ports::{
    ArtifactStore, AttemptId, AttemptResult, AttemptSpec, ExecutionId, LogSink, RunnerError,
    StoreError, TaskRunner,
};
use tokio::sync::watch;

use super::claims::{Claim, Claims, ProcessMark};
use super::directory::{WorkDir, execution_directory, short_hash};
use super::log::AttemptLog;
use super::mask::Mask;

/// Outcomes remembered for [`TaskRunner::probe`]: a probe may overtake the result.
const RECENT_MAX: usize = 10_000;

/// How processes are run.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// Working directories are made in `work/` there.
    pub state_dir: PathBuf,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How long a pipe may stay open after the main process has ended.
    pub linger: Duration,
    /// Bytes of log kept of one attempt.
    pub log_bytes_max: u64,
    /// Leaves working directories behind, for debugging.
    pub keep_directories: bool,
    /// Waits by process descriptors where the system has them; otherwise by a thread for each process.
    pub use_descriptors: bool,
}

impl ProcessConfig {
    /// The defaults, for a state directory.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            grace: Duration::from_secs(10),
            linger: Duration::from_secs(1),
            log_bytes_max: 1 << 30,
            keep_directories: false,
            use_descriptors: true,
        }
    }
}

/// What an engine of the past left running, now ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Claimed and never finished.
    pub id: AttemptId,
    /// Whether something of it was still alive.
    pub was_alive: bool,
}

/// Runs attempts as processes; see the module. Cheap to clone.
#[derive(Clone)]
pub struct ProcessRunner {
    shared: Arc<Shared>,
}

/// What all attempts share.
struct Shared {
    config: ProcessConfig,
    /// Distinguishes markers of different state directories.
    engine: String,
    boot: String,
    claims: Arc<dyn Claims>,
    artifacts: Arc<dyn ArtifactStore>,
    logs: Arc<dyn LogSink>,
    table: Mutex<Table>,
    memory: system::MemoryWatch,
}

#[derive(Default)]
struct Table {
    running: HashMap<AttemptId, Arc<Running>>,
    recent: HashMap<AttemptId, Outcome>,
    recent_order: VecDeque<AttemptId>,
}

/// One attempt that this engine is busy with.
struct Running {
    stop: watch::Sender<bool>,
    done: watch::Sender<bool>,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn marker(&self, id: &AttemptId) -> String {
        format!("{}/{id}", self.engine)
    }

    /// Enters the attempt, before its claim: a stop that comes in between finds it.
    fn enter(&self, id: &AttemptId) -> Option<watch::Receiver<bool>> {
        let mut table = self.table();
        if table.running.contains_key(id) {
            return None;
        }
        let (stop, stopped) = watch::channel(false);
        let running = Running {
            stop,
            done: watch::channel(false).0,
        };
        table.running.insert(id.clone(), Arc::new(running));
        Some(stopped)
    }

    fn leave(&self, id: &AttemptId, outcome: Option<Outcome>) {
        let mut table = self.table();
        if let Some(outcome) = outcome
            && table.recent.insert(id.clone(), outcome).is_none()
        {
            table.recent_order.push_back(id.clone());
            if table.recent_order.len() > RECENT_MAX
                && let Some(oldest) = table.recent_order.pop_front()
            {
                table.recent.remove(&oldest);
            }
        }
        if let Some(running) = table.running.remove(id) {
            running.done.send_replace(true);
        }
    }

    /// Runs a claimed attempt to its end.
    async fn run(&self, spec: &AttemptSpec, stop: watch::Receiver<bool>) -> AttemptResult {
        let mask = Mask::new(&spec.secrets);
        let max = self.config.log_bytes_max;
        let mut log = AttemptLog::new(self.logs.clone(), spec.id.clone(), mask, max);
        let result = attempt::run(self, spec, &mut log, stop).await;
        log.end();
        if let Err(error) = self.claims.finish(&spec.id).await {
            // Recovery finds nothing alive and finishes the claim then.
            tracing::warn!(attempt = %spec.id, %error, "the end of an attempt was not recorded");
        }
        result
    }
}

/// Takes an attempt out of the table whatever happens to the task that runs it.
struct Leave {
    shared: Arc<Shared>,
    id: AttemptId,
    outcome: Option<Outcome>,
}

impl Leave {
    /// Also has the whole of it captured by the task that runs the attempt.
    const fn ended(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.shared.leave(&self.id, self.outcome);
    }
}

#[allow(clippy::needless_pass_by_value, reason = "shaped for `map_err`")]
fn store_failed(error: StoreError) -> RunnerError {
    RunnerError::Failed(format!("the claim of the attempt: {error}"))
}

impl ProcessRunner {
    /// A runner over the state directory of this engine, which must be the only one that uses it.
    #[must_use]
    pub fn new(
        config: ProcessConfig,
        claims: Arc<dyn Claims>,
        artifacts: Arc<dyn ArtifactStore>,
        logs: Arc<dyn LogSink>,
    ) -> Self {
        system::become_subreaper();
        // A task changes its directory: paths it is told must be absolute.
        let state_dir = std::path::absolute(&config.state_dir).unwrap_or(config.state_dir);
        let engine = short_hash(&state_dir.to_string_lossy());
        let shared = Shared {
            config: ProcessConfig {
                state_dir,
                ..config
            },
            engine,
            boot: system::boot_id(),
            claims,
            artifacts,
            logs,
            table: Mutex::default(),
            memory: system::MemoryWatch::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// `{{ workingDir }}` of an attempt, before it runs.
    #[must_use]
    pub fn working_directory(&self, id: &AttemptId, name: &str, shared: Option<&str>) -> PathBuf {
        WorkDir::of(&self.shared.config.state_dir, id, name, shared).path
    }

    /// Removes all working directories of an execution that is over, shared ones included.
    pub async fn remove_execution(&self, id: &ExecutionId) -> std::io::Result<()> {
        let path = execution_directory(&self.shared.config.state_dir, id);
        super::stage::blocking(move || super::directory::remove(&path)).await
    }

    /// Ends what an earlier engine left running, and finishes its claims. To be called at the start, before
    /// anything is launched. The core is to be told that these attempts are gone.
    pub async fn recover_orphans(&self) -> Result<Vec<Orphan>, RunnerError> {
        let shared = &self.shared;
        let live = shared.claims.live().await.map_err(store_failed)?;
        let ours: HashSet<AttemptId> = shared.table().running.keys().cloned().collect();
        let mut orphans = Vec::new();
        for (id, mark) in live {
            if mark.as_ref().is_some_and(ProcessMark::is_container) || ours.contains(&id) {
                continue;
            }
            let was_alive = self.end_orphan(&id, mark.as_ref()).await?;
            shared.claims.finish(&id).await.map_err(store_failed)?;
            orphans.push(Orphan { id, was_alive });
        }
        Ok(orphans)
    }

    /// Ends an attempt that no task of this engine watches; true when something of it was alive.
    async fn end_orphan(
        &self,
        id: &AttemptId,
        mark: Option<&ProcessMark>,
    ) -> Result<bool, RunnerError> {
        let failed = |error: std::io::Error| RunnerError::Failed(format!("attempt {id}: {error}"));
        let mut was_alive = false;
        if let Some(mark) = mark
            && system::is_alive(mark, &self.shared.boot)
            && let Some(group) = system::pid_of(mark.pid)
        {
            was_alive = true;
            system::end_group(group).await.map_err(failed)?;
        }
        let marker = self.shared.marker(id);
        was_alive |= system::end_marked(&marker).await.map_err(failed)?;
        Ok(was_alive)
    }
}

#[async_trait]
impl TaskRunner for ProcessRunner {
    async fn run(&self, spec: AttemptSpec) -> Result<AttemptResult, RunnerError> {
        let shared = self.shared.clone();
        let Some(stop) = shared.enter(&spec.id) else {
            return Err(RunnerError::AlreadyLaunched);
        };
        let mut leave = Leave {
            shared: shared.clone(),
            id: spec.id.clone(),
            outcome: None,
        };
        match shared.claims.claim(&spec.id).await.map_err(store_failed)? {
            Claim::New => {}
            Claim::Launched(_) => return Err(RunnerError::AlreadyLaunched),
            Claim::Stopped => return Err(RunnerError::Stopped),
        }
        // Its own task: a caller that goes away does not leave a process without a guard.
        let watched = tokio::spawn(async move {
            let result = shared.run(&spec, stop).await;
            leave.ended(result.outcome);
            result
        });
        watched
            .await
            .map_err(|error| RunnerError::Failed(format!("the attempt was not watched: {error}")))
    }

    async fn stop(&self, id: &AttemptId) -> Result<(), RunnerError> {
        let claim = self
            .shared
            .claims
            .tombstone(id)
            .await
            .map_err(store_failed)?;
        let running = self.shared.table().running.get(id).cloned();
        if let Some(running) = running {
            let mut done = running.done.subscribe();
            running.stop.send_replace(true);
            // An error means that the sender is gone, which is the end as well.
            let _ = done.wait_for(|done| *done).await;
            return Ok(());
        }
        if claim.is_live() {
            self.end_orphan(id, claim.mark.as_ref()).await?;
            self.shared.claims.finish(id).await.map_err(store_failed)?;
        }
        Ok(())
    }

    async fn probe(&self, id: &AttemptId) -> Result<Truth, RunnerError> {
        {
            let table = self.shared.table();
            if table.running.contains_key(id) {
                return Ok(Truth::Alive);
            }
            if let Some(outcome) = table.recent.get(id) {
                return Ok(Truth::Ended(*outcome));
            }
        }
        let claim = self.shared.claims.look(id).await.map_err(store_failed)?;
        let alive = || {
            let mark = claim.mark.as_ref();
            mark.is_some_and(|mark| system::is_alive(mark, &self.shared.boot))
        };
        Ok(if !claim.launched {
            Truth::Absent
        } else if claim.is_live() && alive() {
            Truth::Alive
        } else {
            Truth::Gone
        })
    }
}
