//! One state of everything: the table, the queues, the runtime, and where each function is in its turn.
//!
//! A world is small, without pointers and compared byte by byte; values that do not fit a few bits are
//! numbers given by the [`super::model::Model`].

/// Shards of all executions together at most.
pub(super) const CELLS_MAX: usize = 6;
/// Attempts of all task runs together at most.
pub(super) const TOKENS_MAX: usize = 16;
/// Planners that work at once.
pub(super) const PLANNERS: usize = 2;

/// Faults that may still happen. Each is bounded, because every one of them doubles the worlds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Faults {
    /// A function dies between any two of its actions.
    pub crash: u8,
    /// A message is delivered again after it was deleted.
    pub duplicate: u8,
    /// A message that is being sent, or the report of an attempt that ended, is lost.
    pub lost: u8,
    /// An attempt ends with an exit code other than 0.
    pub failure: u8,
    /// An attempt is taken away by the infrastructure.
    pub infrastructure: u8,
    /// The due time of an attempt, or the deadline of the flow, passes while it runs.
    pub timeout: u8,
    /// A person kills the execution.
    pub kill: u8,
    /// A person restarts the execution after it is over.
    pub restart: u8,
    /// The runtime forgets the client token of an attempt that is over and whose launch is no longer wanted.
    pub expiry: u8,
}

impl Faults {
    /// No fault at all.
    pub const NONE: Self = Self {
        crash: 0,
        duplicate: 0,
        lost: 0,
        failure: 0,
        infrastructure: 0,
        timeout: 0,
        kill: 0,
        restart: 0,
        expiry: 0,
    };

    /// The four faults of the design's own model: crashes, duplicates, losses, failures.
    #[must_use]
    pub const fn of(crash: u8, duplicate: u8, lost: u8, failure: u8) -> Self {
        Self {
            crash,
            duplicate,
            lost,
            failure,
            ..Self::NONE
        }
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = [
            ("crash", self.crash),
            ("dup", self.duplicate),
            ("lost", self.lost),
            ("fail", self.failure),
            ("infra", self.infrastructure),
            ("timeout", self.timeout),
            ("kill", self.kill),
            ("restart", self.restart),
            ("expiry", self.expiry),
        ];
        let mut first = true;
        for (name, count) in named.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, "{}{name} {count}", if first { "" } else { ", " })?;
            first = false;
        }
        if first {
            f.write_str("none")?;
        }
        Ok(())
    }
}

/// Where a function is in its turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    /// Waits for a message.
    #[default]
    Idle,
    /// Planner: has received and read, not written. Launcher: has seen that the launch is still wanted.
    Read,
    /// Planner: has written, sends. Launcher: has stopped the attempt, is to say so.
    Send,
    /// Launcher: is to delete the message.
    Acknowledge,
}

/// A planner: what it works on, what it has read, what it still has to send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Hand {
    pub(super) place: Place,
    pub(super) input: u16,
    pub(super) read: u16,
    pub(super) rest: u16,
}

/// What has become of an attempt, as the runtime knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Fate {
    /// Never heard of.
    #[default]
    Absent,
    Alive,
    Succeeded,
    /// Ended with an exit code.
    Failed,
    /// Taken away by the infrastructure.
    Interrupted,
    /// Stopped, or forbidden to start.
    Stopped,
}

/// One attempt in the runtime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Token {
    pub(super) fate: Fate,
    /// Runtime tasks started for it.
    pub(super) started: u8,
    /// Its client token lives no longer: a further launch starts a further task.
    pub(super) forgotten: bool,
}

/// A set of up to 128 numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bits(pub(super) u128);

impl std::hash::Hash for Bits {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        #[allow(clippy::cast_possible_truncation, reason = "both halves are hashed")]
        state.write_u64(self.0 as u64);
        #[allow(clippy::cast_possible_truncation, reason = "both halves are hashed")]
        state.write_u64((self.0 >> 64) as u64);
    }
}

impl Bits {
    pub(super) fn with(self, number: u16) -> Self {
        assert!(number < 128, "the configuration has too many messages");
        Self(self.0 | 1 << number)
    }

    pub(super) fn without(self, number: u16) -> Self {
        Self(self.0 & !(1 << number))
    }

    pub(super) fn iter(self) -> impl Iterator<Item = u16> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let number = u16::try_from(rest.trailing_zeros()).unwrap_or_default();
            rest &= rest - 1;
            Some(number)
        })
    }
}

/// One state of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct World {
    /// The table: number of the stored shard, by cell.
    pub(super) cells: [u16; CELLS_MAX],
    /// The plan queue: numbers of messages.
    pub(super) plan: Bits,
    /// The launch queue: numbers of work items.
    pub(super) launch: Bits,
    pub(super) runtime: [Token; TOKENS_MAX],
    /// Sorted: planners are alike.
    pub(super) planners: [Hand; PLANNERS],
    pub(super) launcher: Hand,
    /// Number of the stored lock.
    pub(super) lock: u16,
    /// Executions in the queue of the lock, one bit each.
    pub(super) queued: u8,
    /// Executions whose outcome is unknown and whose quarantine has not passed, one bit each.
    pub(super) resting: u8,
    /// What is recorded of the end of each execution, see [`super::model::recorded`].
    pub(super) finished: [u8; 2],
    /// What may still go wrong.
    pub(super) faults: Faults,
}
