//! Runners, secrets, time.

use async_trait::async_trait;
use operon_core::exec::Truth;

use super::{AttemptId, AttemptResult, AttemptSpec, ExecutionId};

/// Why a runner did not take an attempt.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// The attempt was launched before, by this or another process; its result will come or be probed.
    #[error("the attempt was launched before")]
    AlreadyLaunched,
    /// The attempt was stopped before it was launched and must not start any more.
    #[error("the attempt was stopped before it started")]
    Stopped,
    /// There is no such runner here.
    #[error("{0}")]
    Unavailable(String),
    /// Anything else.
    #[error("the runner failed: {0}")]
    Failed(String),
}

/// Executes attempts.
///
/// Contract, on which invariants 2, 3 and 7 rest: an attempt id is launched at most once, ever, whoever asks;
/// `stop` of an attempt that was never launched makes every later `launch` of it fail with
/// [`RunnerError::Stopped`].
#[async_trait]
pub trait TaskRunner: Send + Sync {
    /// Runs the attempt to its end: stages files, starts, waits, collects. Enforces the timeout.
    async fn run(&self, spec: AttemptSpec) -> Result<AttemptResult, RunnerError>;
    /// Stops it with everything it started; returns when nothing of it is alive.
    async fn stop(&self, id: &AttemptId) -> Result<(), RunnerError>;
    /// What the runtime knows of it.
    async fn probe(&self, id: &AttemptId) -> Result<Truth, RunnerError>;
    /// The execution is over: what its attempts shared may go.
    async fn forget(&self, _id: &ExecutionId) {}
}

/// Why a secret is not there.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No such secret.
    #[error("there is no secret `{name}`; {remedy}")]
    Missing {
        /// Asked for.
        name: String,
        /// What to do.
        remedy: String,
    },
    /// Anything else.
    #[error("reading secrets failed: {0}")]
    Failed(String),
}

/// Where secrets come from.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// The value of a secret in a namespace.
    async fn secret(&self, namespace: &str, name: &str) -> Result<String, SecretError>;
}

/// The time.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
}
