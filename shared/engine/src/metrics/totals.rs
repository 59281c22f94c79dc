//! Totals since the start of this process, for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use super::{
    ALERTS, Alert, BURIED, BURIED_OUTCOME, Buried, Measurement, Measures, TASK_PREFIX, definitions,
};

/// Sets of labels kept; further ones are counted under flow `_other`.
const SERIES_MAX: usize = 2000;
/// Retries by reason: one metric with a label, as Prometheus has it.
const BY_REASON: &str = "retries_by_reason";

/// Totals since the start of this process.
#[derive(Debug, Default)]
pub struct Totals {
    series: Mutex<BTreeMap<Labels, BTreeMap<Name, f64>>>,
}

/// A metric, and for retries the reason.
type Name = (String, Option<String>);

/// A line of a metric.
type Shown<'a> = (&'a Labels, Option<&'a str>, f64);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    namespace: String,
    flow: String,
    outcome: String,
}

impl Totals {
    /// Adds a measurement.
    pub fn add(&self, measured: &Measurement) {
        let labels = Labels {
            namespace: measured.namespace.clone(),
            flow: measured.flow.clone(),
            outcome: measured.outcome.clone(),
        };
        let values = measured.values.iter();
        let values = values.map(|(name, value)| ((name.clone(), None), *value));
        let tasks = measured.tasks.iter();
        let tasks = tasks.map(|(name, value)| ((format!("{TASK_PREFIX}{name}"), None), *value));
        let retries = measured.retries.iter();
        let retries =
            retries.map(|(reason, value)| ((BY_REASON.to_owned(), Some(reason.clone())), *value));
        self.add_values(labels, values.chain(tasks).chain(retries));
    }

    /// Counts a message to people.
    pub fn alert(&self, alert: &Alert) {
        let labels = Labels {
            namespace: alert.namespace.clone(),
            flow: alert.flow.clone(),
            outcome: alert.outcome().to_owned(),
        };
        self.add_values(labels, [((ALERTS.0.to_owned(), None), 1.0)]);
    }

    /// Counts a dead letter.
    pub fn bury(&self, buried: &Buried) {
        let labels = Labels {
            namespace: buried.namespace.clone(),
            flow: buried.flow.clone(),
            outcome: BURIED_OUTCOME.to_owned(),
        };
        self.add_values(labels, [((BURIED.0.to_owned(), None), 1.0)]);
    }

    fn add_values(&self, mut labels: Labels, values: impl IntoIterator<Item = (Name, f64)>) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if series.len() >= SERIES_MAX && !series.contains_key(&labels) {
            "_other".clone_into(&mut labels.namespace);
            "_other".clone_into(&mut labels.flow);
        }
        let totals = series.entry(labels).or_default();
        for (name, value) in values {
            *totals.entry(name).or_default() += value;
        }
    }

    /// Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_name: BTreeMap<&str, Vec<Shown<'_>>> = BTreeMap::new();
        for (labels, totals) in series.iter() {
            for ((name, reason), value) in totals {
                let values = by_name.entry(name).or_default();
                values.push((labels, reason.as_deref(), *value));
            }
        }
        let defined = definitions();
        let mut out = String::new();
        for (name, values) in by_name {
            let doc = match defined.iter().find(|metric| metric.name == name) {
                Some(metric) => metric.doc.as_str(),
                None if name == BY_REASON => "Attempts beyond the first, by the reason before.",
                None => "Emitted by tasks.",
            };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP operon_{name}_total {doc}");
            let _ = writeln!(out, "# TYPE operon_{name}_total counter");
            for (labels, reason, value) in values {
                let reason = reason.map(|reason| format!(",reason=\"{}\"", escaped(reason)));
                let _ = writeln!(
                    out,
                    "operon_{name}_total{{namespace=\"{}\",flow=\"{}\",outcome=\"{}\"{}}} {value}",
                    escaped(&labels.namespace),
                    escaped(&labels.flow),
                    escaped(&labels.outcome),
                    reason.unwrap_or_default(),
                );
            }
        }
        out
    }
}

impl Measures for Totals {
    fn measured(&self, measurement: &Measurement, _now_ms: u64) {
        self.add(measurement);
    }

    fn buried(&self, buried: &Buried, _: u64) {
        self.bury(buried);
    }

    fn alerted(&self, alert: &Alert, _now_ms: u64) {
        self.alert(alert);
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
