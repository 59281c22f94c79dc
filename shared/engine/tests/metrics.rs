//! Measurements are kept: each end counts once, and costs can be asked for per flow and label.

#![allow(clippy::unwrap_used, clippy::float_cmp, missing_docs)]

use std::collections::BTreeMap;

use operon_core::lang::{self, plugins::Plugins};
use operon_core::plan;
use operon_engine::metrics::{By, CostQuery, Prices, costs, measure};
use operon_engine::plans::LoadedPlan;
use operon_engine::ports::{ExecutionRow, Write};
use operon_testkit::memory::MemoryPorts;
use serde_json::json;

fn plan() -> LoadedPlan {
    let source = "id: processing\nnamespace: genomics\ntasks:\n  - {id: qc, type: container, containerImage: a/b, \
                  resources: {cpu: 1, memory: 2GiB}}\n";
    let parsed = lang::parse(source, &Plugins::default());
    let plan = plan::compile(&parsed.flow.unwrap()).unwrap();
    let hash = plan.hash();
    LoadedPlan::new(plan, hash)
}

fn row(id: &str, flow: &str, created_ms: u64, organism: &str) -> ExecutionRow {
    let meta = json!({
        "id": id, "namespace": "genomics", "flow": flow, "revision": 1, "planHash": "", "inputs": {},
        "labels": {}, "trigger": null, "createdMs": created_ms, "parent": null, "replayOf": null,
        "flowDir": null, "priority": 0,
    });
    ExecutionRow {
        meta: serde_json::from_value(meta).unwrap(),
        state: "SUCCESS".to_owned(),
        reason: None,
        started_ms: Some(created_ms),
        ended_ms: Some(created_ms + 600_000),
        outputs: serde_json::Map::new(),
        labels: BTreeMap::from([("organism".to_owned(), organism.to_owned())]),
    }
}

async fn attempt(ports: &MemoryPorts, row: &ExecutionRow, number: u8, from_ms: u64, seconds: u64) {
    let attempt = serde_json::from_value(json!({
        "execution": row.meta.id, "taskRun": {"shard": "0", "slot": 1}, "attempt": number, "task": "qc", "name": "qc",
        "item": null, "parent": null, "state": "SUCCESS", "reason": null, "message": null, "exitCode": 0,
        "createdMs": from_ms, "startedMs": from_ms, "endedMs": from_ms + seconds * 1000, "outputs": {},
        "outputsUri": null, "metrics": [], "usage": {"peakRssBytes": 1, "cpuSeconds": 1.0},
    }))
    .unwrap();
    let write = Write {
        attempts: vec![attempt],
        ..Write::default()
    };
    ports.ports().store.write(write).await.unwrap();
}

async fn ended(ports: &MemoryPorts, id: &str, flow: &str, created_ms: u64, organism: &str) {
    let row = row(id, flow, created_ms, organism);
    attempt(ports, &row, 1, created_ms, 100).await;
    let measured = measure(&ports.ports(), &plan(), &row, Prices::FARGATE).await;
    assert!(measured.unwrap().is_some());
}

#[tokio::test]
async fn an_end_is_measured_once_and_a_restart_counts_what_is_new() {
    let ports = MemoryPorts::default();
    let (plan, mut row) = (plan(), row("a", "processing", 1_000, "mpox"));
    attempt(&ports, &row, 1, 1_000, 100).await;
    let once = measure(&ports.ports(), &plan, &row, Prices::FARGATE)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(once.values.get("vcpu_seconds"), Some(&100.0));
    let again = measure(&ports.ports(), &plan, &row, Prices::FARGATE)
        .await
        .unwrap();
    assert_eq!(again, None);

    row.ended_ms = Some(2_000_000);
    attempt(&ports, &row, 2, 1_500_000, 70).await;
    let restarted = measure(&ports.ports(), &plan, &row, Prices::FARGATE)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(restarted.values.get("vcpu_seconds"), Some(&70.0));
    let query = CostQuery {
        namespace: "genomics".to_owned(),
        by: By::Flow,
        from_ms: 0,
        to_ms: u64::MAX / 1_000_000_000,
    };
    let all = costs(&ports.ports(), &query).await.unwrap();
    assert_eq!(all.groups.len(), 1);
    let group = &all.groups[0];
    assert_eq!(group.values.get("vcpu_seconds"), Some(&170.0));
    assert_eq!(group.values.get("executions"), Some(&1.0));

    row.ended_ms = None;
    let running = measure(&ports.ports(), &plan, &row, Prices::FARGATE)
        .await
        .unwrap();
    assert_eq!(running, None);
}

#[tokio::test]
async fn costs_are_added_up_by_flow_and_by_label() {
    let ports = MemoryPorts::default();
    for (id, flow, created, organism) in [
        ("a", "processing", 1_000, "mpox"),
        ("b", "processing", 2_000, "ebola"),
        ("c", "release", 3_000, "mpox"),
        ("d", "processing", 9_000, "mpox"),
    ] {
        ended(&ports, id, flow, created, organism).await;
    }
    let query = |by: By| CostQuery {
        namespace: "genomics".to_owned(),
        by,
        from_ms: 1_000,
        to_ms: 9_000,
    };
    let groups = |found: operon_engine::metrics::Costs| -> Vec<(String, u64, f64)> {
        assert!(found.complete);
        let groups = found.groups.into_iter();
        groups
            .map(|group| (group.key, group.succeeded, group.values["vcpu_seconds"]))
            .collect()
    };
    let by_flow = costs(&ports.ports(), &query(By::Flow)).await.unwrap();
    assert_eq!(
        groups(by_flow),
        [
            ("processing".to_owned(), 2, 200.0),
            ("release".to_owned(), 1, 100.0)
        ]
    );
    let by = By::Label("organism".to_owned());
    let by_label = costs(&ports.ports(), &query(by)).await.unwrap();
    assert_eq!(
        groups(by_label),
        [
            ("mpox".to_owned(), 2, 200.0),
            ("ebola".to_owned(), 1, 100.0)
        ]
    );
    let by = By::Label("absent".to_owned());
    let none = costs(&ports.ports(), &query(by)).await.unwrap();
    assert_eq!(groups(none), [(String::new(), 3, 300.0)]);
}

/// The sum that people see against a second way to it: each attempt that there was, at the prices of Fargate, which
/// bills a minute at least.
#[tokio::test]
async fn a_day_costs_what_its_attempts_cost() {
    const DAY_MS: u64 = 86_400_000;
    let ports = MemoryPorts::default();
    let (mut raw, mut seed) = (0.0, 7_u64);
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    for number in 0..400 {
        let mut at = next(DAY_MS);
        let mut row = row(&format!("x{number}"), "processing", at, "mpox");
        for attempts in 1..=u8::try_from(1 + next(3)).unwrap() {
            let seconds = 1 + next(if attempts == 1 { 90 } else { 3_600 });
            attempt(&ports, &row, attempts, at, seconds).await;
            at += seconds * 1_000;
            let paid = f64::from(u32::try_from(seconds.max(60)).unwrap());
            raw += paid / 3_600.0 * (0.040_48 + 2.0 * 0.004_445);
        }
        row.ended_ms = Some(at);
        // Told twice, as ends are.
        for _ in 0..2 {
            measure(&ports.ports(), &plan(), &row, Prices::FARGATE)
                .await
                .unwrap();
        }
    }
    let query = CostQuery {
        namespace: "genomics".to_owned(),
        by: By::Flow,
        from_ms: 0,
        to_ms: DAY_MS,
    };
    let found = costs(&ports.ports(), &query).await.unwrap();
    assert!(found.complete);
    let shown = found.groups[0].values["cost_usd"];
    assert!((shown - raw).abs() < 0.05 * raw, "{shown} against {raw}");
}
