//! Asserts that a plan keeps its invariants. Run on every compiled plan in tests.

use std::collections::{BTreeSet, HashSet};

use super::compile::SCOPE_NODES_MAX;
use super::{LOOP_DEPTH_MAX, Node, NodeIndex, NodeKind, Phase, Plan, Scope, ShardPlan, shard_fits};

/// Verifies every invariant in the documentation of [`super`].
///
/// # Errors
/// The first violation, with scope and node.
pub fn verify(plan: &Plan) -> Result<(), String> {
    let root = plan.scopes.first().ok_or("the plan has no scope")?;
    let mut ids = HashSet::new();
    for (number, scope) in plan.scopes.iter().enumerate() {
        let in_scope = |e: String| format!("scope {number}: {e}");
        for node in &scope.nodes {
            ensure(ids.insert(&node.id), || {
                in_scope(format!("id `{}` twice", node.id))
            })?;
            ensure(node.hidden == node.id.starts_with('.'), || {
                in_scope(format!("`{}` is hidden or has a dot, not both", node.id))
            })?;
        }
        nodes(scope).map_err(in_scope)?;
        loops(plan, number, scope).map_err(in_scope)?;
        if number > 0 {
            ensure(scope.shards.is_empty(), || {
                in_scope("a body has static shards".into())
            })?;
            ensure(scope.nodes.len() <= SCOPE_NODES_MAX, || {
                in_scope("the body is too large".into())
            })?;
            ensure(scope.owner.is_some(), || {
                in_scope("the body has no loop".into())
            })?;
            depth(plan, number).map_err(in_scope)?;
        }
    }
    static_scope(root)?;
    shards(root)
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}

/// Relations among the nodes of one scope.
fn nodes(scope: &Scope) -> Result<(), String> {
    let mut children: Vec<Vec<NodeIndex>> = vec![Vec::new(); scope.nodes.len()];
    let mut dependents = children.clone();
    for (at, node) in (0..=NodeIndex::MAX).zip(&scope.nodes) {
        if let Some(parent) = node.parent {
            ensure(parent < at, || {
                format!("the parent of `{}` does not precede it", node.id)
            })?;
            children[usize::from(parent)].push(at);
            child(node, &scope.nodes[usize::from(parent)])?;
        } else {
            ensure(node.phase == Phase::Body && node.branch.is_none(), || {
                format!("`{}` has no parent, but a phase or branch of it", node.id)
            })?;
        }
        ensure(node.deps.is_sorted_by(|a, b| a < b), || {
            format!("the dependencies of `{}` are not sorted", node.id)
        })?;
        for &dep in &node.deps {
            ensure(dep < at, || {
                format!("a dependency of `{}` does not precede it", node.id)
            })?;
            dependents[usize::from(dep)].push(at);
        }
        ensure(node.needs.is_sorted_by(|a, b| a < b), || {
            format!("the needs of `{}` are not sorted", node.id)
        })?;
    }
    for (at, node) in scope.nodes.iter().enumerate() {
        ensure(node.children == children[at], || {
            format!(
                "the children of `{}` are not those whose parent it is",
                node.id
            )
        })?;
        ensure(node.dependents == dependents[at], || {
            format!(
                "the dependents of `{}` are not those that depend on it",
                node.id
            )
        })?;
        ensure(ranked(scope, node), || {
            format!("the rank of `{}` is too small", node.id)
        })?;
    }
    Ok(())
}

fn child(node: &Node, parent: &Node) -> Result<(), String> {
    let id = &node.id;
    ensure(node.after == parent.after, || {
        format!("`{id}` and its parent differ in `after`")
    })?;
    match &parent.kind {
        NodeKind::Group { .. } => ensure(node.branch.is_none(), || format!("`{id}` has a branch")),
        NodeKind::Choice { cases, .. } => {
            let known = node.branch.is_some_and(|b| usize::from(b) < cases.len());
            ensure(known && node.phase == Phase::Body, || {
                format!("`{id}` has no branch")
            })
        }
        NodeKind::Task(_)
        | NodeKind::Loop { .. }
        | NodeKind::Pause { .. }
        | NodeKind::Sleep { .. }
        | NodeKind::Check(_) => Err(format!("the parent of `{id}` cannot have children")),
    }
}

/// Who waits has a shorter way to the end; a group has at least the way of its children.
fn ranked(scope: &Scope, node: &Node) -> bool {
    let rank_of = |&at: &NodeIndex| scope.nodes[usize::from(at)].rank;
    let body = |&&at: &&NodeIndex| scope.nodes[usize::from(at)].phase == Phase::Body;
    node.dependents
        .iter()
        .map(rank_of)
        .all(|rank| rank <= node.rank)
        && node
            .children
            .iter()
            .filter(body)
            .map(rank_of)
            .all(|rank| rank <= node.rank)
}

/// Loops and the scopes they own point at each other.
fn loops(plan: &Plan, number: usize, scope: &Scope) -> Result<(), String> {
    for (at, node) in scope.nodes.iter().enumerate() {
        if let NodeKind::Loop {
            scope: body,
            window,
            ..
        } = &node.kind
        {
            ensure(*window > 0, || {
                format!("the loop `{}` has no window", node.id)
            })?;
            let owner = plan
                .scopes
                .get(usize::from(*body))
                .and_then(|body| body.owner);
            let own = owner.is_some_and(|(s, n)| usize::from(s) == number && usize::from(n) == at);
            ensure(own, || {
                format!("the body of the loop `{}` is not its own", node.id)
            })?;
        }
    }
    let Some((above, loop_node)) = scope.owner else {
        return Ok(());
    };
    ensure(usize::from(above) < number, || {
        "the loop's scope does not precede it".into()
    })?;
    match plan
        .node(above, loop_node)
        .map(|node| (&node.kind, node.after))
    {
        Some((NodeKind::Loop { scope: body, .. }, after)) if usize::from(*body) == number => {
            ensure(scope.nodes.iter().all(|node| node.after == after), || {
                "the body differs from its loop in `after`".into()
            })
        }
        Some(_) | None => Err("the owner is not a loop with this body".into()),
    }
}

/// `loops` has verified that owners precede what they own, up to this scope.
fn depth(plan: &Plan, number: usize) -> Result<(), String> {
    let (mut depth, mut at) = (0, number);
    while let Some((above, _)) = plan.scopes[at].owner {
        depth += 1;
        at = usize::from(above);
    }
    ensure(depth <= LOOP_DEPTH_MAX, || {
        "loops are nested too deep".into()
    })
}

/// The flow and what runs after it.
fn static_scope(scope: &Scope) -> Result<(), String> {
    ensure(scope.owner.is_none(), || {
        "the static scope has a loop".into()
    })?;
    for (at, node) in scope.nodes.iter().enumerate() {
        let root = match at {
            0 => node.id == ".flow" && node.parent.is_none() && !node.after,
            1 if node.parent.is_none() => node.id == ".after" && node.after && node.deps.is_empty(),
            _ => node.parent.is_some(),
        };
        ensure(root, || format!("`{}` should not be node {at}", node.id))?;
    }
    ensure(!scope.nodes.is_empty(), || "the flow has no node".into())
}

/// Every node has one home; every shard mirrors what its nodes look at, and fits.
fn shards(scope: &Scope) -> Result<(), String> {
    let mut home: Vec<Option<usize>> = vec![None; scope.nodes.len()];
    for (number, shard) in scope.shards.iter().enumerate() {
        let ascending = |list: &[NodeIndex]| list.is_sorted_by(|a, b| a < b);
        ensure(ascending(&shard.slots) && ascending(&shard.mirrors), || {
            format!("shard {number} is not sorted")
        })?;
        ensure(shard_fits(shard.slots.len(), shard.mirrors.len()), || {
            format!("shard {number} is too large")
        })?;
        for &slot in &shard.slots {
            let place = home
                .get_mut(usize::from(slot))
                .ok_or("a slot has no node")?;
            ensure(place.replace(number).is_none(), || {
                format!("node {slot} has two homes")
            })?;
        }
    }
    ensure(home.iter().all(Option::is_some), || {
        "a node has no home".into()
    })?;
    let at_home = |at: NodeIndex| home[usize::from(at)] == Some(0);
    let roots = scope
        .nodes
        .iter()
        .take(2)
        .filter(|node| node.parent.is_none())
        .count();
    ensure((0..=1).take(roots).all(at_home), || {
        "a root is not in shard 0".into()
    })?;
    for (number, shard) in scope.shards.iter().enumerate() {
        mirrors(scope, shard).map_err(|e| format!("shard {number}: {e}"))?;
    }
    Ok(())
}

fn mirrors(scope: &Scope, shard: &ShardPlan) -> Result<(), String> {
    let own: BTreeSet<NodeIndex> = shard.slots.iter().copied().collect();
    let mut wanted = BTreeSet::new();
    for &slot in &shard.slots {
        let node = &scope.nodes[usize::from(slot)];
        wanted.extend(node.parent);
        wanted.extend(&node.deps);
        wanted.extend(&node.children);
        let together = match &node.kind {
            NodeKind::Choice { .. } => true,
            NodeKind::Group {
                concurrent,
                working_directory,
                on_failure,
                ..
            } => *concurrent > 0 || *working_directory || *on_failure != super::OnFailure::Continue,
            NodeKind::Task(_)
            | NodeKind::Loop { .. }
            | NodeKind::Pause { .. }
            | NodeKind::Sleep { .. }
            | NodeKind::Check(_) => false,
        };
        ensure(
            !together || node.children.iter().all(|c| own.contains(c)),
            || format!("`{}` lives apart from a child", node.id),
        )?;
    }
    let wanted: Vec<NodeIndex> = wanted.difference(&own).copied().collect();
    ensure(wanted == shard.mirrors, || {
        "the mirrors are not what its nodes look at".into()
    })
}
