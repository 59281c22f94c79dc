//! Runs attempts as processes of this machine.
//!
//! Invariant: before anything starts, the attempt is claimed durably; a second launch is refused.
//! Invariant: an attempt is over only when its process group and every marked descendant are gone.
//! Invariant: nothing of an attempt outlives the engine's next start ([`ProcessRunner::recover_orphans`]).

mod attempt;
mod child;
mod files;
pub(super) mod system;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use operon_core::exec::Truth;
use operon_engine::ports::{
    ArtifactStore, AttemptId, AttemptResult, AttemptSpec, ExecutionId, LogSink, RunnerError,
    StoreError, TaskRunner,
};
use tokio::sync::watch;

use super::claims::{Claim, Claims, ProcessMark};
use super::directory::{Spares, WorkDir, execution_directory};
use super::in_hand::InHand;
use super::log::AttemptLog;
use super::mask::Mask;
use super::{Orphan, RunnerConfig};

pub(super) use attempt::{signal_name, words};
pub(super) use system::boot_id;

/// Runs attempts as processes; see the module. Cheap to clone.
#[derive(Clone)]
pub struct ProcessRunner {
    shared: Arc<Shared>,
}

/// What all attempts share.
struct Shared {
    config: RunnerConfig,
    /// Distinguishes markers of different state directories.
    engine: String,
    boot: &'static str,
    claims: Arc<dyn Claims>,
    artifacts: Arc<dyn ArtifactStore>,
    logs: Arc<dyn LogSink>,
    in_hand: Arc<InHand>,
    spares: Spares,
    memory: system::MemoryWatch,
}

impl Shared {
    fn marker(&self, id: &AttemptId) -> String {
        format!("{}/{id}", self.engine)
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

#[allow(clippy::needless_pass_by_value, reason = "shaped for `map_err`")]
pub(super) fn store_failed(error: StoreError) -> RunnerError {
    RunnerError::Failed(format!("the claim of the attempt: {error}"))
}

impl ProcessRunner {
    /// A runner over the state directory of this engine, which must be the only one that uses it.
    #[must_use]
    pub fn new(
        config: RunnerConfig,
        claims: Arc<dyn Claims>,
        artifacts: Arc<dyn ArtifactStore>,
        logs: Arc<dyn LogSink>,
    ) -> Self {
        system::become_subreaper();
        let config = config.absolute();
        let shared = Shared {
            engine: config.engine(),
            config,
            boot: boot_id(),
            claims,
            artifacts,
            logs,
            in_hand: Arc::default(),
            spares: Spares::default(),
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
        let ours = shared.in_hand.ids();
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
            && system::is_alive(mark, self.shared.boot)
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
        let Some((mut held, stop)) = shared.in_hand.enter(&spec.id) else {
            return Err(RunnerError::AlreadyLaunched);
        };
        let claim = if spec.idempotent {
            shared.claims.claim_briefly(&spec.id).await
        } else {
            shared.claims.claim(&spec.id).await
        };
        match claim.map_err(store_failed)? {
            Claim::New => {}
            Claim::Launched(_) => return Err(RunnerError::AlreadyLaunched),
            Claim::Stopped => return Err(RunnerError::Stopped),
        }
        // Its own task: a caller that goes away does not leave a process without a guard.
        let watched = tokio::spawn(async move {
            let result = shared.run(&spec, stop).await;
            held.ended(result.outcome);
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
        if self.shared.in_hand.stop(id).await {
            return Ok(());
        }
        if claim.is_live() {
            self.end_orphan(id, claim.mark.as_ref()).await?;
            self.shared.claims.finish(id).await.map_err(store_failed)?;
        }
        Ok(())
    }

    async fn probe(&self, id: &AttemptId) -> Result<Truth, RunnerError> {
        if let Some(truth) = self.shared.in_hand.truth(id) {
            return Ok(truth);
        }
        let claim = self.shared.claims.look(id).await.map_err(store_failed)?;
        let alive = || {
            let mark = claim.mark.as_ref();
            mark.is_some_and(|mark| system::is_alive(mark, self.shared.boot))
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
