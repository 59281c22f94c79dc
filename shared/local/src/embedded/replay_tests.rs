//! Replays, executed to their end.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use operon_core::lang::model::Flow;
use operon_core::plan::builder::FlowBuilder;
use operon_core::plan::compile;
use operon_engine::intake::Request;
use operon_engine::ports::{AttemptRow, ExecutionRow, StateStore as _};
use operon_engine::replay::{REUSED, Replay, ReplayRequest};
use serde_json::{Value, json};

use super::*;
use crate::dispatch::Limits;
use crate::flows::DirectoryFlows;
use crate::laptop::{Laptop, Options};

#[derive(Clone, Default)]
struct Seen(Rc<RefCell<Vec<AttemptRow>>>);

impl Observer for Seen {
    fn execution(&self, _: &ExecutionRow) {}
    fn task_run(&self, row: &AttemptRow) {
        self.0.borrow_mut().push(row.clone());
    }
}

/// What came of a replay.
struct Outcome {
    replay: Replay,
    row: ExecutionRow,
    /// Names of task runs that succeeded during the replay.
    executed: Vec<String>,
    /// All rows of the new execution.
    rows: Vec<AttemptRow>,
}

/// Runs a flow, then replays it, perhaps with another revision.
fn replay(flow: &Flow, from: &str, other: Option<&Flow>) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let seen = Seen::default();
        let options = Options {
            limits: Limits::of_machine(),
            runner: crate::runner::RunnerChoice::Process,
            secrets: None,
            variables: Vec::new(),
            buckets: BTreeMap::new(),
        };
        let observer = Box::new(seen.clone());
        let laptop = Laptop::open(
            directory.path(),
            options,
            Box::new(DirectoryFlows),
            observer,
        )
        .await
        .unwrap();
        let engine = &laptop.engine;
        let request = Request {
            id: "first".parse().unwrap(),
            plan: compile(flow).unwrap(),
            flow_dir: None,
            inputs: BTreeMap::new(),
            labels: BTreeMap::new(),
            trigger: Value::Null,
            parent: None,
            replay_of: None,
            priority: 0,
        };
        let created = engine.evaluator().intake(request).await.unwrap();
        engine.start(&created.row, &created.plan).await.unwrap();
        engine.run_to_end().await.unwrap();
        seen.0.borrow_mut().clear();
        let request = ReplayRequest {
            id: "second".parse().unwrap(),
            of: "first".parse().unwrap(),
            from: from.to_owned(),
            plan: other.map(|flow| (compile(flow).unwrap(), None)),
        };
        let replay = engine.evaluator().replay(request).await.unwrap();
        let created = &replay.created;
        engine.start(&created.row, &created.plan).await.unwrap();
        let id = created.row.meta.id.clone();
        tokio::time::timeout(Duration::from_secs(30), engine.run_to_end())
            .await
            .expect("the replay hangs")
            .unwrap();
        let row = laptop.store.execution(&id).await.unwrap().unwrap();
        let rows = laptop.store.attempts_page(&id, None, 10_000).await.unwrap();
        let executed = seen.0.borrow();
        let executed = executed
            .iter()
            .filter(|row| row.attempt > 0 && row.state == "SUCCESS")
            .map(|row| row.name.clone())
            .collect();
        Outcome {
            replay,
            row,
            executed,
            rows,
        }
    })
}

fn returns(value: &Value) -> impl FnOnce(&mut operon_core::lang::model::Task) {
    let value = value.clone();
    move |task| {
        "io.kestra.plugin.core.debug.Return".clone_into(&mut task.task_type);
        task.props = serde_json::Map::from_iter([("format".to_owned(), value)]);
    }
}

#[test]
fn outputs_of_what_is_reused_reach_what_is_executed_again() {
    let flow = FlowBuilder::new("test", "chain")
        .task("a")
        .with(returns(&json!("x")))
        .task("b")
        .with(returns(&json!("{{ outputs.a.value }}y")))
        .task("c")
        .with(returns(&json!("{{ outputs.b.value }}z")))
        .build();
    let outcome = replay(&flow, "b", None);
    assert_eq!(outcome.row.state, "SUCCESS");
    assert_eq!(outcome.executed, ["b", "c"]);
    assert_eq!(outcome.replay.reused, 1);
    let of = outcome.row.meta.replay_of.unwrap();
    assert_eq!((of.0.as_str(), of.1.as_str()), ("first", "b"));
    let value = |name: &str| {
        let row = outcome.rows.iter().rfind(|row| row.name == name).unwrap();
        (row.outputs["value"].clone(), row.reason.clone())
    };
    assert_eq!(value("a"), (json!("x"), Some(REUSED.to_owned())));
    assert_eq!(value("c"), (json!("xyz"), None));
}

#[test]
fn iterations_of_a_loop_are_reused_one_by_one_in_another_revision() {
    let build = |extra: bool| {
        let flow = FlowBuilder::new("test", "loop");
        // A task before the loop moves it to another slot; one in its body moves every iteration.
        let flow = if extra {
            flow.task("new").with(returns(&json!("n")))
        } else {
            flow
        };
        flow.looped_over("each", json!(["p", "q", "r"]), |body| {
            let body = if extra {
                body.task("other").with(returns(&json!("o")))
            } else {
                body
            };
            body.task("child")
                .with(returns(&json!("{{ taskrun.value }}!")))
        })
        .task("after")
        .with(returns(&json!("{{ outputs.child['q'].value }}")))
        .build()
    };
    let outcome = replay(&build(false), "after", None);
    assert_eq!(outcome.executed, ["after"]);
    assert_eq!(outcome.replay.reused, 3);
    let last = outcome
        .rows
        .iter()
        .rfind(|row| row.name == "after")
        .unwrap();
    assert_eq!(last.outputs["value"], "q!");
    // The new task comes first, so nothing can be reused after it.
    let outcome = replay(&build(false), "after", Some(&build(true)));
    assert_eq!(outcome.row.state, "SUCCESS");
    assert_eq!(outcome.replay.reused, 0);
}

#[test]
fn a_task_that_was_put_behind_moves_what_is_reused_to_other_places() {
    let build = |extra: bool| {
        let mut flow = FlowBuilder::new("test", "moved");
        if extra {
            flow = flow.task_after("aaa", &[]).with(returns(&json!("n")));
        }
        flow.looped_over("each", json!(["p", "q"]), |body| {
            body.task("child")
                .with(returns(&json!("{{ taskrun.value }}!")))
        })
        .task_after("after", &["each"])
        .with(returns(&json!("{{ outputs.child['q'].value }}")))
        .build()
    };
    let outcome = replay(&build(false), "after", Some(&build(true)));
    assert_eq!(outcome.row.state, "SUCCESS");
    assert_eq!(outcome.replay.reused, 2);
    let mut executed = outcome.executed;
    executed.sort();
    assert_eq!(executed, ["aaa", "after"]);
}

#[test]
fn facts_of_what_is_reused_reach_every_shard_at_once() {
    let mut flow = FlowBuilder::new("test", "layers");
    for layer in 0..5 {
        for place in 0..60 {
            let id = format!("l{layer}-{place}");
            let before = [
                format!("l{}-{place}", layer - 1),
                format!("l{}-{}", layer - 1, (place + 1) % 60),
            ];
            let before: Vec<&str> = before.iter().map(String::as_str).collect();
            let deps = if layer == 0 { &[][..] } else { &before };
            flow = flow.task_after(&id, deps).with(returns(&json!(1)));
        }
    }
    let flow = flow.build();
    assert!(compile(&flow).unwrap().scopes[0].shards.len() > 1);
    let outcome = replay(&flow, "l3-0", None);
    assert_eq!(outcome.row.state, "SUCCESS");
    // l3-0, and of the last layer the two that wait for it.
    assert_eq!(outcome.executed.len(), 3, "{:?}", outcome.executed);
    assert_eq!(outcome.replay.reused, 297);
}
