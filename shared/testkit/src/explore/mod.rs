//! The state explorer: everything a small execution can do, under every bounded combination of faults,
//! with the real [`operon_core::exec::apply`].
//!
//! A breadth-first search over worlds (`world`): the table with its conditional write, queues that
//! deliver at least once, two planners and a launcher that may die between any two of their actions, a
//! runtime that keeps the contract of `TaskRunner`, a sweeper that makes time pass. Every world is checked
//! against the invariants of the design ([`Invariant`]), and from every world the end must be reachable.
//! [`Mutant`]s break the protocol around the core, to show that the explorer would notice.
//!
//! What is bounded, what time is here, and why that is enough: `docs/decisions/0004-model-checking.md`.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a harness names the few steps and events it shows or counts; the rest is the rest"
)]

mod around;
mod cases;
mod check;
mod flows;
mod intern;
mod locks;
mod model;
mod search;
mod show;
mod steps;
mod world;

use std::collections::BTreeMap;

use operon_core::exec::Verdict;
use operon_core::plan::{Plan, ShardId};

pub use cases::{Case, MutantCase, large, mutants, small};
pub use check::Invariant;
pub use flows::{
    barrier, chain, clean_up, diamond, flow_retry, guarded, lock, nap, once, quarantine, repeated,
    repeated_once, retried, tolerant, turnstile, two_parts,
};
pub use search::{Report, Violation, WORLDS_MAX, explore};
pub use world::Faults;

/// What is explored.
#[derive(Debug, Clone)]
pub struct Setup {
    /// For people.
    pub name: &'static str,
    /// Of every execution.
    pub plan: Plan,
    /// Executions that are started, 1 or 2.
    pub executions: u8,
    /// Every shard an execution can have.
    pub shards: Vec<ShardId>,
    /// What the `when` of a node gives, by its id.
    pub gates: BTreeMap<String, Verdict>,
    /// What the value of a node gives, by its id.
    pub verdicts: BTreeMap<String, Verdict>,
    /// Whether the runtime and other shards are asked again. Other timers always fire.
    pub sweeper: bool,
    /// Whether the runtime reports that an attempt began.
    pub started: bool,
    /// Whether a person who restarts it retries the failed items of its loops.
    pub tolerated: bool,
}

impl Setup {
    /// One execution of a plan with one shard.
    #[must_use]
    pub fn new(name: &'static str, plan: Plan) -> Self {
        Self {
            name,
            plan,
            executions: 1,
            shards: vec![ShardId::ROOT],
            gates: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            sweeper: true,
            started: false,
            tolerated: false,
        }
    }

    /// Nobody is asked again: whatever is lost stays lost.
    #[must_use]
    pub fn without_sweeper(mut self) -> Self {
        self.sweeper = false;
        self
    }
}

/// A mistake in the protocol around the core, as in section 6.4 of the design's own model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// M1: the planner deletes the message before it sends.
    AcknowledgeFirst,
    /// M2: commands are sent only when something changed.
    SendOnChangeOnly,
    /// M4: the sweeper sends again but never asks the runtime.
    NeverAsk,
    /// M5: the planner writes whatever the version is.
    UnconditionalWrite,
    /// M6: every launch has a new client token, and the launcher does not look whether it is still wanted.
    RandomTokenNoFence,
    /// M7: every launch has a new client token.
    RandomToken,
    /// M8: the launcher does not look whether the launch is still wanted. Harmless while tokens live, and only then.
    NoFence,
    /// M9: a report counts for whatever attempt is live.
    UnfencedCompletion,
    /// M10: dependencies are counted down by reports.
    DependencyCounter,
}
