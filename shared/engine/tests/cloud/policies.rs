//! What a flow says about its executions beside their tasks: how long they may take, what must hold of them, how many
//! there may be at once, what is reused, and when they are tried again.

use operon_engine::ports::{ExecutionFilter, ExecutionRow, StateStore as _};
use operon_engine::reports::CACHED;
use operon_testkit::cloud::{CloudWorld, Fate, Shape, Signals};

use serde_json::json;

use super::{HOUR, MINUTE, plan, plan_of};

/// A flow whose container runs for an hour, with these lines.
async fn long(lines: &str) -> (String, usize) {
    let mut cloud = CloudWorld::default();
    cloud.ecs.script(|_| Fate {
        runs_ms: HOUR,
        ..Fate::success()
    });
    let flow = plan(&format!(
        "{lines}\ntasks:\n  - {{id: a, type: container, containerImage: x, timeout: PT2H}}\n"
    ));
    let id = cloud.start(&flow).await;
    let begun = cloud.now();
    assert!(cloud.run(&id, 3 * HOUR).await, "{lines}");
    let row = cloud.row(&id).await;
    let took = row.ended_ms.unwrap() - begun;
    if row.state != "SUCCESS" {
        assert!((5 * MINUTE..9 * MINUTE).contains(&took), "{lines}: {took}");
    }
    cloud.wait(HOUR).await;
    (row.state, cloud.ecs.alive())
}

#[tokio::test]
async fn an_execution_ends_when_it_takes_too_long() {
    let sla = |behavior| {
        format!("sla: [{{id: soon, type: MAX_DURATION, duration: PT5M, behavior: {behavior}}}]")
    };
    for (lines, state) in [
        ("timeout: PT5M".to_owned(), "FAILED"),
        (sla("FAIL"), "FAILED"),
        (sla("CANCEL"), "CANCELLED"),
        (sla("NONE"), "SUCCESS"),
        ("timeout: PT2H".to_owned(), "SUCCESS"),
    ] {
        assert_eq!(long(&lines).await, (state.to_owned(), 0), "{lines}");
    }
}

#[tokio::test]
async fn an_execution_is_what_its_assertions_make_it() {
    for (value, behavior, state) in [
        ("b", "FAIL", "FAILED"),
        ("b", "CANCEL", "CANCELLED"),
        ("b", "NONE", "SUCCESS"),
        ("a", "FAIL", "SUCCESS"),
    ] {
        let mut cloud = CloudWorld::default();
        let flow = plan(&format!(
            "sla: [{{id: is-a, type: EXECUTION_ASSERTION, assert: \"{{{{ outputs.x.value == 'a' }}}}\", behavior: {behavior}, labels: {{level: missed}}}}]\ntasks:\n  - {{id: x, type: return, format: {value}}}\n"
        ));
        let id = cloud.start(&flow).await;
        assert!(cloud.run(&id, HOUR).await);
        let row = cloud.row(&id).await;
        assert_eq!(row.state, state, "{value} {behavior}");
        let label = row.labels.get("level").map(String::as_str);
        assert_eq!(label, (value == "b").then_some("missed"), "{behavior}");
    }
}

/// Starts one execution of each flow, one after the other; their states once both are over, and whether they ever ran
/// side by side.
async fn two(first: &str, second: &str) -> ([String; 2], bool) {
    let tasks = "\ntasks:\n  - {id: a, type: container, containerImage: x}\n";
    let mut cloud = CloudWorld::default();
    let one = cloud
        .start(&plan_of("one", &format!("{first}{tasks}")))
        .await;
    cloud.settle().await;
    let other = cloud
        .start(&plan_of("other", &format!("{second}{tasks}")))
        .await;
    let mut together = false;
    for _ in 0..60 {
        cloud.wait(MINUTE / 2).await;
        together |= cloud.ecs.alive() > 1;
    }
    let states = [cloud.row(&one).await, cloud.row(&other).await].map(|row| row.state);
    (states, together)
}

#[tokio::test]
async fn flows_share_a_lock_and_say_what_becomes_of_who_finds_it_taken() {
    let lock = |key: &str, behavior: &str| {
        format!("concurrency: {{limit: 1, key: \"{key}\", behavior: {behavior}}}")
    };
    for (behavior, state) in [
        ("QUEUE", "SUCCESS"),
        ("FAIL", "FAILED"),
        ("CANCEL", "CANCELLED"),
    ] {
        let shared = lock("shared:x", behavior);
        let (states, together) = two(&shared, &shared).await;
        assert_eq!(states, ["SUCCESS", state], "{behavior}");
        assert!(!together, "{behavior}");
    }
    // Two names are two locks, and one that is not shared is the flow's own.
    for (first, second) in [("shared:x", "shared:y"), ("x", "x")] {
        let (states, together) = two(&lock(first, "FAIL"), &lock(second, "FAIL")).await;
        assert_eq!(states, ["SUCCESS", "SUCCESS"], "{first} {second}");
        assert!(together, "{first} {second}");
    }
}

#[tokio::test]
async fn outputs_of_an_identical_container_are_reused_and_a_failure_is_not() {
    // Also where its end is known by the manifest alone.
    for agent in [true, false] {
        let signals = Signals {
            agent,
            ..Signals::ALL
        };
        let mut cloud = CloudWorld::default();
        for (image, shape, reused) in [
            ("x", Shape::Exit(1), false),
            ("x", Shape::Success, false),
            ("x", Shape::Exit(1), true),
            ("y", Shape::Success, false),
        ] {
            cloud.ecs.script(move |_| Fate {
                signals,
                ..Fate::ends(shape.clone())
            });
            let flow = plan(&format!(
                "tasks:\n  - {{id: a, type: container, containerImage: {image}, taskCache: {{enabled: true}}}}\n"
            ));
            let id = cloud.start(&flow).await;
            assert!(cloud.run(&id, HOUR).await);
            let rows = cloud.rows(&id).await;
            let row = rows.iter().rfind(|row| row.task == "a").unwrap();
            let said = row.message.as_deref() == Some(CACHED);
            assert_eq!(said, reused, "{image}: {row:?}");
            let failed = i32::from(row.state == "FAILED");
            assert_eq!(row.outputs["exitCode"], failed, "{image}");
            assert!(!reused || failed == 0, "{image}: {row:?}");
        }
    }
}

#[tokio::test]
async fn outputs_of_an_identical_task_run_are_reused_while_they_are_fresh() {
    let mut cloud = CloudWorld::default();
    for (format, wait_ms, reused) in [
        ("one", 0, false),
        ("one", HOUR, true),
        ("two", 0, false),
        ("one", 2 * HOUR, false),
    ] {
        cloud.wait(wait_ms).await;
        let flow = plan(&format!(
            "tasks:\n  - {{id: a, type: return, format: {format}, taskCache: {{enabled: true, ttl: PT2H}}}}\n"
        ));
        let id = cloud.start(&flow).await;
        assert!(cloud.run(&id, HOUR).await);
        let rows = cloud.rows(&id).await;
        let row = rows.iter().rfind(|row| row.task == "a").unwrap();
        assert_eq!(row.outputs["value"], format);
        let said = row.message.as_deref() == Some(CACHED);
        assert_eq!(said, reused, "{format}: {row:?}");
    }
}

/// The executions that follow each other when every one fails after some two minutes.
async fn tried(retry: &str) -> Vec<ExecutionRow> {
    let mut cloud = CloudWorld::default();
    cloud.ecs.script(|_| Fate::ends(Shape::Exit(1)));
    let flow = plan(&format!(
        "retry: {{behavior: CREATE_NEW_EXECUTION, {retry}}}\ntasks:\n  - {{id: a, type: container, containerImage: x}}\n"
    ));
    cloud.start(&flow).await;
    cloud.wait(6 * HOUR).await;
    let filter = ExecutionFilter {
        limit: 100,
        ..ExecutionFilter::default()
    };
    let mut rows = cloud.ports.store.executions(&filter).await.unwrap();
    rows.sort_by_key(|row| row.meta.created_ms);
    let last = rows.last().unwrap();
    assert_eq!(last.state, "FAILED", "{retry}");
    rows
}

/// Minutes between the end of each try and the beginning of the next.
fn waits(rows: &[ExecutionRow]) -> Vec<u64> {
    let pairs = rows.windows(2);
    pairs
        .map(|pair| (pair[1].started_ms.unwrap() - pair[0].ended_ms.unwrap()) / MINUTE)
        .collect()
}

#[tokio::test]
async fn a_flow_is_tried_again_when_its_policy_says() {
    let rows = tried("type: constant, interval: PT10M, maxAttempts: 3").await;
    assert_eq!(waits(&rows), [10, 10]);
    let rows = tried(
        "type: exponential, interval: PT5M, delayFactor: 3, maxInterval: PT30M, maxAttempts: 4",
    )
    .await;
    assert_eq!(waits(&rows), [5, 15, 30]);
    let rows = tried("type: random, minInterval: PT5M, maxInterval: PT20M, maxAttempts: 6").await;
    let found = waits(&rows);
    assert_eq!(found.len(), 5);
    assert!(
        found.iter().all(|wait| (5..=20).contains(wait)),
        "{found:?}"
    );
    assert!(found.iter().any(|wait| *wait != found[0]), "{found:?}");
}

#[tokio::test]
async fn tries_end_when_the_first_is_too_long_ago() {
    let rows = tried("type: constant, interval: PT10M, maxDuration: PT45M").await;
    let first = rows[0].meta.created_ms;
    let last = rows.last().unwrap();
    let age = last.started_ms.unwrap() - first;
    assert!(rows.len() > 2, "{}", rows.len());
    assert!(age <= 45 * MINUTE, "{age}");
    assert!(last.ended_ms.unwrap() - first + 10 * MINUTE > 45 * MINUTE);
}

#[tokio::test]
async fn outputs_have_their_types_or_the_execution_has_failed() {
    for (ty, value, required, state, shown) in [
        ("INT", "'5'", true, "SUCCESS", json!(5)),
        ("STRING", "5", true, "SUCCESS", json!("5")),
        ("JSON", "'[1]'", true, "SUCCESS", json!([1])),
        (
            "FILE",
            "'operon:///a/b'",
            true,
            "SUCCESS",
            json!("operon:///a/b"),
        ),
        ("INT", "'abc'", true, "FAILED", json!(null)),
        ("FILE", "'abc'", true, "FAILED", json!(null)),
        ("STRING", "outputs.b.value", true, "FAILED", json!(null)),
        ("STRING", "outputs.b.value", false, "SUCCESS", json!(null)),
    ] {
        let mut cloud = CloudWorld::default();
        let flow = plan(&format!(
            "tasks:\n  - {{id: a, type: return, format: x}}\n  - {{id: b, type: return, format: x, runIf: \"{{{{ false }}}}\"}}\nafterExecution:\n  - {{id: z, type: return, format: \"{{{{ execution.state }}}}\"}}\noutputs:\n  - {{id: x, type: {ty}, required: {required}, value: \"{{{{ {value} }}}}\"}}\n"
        ));
        let id = cloud.start(&flow).await;
        assert!(cloud.run(&id, HOUR).await);
        cloud.wait(HOUR).await;
        let row = cloud.row(&id).await;
        assert_eq!(row.state, state, "{ty} {value}: {row:?}");
        assert_eq!(
            row.outputs.get("x").unwrap_or(&json!(null)),
            &shown,
            "{ty} {value}"
        );
        let rows = cloud.rows(&id).await;
        let z = rows.iter().find(|row| row.task == "z").unwrap();
        assert_eq!(z.outputs["value"], state, "{ty} {value}");
        let said = row.reason.unwrap_or_default();
        assert_eq!(said.starts_with("output `x` "), state == "FAILED", "{said}");
    }
}

#[tokio::test]
async fn what_fails_an_execution_is_named_and_what_was_tolerated_is_not() {
    for (lines, reason) in [
        (
            "tasks:\n  - {id: g, type: allow-failure, tasks: [{id: g1, type: fail}]}\n  - {id: p1, type: fail}\n",
            "task `p1` failed: task failed",
        ),
        (
            "sla: [{id: soon, type: MAX_DURATION, duration: PT5M, behavior: FAIL}]\ntasks:\n  - {id: a, type: sleep, duration: PT1H}\n",
            "service level missed",
        ),
        (
            "timeout: PT4M\nsla: [{id: soon, type: MAX_DURATION, duration: PT5M, behavior: FAIL}]\ntasks:\n  - {id: a, type: sleep, duration: PT1H}\n",
            "execution timeout",
        ),
        (
            "sla: [{id: t, type: EXECUTION_ASSERTION, assert: \"{{ false }}\", behavior: FAIL}]\ntasks:\n  - {id: sla-t, type: return, format: x}\n",
            "service level `t` is missed",
        ),
    ] {
        let mut cloud = CloudWorld::default();
        let id = cloud.start(&plan(lines)).await;
        assert!(cloud.run(&id, 2 * HOUR).await);
        let row = cloud.row(&id).await;
        assert_eq!(row.state, "FAILED", "{lines}");
        assert_eq!(row.reason.as_deref(), Some(reason), "{lines}");
    }
}

#[tokio::test]
async fn labels_that_a_task_gave_are_seen_by_those_after_it() {
    let mut cloud = CloudWorld::default();
    let flow = plan(
        "labels: {x: \"0\"}\ntasks:\n  - {id: a, type: labels, labels: {x: \"1\"}}\n  - {id: b, type: return, format: \"{{ labels.x }}\"}\n",
    );
    let id = cloud.start(&flow).await;
    assert!(cloud.run(&id, HOUR).await);
    let rows = cloud.rows(&id).await;
    let b = rows.iter().find(|row| row.task == "b").unwrap();
    assert_eq!(b.outputs["value"], "1");
}

#[tokio::test]
async fn a_lock_by_labels_is_given_back_although_a_task_changed_them() {
    let mut cloud = CloudWorld::default();
    let flow = plan(
        "labels: {x: \"0\"}\nconcurrency: {limit: 1, key: \"{{ labels.x }}\"}\ntasks:\n  - {id: a, type: labels, labels: {x: \"1\"}}\n  - {id: b, type: container, containerImage: x}\n",
    );
    let first = cloud.start(&flow).await;
    cloud.settle().await;
    let second = cloud.start(&flow).await;
    assert!(cloud.run(&first, HOUR).await);
    assert!(cloud.run(&second, HOUR / 4).await);
    assert_eq!(cloud.row(&second).await.state, "SUCCESS");
}
