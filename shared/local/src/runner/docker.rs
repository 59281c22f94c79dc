//! Runs attempts as containers of a Docker engine, or of podman through the same interface.
//!
//! Invariant: before anything starts, the attempt is claimed durably, and its container has a name that
//! derives from the attempt; a second launch is refused by both.
//! Invariant: an attempt is over only when its container is removed, and with it everything in it.

mod attempt;
mod options;
mod pull;
mod text;

use std::env;
use std::sync::Arc;

use async_trait::async_trait;
use bollard::Docker;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use operon_core::exec::Truth;
use operon_engine::ports::{
    ArtifactStore, AttemptId, AttemptResult, AttemptSpec, LogSink, RunnerError, TaskRunner,
};
use tokio::sync::OnceCell;

use super::claims::{Claim, Claims, ProcessMark};
use super::in_hand::InHand;
use super::log::AttemptLog;
use super::mask::Mask;
use super::process::store_failed;
use super::{Orphan, RunnerConfig};
use options::{LABEL_ATTEMPT_ID, LABEL_ENGINE};

/// Where the engine is expected when `DOCKER_HOST` does not say.
const SOCKET: &str = "unix:///var/run/docker.sock";

/// Runs attempts as containers; see the module. Cheap to clone; connects when it is first needed.
#[derive(Clone)]
pub struct DockerRunner {
    shared: Arc<Shared>,
}

struct Shared {
    config: RunnerConfig,
    engine: String,
    host: String,
    docker: OnceCell<Docker>,
    claims: Arc<dyn Claims>,
    artifacts: Arc<dyn ArtifactStore>,
    logs: Arc<dyn LogSink>,
    in_hand: Arc<InHand>,
}

impl Shared {
    /// The engine, once it has answered.
    async fn docker(&self) -> Result<&Docker, RunnerError> {
        self.docker.get_or_try_init(|| connect(&self.host)).await
    }

    /// Removes a container with all that runs in it; true when there was one and it ran.
    async fn remove(&self, container: &str) -> Result<bool, RunnerError> {
        let docker = self.docker().await?;
        let failed = |error: bollard::errors::Error| {
            RunnerError::Failed(format!("container {container}: {error}"))
        };
        let running = match docker.inspect_container(container, None).await {
            Ok(found) => found.state.and_then(|state| state.running) == Some(true),
            Err(error) if is_absent(&error) => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        let force = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        match docker.remove_container(container, Some(force)).await {
            Ok(()) => {}
            Err(error) if is_absent(&error) || is_conflict(&error) => {}
            Err(error) => return Err(failed(error)),
        }
        for _ in 0..100 {
            match docker.inspect_container(container, None).await {
                Err(error) if is_absent(&error) => return Ok(running),
                Ok(_) | Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            }
        }
        Err(RunnerError::Failed(format!(
            "container {container} is still there 10 s after its removal"
        )))
    }

    /// Containers that this engine, or one before it, started: id and attempt.
    async fn containers(&self) -> Result<Vec<(String, String)>, RunnerError> {
        let docker = self.docker().await?;
        let label = format!("{LABEL_ENGINE}={}", self.engine);
        let filters = std::collections::HashMap::from([("label".to_owned(), vec![label])]);
        let all = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let found = docker
            .list_containers(Some(all))
            .await
            .map_err(|error| RunnerError::Failed(format!("listing containers: {error}")))?;
        let pairs = found.into_iter().filter_map(|container| {
            let attempt = container.labels?.remove(LABEL_ATTEMPT_ID)?;
            Some((container.id?, attempt))
        });
        Ok(pairs.collect())
    }
}

/// Connects, and asks which version of the interface the engine speaks.
async fn connect(host: &str) -> Result<Docker, RunnerError> {
    let unavailable = |why: String| {
        RunnerError::Unavailable(format!(
            "no container engine answers at {host} ({why}); start Docker, or podman with `podman system service`, or name its socket in DOCKER_HOST, or run with `--runner process`"
        ))
    };
    if !host.starts_with("unix://") {
        return Err(RunnerError::Unavailable(format!(
            "DOCKER_HOST is {host}, and only engines on this machine can be used, because they must see the working directories; name a `unix://` socket"
        )));
    }
    let docker = Docker::connect_with_host(host).map_err(|error| unavailable(error.to_string()))?;
    let negotiated = docker.negotiate_version().await;
    negotiated.map_err(|error| unavailable(error.to_string()))
}

const fn status(error: &bollard::errors::Error) -> Option<u16> {
    if let bollard::errors::Error::DockerResponseServerError { status_code, .. } = error {
        Some(*status_code)
    } else {
        None
    }
}

fn is_absent(error: &bollard::errors::Error) -> bool {
    status(error) == Some(404)
}

/// Something else is removing it, or it has this name already.
fn is_conflict(error: &bollard::errors::Error) -> bool {
    status(error) == Some(409)
}

impl DockerRunner {
    /// A runner over the state directory of this engine. The socket is that of `DOCKER_HOST`, or Docker's
    /// default.
    #[must_use]
    pub fn new(
        config: RunnerConfig,
        claims: Arc<dyn Claims>,
        artifacts: Arc<dyn ArtifactStore>,
        logs: Arc<dyn LogSink>,
    ) -> Self {
        let host = env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        Self::with_host(
            config,
            host.unwrap_or_else(|| SOCKET.to_owned()),
            claims,
            artifacts,
            logs,
        )
    }

    /// [`DockerRunner::new`] with the socket given, as in `DOCKER_HOST`.
    #[must_use]
    pub fn with_host(
        config: RunnerConfig,
        host: String,
        claims: Arc<dyn Claims>,
        artifacts: Arc<dyn ArtifactStore>,
        logs: Arc<dyn LogSink>,
    ) -> Self {
        let config = config.absolute();
        let shared = Shared {
            engine: config.engine(),
            config,
            host,
            docker: OnceCell::new(),
            claims,
            artifacts,
            logs,
            in_hand: Arc::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Fails with a remedy unless an engine answers.
    pub async fn check(&self) -> Result<(), RunnerError> {
        self.shared.docker().await.map(|_| ())
    }

    /// Whether the attempt is a container, as far as is known.
    pub(super) async fn holds(&self, id: &AttemptId) -> Result<bool, RunnerError> {
        if self.shared.in_hand.truth(id).is_some() {
            return Ok(true);
        }
        let claim = self.shared.claims.look(id).await.map_err(store_failed)?;
        Ok(claim.mark.is_some_and(|mark| mark.is_container()))
    }

    /// Removes what an earlier engine left behind, and finishes its claims. To be called at the start. Does
    /// not need an engine when there is nothing to recover.
    pub async fn recover_orphans(&self) -> Result<Vec<Orphan>, RunnerError> {
        let shared = &self.shared;
        let live = shared.claims.live().await.map_err(store_failed)?;
        let ours = shared.in_hand.ids();
        let lost: Vec<_> = live
            .into_iter()
            .filter(|(id, _)| !ours.contains(id))
            .filter_map(|(id, mark)| Some((id, mark.filter(ProcessMark::is_container)?)))
            .collect();
        let mut orphans = Vec::new();
        for (id, mark) in lost {
            let was_alive = shared.remove(&mark.boot).await?;
            shared.claims.finish(&id).await.map_err(store_failed)?;
            orphans.push(Orphan { id, was_alive });
        }
        Ok(orphans)
    }

    /// Removes every container of this state directory that no attempt in hand owns; gives their number.
    /// Also finds those whose engine died before it could note them.
    pub async fn remove_strays(&self) -> Result<usize, RunnerError> {
        let ours = self.shared.in_hand.ids();
        let ours: Vec<String> = ours.iter().map(ToString::to_string).collect();
        let mut removed = 0;
        for (container, attempt) in self.shared.containers().await? {
            if !ours.contains(&attempt) {
                self.shared.remove(&container).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

#[async_trait]
impl TaskRunner for DockerRunner {
    async fn run(&self, spec: AttemptSpec) -> Result<AttemptResult, RunnerError> {
        let shared = self.shared.clone();
        // Before the claim: an engine that does not answer has launched nothing.
        shared.docker().await?;
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
        let watched = tokio::spawn(async move {
            let mask = Mask::new(&spec.secrets);
            let max = shared.config.log_bytes_max;
            let mut log = AttemptLog::new(shared.logs.clone(), spec.id.clone(), mask, max);
            let result = attempt::run(&shared, &spec, &mut log, stop).await;
            log.end();
            if let Err(error) = shared.claims.finish(&spec.id).await {
                tracing::warn!(attempt = %spec.id, %error, "the end of an attempt was not recorded");
            }
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
        if self.shared.in_hand.stop(id).await || !claim.is_live() {
            return Ok(());
        }
        let wanted = id.to_string();
        for (container, attempt) in self.shared.containers().await? {
            if attempt == wanted {
                self.shared.remove(&container).await?;
            }
        }
        self.shared.claims.finish(id).await.map_err(store_failed)
    }

    async fn probe(&self, id: &AttemptId) -> Result<Truth, RunnerError> {
        if let Some(truth) = self.shared.in_hand.truth(id) {
            return Ok(truth);
        }
        let claim = self.shared.claims.look(id).await.map_err(store_failed)?;
        if !claim.launched {
            return Ok(Truth::Absent);
        }
        let Some(mark) = claim.mark.filter(|_| !claim.finished) else {
            return Ok(Truth::Gone);
        };
        let docker = self.shared.docker().await?;
        match docker.inspect_container(&mark.boot, None).await {
            Ok(found) => {
                let running = found.state.and_then(|state| state.running);
                Ok(if running == Some(true) {
                    Truth::Alive
                } else {
                    Truth::Gone
                })
            }
            Err(error) if is_absent(&error) => Ok(Truth::Gone),
            Err(error) => Err(RunnerError::Failed(format!(
                "container {}: {error}",
                mark.boot
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::runner::MemoryClaims;
    use crate::runner::testing::{ports, shell};

    #[tokio::test]
    async fn without_an_engine_the_error_says_what_to_do_and_nothing_is_claimed() {
        let directory = tempfile::tempdir().unwrap();
        for (host, words) in [
            (
                format!("unix://{}/none.sock", directory.path().display()),
                "--runner process",
            ),
            ("tcp://10.0.0.1:2375".to_owned(), "unix://"),
        ] {
            let (artifacts, logs) = ports(directory.path());
            let claims: Arc<MemoryClaims> = Arc::default();
            let config = RunnerConfig::new(directory.path());
            let runner =
                DockerRunner::with_host(config, host.clone(), claims.clone(), artifacts, logs);
            let spec = shell(1, "true");
            let id = spec.id.clone();
            let error = runner.run(spec).await.unwrap_err();
            assert!(matches!(error, RunnerError::Unavailable(_)), "{error:?}");
            let message = error.to_string();
            assert!(
                message.contains(&host) && message.contains(words),
                "{message}"
            );
            assert!(!claims.look(&id).await.unwrap().launched);
            assert!(runner.recover_orphans().await.unwrap().is_empty());
            assert_eq!(runner.probe(&id).await.unwrap(), Truth::Absent);
        }
    }
}
