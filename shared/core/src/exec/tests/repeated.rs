//! Loops that are repeated until a condition holds.

use super::Scenario;
use crate::exec::{Reason, State};
use crate::lang::model::{Flow, Until};
use crate::plan::builder::FlowBuilder;

const INTERVAL_MS: u64 = 10_000;

fn until(fail_on_max: bool) -> Until {
    Until {
        condition: "{{ outputs.ask.code == 200 }}".to_owned(),
        interval_ms: INTERVAL_MS,
        max_iterations: 3,
        max_duration_ms: Some(60_000),
        fail_on_max,
    }
}

fn flow(until: Until) -> Flow {
    FlowBuilder::new("genomics", "wait")
        .repeated("ready", until, |body| body.task("ask"))
        .build()
}

const CHECK: &str = ".until.ready";

fn check(iteration: u32, holds: bool) -> String {
    format!("{CHECK}[{iteration}] gate {holds}")
}

#[test]
fn it_ends_when_the_condition_holds() {
    Scenario::chunk(&flow(until(true)))
        .on("open 0 3", "launch ask[0]#1")
        .on("ask[0]#1 success", "evaluate .until.ready[0]")
        .on(&check(0, false), "")
        .expect(".until.ready[0]", State::Paused, Reason::None)
        .due(true)
        .on("tick", "")
        .after(INTERVAL_MS)
        .on("tick", "launch ask[1]#1")
        .on("ask[1]#1 success", "evaluate .until.ready[1]")
        .on(
            &check(1, true),
            "loop done: 2 succeeded, 0 failed, 0 cancelled",
        )
        .expect("ask[2]", State::Cancelled, Reason::SiblingFailed)
        .due(false)
        .on(
            &check(1, true),
            "loop done: 2 succeeded, 0 failed, 0 cancelled",
        );
}

#[test]
fn it_ends_after_as_many_iterations_as_it_may_have() {
    let told = Scenario::chunk(&flow(until(false)))
        .on("open 0 1", "launch ask[0]#1")
        .on("ask[0]#1 success", "evaluate .until.ready[0]")
        .on(
            &check(0, false),
            "loop done: 1 succeeded, 0 failed, 0 cancelled (limit)",
        );
    told.expect(".until.ready[0]", State::Skipped, Reason::LimitReached);
}

#[test]
fn no_iteration_begins_after_its_time() {
    Scenario::chunk(&flow(until(false)))
        .on("open 0 3", "launch ask[0]#1")
        .after(50_001)
        .on("ask[0]#1 success", "evaluate .until.ready[0]")
        // The next one would begin 1 ms too late.
        .on(
            &check(0, false),
            "loop done: 1 succeeded, 0 failed, 0 cancelled (limit)",
        );
    Scenario::chunk(&flow(until(false)))
        .on("open 0 3", "launch ask[0]#1")
        .after(50_000)
        .on("ask[0]#1 success", "evaluate .until.ready[0]")
        .on(&check(0, false), "")
        .after(INTERVAL_MS)
        .on("tick", "launch ask[1]#1");
}

#[test]
fn a_failure_inside_ends_it() {
    Scenario::chunk(&flow(until(true)))
        .on("open 0 3", "launch ask[0]#1")
        .on(
            "ask[0]#1 failed",
            "loop done: 0 succeeded, 1 failed, 0 cancelled",
        )
        .expect(".until.ready[0]", State::Omitted, Reason::Upstream);
}

#[test]
fn a_person_does_not_answer_for_its_condition() {
    Scenario::chunk(&flow(until(true)))
        .on("open 0 3", "launch ask[0]#1")
        .on("ask[0]#1 success", "evaluate .until.ready[0]")
        .on(&check(0, false), "")
        .on(".until.ready[0] resume", "")
        .expect(".until.ready[0]", State::Paused, Reason::None);
}

#[test]
fn what_a_maximum_means_is_the_flow_s_choice() {
    for (fail, state, end) in [
        (true, State::Failed, "finish Failed (child failed)"),
        (false, State::Success, "finish Success"),
    ] {
        Scenario::new(&flow(until(fail)))
            .on("start", "evaluate ready")
            .on("ready count 3", "send 0.1/0")
            .on("ready ended 3 limit", end)
            .expect("ready", state, Reason::LimitReached);
    }
    Scenario::new(&flow(until(true)))
        .on("start", "evaluate ready")
        .on("ready count 3", "send 0.1/0")
        .on("ready ended 2", "finish Success")
        .expect("ready", State::Success, Reason::None);
}

#[test]
fn a_restart_of_what_was_repeated_as_often_as_possible_begins_from_scratch() {
    let told = Scenario::new(&flow(until(true)))
        .on("start", "evaluate ready")
        .on("ready count 3", "send 0.1/0")
        .on("ready ended 3 limit", "finish Failed (child failed)")
        .on("restart 1", "evaluate ready")
        .on("ready count 3", "send 0.1/0");
    let slot = told.shard.slots[1];
    assert_eq!(slot.attempt, 1, "a new generation");
}
