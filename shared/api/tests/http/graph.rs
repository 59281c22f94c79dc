//! Counts of a graph: of loops in loops too.

use axum::http::Method;
use operon_core::exec::{Shard, State, Time};
use operon_core::plan::{Layout, ShardId};
use operon_engine::plans::Plans;
use operon_engine::ports::{ExecutionId, Write};
use operon_testkit::contract::rows;
use operon_testkit::memory::MemoryPorts;
use serde_json::{Value, json};

use crate::world::{application, call, deployed, local, started};

const FLOW: &str = r"id: nested
namespace: demo
tasks:
  - id: outer
    type: foreach
    values: [1, 2]
    tasks:
      - id: inner
        type: foreach
        values: [1, 2, 3]
        tasks:
          - {id: say, type: log, message: hi}
";

#[tokio::test]
async fn totals_of_a_loop_in_a_loop_are_of_all_the_times_it_was_begun() {
    let memory = MemoryPorts::default();
    let application = application(&memory, local());
    deployed(&application, "demo/nested", FLOW).await;
    let id = started(&application, "demo", "nested").await;
    let execution: ExecutionId = id.parse().unwrap();
    let store = memory.ports().store;
    let row = store.execution(&execution).await.unwrap().unwrap();
    let plan = Plans::default().get(&*store, &row.meta.plan_hash).await;
    let plan = &plan.unwrap().plan;
    let slot_of = |shard: &ShardId, name: &str| {
        let layout = Layout::of(plan, shard).unwrap();
        let slots = 0..u16::try_from(layout.nodes.len()).unwrap();
        let mut slots = slots.filter(|slot| {
            let node = layout.node_of(*slot).map(usize::from);
            node.is_some_and(|node| layout.nodes[node].id == name)
        });
        slots.next().unwrap()
    };
    let chunk = |id: &ShardId, total: u32, states: Vec<State>| {
        let layout = Layout::of(plan, id).unwrap();
        let mut shard = Shard::fresh(&layout, Time(0));
        shard.total = total;
        shard.items = u16::try_from(total).unwrap();
        shard.slots = states
            .into_iter()
            .map(|state| operon_core::exec::Slot {
                state,
                ..operon_core::exec::Slot::default()
            })
            .collect();
        shard
    };
    let outer = ShardId::ROOT.of_loop(slot_of(&ShardId::ROOT, "outer"), 0);
    let nodes = Layout::of(plan, &outer).unwrap().nodes.len();
    let inner = slot_of(&outer, "inner");
    let mut shards = vec![(
        outer.clone(),
        chunk(&outer, 2, vec![State::Body; 2 * nodes]),
    )];
    for iteration in 0..2_u16 {
        let slot = u16::try_from(nodes).unwrap() * iteration + inner;
        let shard = outer.of_loop(slot, 0);
        let say = Layout::of(plan, &shard).unwrap().nodes.len();
        assert_eq!(say, 1);
        let states = vec![State::Success, State::Failed, State::Running];
        shards.push((shard.clone(), chunk(&shard, 3, states)));
    }
    let shards = shards
        .into_iter()
        .map(|(shard, state)| rows::shard_write(&id, shard, 0, &state.encode()))
        .collect();
    let write = Write {
        shards,
        ..Write::default()
    };
    store.write(write).await.unwrap();
    let path = format!("/api/v1/executions/{id}/graph");
    let graph = call(&application, Method::GET, &path, &Value::Null).await;
    let graph = graph.json();
    let counts = |name: &str| {
        let nodes = graph["nodes"].as_array().unwrap();
        let node = nodes.iter().find(|node| node["id"] == name).unwrap();
        node["counts"].clone()
    };
    let all = json!({"done": 2, "failed": 2, "running": 2, "total": 6});
    assert_eq!(counts("inner"), all, "{graph}");
    assert_eq!(counts("say"), all, "{graph}");
    assert_eq!(counts("outer")["total"], json!(2), "{graph}");
}
