#![allow(clippy::unwrap_used, clippy::float_cmp, missing_docs)]

use std::collections::BTreeMap;

use operon_core::lang::{self, plugins::Plugins};
use operon_core::plan::{self, Plan, ShardId};
use serde_json::{Map, Value, json};

use super::cost::{USD_PER_GB_HOUR, USD_PER_VCPU_HOUR};
use super::*;
use crate::ports::{
    AttemptRow, ExecutionMeta, ExecutionRow, Metric, MetricKind, TaskRunKey, Usage,
};

fn flow() -> Plan {
    let source = "id: processing\nnamespace: genomics\ntasks:\n  - {id: qc, type: container, containerImage: a/b, \
                  resources: {cpu: 2, memory: 4GiB}}\n  - {id: say, type: log, message: hello}\n";
    let parsed = lang::parse(source, &Plugins::default());
    plan::compile(&parsed.flow.unwrap()).unwrap()
}

fn execution() -> ExecutionRow {
    ExecutionRow {
        meta: ExecutionMeta {
            id: "a".parse().unwrap(),
            namespace: "genomics".to_owned(),
            flow: "processing".to_owned(),
            revision: 1,
            plan_hash: String::new(),
            inputs: Map::new(),
            labels: BTreeMap::new(),
            trigger: Value::Null,
            created_ms: 1000,
            parent: None,
            replay_of: None,
            flow_dir: None,
            priority: 0,
        },
        state: "SUCCESS".to_owned(),
        reason: None,
        started_ms: Some(3000),
        ended_ms: Some(200_000),
        outputs: Map::new(),
        labels: BTreeMap::from([("organism".to_owned(), "mpox".to_owned())]),
    }
}

fn attempt(number: u8, state: &str, count: f64) -> AttemptRow {
    let started = 1000 + u64::from(number) * 10_000;
    AttemptRow {
        execution: "a".parse().unwrap(),
        task_run: TaskRunKey {
            shard: ShardId::ROOT,
            slot: 1,
        },
        attempt: number,
        task: "qc".to_owned(),
        name: "qc".to_owned(),
        item: None,
        parent: None,
        state: state.to_owned(),
        reason: (state == "FAILED").then(|| "out of memory".to_owned()),
        message: None,
        exit_code: None,
        created_ms: started - 5000,
        started_ms: Some(started),
        ended_ms: Some(started + 90_000),
        outputs: Map::new(),
        outputs_uri: None,
        metrics: vec![Metric {
            name: "sequences_processed".to_owned(),
            kind: MetricKind::Counter,
            value: count,
            tags: BTreeMap::new(),
        }],
        usage: Usage {
            peak_rss_bytes: 2_000_000_000,
            cpu_seconds: 5.0,
            provision_seconds: 3.0,
        },
    }
}

fn measured(attempts: &[AttemptRow]) -> Measurement {
    Measurement::of(&flow(), &execution(), attempts, Prices::FARGATE, 0)
}

#[test]
fn an_execution_is_measured_from_its_rows() {
    let measured = measured(&[attempt(1, "FAILED", 3.0), attempt(2, "SUCCESS", 40.0)]);
    let value = |name: &str| measured.values.get(name).copied().unwrap();
    assert_eq!(value("execution_seconds"), 199.0);
    assert_eq!(value("queue_seconds"), 2.0);
    assert_eq!(
        (value("task_runs"), value("retries"), value("task_failures")),
        (2.0, 1.0, 1.0)
    );
    assert_eq!(
        (
            value("task_queue_seconds"),
            value("provision_seconds"),
            value("task_run_seconds")
        ),
        (4.0, 6.0, 180.0)
    );
    // Twice 93 seconds of two virtual CPUs and four gigabytes, whatever of it was used.
    assert_eq!((value("vcpu_seconds"), value("gb_seconds")), (372.0, 744.0));
    assert_eq!(value("cpu_used_seconds"), 10.0);
    let cost = (372.0 * USD_PER_VCPU_HOUR + 744.0 * USD_PER_GB_HOUR) / 3600.0;
    assert!((value("cost_usd") - cost).abs() < 1e-12);
    assert_eq!(measured.tasks.get("sequences_processed"), Some(&43.0));
    assert_eq!(measured.retries.get("out of memory"), Some(&1.0));
}

#[test]
fn a_short_attempt_costs_a_minute_and_a_built_in_task_nothing() {
    let mut short = attempt(1, "SUCCESS", 1.0);
    short.ended_ms = short.started_ms.map(|started| started + 1000);
    let mut built_in = attempt(1, "SUCCESS", 1.0);
    "say".clone_into(&mut built_in.task);
    let reservations = Reservations::of(&flow(), Prices::FARGATE);
    let cost = reservations.cost(&short, 0);
    let minute = (2.0 * USD_PER_VCPU_HOUR + 4.0 * USD_PER_GB_HOUR) / 60.0;
    assert!((cost.usd - minute).abs() < 1e-12);
    assert_eq!(cost.vcpu_seconds, 8.0);
    assert_eq!(reservations.cost(&built_in, 0), Cost::default());
    let mut reused = short;
    reused.reason = Some(crate::replay::REUSED.to_owned());
    assert_eq!(reservations.cost(&reused, 0), Cost::default());
}

#[test]
fn what_was_measured_at_an_earlier_end_is_not_measured_again() {
    let attempts = [attempt(1, "FAILED", 3.0), attempt(2, "SUCCESS", 40.0)];
    let first = attempts[0].ended_ms.unwrap();
    let later = Measurement::of(&flow(), &execution(), &attempts, Prices::FARGATE, first);
    assert_eq!(later.values.get("task_runs"), Some(&1.0));
    assert_eq!(later.retries.get("out of memory"), Some(&1.0));
    assert_eq!(later.tasks.get("sequences_processed"), Some(&40.0));
}

#[test]
fn every_metric_is_emitted_and_no_dimension_names_an_execution() {
    let line = measured(&[attempt(1, "FAILED", 1.0), attempt(2, "SUCCESS", 1.0)]).emf("main", 5);
    for (name, ..) in OF_EXECUTIONS {
        assert!(line.get(*name).is_some(), "{name} is missing");
    }
    let about = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(about["Namespace"], "Operon/main");
    assert_eq!(
        about["Dimensions"],
        json!([["namespace", "flow", "outcome"], ["outcome"]])
    );
    let named: Vec<&str> = about["Metrics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|metric| metric["Name"].as_str().unwrap())
        .collect();
    assert!(named.contains(&"task_sequences_processed"));
    assert!(named.contains(&"retries_out_of_memory"));
    assert!(named.iter().all(|name| line.get(*name).is_some()));
    assert_eq!(line["labels"], json!({"organism": "mpox"}));
}

#[test]
fn names_and_numbers_of_task_metrics_are_bounded() {
    let mut many = attempt(1, "SUCCESS", 1.0);
    many.metrics = (0..100)
        .map(|n| Metric {
            name: format!("n {n}\"}}"),
            kind: MetricKind::Gauge,
            value: f64::from(n),
            tags: BTreeMap::new(),
        })
        .collect();
    let measured = measured(&[many]);
    assert_eq!(measured.tasks.len(), TASK_METRICS_MAX);
    let plain = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    assert!(measured.tasks.keys().all(plain));
    // CloudWatch takes a hundred metrics in a line.
    let all = OF_EXECUTIONS.len() + TASK_METRICS_MAX + Reason::ALL.len();
    assert!(all <= 100, "{all}");
}

#[test]
fn prometheus_gets_totals_with_help() {
    let totals = Totals::default();
    let measured = measured(&[attempt(1, "FAILED", 1.0), attempt(2, "SUCCESS", 1.0)]);
    totals.add(&measured);
    totals.add(&measured);
    totals.alert(&Alert {
        namespace: "genomics".to_owned(),
        flow: "processing".to_owned(),
        sent: false,
    });
    let text = totals.render();
    let of = "namespace=\"genomics\",flow=\"processing\",outcome=";
    for line in [
        format!("operon_executions_total{{{of}\"SUCCESS\"}} 2"),
        format!("operon_retries_by_reason_total{{{of}\"SUCCESS\",reason=\"out of memory\"}} 2"),
        format!("operon_alerts_total{{{of}\"FAILED\"}} 1"),
        "# TYPE operon_executions_total counter".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} is not in {text}");
    }
    for (name, ..) in OF_EXECUTIONS {
        assert!(text.contains(&format!("operon_{name}_total{{")), "{name}");
    }
}
