//! What is measured of executions: one definition, for CloudWatch, Prometheus and the dashboard.
//!
//! Measurements are taken when an execution is over, from its rows, so that every place that shows them says the
//! same. Dimensions are only namespace, flow and outcome (aws.md 2.5: each set of dimensions costs; an execution's
//! id would cost per execution).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::ports::{AttemptRow, ExecutionRow, MetricKind};

/// CloudWatch's namespace.
pub const NAMESPACE: &str = "Operon";
/// Metrics of tasks in one measurement; further ones are left out.
pub const TASK_METRICS_MAX: usize = 40;
/// Characters of a task's metric's name.
const NAME_CHARS_MAX: usize = 100;
/// Sets of labels kept for Prometheus; further ones are counted under flow `_other`.
const SERIES_MAX: usize = 2000;
/// Fargate in us-east-1 on x86, per vCPU and hour, in dollars (aws.md 2.4).
pub const USD_PER_VCPU_HOUR: f64 = 0.040_48;
/// The same per GB and hour.
pub const USD_PER_GB_HOUR: f64 = 0.004_445;

/// How a metric is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Seconds.
    Seconds,
    /// Dollars, vCPU-seconds, GB-seconds: what CloudWatch has no unit for.
    None,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Seconds => "Seconds",
            Self::None => "None",
        }
    }
}

/// A metric that this code emits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Definition {
    /// Its name in CloudWatch; in Prometheus with `operon_` before it.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// One line for people.
    pub doc: &'static str,
}

const fn metric(name: &'static str, unit: Unit, doc: &'static str) -> Definition {
    Definition { name, unit, doc }
}

/// All metrics, besides those that tasks emit themselves.
pub const DEFINITIONS: &[Definition] = &[
    metric("executions", Unit::Count, "Executions that ended."),
    metric(
        "execution_seconds",
        Unit::Seconds,
        "From the creation of an execution to its end.",
    ),
    metric(
        "queue_seconds",
        Unit::Seconds,
        "From its creation to the start of its first task.",
    ),
    metric("task_runs", Unit::Count, "Attempts that ended."),
    metric("task_failures", Unit::Count, "Attempts that failed."),
    metric("retries", Unit::Count, "Attempts beyond the first."),
    metric(
        "task_wait_seconds",
        Unit::Seconds,
        "From the wish to launch to the start, over all attempts.",
    ),
    metric(
        "task_run_seconds",
        Unit::Seconds,
        "From start to end, over all attempts.",
    ),
    metric("vcpu_seconds", Unit::None, "Processor time used."),
    metric("gb_seconds", Unit::None, "Peak memory times duration."),
    metric(
        "cost_usd",
        Unit::None,
        "Estimate: processor and memory at Fargate's price.",
    ),
];

/// What one execution measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// Of the flow.
    pub namespace: String,
    /// Of the execution.
    pub flow: String,
    /// Kestra's name of its final state.
    pub outcome: String,
    /// Which execution: a field of the log line, never a dimension.
    pub execution: String,
    /// By the names of [`DEFINITIONS`].
    pub values: BTreeMap<&'static str, f64>,
    /// Retries by the reason of the attempt before.
    pub retries: BTreeMap<String, f64>,
    /// What tasks emitted: counters summed, timers averaged, gauges last.
    pub tasks: BTreeMap<String, f64>,
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds far below 2^53")]
fn seconds(from_ms: u64, to_ms: u64) -> f64 {
    to_ms.saturating_sub(from_ms) as f64 / 1000.0
}

impl Measurement {
    /// Measures an execution that is over.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "bytes far below 2^53")]
    pub fn of(row: &ExecutionRow, attempts: &[AttemptRow]) -> Self {
        let mut values: BTreeMap<&'static str, f64> = DEFINITIONS
            .iter()
            .map(|metric| (metric.name, 0.0))
            .collect();
        let mut add = |name: &'static str, value: f64| {
            *values.entry(name).or_default() += value;
        };
        add("executions", 1.0);
        let created = row.meta.created_ms;
        if let Some(ended) = row.ended_ms {
            add("execution_seconds", seconds(created, ended));
        }
        if let Some(started) = row.started_ms {
            add("queue_seconds", seconds(created, started));
        }
        let mut retries = BTreeMap::new();
        let mut emitted = Emitted::default();
        for attempt in attempts.iter().filter(|row| row.attempt > 0) {
            let Some(ended) = attempt.ended_ms else {
                continue;
            };
            add("task_runs", 1.0);
            if attempt.state == "FAILED" {
                add("task_failures", 1.0);
            }
            if attempt.attempt > 1 {
                add("retries", 1.0);
                let before = attempts.iter().find(|row| {
                    row.task_run == attempt.task_run && row.attempt + 1 == attempt.attempt
                });
                let reason = before.and_then(|row| row.reason.clone());
                *retries
                    .entry(reason.unwrap_or_else(|| "unknown".to_owned()))
                    .or_default() += 1.0;
            }
            if let Some(started) = attempt.started_ms {
                let run = seconds(started, ended);
                let gb = attempt.usage.peak_rss_bytes as f64 / 1e9 * run;
                let vcpu = attempt.usage.cpu_seconds;
                add("task_wait_seconds", seconds(attempt.created_ms, started));
                add("task_run_seconds", run);
                add("vcpu_seconds", vcpu);
                add("gb_seconds", gb);
                let cost = (vcpu * USD_PER_VCPU_HOUR + gb * USD_PER_GB_HOUR) / 3600.0;
                add("cost_usd", cost);
            }
            emitted.take(attempt);
        }
        Self {
            namespace: row.meta.namespace.clone(),
            flow: row.meta.flow.clone(),
            outcome: row.state.clone(),
            execution: row.meta.id.to_string(),
            values,
            retries,
            tasks: emitted.values(),
        }
    }

    /// One line of CloudWatch's embedded metric format.
    #[must_use]
    pub fn emf(&self, now_ms: u64) -> Value {
        let mut definitions: Vec<Value> = DEFINITIONS
            .iter()
            .map(|metric| json!({"Name": metric.name, "Unit": metric.unit.name()}))
            .collect();
        let mut line: Map<String, Value> = self
            .values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        for (name, value) in &self.tasks {
            let name = format!("task.{name}");
            definitions.push(json!({"Name": name, "Unit": "None"}));
            line.insert(name, json!(value));
        }
        for (reason, value) in &self.retries {
            let name = format!("retries.{}", plain(reason));
            definitions.push(json!({"Name": name, "Unit": "Count"}));
            line.insert(name, json!(value));
        }
        for (name, value) in [
            ("namespace", &self.namespace),
            ("flow", &self.flow),
            ("outcome", &self.outcome),
            ("execution_id", &self.execution),
        ] {
            line.insert(name.to_owned(), json!(value));
        }
        let about = json!({
            "Timestamp": now_ms,
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["namespace", "flow", "outcome"], ["outcome"]],
                "Metrics": definitions,
            }],
        });
        line.insert("_aws".to_owned(), about);
        Value::Object(line)
    }
}

/// Adds up what tasks emitted.
#[derive(Debug, Default)]
struct Emitted {
    sums: BTreeMap<String, (MetricKind, f64, u32)>,
}

impl Emitted {
    fn take(&mut self, attempt: &AttemptRow) {
        for metric in &attempt.metrics {
            let name = plain(&metric.name);
            let full = self.sums.len() >= TASK_METRICS_MAX && !self.sums.contains_key(&name);
            if name.is_empty() || full || !metric.value.is_finite() {
                continue;
            }
            let entry = self.sums.entry(name).or_insert((metric.kind, 0.0, 0));
            match metric.kind {
                MetricKind::Counter | MetricKind::Timer => entry.1 += metric.value,
                MetricKind::Gauge => entry.1 = metric.value,
            }
            entry.2 += 1;
        }
    }

    fn values(self) -> BTreeMap<String, f64> {
        self.sums
            .into_iter()
            .map(|(name, (kind, sum, count))| {
                let value = match kind {
                    MetricKind::Counter | MetricKind::Gauge => sum,
                    MetricKind::Timer => sum / f64::from(count.max(1)),
                };
                (name, value)
            })
            .collect()
    }
}

/// A name that CloudWatch and Prometheus take: letters, digits and `_`.
fn plain(name: &str) -> String {
    name.chars()
        .take(NAME_CHARS_MAX)
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

/// Totals since the start of this process, for Prometheus.
#[derive(Debug, Default)]
pub struct Totals {
    series: Mutex<BTreeMap<Labels, BTreeMap<String, f64>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    namespace: String,
    flow: String,
    outcome: String,
}

impl Totals {
    /// Adds a measurement.
    pub fn add(&self, measured: &Measurement) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut labels = Labels {
            namespace: measured.namespace.clone(),
            flow: measured.flow.clone(),
            outcome: measured.outcome.clone(),
        };
        if series.len() >= SERIES_MAX && !series.contains_key(&labels) {
            "_other".clone_into(&mut labels.namespace);
            "_other".clone_into(&mut labels.flow);
        }
        let totals = series.entry(labels).or_default();
        for (name, value) in &measured.values {
            *totals.entry((*name).to_owned()).or_default() += value;
        }
        for (name, value) in &measured.tasks {
            *totals.entry(format!("task_{name}")).or_default() += value;
        }
    }

    /// Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_name: BTreeMap<&str, Vec<(&Labels, f64)>> = BTreeMap::new();
        for (labels, totals) in series.iter() {
            for (name, value) in totals {
                by_name.entry(name).or_default().push((labels, *value));
            }
        }
        let mut out = String::new();
        for (name, values) in by_name {
            let doc = DEFINITIONS
                .iter()
                .find(|metric| metric.name == name)
                .map_or("Emitted by tasks.", |metric| metric.doc);
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP operon_{name}_total {doc}");
            let _ = writeln!(out, "# TYPE operon_{name}_total counter");
            for (labels, value) in values {
                let _ = writeln!(
                    out,
                    "operon_{name}_total{{namespace=\"{}\",flow=\"{}\",outcome=\"{}\"}} {value}",
                    labels.namespace, labels.flow, labels.outcome
                );
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]

    use super::*;
    use crate::ports::{ExecutionMeta, Metric, TaskRunKey, Usage};
    use operon_core::plan::ShardId;

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
            ended_ms: Some(61_000),
            outputs: Map::new(),
            labels: BTreeMap::new(),
        }
    }

    fn attempt(number: u8, state: &str, count: f64) -> AttemptRow {
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
            created_ms: 3000,
            started_ms: Some(4000),
            ended_ms: Some(14_000),
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
            },
        }
    }

    #[test]
    fn an_execution_is_measured_from_its_rows() {
        let attempts = [attempt(1, "FAILED", 3.0), attempt(2, "SUCCESS", 40.0)];
        let measured = Measurement::of(&execution(), &attempts);
        let value = |name: &str| measured.values.get(name).copied().unwrap();
        assert_eq!(value("execution_seconds"), 60.0);
        assert_eq!(value("queue_seconds"), 2.0);
        assert_eq!(
            (value("task_runs"), value("retries"), value("task_failures")),
            (2.0, 1.0, 1.0)
        );
        assert_eq!((value("vcpu_seconds"), value("gb_seconds")), (10.0, 40.0));
        let cost = (10.0 * USD_PER_VCPU_HOUR + 40.0 * USD_PER_GB_HOUR) / 3600.0;
        assert!((value("cost_usd") - cost).abs() < 1e-12);
        assert_eq!(measured.tasks.get("sequences_processed"), Some(&43.0));
        assert_eq!(measured.retries.get("out of memory"), Some(&1.0));
    }

    #[test]
    fn every_metric_is_emitted_and_no_dimension_names_an_execution() {
        let line = Measurement::of(&execution(), &[attempt(1, "SUCCESS", 1.0)]).emf(5);
        for metric in DEFINITIONS {
            assert!(
                line.get(metric.name).is_some(),
                "{} is missing",
                metric.name
            );
        }
        let about = &line["_aws"]["CloudWatchMetrics"][0];
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
        assert!(named.contains(&"task.sequences_processed"));
        assert!(named.iter().all(|name| line.get(*name).is_some()));
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
        let measured = Measurement::of(&execution(), &[many]);
        assert_eq!(measured.tasks.len(), TASK_METRICS_MAX);
        assert!(
            measured
                .tasks
                .keys()
                .all(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        );
    }

    #[test]
    fn prometheus_gets_totals_with_help() {
        let totals = Totals::default();
        let measured = Measurement::of(&execution(), &[]);
        totals.add(&measured);
        totals.add(&measured);
        let text = totals.render();
        let line = "operon_executions_total{namespace=\"genomics\",flow=\"processing\",outcome=\"SUCCESS\"} 2";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("# TYPE operon_executions_total counter"));
    }
}
