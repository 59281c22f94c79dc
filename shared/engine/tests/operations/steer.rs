//! What people ask of executions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use operon_core::exec::{Event, RootPhase, Shard, Slot, State, Time};
use operon_core::lang::Plugins;
use operon_core::plan::{Layout, Plan, ShardId};
use operon_engine::evaluate::Evaluator;
use operon_engine::flows::{Deploy, Expected, FlowError, Flows};
use operon_engine::intake::IntakeError;
use operon_engine::operations::{OperationError, Operations, Resume, Start, answered};
use operon_engine::ports::{EventSink, ExecutionId, ShardKey, ShardWrite, StoreError, Write};
use operon_testkit::memory::MemoryPorts;
use serde_json::{Value, json};

const FLOW: &str = "
id: release
namespace: demo
inputs:
  - {id: name, type: STRING}
  - {id: file, type: FILE, required: false}
tasks:
  - id: approve
    type: io.kestra.plugin.core.flow.Pause
    onResume:
      - {id: reason, type: STRING}
      - {id: count, type: INT, required: false}
";

#[derive(Default)]
struct Sent(Mutex<Vec<(ShardKey, Event)>>);

#[async_trait]
impl EventSink for Sent {
    async fn send(&self, key: &ShardKey, event: &Event) -> Result<(), StoreError> {
        self.0.lock().unwrap().push((key.clone(), event.clone()));
        Ok(())
    }
}

impl Sent {
    fn take(&self) -> Vec<Event> {
        let sent = std::mem::take(&mut *self.0.lock().unwrap());
        sent.into_iter().map(|(_, event)| event).collect()
    }
}

struct World {
    memory: MemoryPorts,
    sent: Arc<Sent>,
    operations: Operations,
}

async fn world() -> World {
    let memory = MemoryPorts::default();
    let ports = memory.ports();
    let sent = Arc::<Sent>::default();
    let operations = Operations {
        flows: Flows::new(&ports, Arc::new(Plugins::default())),
        evaluator: Evaluator {
            ports,
            shards: Arc::default(),
            items: Arc::default(),
        },
        sink: Arc::clone(&sent) as Arc<_>,
    };
    let deploy = Deploy {
        source: FLOW,
        wanted: None,
        expected: Expected::Any,
        directory: None,
        by: "alice",
        message: None,
    };
    operations.flows.deploy(deploy).await.unwrap();
    World {
        memory,
        sent,
        operations,
    }
}

fn start(id: &str, inputs: &[(&str, Value)]) -> Start {
    Start {
        id: id.parse().unwrap(),
        namespace: "demo".to_owned(),
        flow: "release".to_owned(),
        revision: None,
        inputs: inputs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
        labels: BTreeMap::new(),
        trigger: Value::Null,
        priority: 0,
    }
}

impl World {
    async fn started(&self) -> ExecutionId {
        let start = start("e1", &[("name", json!("x"))]);
        self.operations.start(start).await.unwrap();
        self.sent.take();
        "e1".parse().unwrap()
    }

    /// Puts the execution's shard and row into a state.
    async fn put(&self, phase: RootPhase, slot: State, row: &str) {
        let store = &self.memory.ports().store;
        let id: ExecutionId = "e1".parse().unwrap();
        let mut execution = store.execution(&id).await.unwrap().unwrap();
        let plan = store
            .plan(&execution.meta.plan_hash)
            .await
            .unwrap()
            .unwrap();
        let plan: Plan = serde_json::from_slice(&plan).unwrap();
        let layout = Layout::of(&plan, &ShardId::ROOT).unwrap();
        let mut shard = Shard::fresh(&layout, Time(0));
        shard.phase = phase;
        shard.open = true;
        for (index, node) in layout.nodes.iter().enumerate() {
            if node.id == "approve" {
                shard.slots[index].state = slot;
            }
        }
        row.clone_into(&mut execution.state);
        execution.ended_ms = (phase == RootPhase::Over).then_some(9);
        let key = ShardKey::root(&id);
        let there = store.shard(&key).await.unwrap();
        let write = Write {
            shards: vec![ShardWrite {
                key,
                expected: there.map_or(0, |row| row.version),
                bytes: shard.encode(),
                due_ms: None,
            }],
            executions: vec![execution],
            ..Write::default()
        };
        store.write(write).await.unwrap();
    }
}

#[tokio::test]
async fn starting_twice_is_starting_once() {
    let world = world().await;
    let wish = start("e1", &[("name", json!("x"))]);
    let first = world.operations.start(wish.clone()).await.unwrap();
    assert!(first.created);
    assert_eq!(first.row.meta.revision, 1);
    let again = world.operations.start(wish).await.unwrap();
    assert!(!again.created);
    // The second wish cannot know whether the first one was heard.
    assert_eq!(world.sent.take(), [Event::Start, Event::Start]);
}

#[tokio::test]
async fn wrong_inputs_paths_and_disabled_flows_start_nothing() {
    let world = world().await;
    let refused = world.operations.start(start("e1", &[])).await;
    assert!(matches!(
        refused,
        Err(OperationError::Intake(IntakeError::Inputs(_)))
    ));
    let path = start(
        "e1",
        &[("name", json!("x")), ("file", json!("/etc/passwd"))],
    );
    let refused = world.operations.start(path).await;
    assert!(matches!(
        refused,
        Err(OperationError::Intake(IntakeError::File { .. }))
    ));
    let flows = &world.operations.flows;
    flows
        .set_disabled("demo", "release", true, "bob")
        .await
        .unwrap();
    let refused = world
        .operations
        .start(start("e1", &[("name", json!("x"))]))
        .await;
    assert!(matches!(
        refused,
        Err(OperationError::Flow(FlowError::Disabled { .. }))
    ));
    assert!(world.sent.take().is_empty());
}

#[tokio::test]
async fn the_first_answer_to_a_pause_counts() {
    let world = world().await;
    let id = world.started().await;
    world.put(RootPhase::Running, State::Paused, "PAUSED").await;
    let answer = |reason: Value| Resume {
        task_run: None,
        go_on: true,
        inputs: [("reason".to_owned(), reason)].into(),
        by: "alice".to_owned(),
    };
    let wrong = Resume {
        inputs: BTreeMap::new(),
        ..answer(Value::Null)
    };
    let refused = world.operations.resume(&id, wrong).await;
    assert!(matches!(
        refused,
        Err(OperationError::Intake(IntakeError::Inputs(_)))
    ));
    assert!(world.sent.take().is_empty());
    for _ in 0..2 {
        let count = world
            .operations
            .resume(&id, answer(json!("good")))
            .await
            .unwrap();
        assert_eq!(count, 1);
        assert!(matches!(
            world.sent.take()[..],
            [Event::Resume { go_on: true, .. }]
        ));
    }
    let refused = world.operations.resume(&id, answer(json!("bad"))).await;
    assert!(matches!(refused, Err(OperationError::Refused { what, .. }) if what.contains("alice")));
    let snapshot = world.operations.snapshot(&id).await.unwrap();
    let pause = &snapshot.pauses(None).unwrap()[0];
    let ports = world.memory.ports();
    let kept = answered(&ports, &id, &pause.task_run, 0).await.unwrap();
    assert_eq!(kept.unwrap()["onResume"]["reason"], json!("good"));
    let later = answered(&ports, &id, &pause.task_run, 1).await.unwrap();
    assert_eq!(later, None, "a restart asks again");
}

/// Puts a first chunk with an item that failed beside one that succeeded below the flow's only loop.
async fn put_failed_item(world: &World, id: &ExecutionId) {
    let row = world.memory.ports().store.execution(id).await.unwrap();
    let plan = row.unwrap().meta.plan_hash;
    let plan = world.memory.ports().store.plan(&plan).await.unwrap();
    let plan: Plan = serde_json::from_slice(&plan.unwrap()).unwrap();
    let nodes = &plan.scopes[0].nodes;
    let node = nodes.iter().position(|node| node.id == "each").unwrap();
    let (part, slot) = plan.home(u16::try_from(node).unwrap()).unwrap();
    let at = ShardId::of_part(part).of_loop(slot, 0);
    let mut chunk = Shard::fresh(&Layout::of(&plan, &at).unwrap(), Time(0));
    chunk.items = 2;
    chunk.slots = vec![Slot::default(); 2];
    chunk.slots[0].state = State::Success;
    chunk.slots[1].state = State::Failed;
    let write = Write {
        shards: vec![ShardWrite {
            key: ShardKey {
                execution: id.clone(),
                shard: at,
            },
            expected: 0,
            bytes: chunk.encode(),
            due_ms: None,
        }],
        ..Write::default()
    };
    world.memory.ports().store.write(write).await.unwrap();
}

/// A flow with a loop, and so many tasks beside it.
fn with_items(tasks: usize) -> String {
    use std::fmt::Write as _;
    let mut flow = "id: release\nnamespace: demo\ninputs:\n  - {id: name, type: STRING}\ntasks:\n  - id: each\n    type: foreach\n    values: [a, b]\n    \
         allowFailure: true\n    tasks:\n      - {id: work, type: log, message: hi}\n"
        .to_owned();
    for task in 0..tasks {
        writeln!(flow, "  - {{id: t{task}, type: log, message: hi}}").unwrap();
    }
    flow
}

#[tokio::test]
async fn failed_items_are_retried_whether_or_not_the_flow_tolerates_them() {
    for (state, tasks, retried) in [
        ("FAILED", 0, true),
        ("WARNING", 0, true),
        ("SUCCESS", 0, true),
        // In a flow of several shards nobody knows what follows the loop.
        ("FAILED", 200, true),
        ("WARNING", 200, false),
    ] {
        let world = world().await;
        let source = with_items(tasks);
        let deploy = Deploy {
            source: &source,
            wanted: None,
            expected: Expected::Any,
            directory: None,
            by: "alice",
            message: None,
        };
        world.operations.flows.deploy(deploy).await.unwrap();
        let id = world.started().await;
        world.put(RootPhase::Over, State::Success, state).await;
        let operations = &world.operations;
        assert!(
            matches!(operations.retry_failed(&id).await, Err(OperationError::Refused { what, .. }) if what.contains("no failed items"))
        );
        put_failed_item(&world, &id).await;
        assert_eq!(operations.snapshot(&id).await.unwrap().failed_items(), 1);
        let outcome = operations.retry_failed(&id).await;
        let sent = Event::Restart {
            round: 1,
            tolerated: true,
        };
        match outcome {
            Ok(()) => assert!(retried && world.sent.take() == [sent], "{state} {tasks}"),
            Err(OperationError::Refused { what, .. }) => {
                assert!(!retried && what.contains("too large"), "{what}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn what_is_over_is_not_killed_and_what_runs_is_not_restarted() {
    let world = world().await;
    let id = world.started().await;
    world
        .put(RootPhase::Running, State::Paused, "RUNNING")
        .await;
    let operations = &world.operations;
    assert!(matches!(
        operations.restart(&id).await,
        Err(OperationError::Refused { .. })
    ));
    operations.kill(&id).await.unwrap();
    assert!(matches!(world.sent.take()[..], [Event::Kill { .. }]));
    world.put(RootPhase::Over, State::Failed, "FAILED").await;
    assert!(matches!(
        operations.kill(&id).await,
        Err(OperationError::Refused { .. })
    ));
    assert!(matches!(
        operations.retry_failed(&id).await,
        Err(OperationError::Refused { .. })
    ));
    operations.restart(&id).await.unwrap();
    assert_eq!(
        world.sent.take(),
        [Event::Restart {
            round: 1,
            tolerated: false
        }]
    );
    world.put(RootPhase::Over, State::Success, "SUCCESS").await;
    assert!(matches!(
        operations.restart(&id).await,
        Err(OperationError::Refused { .. })
    ));
    let missing = operations.kill(&"none".parse().unwrap()).await;
    assert!(matches!(missing, Err(OperationError::Missing(_))));
}
