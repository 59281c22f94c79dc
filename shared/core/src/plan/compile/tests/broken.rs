//! `check::verify` sees every kind of damage.

use super::*;
use crate::plan::{NodeIndex, Phase, ShardPlan};

/// Two shards, a choice, a loop with a body, dependencies, and an `afterExecution`.
fn healthy() -> Plan {
    plan_of(
        chain(flow(), "t", 150)
            .choice(
                "pick",
                "{{ inputs.x }}",
                |f| f.task("yes"),
                |f| f.task("no"),
            )
            .looped("each", 3, |f| f.task("x").task("y"))
            .after_execution(|f| f.task("tell")),
    )
}

fn at(plan: &Plan, id: &str) -> usize {
    let nodes = &plan.scopes[0].nodes;
    nodes.iter().position(|node| node.id == id).unwrap()
}

fn node_mut<'p>(plan: &'p mut Plan, id: &str) -> &'p mut Node {
    let mut nodes = plan.scopes.iter_mut().flat_map(|scope| &mut scope.nodes);
    nodes.find(|node| node.id == id).unwrap()
}

/// The message about a plan after some damage.
fn broken(damage: impl FnOnce(&mut Plan)) -> String {
    let mut plan = healthy();
    damage(&mut plan);
    check::verify(&plan).unwrap_err()
}

#[test]
fn damaged_nodes_are_noticed() {
    let messages = [
        broken(|plan| plan.scopes.clear()),
        broken(|plan| node_mut(plan, "t1").id = "t0".into()),
        broken(|plan| node_mut(plan, "t1").hidden = true),
        broken(|plan| node_mut(plan, "t1").parent = Some(999)),
        broken(|plan| node_mut(plan, "t1").parent = None),
        broken(|plan| node_mut(plan, "t1").parent = Some(0)),
        broken(|plan| node_mut(plan, "t1").deps = vec![999]),
        broken(|plan| node_mut(plan, "t1").deps.clear()),
        broken(|plan| node_mut(plan, "t1").dependents.clear()),
        broken(|plan| node_mut(plan, "t1").branch = Some(0)),
        broken(|plan| node_mut(plan, "t1").after = true),
        broken(|plan| node_mut(plan, "t1").rank = 0),
        broken(|plan| node_mut(plan, "t1").needs = vec!["b".into(), "a".into()]),
        broken(|plan| node_mut(plan, "yes").branch = Some(2)),
        broken(|plan| node_mut(plan, "yes").phase = Phase::Errors),
        broken(|plan| node_mut(plan, ".after").after = false),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r#"
    the plan has no scope
    scope 0: id `t0` twice
    scope 0: `t1` is hidden or has a dot, not both
    scope 0: the parent of `t1` does not precede it
    scope 0: the children of `.part-1` are not those whose parent it is
    scope 0: the children of `.flow` are not those whose parent it is
    scope 0: a dependency of `t1` does not precede it
    scope 0: the dependents of `t0` are not those that depend on it
    scope 0: the dependents of `t1` are not those that depend on it
    scope 0: `t1` has a branch
    scope 0: `t1` and its parent differ in `after`
    scope 0: the rank of `t1` is too small
    scope 0: the needs of `t1` are not sorted
    scope 0: `yes` has no branch
    scope 0: `yes` has no branch
    scope 0: `tell` and its parent differ in `after`
    "#);
}

#[test]
fn damaged_loops_are_noticed() {
    let messages = [
        broken(|plan| plan.scopes[1].owner = None),
        broken(|plan| plan.scopes[1].owner = Some((0, 3))),
        broken(|plan| plan.scopes[1].shards.push(ShardPlan::default())),
        broken(|plan| node_mut(plan, "x").after = true),
        broken(|plan| {
            if let NodeKind::Loop { scope, .. } = &mut node_mut(plan, "each").kind {
                *scope = 7;
            }
        }),
        broken(|plan| {
            if let NodeKind::Loop { window, .. } = &mut node_mut(plan, "each").kind {
                *window = 0;
            }
        }),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r#"
    scope 0: the body of the loop `each` is not its own
    scope 0: the body of the loop `each` is not its own
    scope 1: a body has static shards
    scope 1: the body differs from its loop in `after`
    scope 0: the body of the loop `each` is not its own
    scope 0: the loop `each` has no window
    "#);
}

#[test]
fn damaged_shards_are_noticed() {
    let all: Vec<NodeIndex> = (0..).take(healthy().scopes[0].nodes.len()).collect();
    let pick = NodeIndex::try_from(at(&healthy(), "pick")).unwrap();
    let messages = [
        broken(|plan| drop(plan.scopes[0].shards.pop())),
        broken(|plan| plan.scopes[0].shards[1].slots.reverse()),
        broken(|plan| plan.scopes[0].shards[1].slots.insert(0, 0)),
        broken(|plan| plan.scopes[0].shards[1].slots.push(9_999)),
        broken(|plan| plan.scopes[0].shards[0].mirrors.clear()),
        broken(|plan| plan.scopes[0].shards.swap(0, 1)),
        broken(|plan| {
            plan.scopes[0].shards = vec![ShardPlan {
                slots: all,
                mirrors: vec![],
            }];
        }),
        broken(|plan| {
            for shard in &mut plan.scopes[0].shards {
                shard.slots.retain(|&slot| slot != pick);
            }
            let slots = vec![pick];
            plan.scopes[0].shards.push(ShardPlan {
                slots,
                mirrors: vec![],
            });
        }),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r#"
    a node has no home
    shard 1 is not sorted
    node 0 has two homes
    a slot has no node
    shard 0: the mirrors are not what its nodes look at
    a root is not in shard 0
    shard 0 is too large
    shard 0: the mirrors are not what its nodes look at
    "#);
}
