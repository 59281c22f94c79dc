//! What the cloud in memory can be without, so that a test can show what it is there for.

use operon_engine::ports::{QueueName, TaskView};
use operon_engine::wire::{self, LaunchMessage};

/// Defences that live at the borders; each can be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Defences {
    /// A message is deleted only after it was handled.
    pub acknowledge_last: bool,
    /// ECS starts one task per token.
    pub tokens: bool,
    /// ECS tells of ends by itself, and somebody listens.
    pub watcher: bool,
    /// Somebody asks about what is due.
    pub reconciler: bool,
    /// Groups share a queue fairly.
    pub fair: bool,
    /// What is given up is taken out of the dead-letter queue.
    pub dead_letters: bool,
    /// ECS is asked about attempts of which nothing is heard.
    pub asks: bool,
    /// It is counted how often ECS knew nothing of an attempt.
    pub counts_misses: bool,
    /// Only what says so is a success; otherwise so is every end without a bad exit code.
    pub evidence: bool,
    /// Errors of ECS are read, not only their codes.
    pub texts: bool,
    /// A message that comes again is acknowledged.
    pub repeats: bool,
}

impl Default for Defences {
    fn default() -> Self {
        Self {
            acknowledge_last: true,
            tokens: true,
            watcher: true,
            reconciler: true,
            fair: true,
            dead_letters: true,
            asks: true,
            counts_misses: true,
            evidence: true,
            texts: true,
            repeats: true,
        }
    }
}

impl Defences {
    /// A message as it reaches its function.
    pub(super) fn deliver(&self, queue: QueueName, body: &str) -> String {
        let probe = match wire::decode(body) {
            Ok(LaunchMessage::Probe {
                id, launched_ms, ..
            }) if queue == QueueName::Launch && !self.counts_misses => LaunchMessage::Probe {
                id,
                launched_ms,
                missed: 0,
            },
            _ => return body.to_owned(),
        };
        wire::encode(&probe).unwrap_or_else(|_| body.to_owned())
    }
}

/// Whether a message of the launch queue asks ECS about an attempt.
pub(super) fn asks(body: &str) -> bool {
    matches!(wire::decode(body), Ok(LaunchMessage::Probe { .. }))
}

/// How trackers were deceived (E5): stopped, and no container has a bad exit code.
pub(super) fn looks_well(task: &TaskView) -> bool {
    let mut codes = task.containers.iter().filter_map(|one| one.exit_code);
    task.is_stopped() && codes.all(|code| code == 0)
}
