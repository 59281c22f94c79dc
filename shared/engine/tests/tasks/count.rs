//! Count.

use operon_engine::tasks::count::COUNT_FLOWS_MAX;
use serde_json::{Value, json};

use crate::world::{World, meta};

const TASK: &str = "core.execution.Count";
const DAY_MS: u64 = 86_400_000;

/// Executions of 1970: one each day, of two flows and two namespaces.
async fn world() -> World {
    let world = World::new();
    for (day, namespace, flow, state) in [
        (0, "genomics", "processing", "SUCCESS"),
        (1, "genomics", "processing", "FAILED"),
        (2, "genomics", "release", "FAILED"),
        (3, "other", "release", "SUCCESS"),
    ] {
        let mut meta = meta(&format!("d{day}"), namespace, flow, day * DAY_MS);
        meta.labels.insert("day".to_owned(), day.to_string());
        world.add_execution(meta, state).await;
    }
    world
}

async fn outputs(world: &World, props: Value) -> Value {
    json!(world.run(TASK, props).await.unwrap().outputs)
}

fn result(namespace: &str, flow: &str, count: u64) -> Value {
    json!({"namespace": namespace, "flowId": flow, "count": count})
}

#[tokio::test]
async fn the_own_flow_counts_by_default() {
    let world = world().await;
    let expected = json!({"total": 2, "results": [result("genomics", "processing", 2)]});
    assert_eq!(outputs(&world, json!({})).await, expected);
}

#[tokio::test]
async fn flows_namespaces_states_labels_and_times_choose() {
    let world = world().await;
    let flows = json!([{"namespace": "other", "flowId": "release"}, {"flowId": "never"}]);
    assert_eq!(
        outputs(&world, json!({"executions": flows})).await,
        json!({"total": 1, "results": [result("genomics", "never", 0), result("other", "release", 1)]})
    );
    let props = json!({"namespaces": ["genomics"], "executions": [{"flowId": "release"}]});
    assert_eq!(
        outputs(&world, props).await,
        json!({
            "total": 3,
            "results": [result("genomics", "processing", 2), result("genomics", "release", 1)],
        })
    );
    let props = json!({"namespaces": ["genomics"], "states": ["failed"]});
    assert_eq!(outputs(&world, props).await["total"], 2);
    let props = json!({"namespaces": ["genomics"], "labels": {"day": 2}});
    assert_eq!(outputs(&world, props).await["total"], 1);
    let props = json!({
        "namespaces": ["genomics"], "startDate": "1970-01-02T00:00:00Z", "endDate": "1970-01-02T12:00:00+01:00",
    });
    assert_eq!(outputs(&world, props).await["total"], 1);
}

#[tokio::test]
async fn more_than_a_page_is_counted() {
    let world = World::new();
    for n in 0..1200 {
        let meta = meta(&format!("x{n}"), "genomics", "processing", n / 7);
        world.add_execution(meta, "SUCCESS").await;
    }
    assert_eq!(outputs(&world, json!({})).await["total"], 1200);
}

#[tokio::test]
async fn wrong_properties_are_named() {
    let world = World::new();
    let many = vec!["n"; COUNT_FLOWS_MAX + 1];
    for (props, name) in [
        (json!({"states": ["DONE"]}), "`states`"),
        (json!({"startDate": "yesterday"}), "`startDate`"),
        (json!({"executions": ["processing"]}), "`executions[0]`"),
        (json!({"namespaces": many}), "`executions`"),
    ] {
        let error = world.run(TASK, props).await.unwrap_err();
        assert!(error.message.starts_with(name), "{}", error.message);
    }
}
