//! One container from its image to its removal.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerState, ContainerStatsResponse};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, StatsOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use operon_core::exec::{Outcome, Reason};
use operon_engine::ports::{AttemptResult, AttemptSpec, LogLevel, Usage};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::Shared;
use super::options::{self, Options};
use super::pull::ready;
use super::text::Text;
use crate::runner::claims::ProcessMark;
use crate::runner::directory::{Spares, WorkDir};
use crate::runner::finish::{self, Ending};
use crate::runner::log::{AttemptLog, now_ms};
use crate::runner::process::{signal_name, words};
use crate::runner::stage::{self, For, StageError};

/// Why a container was told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Timeout,
    Stop,
}

/// Runs an attempt. `stop` becomes true when it must end.
pub(super) async fn run(
    shared: &Shared,
    spec: &AttemptSpec,
    log: &mut AttemptLog,
    stop: watch::Receiver<bool>,
) -> AttemptResult {
    let created_ms = now_ms();
    let dir = match WorkDir::create(&shared.config.state_dir, spec, &Spares::default())
        .and_then(|dir| open(&dir).map(|()| dir))
    {
        Ok(dir) => dir,
        Err(error) => {
            let message = format!("the working directory cannot be made: {error}");
            return finish::not_started(created_ms, log, &StageError::launch(message));
        }
    };
    let result = match in_directory(shared, spec, &dir, log, stop).await {
        Ok(result) => finish::provisioned(result, created_ms),
        Err(error) => finish::not_started(created_ms, log, &error),
    };
    if !shared.config.keep_directories {
        dir.remove_async(&Spares::default()).await;
    }
    result
}

/// Lets whichever user an image runs as write there.
fn open(dir: &WorkDir) -> std::io::Result<()> {
    for path in [&dir.path, &dir.control, &dir.temporary(), &dir.output()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
    }
    Ok(())
}

async fn in_directory(
    shared: &Shared,
    spec: &AttemptSpec,
    dir: &WorkDir,
    log: &mut AttemptLog,
    mut stop: watch::Receiver<bool>,
) -> Result<AttemptResult, StageError> {
    let docker = shared
        .docker()
        .await
        .map_err(|error| StageError::launch(error.to_string()))?;
    let options = Options::read(&spec.runner_options)?;
    let image = spec
        .image
        .as_deref()
        .ok_or_else(|| StageError::invalid("the task has no container image"))?;
    tokio::select! {
        ready = ready(shared, docker, spec, image, options.pull, log) => ready?,
        () = stopped(&mut stop) => return Err(not_started_any_more()),
    }
    stage::input_files(
        dir,
        &spec.input_files,
        shared.artifacts.as_ref(),
        For::Container,
    )
    .await?;
    let container = create(shared, docker, image, spec, &options, dir).await?;
    let done = in_container(shared, docker, &container, spec, log, stop).await;
    if let Err(error) = shared.remove(&container).await {
        log.note(LogLevel::Error, &error.to_string());
    }
    let (ending, started_ms, ended_ms) = done?;
    let mut result = finish::collect(spec, dir, log, shared.artifacts.as_ref(), ending).await;
    result.started_ms = started_ms;
    result.ended_ms = ended_ms;
    Ok(result)
}

fn not_started_any_more() -> StageError {
    StageError {
        reason: Reason::Kill,
        message: "stopped before it started".to_owned(),
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn create(
    shared: &Shared,
    docker: &Docker,
    image: &str,
    spec: &AttemptSpec,
    options: &Options,
    dir: &WorkDir,
) -> Result<String, StageError> {
    let named = CreateContainerOptionsBuilder::default()
        .name(&options::name(&shared.engine, spec))
        .build();
    let body = options::body(&shared.engine, image, spec, options, dir);
    let created = docker.create_container(Some(named), body).await;
    let id = created
        .map_err(|error| StageError::launch(format!("the container cannot be made: {error}")))?
        .id;
    let mark = ProcessMark::of_container(id.clone());
    if let Err(error) = shared.claims.record(&spec.id, &mark).await {
        tracing::warn!(attempt = %spec.id, %error, "a container was not recorded");
    }
    Ok(id)
}

/// Starts the container and sees it to its end; gives that, and when it began and ended.
async fn in_container(
    shared: &Shared,
    docker: &Docker,
    container: &str,
    spec: &AttemptSpec,
    log: &mut AttemptLog,
    stop: watch::Receiver<bool>,
) -> Result<(Ending, u64, u64), StageError> {
    if *stop.borrow() {
        return Err(not_started_any_more());
    }
    docker
        .start_container(container, None)
        .await
        .map_err(|error| StageError::launch(format!("the container cannot be started: {error}")))?;
    let started_ms = now_ms();
    let mut watched = Watched {
        docker,
        container,
        grace: shared.config.grace,
        stop,
        usage: Usage::default(),
        cause: None,
    };
    let ended = watched.watch(spec, log).await;
    let ended_ms = now_ms();
    let ending = ending(spec, watched.cause, watched.usage, ended);
    Ok((ending, started_ms, ended_ms))
}

struct Watched<'a> {
    docker: &'a Docker,
    container: &'a str,
    grace: Duration,
    stop: watch::Receiver<bool>,
    usage: Usage,
    cause: Option<Cause>,
}

impl Watched<'_> {
    /// Follows the container to its end; gives its last state.
    async fn watch(
        &mut self,
        spec: &AttemptSpec,
        log: &mut AttemptLog,
    ) -> Result<ContainerState, Error> {
        let mut text = Text::follow(self.docker, self.container, log.line_bytes());
        let sampling = StatsOptionsBuilder::default().stream(true).build();
        let mut samples = std::pin::pin!(self.docker.stats(self.container, Some(sampling)).fuse());
        let (docker, container) = (self.docker, self.container);
        let mut end = std::pin::pin!(ended(docker, container));
        let longest = Duration::from_hours(30 * 365 * 24);
        let mut timer = std::pin::pin!(sleep_until(Instant::now() + spec.timeout.min(longest)));
        let state = loop {
            tokio::select! {
                state = &mut end => break state,
                () = text.next(log) => {}
                Some(sample) = samples.next() => self.sample(sample),
                () = stopped(&mut self.stop), if self.cause.is_none() => {
                    self.ask(Cause::Stop).await;
                    timer.as_mut().reset(Instant::now() + self.grace);
                }
                () = timer.as_mut() => {
                    if self.cause.is_none() {
                        self.ask(Cause::Timeout).await;
                        timer.as_mut().reset(Instant::now() + self.grace);
                    } else {
                        self.signal("SIGKILL").await;
                        timer.as_mut().reset(Instant::now() + self.grace);
                    }
                }
            }
        };
        text.complete(log).await;
        state
    }

    async fn ask(&mut self, cause: Cause) {
        self.cause = Some(cause);
        self.signal("SIGTERM").await;
    }

    async fn signal(&self, signal: &str) {
        let options = KillContainerOptionsBuilder::default()
            .signal(signal)
            .build();
        // It may have ended just now.
        if let Err(error) = self
            .docker
            .kill_container(self.container, Some(options))
            .await
        {
            tracing::debug!(container = self.container, %error, "a container was not signalled");
        }
    }

    fn sample(&mut self, sample: Result<ContainerStatsResponse, Error>) {
        let Ok(sample) = sample else { return };
        if let Some(memory) = sample.memory_stats {
            // The page cache counts as usage, but it is not what a limit must hold.
            let cache = memory
                .stats
                .as_ref()
                .and_then(|stats| stats.get("inactive_file"));
            let used = memory.usage.unwrap_or(0);
            let used = used.saturating_sub(cache.copied().unwrap_or(0));
            self.usage.peak_rss_bytes = self.usage.peak_rss_bytes.max(used);
        }
        let cpu = sample.cpu_stats.and_then(|stats| stats.cpu_usage);
        if let Some(nanoseconds) = cpu.and_then(|usage| usage.total_usage) {
            let seconds = Duration::from_nanos(nanoseconds).as_secs_f64();
            self.usage.cpu_seconds = self.usage.cpu_seconds.max(seconds);
        }
    }
}

/// Returns the state of a container that runs no more. The engine's own wait may be cut off.
async fn ended(docker: &Docker, container: &str) -> Result<ContainerState, Error> {
    loop {
        let options = WaitContainerOptionsBuilder::default()
            .condition("not-running")
            .build();
        let mut wait = std::pin::pin!(docker.wait_container(container, Some(options)));
        // Its error is how an exit code other than 0 comes; the state tells all.
        let _ = wait.next().await;
        let state = docker.inspect_container(container, None).await?.state;
        match state {
            Some(state) if state.running != Some(true) => return Ok(state),
            Some(_) | None => sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Puts the last state of a container into the words of the core.
fn ending(
    spec: &AttemptSpec,
    cause: Option<Cause>,
    usage: Usage,
    ended: Result<ContainerState, Error>,
) -> Ending {
    let (exit_code, oom) = match ended {
        Ok(state) => (
            state.exit_code.and_then(|code| i32::try_from(code).ok()),
            state.oom_killed == Some(true),
        ),
        Err(error) => {
            return Ending {
                outcome: Outcome::Failed(Reason::Lost),
                message: Some(format!("the container is lost: {error}")),
                exit_code: None,
                usage,
            };
        }
    };
    let failed = |reason, message: String| (Outcome::Failed(reason), Some(message));
    let (outcome, message) = match (cause, exit_code) {
        (Some(Cause::Stop), _) => failed(Reason::Kill, "stopped".to_owned()),
        (Some(Cause::Timeout), _) => failed(
            Reason::Timeout,
            format!("took longer than its timeout of {}", words(spec.timeout)),
        ),
        (None, Some(0)) => (Outcome::Success, None),
        (None, _) if oom => failed(
            Reason::OutOfMemory,
            format!(
                "the container exceeded its {} MiB of memory; raise `resources.memory`",
                spec.resources.memory_mib
            ),
        ),
        (None, Some(code @ 129..=192)) => failed(
            Reason::ExitCode,
            format!("the container was ended by {}", signal_name(code - 128)),
        ),
        (None, Some(code)) => failed(
            Reason::ExitCode,
            format!("the container ended with exit code {code}"),
        ),
        (None, None) => failed(
            Reason::Lost,
            "the container ended in an unknown way".to_owned(),
        ),
    };
    Ending {
        outcome,
        message,
        exit_code,
        usage,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::runner::testing::spec;

    fn outcome(cause: Option<Cause>, code: i64, oom: bool) -> (Outcome, String) {
        let state = ContainerState {
            exit_code: Some(code),
            oom_killed: Some(oom),
            ..ContainerState::default()
        };
        let ending = ending(&spec(1, &[]), cause, Usage::default(), Ok(state));
        (ending.outcome, ending.message.unwrap_or_default())
    }

    #[test]
    fn states_become_reasons() {
        let failed = Outcome::Failed;
        assert_eq!(outcome(None, 0, false).0, Outcome::Success);
        assert_eq!(outcome(None, 3, false).0, failed(Reason::ExitCode));
        assert_eq!(outcome(None, 137, true).0, failed(Reason::OutOfMemory));
        // Some other process of the container was killed for want of memory, and the task coped.
        assert_eq!(outcome(None, 0, true).0, Outcome::Success);
        let (killed, message) = outcome(None, 137, false);
        assert_eq!(killed, failed(Reason::ExitCode));
        assert!(message.contains("signal 9"), "{message}");
        let cause = Some(Cause::Timeout);
        assert_eq!(outcome(cause, 143, false).0, failed(Reason::Timeout));
        assert_eq!(outcome(Some(Cause::Stop), 0, false).0, failed(Reason::Kill));
    }
}
