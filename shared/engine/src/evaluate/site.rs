//! Where a template is evaluated: a task run, and what it can name from there.

use operon_core::plan::{Layout, Node, NodeIndex, NodeKind, ScopeIndex, ShardId, TaskNode};

use crate::planner::Active;
use crate::plans::LoadedPlan;
use crate::ports::{AttemptId, ExecutionMeta, TaskRunKey};

/// Where a template is evaluated.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The plan of the execution.
    pub plan: &'a LoadedPlan,
    /// The execution.
    pub meta: &'a ExecutionMeta,
    /// The task run's shard.
    pub shard: &'a ShardId,
    /// The task run's place there.
    pub slot: u16,
    /// Live attempt, or the next one.
    pub attempt: u8,
}

impl<'a> Site<'a> {
    /// The flow itself: what is evaluated outside any task.
    #[must_use]
    pub fn flow(plan: &'a LoadedPlan, meta: &'a ExecutionMeta) -> Self {
        static ROOT: ShardId = ShardId::ROOT;
        Self {
            plan,
            meta,
            shard: &ROOT,
            slot: 0,
            attempt: 0,
        }
    }

    /// An attempt of an execution that is being worked on.
    #[must_use]
    pub fn of_attempt(active: &'a Active, id: &'a AttemptId) -> Self {
        Self {
            plan: &active.plan,
            meta: &active.meta,
            shard: &id.task_run.shard,
            slot: id.task_run.slot,
            attempt: id.attempt,
        }
    }

    /// The layout of the task run's shard.
    #[must_use]
    pub fn layout(&self) -> Option<Layout<'a>> {
        Layout::of(&self.plan.plan, self.shard)
    }

    /// The node the task run is an instance of.
    #[must_use]
    pub fn node(&self) -> Option<(ScopeIndex, NodeIndex, &'a Node)> {
        let layout = self.layout()?;
        let index = layout.node_of(self.slot)?;
        Some((layout.scope, index, layout.nodes.get(usize::from(index))?))
    }

    /// What is launched here; none for control around tasks.
    #[must_use]
    pub fn task(&self) -> Option<&'a TaskNode> {
        if let NodeKind::Task(task) = &self.node()?.2.kind {
            Some(task)
        } else {
            None
        }
    }

    /// Whether a person is waited for here.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        let node = self.node();
        node.is_some_and(|(_, _, node)| matches!(node.kind, NodeKind::Pause { .. }))
    }

    /// The task run's address.
    #[must_use]
    pub fn task_run(&self) -> TaskRunKey {
        TaskRunKey {
            shard: self.shard.clone(),
            slot: self.slot,
        }
    }
}

/// Address of the instance of a node that the task run at `site` sees: its own iteration's, or that of an
/// enclosing scope. None when the node is inside a loop that does not enclose the task run.
pub(crate) fn address(site: Site<'_>, scope: ScopeIndex, node: NodeIndex) -> Option<TaskRunKey> {
    if scope == 0 {
        let (part, slot) = site.plan.plan.home(node)?;
        return Some(TaskRunKey {
            shard: ShardId::of_part(part),
            slot,
        });
    }
    let (mut shard, mut slot) = (site.shard.clone(), site.slot);
    loop {
        let layout = Layout::of(&site.plan.plan, &shard)?;
        if layout.scope == scope {
            let nodes = u16::try_from(layout.nodes.len()).ok()?;
            return Some(TaskRunKey {
                slot: layout.item_of(slot) * nodes + node,
                shard,
            });
        }
        (shard, slot) = shard.owner().map(|(owner, slot, _)| (owner, slot))?;
    }
}
