//! What reaches a shard, and what it calls for.

use serde::{Deserialize, Serialize};

use super::{Reason, Seen, State, Time};
use crate::plan::{NodeIndex, ShardId};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Did what it should.
    Success,
    /// Did, with something to look at.
    Warning,
    /// Did not.
    Failed(Reason),
}

impl Outcome {
    /// Whether the attempt may have done all, some or nothing of its work: also when it was stopped.
    #[must_use]
    pub const fn leaves_unknown(self) -> bool {
        match self {
            Self::Success | Self::Warning => false,
            Self::Failed(reason) => {
                reason.leaves_outcome_unknown() || matches!(reason, Reason::Kill)
            }
        }
    }
}

/// What the runtime knows of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    /// It runs.
    Alive,
    /// It ended; this is how.
    Ended(Outcome),
    /// It ran and is gone without a result.
    Gone,
    /// It was never launched.
    Absent,
}

/// What an evaluation found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The `when` condition.
    Gate(bool),
    /// The branch taken; none when no case matches and there is no default.
    Branch(Option<u8>),
    /// Iterations of a loop.
    Count(u32),
    /// Milliseconds to wait; none waits for a person only.
    Wait(Option<u64>),
    /// The expression cannot be evaluated.
    Error,
}

/// How iterations ended. Sums over a prefix of a loop's shards; only ever final values travel.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Counts {
    /// Succeeded or skipped.
    pub success: u32,
    /// Ended with a warning.
    pub warning: u32,
    /// Failed.
    pub failed: u32,
    /// Killed.
    pub killed: u32,
    /// Never started.
    pub cancelled: u32,
    /// Of all these, the ones in which a task run ended with [`Reason::OutcomeUnknown`].
    pub unknown: u32,
    /// Whether something failed in an item that counts as succeeded or warned.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tolerated: bool,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.success + self.warning + self.failed + self.killed + self.cancelled
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            success: self.success + other.success,
            warning: self.warning + other.warning,
            failed: self.failed + other.failed,
            killed: self.killed + other.killed,
            cancelled: self.cancelled + other.cancelled,
            unknown: self.unknown + other.unknown,
            tolerated: self.tolerated || other.tolerated,
        }
    }
}

/// Something that happened. Every event may come late, twice, out of order or never.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// The execution was created. To the root shard.
    Start,
    /// The lock is ours. To the root shard.
    Admitted,
    /// The lock is not free and the flow does not queue. To the root shard.
    Refused {
        /// `CANCELLED` or `FAILED`.
        state: State,
    },
    /// The runner began the attempt.
    Started {
        /// Of the task run.
        slot: u16,
        /// Which.
        attempt: u8,
    },
    /// The attempt ended.
    Done {
        /// Of the task run.
        slot: u16,
        /// Which.
        attempt: u8,
        /// How.
        outcome: Outcome,
        /// Milliseconds since the task run's first attempt was launched, for `maxDuration`.
        age_ms: u64,
    },
    /// Nothing of the attempt is alive any more, and nothing of it will start.
    Stopped {
        /// Of the task run.
        slot: u16,
        /// Which.
        attempt: u8,
    },
    /// The runtime was asked.
    Probed {
        /// Of the task run.
        slot: u16,
        /// Which.
        attempt: u8,
        /// What it said.
        truth: Truth,
    },
    /// An expression was evaluated.
    Decided {
        /// Of the task run.
        slot: u16,
        /// What it gave.
        verdict: Verdict,
    },
    /// A person resumed a pause; false ends it as failed.
    Resume {
        /// Of the pause.
        slot: u16,
        /// Whether to go on.
        go_on: bool,
    },
    /// The state of a node in another shard.
    Notify {
        /// The round it belongs to.
        round: u8,
        /// The node, in scope 0.
        node: NodeIndex,
        /// What is to be known of it.
        seen: Seen,
        /// The execution is being killed.
        kill: bool,
        /// See [`Event::redelivered`].
        #[serde(default, skip_serializing_if = "is_false")]
        again: bool,
    },
    /// To a chunk of a loop, from the chunk before it or (chunk 0) from the loop: opens it, and says what lies before it.
    Ahead {
        /// The round it belongs to.
        round: u8,
        /// Counts how often the loop began from scratch.
        generation: u8,
        /// Iterations of the loop.
        total: u32,
        /// Iterations before this chunk that are not over, rounded up. Never grows within a round.
        ahead: u32,
        /// Final counts of everything before this chunk; only meaningful when `ahead` is 0.
        before: Counts,
        /// Nothing new may start.
        stop: bool,
        /// The loop is being killed.
        kill: bool,
        /// No iteration begins after this time; chunk 0 sets it when it opens.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Time>,
        /// The round retries failed items: see [`Event::Restart`].
        #[serde(default, skip_serializing_if = "is_false")]
        tolerated: bool,
        /// See [`Event::redelivered`].
        #[serde(default, skip_serializing_if = "is_false")]
        again: bool,
    },
    /// To the shard of a loop: all iterations are over.
    LoopDone {
        /// The round it belongs to.
        round: u8,
        /// See [`Event::Ahead`].
        generation: u8,
        /// Of the loop.
        slot: u16,
        /// How they ended.
        counts: Counts,
        /// A maximum of a repeated loop was reached.
        #[serde(default, skip_serializing_if = "is_false")]
        limit: bool,
    },
    /// Another shard misses facts of this one.
    Asked {
        /// Who.
        by: ShardId,
    },
    /// Time passed.
    Tick,
    /// Stop everything. To the root shard.
    Kill {
        /// A person's wish, or a limit of the execution.
        reason: Reason,
        /// The round that is meant: a copy of the message that comes late must not end the next one. None means
        /// whichever goes on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        round: Option<u8>,
    },
    /// A task ends the execution early. To the root shard.
    Exit {
        /// `Success`, `Warning`, `Failed`, `Killed` or `Cancelled`.
        state: State,
        /// The round of the task, as for [`Event::Kill`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        round: Option<u8>,
    },
    /// Begin a new round with what has not succeeded. To the root shard, when the execution is over.
    Restart {
        /// The new round: one more than the present one.
        round: u8,
        /// Also with items of loops that failed and were tolerated, and with what follows them. Only of a flow
        /// that fits one shard: the others cannot tell each other what begins again.
        #[serde(default, skip_serializing_if = "is_false")]
        tolerated: bool,
    },
}

impl Event {
    /// The event as it is when its message is delivered once more: whoever had it before may have written and
    /// died before sending. To be called by whoever receives, for every delivery of a message but the first.
    ///
    /// Only what shards tell each other makes the difference. Such an event that changes nothing, delivered for
    /// the first time, calls for nothing: if it is a copy, the other one comes again. Else two shards that
    /// know everything of each other would go on telling each other for ever, and with many facts between
    /// them ever more often.
    #[must_use]
    pub fn redelivered(mut self) -> Self {
        if let Self::Notify { again, .. } | Self::Ahead { again, .. } = &mut self {
            *again = true;
        }
        self
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "shaped for serde")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Something to be done. Every command may be carried out twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Command {
    /// Evaluate the `when` condition (state `Gate`) or the node's own value (`Deciding`).
    Evaluate {
        /// Of the task run.
        slot: u16,
    },
    /// Launch an attempt, if the state still says so.
    Launch {
        /// Of the task run.
        slot: u16,
        /// Which.
        attempt: u8,
    },
    /// Stop an attempt, and see that it is.
    Stop {
        /// Of the task run.
        slot: u16,
        /// Which.
        attempt: u8,
    },
    /// Ask the runtime for an attempt.
    Probe {
        /// Of the task run.
        slot: u16,
        /// Which.
        attempt: u8,
    },
    /// Deliver an event to another shard of the execution.
    Send {
        /// Whom.
        to: ShardId,
        /// What.
        event: Event,
    },
    /// Take the execution's lock, or queue for it.
    Acquire,
    /// Give the lock back; after `quarantine_until` if that is set.
    Release {
        /// Held that long although the execution is over.
        quarantine_until: Option<Time>,
    },
    /// The execution's state is final: record it, compute its outputs, tell the parent.
    Finish {
        /// `Success`, `Warning`, `Failed`, `Killed` or `Cancelled`.
        state: State,
        /// Why.
        reason: Reason,
    },
}
