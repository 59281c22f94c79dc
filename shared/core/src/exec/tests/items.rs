//! Stories of retries of failed items that the flow tolerated.

use super::Scenario;
use crate::exec::{Reason, State};
use crate::lang::model::{GroupOrder, TaskKind};
use crate::plan::builder::FlowBuilder;

fn flow() -> FlowBuilder {
    FlowBuilder::new("genomics", "qc")
}

fn one(body: FlowBuilder) -> FlowBuilder {
    body.task("one")
}

fn other(body: FlowBuilder) -> FlowBuilder {
    body.task("other")
}

/// The loop may have failed items.
fn tolerant(flow: FlowBuilder) -> FlowBuilder {
    flow.with(|task| {
        if let TaskKind::Loop {
            transmit_failed, ..
        } = &mut task.kind
        {
            *transmit_failed = false;
        }
    })
}

#[test]
fn a_retry_begins_a_tolerant_loop_and_what_follows_it() {
    let flow = tolerant(flow().task("before").looped("each", 3, one))
        .task_after("merge", &["each"])
        .task_after("publish", &["merge"])
        .task("beside")
        .build();
    Scenario::new(&flow)
        .on("start", "launch before#1, evaluate each, launch beside#1")
        .on("before#1 success", "")
        .on("each count 3", "send 0.2/0")
        .on("each ended 2 tolerated", "launch merge#1")
        .expect("each", State::Warning, Reason::ChildFailed)
        .on("beside#1 success", "")
        .on("merge#1 success", "launch publish#1")
        .on("publish#1 success", "finish Warning")
        .on("retry 1", "evaluate each")
        .expect("before", State::Success, Reason::None)
        .expect("beside", State::Success, Reason::None)
        .expect("merge", State::Waiting, Reason::None)
        .expect("publish", State::Waiting, Reason::None)
        .on("each count 3", "send 0.2/0")
        .on("each ended 3", "launch merge#2")
        .on("merge#2 success", "launch publish#2")
        .on("publish#2 success", "finish Success")
        .due(false);
}

#[test]
fn a_restart_leaves_what_was_tolerated() {
    let flow = tolerant(flow().looped("each", 3, one)).build();
    Scenario::new(&flow)
        .on("start", "evaluate each")
        .on("each count 3", "send 0.1/0")
        .on("each ended 2 tolerated", "finish Warning")
        .on("restart 1", "finish Warning")
        .expect("each", State::Warning, Reason::ChildFailed);
}

#[test]
fn a_loop_in_a_group_that_may_fail_begins_again_and_its_failed_neighbour_too() {
    let flow = flow()
        .group("try", GroupOrder::Parallel, |group| {
            group.looped("each", 3, one).task("fine").task("broken")
        })
        .allow_failure()
        .task_after("after", &["try"])
        .build();
    Scenario::new(&flow)
        .on("start", "evaluate each, launch fine#1, launch broken#1")
        .on("fine#1 success", "")
        .on("broken#1 failed", "")
        .on("each count 3", "send 0.2/0")
        .on("each ended 2 failed", "launch after#1")
        .expect("try", State::Warning, Reason::ChildFailed)
        .on("after#1 success", "finish Warning")
        .on("retry 1", "evaluate each, launch broken#2")
        .on("broken#2 success", "")
        .on("each count 3", "send 0.2/0")
        .on("each ended 3", "launch after#2")
        .on("after#2 success", "finish Success");
}

#[test]
fn a_loop_without_failed_items_and_a_tolerated_task_outside_of_loops_stay() {
    let flow = tolerant(
        flow()
            .task("flaky")
            .allow_failure()
            .looped("each", 2, one)
            .looped("others", 2, other),
    )
    .build();
    Scenario::new(&flow)
        .on("start", "launch flaky#1")
        .on("flaky#1 failed", "evaluate each")
        .on("each count 2", "send 0.2/0")
        .on("each ended 2 warned", "evaluate others")
        .expect("each", State::Warning, Reason::None)
        .on("others count 2", "send 0.3/0")
        .on("others ended 1 tolerated", "finish Warning")
        .on("retry 1", "evaluate others")
        .expect("each", State::Warning, Reason::None)
        .expect("flaky", State::Warning, Reason::ExitCode);
}

#[test]
fn a_later_loop_begins_from_scratch_because_an_earlier_one_gives_it_other_values() {
    let flow = tolerant(flow().looped("each", 2, one))
        .looped("later", 2, other)
        .after(&["each"])
        .build();
    Scenario::new(&flow)
        .on("start", "evaluate each")
        .on("each count 2", "send 0.1/0")
        .on("each ended 1 tolerated", "evaluate later")
        .on("later count 2", "send 0.2/0")
        .on("later ended 2", "finish Warning")
        .on("retry 1", "evaluate each")
        .on("each count 2", "send 0.1/0")
        .on("each ended 2", "evaluate later")
        .on("later count 2", "send 0.2/0")
        .generation("later", 1)
        .on("later ended 2", "finish Success");
}

#[test]
fn an_item_begins_at_the_task_whose_failure_was_allowed() {
    let body = |body: FlowBuilder| {
        body.task("fetch")
            .task_after("align", &["fetch"])
            .allow_failure()
            .task_after("upload", &["align"])
    };
    Scenario::chunk(&flow().looped("each", 2, body).build())
        .on("open 0 2", "launch fetch[0]#1, launch fetch[1]#1")
        .on("fetch[0]#1 success", "launch align[0]#1")
        .on("fetch[1]#1 success", "launch align[1]#1")
        .on("align[0]#1 failed", "launch upload[0]#1")
        .expect("align[0]", State::Warning, Reason::ExitCode)
        .on("upload[0]#1 success", "")
        .on("align[1]#1 warning", "launch upload[1]#1")
        .on(
            "upload[1]#1 success",
            "loop done: 0 succeeded, 0 failed, 0 cancelled (tolerated)",
        )
        .failed_items(1)
        .on("open 1 2 retry", "launch align[0]#2")
        .expect("fetch[0]", State::Success, Reason::None)
        .expect("align[1]", State::Warning, Reason::None)
        .on("align[0]#2 success", "launch upload[0]#2")
        .on(
            "upload[0]#2 success",
            "loop done: 1 succeeded, 0 failed, 0 cancelled",
        )
        .failed_items(0)
        .due(false);
}

#[test]
fn a_flow_of_several_shards_begins_as_by_a_restart() {
    let tasks = |flow: FlowBuilder| (0..200).fold(flow, |flow, n| flow.task(&format!("t{n}")));
    let plan = crate::plan::compile(&tasks(tolerant(flow().looped("each", 2, one))).build());
    let plan = plan.unwrap();
    assert!(!plan.is_one_shard());
    let mut scenario = Scenario::of(plan);
    scenario.shard.phase = crate::exec::RootPhase::Over;
    for slot in &mut scenario.shard.slots {
        slot.state = State::Success;
    }
    let after = scenario.on("retry 1", "send 1, send 2, finish Success");
    assert!(!after.shard.tolerated);
}
