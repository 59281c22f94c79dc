//! The compiled form of a flow revision: what `exec::apply` runs on.
//!
//! A plan is a table of *nodes* in *scopes*. Scope 0 is static: one slot per node, cut into shards at
//! compile time. Each loop owns a further scope, its body, which is instantiated once per iteration.
//! Everything the planner must know is resolved here, so that a transition never looks at the flow's text.
//!
//! Invariant: every index in a plan is in range, parents precede children, dependencies precede their
//! dependents (so there is no cycle, and one pass in order sees everything), and every shard of the
//! static scope fits [`SHARD_SLOTS`] and [`SHARD_BYTES`]. [`check::verify`] asserts all of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::lang::model::{
    Check, Concurrency, Dynamic, FlowOutput, FlowRetry, Input, LoopValues, Notify, OnFailure,
    PauseBehavior, Resources, Retry, Sla, TaskCache, Until,
};

pub mod builder;
pub mod check;
mod compile;
mod explain;
mod layout;

pub use compile::{
    CompileError, NESTING_MAX, SCOPE_NODES_MAX, STATIC_TASKS_MAX, TASKS_MAX, compile,
};
pub use explain::explain;
pub use layout::{LOOP_DEPTH_MAX, Layout, Place, ShardId, ShardIdError};

/// Slots in one shard at most (design.md, "State that scales").
pub const SHARD_SLOTS: usize = 128;
/// Bytes of one encoded shard at most, so that writing it costs one write unit of `DynamoDB`.
pub const SHARD_BYTES: usize = 1024;
/// Bytes of an encoded shard that do not depend on its contents.
pub const SHARD_HEADER_BYTES: usize = 64;
/// Bytes of one slot.
pub const SLOT_BYTES: usize = 7;
/// Version of the compiled form. A release reads its predecessor's.
pub const PLAN_FORMAT: u8 = 1;

/// Index of a node in its scope.
pub type NodeIndex = u16;
/// Index of a scope in the plan.
pub type ScopeIndex = u16;

/// A compiled, immutable flow revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// [`PLAN_FORMAT`] of the release that compiled it.
    pub format: u8,
    /// Of the flow.
    pub namespace: String,
    /// Of the flow.
    pub flow: String,
    /// Inherited by executions.
    pub labels: BTreeMap<String, String>,
    /// Typed parameters.
    pub inputs: Vec<Input>,
    /// `vars.*`, strings may be templates.
    pub variables: Map<String, Value>,
    /// Returned to the caller.
    pub outputs: Vec<FlowOutput>,
    /// Lock taken by every execution.
    pub concurrency: Option<Concurrency>,
    /// What happens to a failed execution.
    pub retry: Option<FlowRetry>,
    /// Milliseconds until a running execution is killed and ends `FAILED`.
    pub timeout_ms: Option<u64>,
    /// Watched service levels.
    pub sla: Vec<Sla>,
    /// Guards evaluated before an execution is created.
    pub checks: Vec<Check>,
    /// Who is told about executions that end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<Notify>,
    /// A disabled flow is not started.
    pub disabled: bool,
    /// The static scope and one per loop.
    pub scopes: Vec<Scope>,
}

/// Nodes that are instantiated together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// The loop whose body this is; none for the static scope.
    pub owner: Option<(ScopeIndex, NodeIndex)>,
    /// Parents precede children. In scope 0, node 0 is the flow itself, and node 1, when there is an
    /// `afterExecution`, the group that runs it ([`Node::after`]).
    pub nodes: Vec<Node>,
    /// Static scope: its shards, in order. Loop scope: empty; see [`Scope::items_per_shard`].
    pub shards: Vec<ShardPlan>,
}

impl Scope {
    /// Iterations of a loop body that share one shard.
    #[must_use]
    pub fn items_per_shard(&self) -> u32 {
        let nodes = u32::try_from(self.nodes.len().max(1)).unwrap_or(u32::MAX);
        (u32::try_from(SHARD_SLOTS).unwrap_or(u32::MAX) / nodes).max(1)
    }

    /// The node of a loop's body that says whether another iteration follows. It is the last one.
    #[must_use]
    pub fn check(&self) -> Option<NodeIndex> {
        let last = self.nodes.len().checked_sub(1)?;
        let found = matches!(self.nodes.get(last)?.kind, NodeKind::Check(_));
        found.then(|| NodeIndex::try_from(last).ok()).flatten()
    }
}

/// Which nodes of the static scope live in one shard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardPlan {
    /// Own nodes, ascending. The slot number is the position.
    pub slots: Vec<NodeIndex>,
    /// Nodes of other shards whose state matters here (parents, dependencies, children), ascending.
    pub mirrors: Vec<NodeIndex>,
}

/// Whether a shard with so many slots and mirrors fits [`SHARD_SLOTS`] and [`SHARD_BYTES`]. A mirror
/// takes half a byte.
#[must_use]
pub const fn shard_fits(slots: usize, mirrors: usize) -> bool {
    slots <= SHARD_SLOTS
        && SHARD_HEADER_BYTES + SLOT_BYTES * slots + mirrors.div_ceil(2) <= SHARD_BYTES
}

/// One unit of the plan: a task, or the control around tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// The task's id. Hidden nodes have one too, with a leading `.`, unique in the plan.
    pub id: String,
    /// The group, choice or loop it belongs to; none for roots of the scope.
    pub parent: Option<NodeIndex>,
    /// Which part of the parent.
    pub phase: Phase,
    /// Which branch, when the parent is a choice.
    pub branch: Option<u8>,
    /// Nodes of the same scope that must have succeeded.
    pub deps: Vec<NodeIndex>,
    /// Nodes whose `parent` is this one, ascending.
    pub children: Vec<NodeIndex>,
    /// Nodes whose `deps` hold this one, ascending.
    pub dependents: Vec<NodeIndex>,
    /// Condition template; false gives `SKIPPED`.
    pub when: Option<String>,
    /// Task ids whose outputs the planner needs to decide about this node (`when`, `values`, `value`,
    /// durations; of the flow's own node, the flow's outputs and service levels), sorted. `*` means all. What a task's
    /// launch needs is in [`TaskNode::needs`].
    pub needs: Vec<String>,
    /// A failure becomes `WARNING`.
    pub allow_failure: bool,
    /// A warning becomes `SUCCESS`.
    pub allow_warning: bool,
    /// Larger goes first.
    pub priority: i32,
    /// Tasks on the longest path from here to the end, itself included: longer goes first.
    pub rank: u32,
    /// Made by the compiler; no task run is shown for it.
    pub hidden: bool,
    /// Belongs to `afterExecution`.
    pub after: bool,
    /// What it is.
    pub kind: NodeKind,
}

/// Part of a group that a node belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// What the group does.
    Body,
    /// Its error handler.
    Errors,
    /// Its clean-up.
    Finally,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum NodeKind {
    /// Launched on a runner or executed as a built-in task.
    Task(Box<TaskNode>),
    /// Runs its children.
    Group {
        /// Children of the body at once; 0 means no limit.
        concurrent: u16,
        /// What a failed child means for those not yet started.
        on_failure: OnFailure,
        /// Children share one working directory.
        working_directory: bool,
        /// Properties such as `inputFiles` of a `WorkingDirectory`; empty otherwise.
        props: Map<String, Value>,
    },
    /// Runs one branch of its children.
    Choice {
        /// Template.
        value: String,
        /// `If`: true takes branch 0, false branch 1.
        condition: bool,
        /// Case names, the index is the branch.
        cases: Vec<String>,
        /// Branch taken when no case matches.
        default_branch: Option<u8>,
    },
    /// Runs a scope once per value. Has no children in its own scope.
    Loop {
        /// The body.
        scope: ScopeIndex,
        /// What is iterated over.
        values: LoopValues,
        /// Iterations at once, at least 1: the fan-out window.
        window: u32,
        /// Whether the first failed iteration stops new ones.
        on_failure: OnFailure,
        /// Whether failed iterations fail the loop.
        transmit_failed: bool,
    },
    /// Waits for a person.
    Pause {
        /// Milliseconds, or a template that gives them, after which it ends by itself.
        duration: Option<Dynamic<u64>>,
        /// What the end by itself means.
        behavior: PauseBehavior,
        /// Typed values asked from the person.
        on_resume: Vec<Input>,
    },
    /// Waits for a time.
    Sleep {
        /// Milliseconds, or a template that gives them.
        duration: Dynamic<u64>,
    },
    /// The end of each iteration of a loop over [`LoopValues::Until`]: asks whether another one follows, and
    /// waits for its time. Hidden; a root of its scope that depends on all others.
    Check(Box<Until>),
}

/// Whether tasks of this type belong to a runner: as a process or container, or in the directory of one.
#[must_use]
pub fn is_process(task_type: &str) -> bool {
    task_type.starts_with("io.kestra.plugin.scripts.")
        || task_type == "container"
        || is_local_files(task_type)
}

/// Whether tasks of this type only put files into a shared directory and keep some of it.
#[must_use]
pub fn is_local_files(task_type: &str) -> bool {
    task_type == "io.kestra.plugin.core.storage.LocalFiles"
}

/// What is launched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskNode {
    /// Canonical type, see [`crate::lang::model::Task::task_type`].
    pub task_type: String,
    /// The plugin it was written as.
    pub plugin: Option<String>,
    /// Properties; strings may be templates.
    pub props: Map<String, Value>,
    /// When a failed attempt is followed by another.
    pub retry: Option<Retry>,
    /// Milliseconds an attempt may take, or a template that gives them.
    pub timeout_ms: Dynamic<u64>,
    /// False: launched at most once without a person.
    pub idempotent: bool,
    /// Milliseconds the lock stays held after an unknown outcome.
    pub quarantine_ms: u64,
    /// What an attempt may use.
    pub resources: Resources,
    /// Reuse of outputs.
    pub task_cache: Option<TaskCache>,
    /// Task ids whose outputs the templates of this task mention, sorted. `*` means all.
    pub needs: Vec<String>,
}

impl Plan {
    /// The node at `index` of `scope`, if there is one.
    #[must_use]
    pub fn node(&self, scope: ScopeIndex, index: NodeIndex) -> Option<&Node> {
        self.scopes
            .get(usize::from(scope))?
            .nodes
            .get(usize::from(index))
    }

    /// The bytes that identify the plan: canonical JSON. Equal plans have equal bytes.
    #[must_use]
    pub fn canonical_json(&self) -> Vec<u8> {
        // A plan holds only strings, numbers, lists and maps with string keys, which always serialize.
        let mut value = serde_json::to_value(self).unwrap_or_default();
        // Maps are equal whatever their order, so the order in which keys were written must not count.
        value.sort_all_objects();
        value.to_string().into_bytes()
    }

    /// The plan's name: SHA-256 of [`Plan::canonical_json`] in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> String {
        content_hash(&self.canonical_json())
    }
}

/// The name of a plan with these canonical bytes, for who has them already.
#[must_use]
pub fn content_hash(canonical_json: &[u8]) -> String {
    hex::encode(Sha256::digest(canonical_json))
}
