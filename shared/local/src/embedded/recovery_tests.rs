//! Engines that end in the middle, and their successors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::format_push_string)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use operon_core::lang::{self, Plugins};
use operon_core::plan::{ShardId, compile};
use operon_engine::intake::Request;
use operon_engine::ports::{
    AttemptId, AttemptRow, ExecutionId, ExecutionRow, StateStore as _, TaskRunKey,
};
use serde_json::Value;

use super::Observer;
use crate::dispatch::Limits;
use crate::flows::DirectoryFlows;
use crate::laptop::{Laptop, Options};
use crate::runner::RunnerChoice;

/// Subflows of the flow below: enough that the first are launched again while the last are still read.
const SUBFLOWS: usize = 20;
const CHILD: &str = "
id: child
namespace: tests
tasks:
  - {id: nap, type: sleep, duration: PT0.5S}
  - {id: say, type: return, format: slept}
outputs:
  - {id: said, type: STRING, value: '{{ outputs.say.value }}'}
";

/// Every row of an execution, in the order in which it became durable.
#[derive(Clone, Default)]
pub(super) struct Rows(Rc<RefCell<Vec<ExecutionRow>>>);

impl Observer for Rows {
    fn execution(&self, row: &ExecutionRow) {
        self.0.borrow_mut().push(row.clone());
    }
    fn task_run(&self, _: &AttemptRow) {}
}

fn parent() -> String {
    let mut text = "id: parent\nnamespace: tests\ntasks:\n".to_owned();
    for number in 0..SUBFLOWS {
        text += &format!("  - {{id: s{number}, type: subflow, flowId: child, dependsOn: []}}\n");
    }
    text + "outputs:\n  - {id: said, type: STRING, value: \"{{ outputs.s0.outputs.said }}\"}\n"
}

pub(super) async fn open(directory: &Path, rows: &Rows) -> Laptop {
    let options = Options {
        limits: Limits::of_machine(),
        runner: RunnerChoice::Process,
        secrets: None,
        variables: Vec::new(),
        buckets: BTreeMap::new(),
    };
    let observer = Box::new(rows.clone());
    Laptop::open(
        &directory.join("state"),
        options,
        Box::new(DirectoryFlows),
        observer,
    )
    .await
    .unwrap()
}

/// One engine's life: everything of it is dropped at the end, whatever it was doing.
pub(super) fn life<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

fn request(id: &ExecutionId, flow: &str, directory: &Path) -> Request {
    let parsed = lang::parse(flow, &Plugins::default());
    let flow = parsed.flow.unwrap();
    Request {
        id: id.clone(),
        plan: compile(&flow).unwrap(),
        flow_dir: Some(directory.display().to_string()),
        inputs: BTreeMap::new(),
        labels: BTreeMap::new(),
        trigger: Value::Null,
        parent: None,
        replay_of: None,
        priority: 0,
    }
}

/// Interrupts the flow while its subflows run, and resumes it; gives its row and all that was seen.
fn interrupted(tree: bool) -> (ExecutionRow, Vec<ExecutionRow>) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("child.yaml"), CHILD).unwrap();
    let id: ExecutionId = "parent".parse().unwrap();
    let rows = Rows::default();
    life(async {
        let laptop = open(directory.path(), &rows).await;
        let request = request(&id, &parent(), directory.path());
        let created = laptop.engine.evaluator().intake(request).await.unwrap();
        laptop
            .engine
            .start(&created.row, &created.plan)
            .await
            .unwrap();
        let end = laptop.engine.run_to_end();
        let early = tokio::time::timeout(Duration::from_millis(250), end).await;
        assert!(early.is_err(), "the flow ended before its engine");
    });
    let row = life(async {
        let laptop = open(directory.path(), &rows).await;
        if tree {
            laptop.engine.recover_tree(&id).await.unwrap();
        } else {
            laptop.engine.recover().await.unwrap();
        }
        laptop.engine.run_to_end().await.unwrap();
        laptop.store.execution(&id).await.unwrap().unwrap()
    });
    let seen = rows.0.borrow().clone();
    (row, seen)
}

#[test]
fn subflows_go_on_under_the_next_engine() {
    for tree in [false, true] {
        let (row, _) = interrupted(tree);
        assert_eq!(row.state, "SUCCESS", "tree: {tree}, {:?}", row.reason);
        assert_eq!(row.outputs["said"], "slept");
    }
}

#[test]
fn outputs_are_durable_with_the_end() {
    let (_, seen) = interrupted(false);
    let ended: Vec<_> = seen.iter().filter(|row| row.ended_ms.is_some()).collect();
    assert!(ended.len() > SUBFLOWS);
    for row in ended {
        assert_eq!(row.outputs["said"], "slept", "{}", row.meta.id);
    }
}

/// Runs a flow of one task whose first attempt was claimed by an engine that is gone; gives the end of the
/// execution.
fn claimed_before(task: &str) -> ExecutionRow {
    let directory = tempfile::tempdir().unwrap();
    let id: ExecutionId = "claimed".parse().unwrap();
    let flow = format!("id: claimed\nnamespace: tests\ntasks:\n  - {task}\n");
    life(async {
        let laptop = open(directory.path(), &Rows::default()).await;
        let attempt = AttemptId {
            execution: id.clone(),
            task_run: TaskRunKey {
                shard: ShardId::ROOT,
                slot: 1,
            },
            attempt: 1,
        };
        laptop.store.claim(&attempt, None).await.unwrap();
        let request = request(&id, &flow, directory.path());
        let created = laptop.engine.evaluator().intake(request).await.unwrap();
        let started = laptop.engine.start(&created.row, &created.plan);
        started.await.unwrap();
        let end = laptop.engine.run_to_end();
        let end = tokio::time::timeout(Duration::from_secs(30), end).await;
        end.expect("nobody asks what became of the attempt")
            .unwrap();
        laptop.store.execution(&id).await.unwrap().unwrap()
    })
}

#[test]
fn what_an_engine_of_the_past_launched_is_found_out_at_once() {
    let process = claimed_before("{id: a, type: shell, script: 'true'}");
    assert_eq!(process.state, "SUCCESS");
    let once = claimed_before("{id: a, type: shell, script: 'true', idempotent: false}");
    let built_in = claimed_before("{id: a, type: return, format: x, idempotent: false}");
    for row in [once, built_in] {
        assert_eq!(row.state, "FAILED");
        assert_eq!(row.reason.as_deref(), Some("outcome unknown"));
    }
}
