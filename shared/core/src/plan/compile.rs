//! Compiling a flow into a [`Plan`].
//!
//! In order: `limits` refuses what is too large, `lower` turns task lists into drafts of nodes,
//! `rank` measures the paths to the end, `shards` cuts the static scope, `number` gives every draft its
//! index. A draft may still move; an index never does.
//!
//! Invariant: what [`compile`] returns passes [`super::check::verify`].
//! Invariant: equal flows give equal plans; nothing here depends on the order of a hash map.

mod draft;
mod limits;
mod lower;
mod needs;
mod number;
mod order;
mod rank;
mod service_levels;
mod shards;
#[cfg(test)]
mod tests;
mod weight;

use super::{PLAN_FORMAT, Plan, SHARD_SLOTS};
use crate::lang::model::{Flow, Span, Task};

/// Tasks of the static scope, those outside loops, at most.
pub const STATIC_TASKS_MAX: usize = 10_000;
/// Tasks of a flow at most, loop bodies included. Keeps scope numbers small.
pub const TASKS_MAX: usize = 50_000;
/// Nodes of a loop's body at most, hidden ones included: an iteration fits one shard.
pub const SCOPE_NODES_MAX: usize = SHARD_SLOTS - 1;
/// Task lists inside task lists at most.
pub const NESTING_MAX: usize = 64;

/// Why a flow has no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}. {fix}", self.place())]
pub struct CompileError {
    /// The task that cannot be compiled; none when it is about the flow.
    pub task: Option<String>,
    /// Where it is written.
    pub span: Span,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl CompileError {
    fn at(task: &Task, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            task: Some(task.id.clone()),
            span: task.span.clone(),
            what: what.into(),
            fix: fix.into(),
        }
    }

    fn flow(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            task: None,
            span: 0..0,
            what: what.into(),
            fix: fix.into(),
        }
    }

    fn place(&self) -> String {
        self.task
            .as_ref()
            .map_or_else(String::new, |task| format!("task `{task}`: "))
    }
}

/// Compiles a flow.
///
/// # Errors
/// Everything found wrong: limits exceeded, groups that do not fit one shard but must, and what the
/// parser should have refused (an unknown `dependsOn`, a cycle, an id used twice).
pub fn compile(flow: &Flow) -> Result<Plan, Vec<CompileError>> {
    let flow = &service_levels::with_assertions(flow);
    limits::check(flow)?;
    let mut scopes = lower::lower(flow)?;
    rank::rank(&mut scopes);
    if let Some(root) = scopes.first_mut() {
        shards::split(root)?;
    }
    Ok(Plan {
        format: PLAN_FORMAT,
        namespace: flow.namespace.clone(),
        flow: flow.id.clone(),
        labels: flow.labels.clone(),
        inputs: flow.inputs.clone(),
        variables: flow.variables.clone(),
        outputs: flow.outputs.clone(),
        concurrency: flow.concurrency.clone(),
        retry: flow.retry.clone(),
        timeout_ms: flow.timeout_ms,
        sla: flow.sla.clone(),
        checks: flow.checks.clone(),
        notify: flow.notify.clone(),
        disabled: flow.disabled,
        scopes: number::number(scopes)?,
    })
}
