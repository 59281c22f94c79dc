#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use operon_core::exec::{Reason, Slot, State};
use operon_core::plan::builder::FlowBuilder;
use operon_core::plan::{Plan, compile};

use super::ReplayError;
use super::scope::Reused;
use crate::ports::ExecutionId;

fn plan(build: impl FnOnce(FlowBuilder) -> FlowBuilder) -> Plan {
    compile(&build(FlowBuilder::new("test", "replayed")).build()).unwrap()
}

fn id() -> ExecutionId {
    "first".parse().unwrap()
}

/// All nodes succeeded, but for those named.
fn states(plan: &Plan, others: &[(&str, State)]) -> BTreeMap<String, Slot> {
    plan.scopes[0]
        .nodes
        .iter()
        .map(|node| {
            let other = others.iter().find(|(id, _)| *id == node.id);
            let state = other.map_or(State::Success, |(_, state)| *state);
            let slot = Slot {
                state,
                attempt: 1,
                ..Slot::default()
            };
            (node.id.clone(), slot)
        })
        .collect()
}

fn reused(plan: &Plan, states: &BTreeMap<String, Slot>, from: &str) -> Vec<String> {
    let found = Reused::find(plan, states, from, &id()).unwrap();
    (0_u16..)
        .zip(&plan.scopes[0].nodes)
        .filter(|(index, node)| found.state(*index).is_some() && !node.hidden)
        .map(|(_, node)| node.id.clone())
        .collect()
}

#[test]
fn a_sequence_is_reused_up_to_the_task() {
    let plan = plan(|flow| flow.task("a").task("b").task("c"));
    assert_eq!(reused(&plan, &states(&plan, &[]), "b"), ["a"]);
    assert_eq!(reused(&plan, &states(&plan, &[]), "a"), [""; 0]);
}

#[test]
fn branches_that_do_not_come_after_the_task_are_reused() {
    let plan = plan(|flow| {
        flow.task_after("a", &[])
            .task_after("b", &["a"])
            .task_after("c", &["a"])
            .task_after("d", &["b", "c"])
    });
    assert_eq!(reused(&plan, &states(&plan, &[]), "b"), ["a", "c"]);
}

#[test]
fn what_failed_is_executed_again_with_what_follows() {
    let plan = plan(|flow| {
        flow.task_after("a", &[])
            .task_after("b", &["a"])
            .task_after("c", &["a"])
            .task_after("d", &["b"])
    });
    let states = states(&plan, &[("b", State::Failed), ("d", State::Omitted)]);
    assert_eq!(reused(&plan, &states, "c"), ["a"]);
}

#[test]
fn a_branch_that_was_not_taken_makes_nothing_run_again() {
    let plan = plan(|flow| flow.task("a").task("b").task("c"));
    let mut states = states(&plan, &[("a", State::Omitted)]);
    states.get_mut("a").unwrap().detail = Reason::NotTaken as u8;
    assert_eq!(reused(&plan, &states, "c"), ["b"]);
}

#[test]
fn handlers_are_never_reused_and_cannot_be_replayed_from() {
    let plan = plan(|flow| {
        flow.task("a")
            .task("b")
            .errors(|list| list.task("handler"))
            .finally(|list| list.task("cleanup"))
    });
    let states = states(&plan, &[]);
    assert_eq!(reused(&plan, &states, "b"), ["a"]);
    let error = Reused::find(&plan, &states, "cleanup", &id()).unwrap_err();
    assert!(matches!(error, ReplayError::Handler(_)), "{error}");
}

#[test]
fn a_task_in_a_loop_names_the_loop() {
    let plan = plan(|flow| {
        flow.looped("each", 3, |body| body.task("child"))
            .task("after")
    });
    let states = states(&plan, &[]);
    let error = Reused::find(&plan, &states, "child", &id()).unwrap_err();
    assert!(
        matches!(&error, ReplayError::InLoop { outer, .. } if outer == "each"),
        "{error}"
    );
    let error = Reused::find(&plan, &states, "nothing", &id()).unwrap_err();
    assert!(matches!(error, ReplayError::UnknownTask { .. }), "{error}");
    assert_eq!(reused(&plan, &states, "after"), ["each"]);
}
