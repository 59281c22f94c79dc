//! Which runner takes an attempt.

use async_trait::async_trait;
use operon_core::exec::Truth;
use operon_engine::ports::{
    AttemptId, AttemptResult, AttemptSpec, ExecutionId, RunnerError, TaskRunner,
};

use super::{DockerRunner, Orphan, ProcessRunner};

/// What a person chose (`--runner`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RunnerChoice {
    /// A container where the task names an image, a process otherwise. A task with a
    /// `taskRunner` gets what it says.
    #[default]
    Auto,
    /// Everything as a process of this machine; images are ignored, with a warning in the log.
    Process,
    /// Everything as a container; a task without an image fails.
    Docker,
}

/// Both runners of this machine. Cheap to clone.
#[derive(Clone)]
pub struct RunnerSet {
    choice: RunnerChoice,
    process: ProcessRunner,
    docker: DockerRunner,
}

impl RunnerSet {
    /// Both runners, and which of them is wanted. They must share claims and state directory.
    #[must_use]
    pub const fn new(choice: RunnerChoice, process: ProcessRunner, docker: DockerRunner) -> Self {
        Self {
            choice,
            process,
            docker,
        }
    }

    /// Ends what an earlier engine left running, of both kinds, and finishes its claims. To be called before
    /// anything is launched; the core is to be told that these attempts are gone.
    pub async fn recover_orphans(&self) -> Result<Vec<Orphan>, RunnerError> {
        let mut orphans = self.docker.recover_orphans().await?;
        // Also takes those of which nothing was recorded: no process of them has the marker then, and a
        // container without a record was never started.
        orphans.extend(self.process.recover_orphans().await?);
        Ok(orphans)
    }

    /// Removes all working directories of an execution that is over, shared ones included.
    pub async fn remove_execution(&self, id: &ExecutionId) -> std::io::Result<()> {
        self.process.remove_execution(id).await
    }

    fn uses_docker(&self, spec: &AttemptSpec) -> bool {
        // Of `LocalFiles` nothing is started, so it needs neither an image nor Docker.
        if spec.only_files {
            return false;
        }
        match self.choice {
            RunnerChoice::Process => false,
            RunnerChoice::Docker => true,
            RunnerChoice::Auto => match wanted(spec) {
                Some(docker) => docker,
                None => spec.image.is_some(),
            },
        }
    }
}

/// Whether the task itself asks for Docker (true) or for a process (false).
fn wanted(spec: &AttemptSpec) -> Option<bool> {
    let runner = spec.runner_options.get("taskRunner")?;
    let name = runner
        .get("type")
        .unwrap_or(runner)
        .as_str()?
        .to_lowercase();
    let last = name.rsplit('.').next()?;
    match last {
        "process" => Some(false),
        "docker" => Some(true),
        _ => None,
    }
}

#[async_trait]
impl TaskRunner for RunnerSet {
    async fn run(&self, spec: AttemptSpec) -> Result<AttemptResult, RunnerError> {
        if self.uses_docker(&spec) {
            self.docker.run(spec).await
        } else {
            self.process.run(spec).await
        }
    }

    async fn stop(&self, id: &AttemptId) -> Result<(), RunnerError> {
        // The tombstone is the same for both. Which of them has the attempt is seen from its claim; the one
        // that has not finds nothing to stop.
        if self.docker.holds(id).await? {
            self.docker.stop(id).await
        } else {
            self.process.stop(id).await
        }
    }

    async fn probe(&self, id: &AttemptId) -> Result<Truth, RunnerError> {
        if self.docker.holds(id).await? {
            self.docker.probe(id).await
        } else {
            self.process.probe(id).await
        }
    }

    async fn forget(&self, id: &ExecutionId) {
        if let Err(error) = self.remove_execution(id).await {
            tracing::warn!(execution_id = %id, %error, "working directories were not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::sync::Arc;

    use operon_core::exec::Outcome;
    use serde_json::json;

    use super::*;
    use crate::runner::testing::{ports, shell};
    use crate::runner::{Claims, MemoryClaims, RunnerConfig};

    #[tokio::test]
    async fn the_runner_is_chosen_by_image_task_and_person() {
        let directory = tempfile::tempdir().unwrap();
        let (artifacts, logs) = ports(directory.path());
        let claims: Arc<dyn Claims> = Arc::new(MemoryClaims::default());
        let config = RunnerConfig::new(directory.path());
        let process = ProcessRunner::new(
            config.clone(),
            claims.clone(),
            artifacts.clone(),
            logs.clone(),
        );
        let host = format!("unix://{}/none.sock", directory.path().display());
        let docker = DockerRunner::with_host(config, host, claims, artifacts, logs.clone());
        let set = |choice| RunnerSet::new(choice, process.clone(), docker.clone());

        let plain = shell(1, "true");
        let mut imaged = shell(2, "echo here");
        imaged.image = Some("ghcr.io/example/image:1".to_owned());
        assert!(!set(RunnerChoice::Auto).uses_docker(&plain));
        assert!(set(RunnerChoice::Auto).uses_docker(&imaged));
        assert!(set(RunnerChoice::Docker).uses_docker(&plain));
        let mut files = plain.clone();
        files.only_files = true;
        assert!(!set(RunnerChoice::Docker).uses_docker(&files));
        for runner in [
            json!("process"),
            json!({"type": "io.kestra.plugin.core.runner.Process"}),
        ] {
            let mut told = imaged.clone();
            told.runner_options.insert("taskRunner".to_owned(), runner);
            assert!(!set(RunnerChoice::Auto).uses_docker(&told));
        }

        let set = set(RunnerChoice::Process);
        let result = set.run(imaged.clone()).await.unwrap();
        assert_eq!(result.outcome, Outcome::Success);
        let texts = logs.texts(&imaged.id);
        assert!(texts[0].contains("ghcr.io/example/image:1"), "{texts:?}");
        assert_eq!(texts[1], "here");
        let ended = Truth::Ended(Outcome::Success);
        assert_eq!(set.probe(&imaged.id).await.unwrap(), ended);
        set.stop(&plain.id).await.unwrap();
        assert!(matches!(set.run(plain).await, Err(RunnerError::Stopped)));
        assert!(set.recover_orphans().await.unwrap().is_empty());
    }
}
