//! Stories of restarts, flow retries, loops and what comes after the end.

use super::Scenario;
use crate::exec::{Reason, State};
use crate::lang::model::{
    Concurrency, ConcurrencyBehavior, Flow, FlowRetry, FlowRetryBehavior, Retry, RetryInterval,
};
use crate::plan::builder::FlowBuilder;

fn flow() -> FlowBuilder {
    FlowBuilder::new("genomics", "qc")
}

fn one_at_a_time(mut flow: Flow) -> Flow {
    flow.concurrency = Some(Concurrency {
        limit: 1,
        behavior: ConcurrencyBehavior::Queue,
        key: None,
    });
    flow
}

fn retried(mut flow: Flow) -> Flow {
    flow.retry = Some(FlowRetry {
        retry: Retry {
            interval: RetryInterval::Constant { interval_ms: 1_000 },
            max_attempts: Some(3),
            max_duration_ms: None,
            warning_on_retry: false,
            reasons: Vec::new(),
        },
        behavior: FlowRetryBehavior::RetryFailedTask,
    });
    flow
}

#[test]
fn a_restarted_choice_keeps_the_warning_of_the_branch_it_no_longer_takes() {
    for branch in ["1", "none"] {
        let flow = flow().choice(
            "fork",
            "{{ inputs.x }}",
            |then| then.task("warns").task("fails"),
            |otherwise| otherwise,
        );
        Scenario::new(&flow.build())
            .on("start", "evaluate fork")
            .on("fork branch 0", "launch warns#1")
            .on("warns#1 warning", "launch fails#1")
            .on("fails#1 failed", "finish Failed (child failed)")
            .on("restart 1", "evaluate fork")
            .on(&format!("fork branch {branch}"), "finish Warning")
            .expect("warns", State::Warning, Reason::None)
            .expect("fails", State::Omitted, Reason::NotTaken)
            .expect("fork", State::Warning, Reason::None)
            .due(false);
    }
}

#[test]
fn killing_a_restarted_execution_that_is_queued_keeps_what_succeeded() {
    let flow = flow().task("a").task_after("b", &["a"]).build();
    Scenario::new(&one_at_a_time(flow))
        .on("start", "acquire")
        .on("admitted", "launch a#1")
        .on("a#1 success", "launch b#1")
        .on("b#1 failed", "finish Failed (child failed), release")
        .on("restart 1", "acquire")
        .on("kill", "finish Killed (killed), release")
        .expect("a", State::Success, Reason::None)
        .expect("b", State::Cancelled, Reason::Kill)
        .due(false);
}

#[test]
fn a_kill_or_an_exit_of_a_former_round_that_comes_late_ends_nothing() {
    Scenario::new(&flow().task("a").task_after("b", &["a"]).build())
        .on("start", "launch a#1")
        .on("a#1 success", "launch b#1")
        .on("kill 0", "stop b#1")
        .on("b#1 stopped", "finish Killed (killed)")
        .on("restart 1", "launch b#2")
        .on("kill 0", "launch b#2")
        .on("exit 0", "launch b#2")
        .on("kill 1", "stop b#2");
}

#[test]
fn a_repeated_report_says_again_what_comes_after_the_end() {
    let flow = flow().task("a").after_execution(|after| after.task("tell"));
    Scenario::new(&flow.build())
        .on("start", "launch a#1")
        .on("a#1 success", "launch tell#1, finish Success")
        .on("a#1 success", "launch tell#1, finish Success")
        .on("tell#1 success", "finish Success")
        .due(false);
}

#[test]
fn a_failed_flow_is_tried_again_unless_a_task_may_not_be() {
    let flow = |idempotent| retried(flow().task("a").idempotent(idempotent).build());
    Scenario::new(&flow(true))
        .on("start", "launch a#1")
        .on("a#1 failed", "")
        .due(true)
        .after(1_000)
        .on("tick", "launch a#2");
    Scenario::new(&flow(false))
        .on("start", "launch a#1")
        .on("a#1 failed", "finish Failed (child failed)")
        .due(false)
        .after(1_000)
        .on("tick", "finish Failed (child failed)");
}

#[test]
fn a_loop_whose_body_is_disabled_succeeds() {
    let body = |body: FlowBuilder| body.task("one").with(|task| task.disabled = true);
    Scenario::chunk(&flow().looped("each", 3, body).build())
        .on("open 0 3", "loop done: 3 succeeded, 0 failed, 0 cancelled")
        .due(false);
}

#[test]
fn a_restarted_loop_stays_in_its_window() {
    let flow = flow().looped("each", 3, |body| body.task("one")).window(1);
    Scenario::chunk(&flow.build())
        .on("open 0 3", "launch one[0]#1")
        .on("one[0]#1 failed", "launch one[1]#1")
        .on("one[1]#1 success", "launch one[2]#1")
        .on(
            "one[2]#1 failed",
            "loop done: 1 succeeded, 2 failed, 0 cancelled",
        )
        // The second succeeded, and is begun and over at once; the third still waits for the first.
        .on("open 1 3", "launch one[0]#2")
        .expect("one[2]", State::Waiting, Reason::None)
        .on("one[0]#2 success", "launch one[2]#2")
        .on(
            "one[2]#2 success",
            "loop done: 3 succeeded, 0 failed, 0 cancelled",
        )
        .due(false);
}

#[test]
fn a_repeated_report_in_a_loop_says_again_only_what_may_follow_from_it() {
    let flow = flow().looped("each", 4, |body| body.task("one")).window(2);
    Scenario::chunk(&flow.build())
        .on("open 0 4", "launch one[0]#1, launch one[1]#1")
        .on("one[0]#1 started", "")
        // Of 128 iterations that are asked about, none repeats the launches of all others.
        .on("one[0]#1 alive", "")
        .on("one[0]#1 success", "launch one[2]#1")
        .on("one[0]#1 success", "launch one[1]#1, launch one[2]#1")
        .on("one[1]#1 started", "")
        .on("one[0]#1 success", "launch one[2]#1")
        .on("one[0]#1 started", "");
}

#[test]
fn a_repeated_report_in_a_loop_says_again_what_follows_in_its_iteration() {
    let flow = flow().looped("each", 2, |body| body.task("one").task("two"));
    Scenario::chunk(&flow.build())
        .on("open 0 2", "launch one[0]#1, launch one[1]#1")
        .on("one[1]#1 success", "launch two[1]#1")
        .on("one[1]#1 success", "launch two[1]#1")
        .on("two[1]#1 success", "")
        .on(
            "one[0]#1 failed",
            "loop done: 1 succeeded, 1 failed, 0 cancelled",
        )
        .on(
            "one[0]#1 failed",
            "loop done: 1 succeeded, 1 failed, 0 cancelled",
        );
}
