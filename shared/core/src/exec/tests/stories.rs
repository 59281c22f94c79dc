use super::Scenario;
use crate::exec::{PROBE_INTERVAL_MS, Reason, State};
use crate::lang::model::{Dynamic, TaskKind};
use crate::plan::builder::FlowBuilder;

fn flow() -> FlowBuilder {
    FlowBuilder::new("genomics", "qc")
}

#[test]
fn an_answer_older_than_the_launch_does_not_end_the_attempt() {
    // The question was put before the launch, the answer comes after the report that the attempt began.
    Scenario::new(&flow().task("a").retry(2, 1000).build())
        .on("start", "launch a#1")
        .on("a#1 started", "")
        .on("a#1 absent", "")
        .expect("a", State::Running, Reason::None)
        .on("a#1 success", "finish Success");
}

#[test]
fn the_end_is_told_again_when_the_tick_that_ended_it_comes_again() {
    let nap = flow().task("nap").with(|task| {
        task.kind = TaskKind::Sleep {
            duration: Dynamic::Constant(5_000),
        };
    });
    Scenario::new(&nap.build())
        .on("start", "")
        .on("tick", "")
        .after(5_000)
        .on("tick", "finish Success")
        .due(false)
        .on("tick", "finish Success");
}

#[test]
fn a_launch_is_said_again_when_the_tick_that_began_it_comes_again() {
    Scenario::new(&flow().task("a").retry(2, 1_000).build())
        .on("start", "launch a#1")
        .on("a#1 failed", "")
        .after(1_000)
        .on("tick", "launch a#2")
        .on("tick", "launch a#2");
}

#[test]
fn a_failed_task_is_retried_then_its_dependents_are_skipped() {
    Scenario::new(
        &flow()
            .task("fetch")
            .retry(2, 1_000)
            .task_after("align", &["fetch"])
            .build(),
    )
    .on("start", "launch fetch#1")
    .on("fetch#1 failed", "")
    .on("tick", "")
    .after(1_000)
    .on("tick", "launch fetch#2")
    .on("fetch#1 failed", "launch fetch#2") // Late and repeated: what is pending is said again.
    .on("fetch#2 failed", "finish Failed (child failed)")
    .expect("fetch", State::Failed, Reason::ExitCode)
    .expect("align", State::Omitted, Reason::Upstream)
    .due(false);
}

#[test]
fn a_repeated_report_says_again_what_follows_from_it() {
    Scenario::new(&flow().task("fetch").task_after("align", &["fetch"]).build())
        .on("start", "launch fetch#1")
        .on("start", "launch fetch#1")
        .on("fetch#1 success", "launch align#1")
        .on("fetch#1 success", "launch align#1")
        .on("fetch#1 failed", "launch align#1")
        .on("align#1 success", "finish Success")
        .on("align#1 success", "finish Success")
        .expect("fetch", State::Success, Reason::None);
}

#[test]
fn an_interruption_does_not_use_up_an_attempt() {
    Scenario::new(&flow().task("a").build())
        .on("start", "launch a#1")
        .on("a#1 interrupted", "")
        .after(1_000)
        .on("tick", "launch a#2")
        .on("a#2 gone", "")
        .after(2_000)
        .on("tick", "launch a#3")
        .on("a#3 failed", "finish Failed (child failed)");
}

#[test]
fn what_is_not_idempotent_is_not_launched_again() {
    Scenario::new(
        &flow()
            .task("submit")
            .retry(3, 1_000)
            .idempotent(false)
            .build(),
    )
    .on("start", "launch submit#1")
    .on("submit#1 gone", "finish Failed (outcome unknown)")
    .expect("submit", State::Failed, Reason::OutcomeUnknown)
    .due(false);
}

/// Nobody knows how far it came, so whoever waits for the lock must wait for the quarantine too.
#[test]
fn killing_what_is_not_idempotent_leaves_its_outcome_unknown() {
    let flow = || flow().task("submit").idempotent(false);
    Scenario::new(&flow().build())
        .on("start", "launch submit#1")
        .on("kill", "stop submit#1")
        .on("submit#1 stopped", "finish Killed (outcome unknown)")
        .expect("submit", State::Killed, Reason::OutcomeUnknown);
    // It ended in its last moment, and said how.
    Scenario::new(&flow().build())
        .on("start", "launch submit#1")
        .on("kill", "stop submit#1")
        .on("submit#1 success", "finish Killed (killed)")
        .expect("submit", State::Killed, Reason::Kill);
}

#[test]
fn an_unknown_outcome_is_told_whatever_happens_beside_it() {
    // Allowed to fail, and then a sibling is killed.
    let parts = flow()
        .task("submit")
        .idempotent(false)
        .with(|task| task.allow_failure = true)
        .task_after("other", &[]);
    Scenario::new(&parts.build())
        .on("start", "launch submit#1, launch other#1")
        .on("submit#1 gone", "")
        .expect("submit", State::Warning, Reason::OutcomeUnknown)
        .on("kill", "stop other#1")
        .on("other#1 stopped", "finish Killed (outcome unknown)");
}

#[test]
fn a_failure_that_is_allowed_is_a_warning_which_may_be_allowed_too() {
    for (failure, warning, state, end) in [
        (false, false, State::Failed, "finish Failed (child failed)"),
        (false, true, State::Failed, "finish Failed (child failed)"),
        (true, false, State::Warning, "finish Warning"),
        (true, true, State::Success, "finish Success"),
    ] {
        let parts = flow().task("a").with(|task| {
            task.allow_failure = failure;
            task.allow_warning = warning;
        });
        Scenario::new(&parts.build())
            .on("start", "launch a#1")
            .on("a#1 failed", end)
            .expect("a", state, Reason::ExitCode);
    }
}

#[test]
fn a_timeout_stops_the_attempt_before_the_next_one_starts() {
    Scenario::new(&flow().task("a").retry(2, 1_000).timeout_ms(60_000).build())
        .on("start", "launch a#1")
        .on("a#1 started", "")
        .after(60_000 + crate::exec::LAUNCH_GRACE_MS)
        .on("tick", "stop a#1")
        .expect("a", State::Killing, Reason::None)
        .on("a#1 stopped", "")
        .after(1_000)
        .on("tick", "launch a#2")
        .on("a#1 success", "launch a#2");
}

#[test]
fn a_kill_stops_what_runs_and_cancels_what_waits() {
    Scenario::new(&flow().task("a").task_after("b", &["a"]).build())
        .on("start", "launch a#1")
        .on("kill", "stop a#1")
        .on("kill", "stop a#1")
        .expect("b", State::Cancelled, Reason::Kill)
        .on("a#1 stopped", "finish Killed (killed)")
        .expect("a", State::Killed, Reason::Kill)
        .due(false);
}

#[test]
fn a_restart_begins_with_what_has_not_succeeded() {
    Scenario::new(&flow().task("a").task_after("b", &["a"]).build())
        .on("start", "launch a#1")
        .on("a#1 success", "launch b#1")
        .on("b#1 failed", "finish Failed (child failed)")
        .on("restart 2", "finish Failed (child failed)") // Not the next round.
        .on("restart 1", "launch b#2")
        .on("restart 1", "launch b#2")
        .expect("a", State::Success, Reason::None)
        .on("b#1 failed", "launch b#2")
        .on("b#2 success", "finish Success");
}

#[test]
fn a_tick_asks_the_runtime_only_when_the_probe_is_due() {
    Scenario::new(&flow().task("a").build())
        .on("start", "launch a#1")
        .after(PROBE_INTERVAL_MS - 10)
        .on("tick", "launch a#1")
        .after(10)
        .on("tick", "launch a#1, probe a#1")
        .on("a#1 alive", "")
        .on("tick", "")
        .after(PROBE_INTERVAL_MS)
        .on("tick", "probe a#1");
}

#[test]
fn a_retry_is_only_for_the_reasons_it_names() {
    let picky = || {
        flow().task("a").with(|task| {
            task.retry = Some(crate::lang::model::Retry {
                interval: crate::lang::model::RetryInterval::Constant { interval_ms: 1_000 },
                max_attempts: Some(3),
                max_duration_ms: None,
                warning_on_retry: false,
                reasons: vec![Reason::OutOfMemory],
            });
        })
    };
    let task_run = |reason| {
        use crate::exec::{Event, Outcome, Shard, Time, apply};
        use crate::plan::{Layout, ShardId, compile};
        let plan = compile(&picky().build()).unwrap();
        let layout = Layout::of(&plan, &ShardId::ROOT).unwrap();
        let now = Time(1_000_000);
        let shard = Shard::fresh(&layout, now);
        let (shard, _) = apply(&plan, &ShardId::ROOT, &shard, &[Event::Start], now);
        let at = shard
            .slots
            .iter()
            .position(|slot| slot.state == State::Launching);
        let slot = u16::try_from(at.unwrap()).unwrap();
        let done = Event::Done {
            slot,
            attempt: 1,
            outcome: Outcome::Failed(reason),
            age_ms: 0,
        };
        let (shard, _) = apply(&plan, &ShardId::ROOT, &shard, &[done], now);
        shard.slots[usize::from(slot)].state
    };
    assert_eq!(task_run(Reason::OutOfMemory), State::RetryWait);
    assert_eq!(task_run(Reason::ExitCode), State::Failed);
    // The platform's faults are free, whatever the policy names.
    for reason in [
        Reason::StartFailed,
        Reason::StartTimeout,
        Reason::Interrupted,
    ] {
        assert_eq!(task_run(reason), State::RetryWait, "{reason:?}");
    }
}

#[test]
fn a_reason_of_a_newer_release_is_no_reason() {
    for reason in Reason::ALL {
        assert_eq!(Reason::of(reason as u8), reason);
    }
    assert_eq!(Reason::of(200), Reason::None);
}
