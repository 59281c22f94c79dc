//! From drafts to scopes: every draft gets its index, every shard its slots and mirrors.
//!
//! Invariant: indices follow the tree, parents first, siblings in dependency order.

use std::collections::BTreeSet;

use super::CompileError;
use super::draft::{DraftId, DraftScope};
use crate::plan::{Node, NodeIndex, Scope, ShardPlan, shard_fits};

/// Turns drafts into the scopes of a plan.
pub(super) fn number(drafts: Vec<DraftScope>) -> Result<Vec<Scope>, Vec<CompileError>> {
    let orders: Vec<Vec<DraftId>> = drafts
        .iter()
        .enumerate()
        .map(|(at, scope)| preorder(scope, at == 0))
        .collect();
    // Where each draft ended up.
    let indices: Vec<Vec<NodeIndex>> = orders.iter().map(|order| invert(order)).collect();
    let mut scopes = Vec::with_capacity(drafts.len());
    for (at, scope) in drafts.into_iter().enumerate() {
        let (order, index) = (&orders[at], &indices[at]);
        let owner = scope
            .owner
            .map(|(scope, draft)| (scope, indices[usize::from(scope)][draft]));
        let shards = if at == 0 {
            shards(&scope, order, index)?
        } else {
            Vec::new()
        };
        scopes.push(Scope {
            owner,
            nodes: nodes(scope, order, index),
            shards,
        });
    }
    Ok(scopes)
}

/// Drafts in the order of their indices. In the static scope the roots come first, because the flow and
/// its `afterExecution` have fixed indices.
fn preorder(scope: &DraftScope, roots_first: bool) -> Vec<DraftId> {
    let mut order = Vec::with_capacity(scope.drafts.len());
    let mut todo: Vec<DraftId> = Vec::new();
    if roots_first {
        order.extend(&scope.roots);
        for &root in scope.roots.iter().rev() {
            todo.extend(scope.drafts[root].children.iter().rev());
        }
    } else {
        todo.extend(scope.roots.iter().rev());
    }
    while let Some(id) = todo.pop() {
        order.push(id);
        todo.extend(scope.drafts[id].children.iter().rev());
    }
    order
}

fn invert(order: &[DraftId]) -> Vec<NodeIndex> {
    let mut index = vec![0; order.len()];
    for (number, &id) in (0..=NodeIndex::MAX).zip(order) {
        index[id] = number;
    }
    index
}

fn nodes(scope: DraftScope, order: &[DraftId], index: &[NodeIndex]) -> Vec<Node> {
    let mut drafts: Vec<Option<_>> = scope.drafts.into_iter().map(Some).collect();
    let mut nodes: Vec<Node> = Vec::with_capacity(order.len());
    for draft in order.iter().filter_map(|&id| drafts[id].take()) {
        let mut node = draft.node;
        node.parent = draft.parent.map(|id| index[id]);
        node.deps = sorted(&draft.deps, index);
        node.children = sorted(&draft.children, index);
        nodes.push(node);
    }
    for (number, at) in (0..=NodeIndex::MAX).zip(0..nodes.len()) {
        for dep in nodes[at].deps.clone() {
            nodes[usize::from(dep)].dependents.push(number);
        }
    }
    nodes
}

fn sorted(ids: &[DraftId], index: &[NodeIndex]) -> Vec<NodeIndex> {
    let mut numbers: Vec<NodeIndex> = ids.iter().map(|&id| index[id]).collect();
    numbers.sort_unstable();
    numbers
}

fn shards(
    scope: &DraftScope,
    order: &[DraftId],
    index: &[NodeIndex],
) -> Result<Vec<ShardPlan>, Vec<CompileError>> {
    let mut home = vec![0_usize; order.len()];
    let mut shards = vec![ShardPlan::default()];
    for &id in order {
        let draft = &scope.drafts[id];
        home[id] = match draft.parent {
            Some(_) if draft.apart => {
                shards.push(ShardPlan::default());
                shards.len() - 1
            }
            Some(parent) => home[parent],
            None => 0,
        };
        shards[home[id]].slots.push(index[id]);
    }
    let mut mirrors = vec![BTreeSet::new(); shards.len()];
    for (id, draft) in scope.drafts.iter().enumerate() {
        let near = draft
            .parent
            .iter()
            .chain(&draft.deps)
            .chain(&draft.children);
        mirrors[home[id]].extend(near.filter(|&&o| home[o] != home[id]).map(|&o| index[o]));
    }
    for (shard, mirrors) in shards.iter_mut().zip(mirrors) {
        shard.mirrors = mirrors.into_iter().collect();
        if !shard_fits(shard.slots.len(), shard.mirrors.len()) {
            let first = &scope.drafts[order[usize::from(shard.slots[0])]];
            return Err(vec![CompileError {
                task: Some(first.node.id.clone()),
                span: first.span.clone(),
                what: "the tasks in and around this one depend on too many others".into(),
                fix: "Gather tasks into groups and depend on the groups".into(),
            }]);
        }
    }
    Ok(shards)
}
