//! Runs attempts: as processes of this machine, or as containers.
//!
//! Both runners share how files come in ([`ports::InputFile`](operon_engine::ports::InputFile)), how values
//! and files go out, how logs are numbered and secrets hidden, and how an attempt is claimed.

mod claims;
mod claims_store;
mod collect;
mod directory;
mod docker;
mod finish;
mod in_hand;
mod log;
mod mask;
mod process;
mod set;
mod stage;
#[cfg(test)]
pub(crate) mod testing;

pub use claims::{Claim, ClaimRow, Claims, MemoryClaims, ProcessMark};
pub use docker::DockerRunner;
pub use process::ProcessRunner;
pub use set::{RunnerChoice, RunnerSet};

use std::path::PathBuf;
use std::time::Duration;

use operon_engine::ports::AttemptId;

/// How attempts are run.
#[derive(Debug, Clone)]
pub struct RunnerConfig {
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

impl RunnerConfig {
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

    /// The same with an absolute path: attempts have directories of their own.
    fn absolute(mut self) -> Self {
        if let Ok(path) = std::path::absolute(&self.state_dir) {
            self.state_dir = path;
        }
        self
    }

    /// Distinguishes what engines with different state directories start.
    fn engine(&self) -> String {
        directory::short_hash(&self.state_dir.to_string_lossy())
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
