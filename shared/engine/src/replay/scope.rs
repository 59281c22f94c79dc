//! Which task runs a replay reuses.

use std::collections::{BTreeMap, BTreeSet};

use operon_core::exec::Slot;
use operon_core::plan::{Node, NodeIndex, NodeKind, Phase, Plan};

use super::ReplayError;
use crate::ports::ExecutionId;

/// What is reused, by node of the static scope of the new plan.
#[derive(Debug)]
pub(super) struct Reused {
    slots: BTreeMap<NodeIndex, Slot>,
    ids: BTreeSet<String>,
}

impl Reused {
    /// Everything that let its dependents pass and comes neither after `from` nor after anything else that
    /// is executed again.
    pub(super) fn find(
        plan: &Plan,
        states: &BTreeMap<String, Slot>,
        from: &str,
        of: &ExecutionId,
    ) -> Result<Self, ReplayError> {
        let nodes = plan.scopes.first().map_or(&[][..], |scope| &scope.nodes);
        let start = start(plan, nodes, from, of)?;
        let mut again = Again {
            nodes,
            executed: BTreeSet::new(),
            touched: BTreeSet::new(),
        };
        again.execute(start);
        for (index, node) in (0_u16..).zip(nodes) {
            let leaf = !matches!(node.kind, NodeKind::Group { .. } | NodeKind::Choice { .. });
            if leaf && !is_handler(nodes, index) && !settles(states.get(&node.id)) {
                again.execute(index);
            }
        }
        let mut reused = Self {
            slots: BTreeMap::new(),
            ids: BTreeSet::new(),
        };
        for (index, node) in (0_u16..).zip(nodes) {
            let state = states.get(&node.id).filter(|slot| slot.state.lets_pass());
            let kept = !again.executed.contains(&index)
                && !again.touched.contains(&index)
                && !is_handler(nodes, index);
            if let (true, Some(state)) = (kept, state) {
                reused.slots.insert(index, *state);
                reused.ids.insert(node.id.clone());
            }
        }
        Ok(reused)
    }

    /// The final state of a node that is reused.
    pub(super) fn state(&self, node: NodeIndex) -> Option<Slot> {
        self.slots.get(&node).copied()
    }

    /// Whether the task outside loops with that id is reused.
    pub(super) fn holds(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// Reused tasks that the new plan defines differently.
    pub(super) fn warnings(&self, old: &Plan, new: &Plan) -> Vec<String> {
        let find = |plan: &Plan, id: &str| {
            let nodes = &plan.scopes.first()?.nodes;
            nodes.iter().find(|node| node.id == id).cloned()
        };
        let kind = |node: Option<Node>| node.map(|node| node.kind);
        self.ids
            .iter()
            .filter(|id| match (kind(find(old, id)), kind(find(new, id))) {
                (Some(NodeKind::Task(a)), Some(NodeKind::Task(b))) => a != b,
                _ => false,
            })
            .map(|id| {
                format!("task `{id}` is not what was executed; its outputs are reused all the same")
            })
            .collect()
    }
}

/// The node of a task outside loops and handlers.
fn start(
    plan: &Plan,
    nodes: &[Node],
    from: &str,
    of: &ExecutionId,
) -> Result<NodeIndex, ReplayError> {
    let visible = |node: &Node| node.id == from && !node.hidden;
    let place = (0_u16..).zip(nodes).find(|(_, node)| visible(node));
    if let Some((index, _)) = place.filter(|(index, _)| *index > 0) {
        return if is_handler(nodes, index) {
            Err(ReplayError::Handler(from.to_owned()))
        } else {
            Ok(index)
        };
    }
    let inside = plan
        .scopes
        .iter()
        .find(|scope| scope.owner.is_some() && scope.nodes.iter().any(visible));
    let mut owner = inside.and_then(|scope| scope.owner);
    while let Some((scope, node)) = owner {
        if scope == 0 {
            let outer = nodes.get(usize::from(node)).map_or("", |node| &node.id);
            return Err(ReplayError::InLoop {
                task: from.to_owned(),
                outer: outer.to_owned(),
                id: of.clone(),
            });
        }
        owner = plan
            .scopes
            .get(usize::from(scope))
            .and_then(|scope| scope.owner);
    }
    Err(ReplayError::UnknownTask {
        flow: plan.flow.clone(),
        task: from.to_owned(),
    })
}

/// Whether the node belongs to an error handler, a clean-up, or what follows the execution.
fn is_handler(nodes: &[Node], index: NodeIndex) -> bool {
    let mut place = Some(index);
    while let Some(node) = place.and_then(|index| nodes.get(usize::from(index))) {
        if node.after || node.phase != Phase::Body {
            return true;
        }
        place = node.parent;
    }
    false
}

/// Whether the task run ended in a way that needs nothing done again: it let pass, or its branch was not
/// taken.
fn settles(slot: Option<&Slot>) -> bool {
    slot.is_some_and(|slot| {
        slot.state.lets_pass() || slot.reason() == operon_core::exec::Reason::NotTaken
    })
}

/// What is executed again, and the groups around it.
struct Again<'a> {
    nodes: &'a [Node],
    executed: BTreeSet<NodeIndex>,
    touched: BTreeSet<NodeIndex>,
}

impl Again<'_> {
    /// A node with everything in it and everything after it.
    fn execute(&mut self, index: NodeIndex) {
        let mut todo = vec![index];
        while let Some(index) = todo.pop() {
            let Some(node) = self.nodes.get(usize::from(index)) else {
                continue;
            };
            if !self.executed.insert(index) {
                continue;
            }
            todo.extend(&node.children);
            todo.extend(&node.dependents);
            let mut parent = node.parent;
            while let Some(index) = parent {
                let Some(node) = self.nodes.get(usize::from(index)) else {
                    break;
                };
                if !self.touched.insert(index) {
                    break;
                }
                todo.extend(&node.dependents);
                let shared = matches!(
                    node.kind,
                    NodeKind::Group {
                        working_directory: true,
                        ..
                    }
                );
                if shared {
                    // The directory its children shared is gone.
                    todo.extend(&node.children);
                }
                parent = node.parent;
            }
        }
    }
}
