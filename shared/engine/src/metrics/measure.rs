//! What one execution measured, from its rows.

use std::collections::BTreeMap;

use operon_core::plan::Plan;
use serde::{Deserialize, Serialize};

use super::cost::{Prices, Reservations};
use super::{OF_EXECUTIONS, TASK_METRICS_MAX, plain};
use crate::ports::{AttemptRow, ExecutionRow, MetricKind};

/// What one execution measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// Of the flow.
    pub namespace: String,
    /// Of the execution.
    pub flow: String,
    /// Kestra's name of its final state.
    pub outcome: String,
    /// Which execution: a field of the log line, never a dimension.
    pub execution: String,
    /// Of the execution: fields of the log line, never dimensions.
    pub labels: BTreeMap<String, String>,
    /// By the names of [`OF_EXECUTIONS`].
    pub values: BTreeMap<String, f64>,
    /// Retries by the reason of the attempt before.
    pub retries: BTreeMap<String, f64>,
    /// What tasks emitted: counters summed, timers averaged, gauges last.
    pub tasks: BTreeMap<String, f64>,
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds far below 2^53")]
fn seconds(from_ms: u64, to_ms: u64) -> f64 {
    to_ms.saturating_sub(from_ms) as f64 / 1000.0
}

/// Adds up one execution.
struct Sum(BTreeMap<String, f64>);

impl Sum {
    fn add(&mut self, name: &'static str, value: f64) {
        *self.0.entry(name.to_owned()).or_default() += value;
    }

    fn execution(&mut self, row: &ExecutionRow) {
        self.add("executions", 1.0);
        let created = row.meta.created_ms;
        if let Some(ended) = row.ended_ms {
            self.add("execution_seconds", seconds(created, ended));
        }
        if let Some(started) = row.started_ms {
            self.add("queue_seconds", seconds(created, started));
        }
    }

    fn attempt(&mut self, row: &AttemptRow, ended: u64) {
        self.add("task_runs", 1.0);
        if row.state == "FAILED" {
            self.add("task_failures", 1.0);
        }
        if row.attempt > 1 {
            self.add("retries", 1.0);
        }
        if let Some(started) = row.started_ms {
            let waited = seconds(row.created_ms, started);
            let provision = row.usage.provision_seconds.clamp(0.0, waited);
            self.add("task_queue_seconds", waited - provision);
            self.add("provision_seconds", provision);
            self.add("task_run_seconds", seconds(started, ended));
        }
    }
}

impl Measurement {
    /// Measures an execution that is over: those of its attempts that ended after `after_ms`, when an earlier end
    /// of it was measured (0 otherwise).
    #[must_use]
    pub fn of(
        plan: &Plan,
        row: &ExecutionRow,
        attempts: &[AttemptRow],
        prices: Prices,
        after_ms: u64,
    ) -> Self {
        let zero = |(name, _, _): &(&str, _, _)| ((*name).to_owned(), 0.0);
        let mut sum = Sum(OF_EXECUTIONS.iter().map(zero).collect());
        sum.execution(row);
        let reservations = Reservations::of(plan, prices);
        let mut retries = BTreeMap::new();
        let mut emitted = Emitted::default();
        for attempt in attempts.iter().filter(|row| row.attempt > 0) {
            let Some(ended) = attempt.ended_ms.filter(|ended| *ended > after_ms) else {
                continue;
            };
            sum.attempt(attempt, ended);
            if attempt.attempt > 1 {
                *retries.entry(reason_before(attempts, attempt)).or_default() += 1.0;
            }
            let cost = reservations.cost(attempt, ended);
            sum.add("vcpu_seconds", cost.vcpu_seconds);
            sum.add("gb_seconds", cost.gb_seconds);
            sum.add("cpu_used_seconds", attempt.usage.cpu_seconds);
            sum.add("cost_usd", cost.usd);
            emitted.take(attempt);
        }
        Self {
            namespace: row.meta.namespace.clone(),
            flow: row.meta.flow.clone(),
            outcome: row.state.clone(),
            execution: row.meta.id.to_string(),
            labels: row.labels.clone(),
            values: sum.0,
            retries,
            tasks: emitted.values(),
        }
    }
}

/// Why the attempt before this one ended; `unknown` when its row says nothing.
fn reason_before(attempts: &[AttemptRow], attempt: &AttemptRow) -> String {
    let before = attempts
        .iter()
        .find(|row| row.task_run == attempt.task_run && row.attempt + 1 == attempt.attempt);
    let reason = before.and_then(|row| row.reason.clone());
    reason.unwrap_or_else(|| "unknown".to_owned())
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
