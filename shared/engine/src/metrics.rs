//! What is measured: one definition, for CloudWatch, Prometheus, the dashboard and its alarms.
//!
//! An execution is measured when it is over, from its rows, so that every place that shows a figure says the same.
//! Dimensions are only namespace, flow and outcome (aws.md 2.5: each set of dimensions costs; an execution's id would
//! cost per execution).
//!
//! Invariant: what is emitted is in [`definitions`] or was named by a task; what the dashboard shows is in
//! [`definitions`].

use std::collections::BTreeMap;

use operon_core::exec::Reason;
use serde::Serialize;

pub mod cost;
pub mod dashboard;
mod emf;
mod kept;
mod measure;
mod totals;

pub use cost::{Cost, Prices, Reservations};
pub use kept::{By, CostGroup, CostQuery, Costs, costs, measure, measured_attempts};
pub use measure::Measurement;
pub use totals::Totals;

/// CloudWatch's namespace, before a slash and the deployment's stage.
pub const NAMESPACE: &str = "Operon";
/// The only names of dimensions.
pub const DIMENSIONS: [&str; 3] = ["namespace", "flow", "outcome"];
/// Metrics of tasks in one measurement; further ones are left out.
pub const TASK_METRICS_MAX: usize = 40;
/// Before a retry's reason in the name of its metric.
pub const RETRIES_PREFIX: &str = "retries_";
/// Before the name of what tasks emit.
pub const TASK_PREFIX: &str = "task_";
/// Characters of a task's metric's name.
const NAME_CHARS_MAX: usize = 100;

/// Takes what was measured, wherever it is shown.
pub trait Measures: Send + Sync {
    /// An execution that was measured, once for each of its ends.
    fn measured(&self, measurement: &Measurement, now_ms: u64);
    /// A message to people that was taken, or was not.
    fn alerted(&self, alert: &Alert, now_ms: u64);
    /// An event that its trigger could not use, or a message that nobody could read.
    fn buried(&self, buried: &Buried, now_ms: u64);
}

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
    /// CloudWatch's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Seconds => "Seconds",
            Self::None => "None",
        }
    }
}

/// A metric that this code emits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Definition {
    /// Its name in CloudWatch; in Prometheus with `operon_` before it.
    pub name: String,
    /// Its unit.
    pub unit: Unit,
    /// One line for people.
    pub doc: String,
}

/// What is measured of every execution that ends.
pub const OF_EXECUTIONS: &[(&str, Unit, &str)] = &[
    ("executions", Unit::Count, "Executions that ended."),
    (
        "execution_seconds",
        Unit::Seconds,
        "From the creation of an execution to its end.",
    ),
    (
        "queue_seconds",
        Unit::Seconds,
        "From its creation to the start of its first task.",
    ),
    ("task_runs", Unit::Count, "Attempts that ended."),
    ("task_failures", Unit::Count, "Attempts that failed."),
    ("retries", Unit::Count, "Attempts beyond the first."),
    (
        "task_queue_seconds",
        Unit::Seconds,
        "From the wish to launch to having a machine, over all attempts.",
    ),
    (
        "provision_seconds",
        Unit::Seconds,
        "From having a machine to the start: image pulled, files staged, over all attempts.",
    ),
    (
        "task_run_seconds",
        Unit::Seconds,
        "From start to end, over all attempts.",
    ),
    (
        "vcpu_seconds",
        Unit::None,
        "Virtual CPUs reserved, times seconds.",
    ),
    (
        "gb_seconds",
        Unit::None,
        "Gigabytes reserved, times seconds.",
    ),
    (
        "cpu_used_seconds",
        Unit::Seconds,
        "Processor time really used.",
    ),
    (
        "cost_usd",
        Unit::None,
        "Estimate: what was reserved, at Fargate's price.",
    ),
];

/// Messages to people: outcome `SENT` or `FAILED`.
pub const ALERTS: (&str, Unit, &str) = (
    "alerts",
    Unit::Count,
    "Messages to people that were taken (SENT) or not (FAILED).",
);

/// Events that no trigger could use: outcome `BURIED`.
pub const BURIED: (&str, Unit, &str) = (
    "dead_events",
    Unit::Count,
    "Events and messages that no trigger could use; they are dead letters.",
);
/// The outcome of those.
pub const BURIED_OUTCOME: &str = "BURIED";

/// The metric that counts retries after attempts that ended so.
#[must_use]
pub fn retries_of(reason: &str) -> String {
    let reason = if reason.is_empty() { "unknown" } else { reason };
    format!("{RETRIES_PREFIX}{}", plain(reason))
}

/// Every metric, besides those that tasks emit themselves.
#[must_use]
pub fn definitions() -> Vec<Definition> {
    let define = |(name, unit, doc): &(&str, Unit, &str)| Definition {
        name: (*name).to_owned(),
        unit: *unit,
        doc: (*doc).to_owned(),
    };
    let reasons = Reason::ALL.iter().filter(|reason| reason.is_retriable());
    let retries = reasons.map(|reason| {
        let words = match reason.words() {
            "" => "an unknown reason",
            words => words,
        };
        Definition {
            name: retries_of(reason.words()),
            unit: Unit::Count,
            doc: format!("Retries after: {words}."),
        }
    });
    let fixed = OF_EXECUTIONS.iter().chain([&ALERTS, &BURIED]);
    fixed.map(define).chain(retries).collect()
}

/// A message to people, as it is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Of what it is about.
    pub namespace: String,
    /// Of what it is about; the newest when there are several.
    pub flow: String,
    /// It was taken.
    pub sent: bool,
}

impl Alert {
    /// `SENT` or `FAILED`.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        if self.sent { "SENT" } else { "FAILED" }
    }
}

/// An event that became a dead letter, as it is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buried {
    /// Of the trigger; `unknown` for a message that nobody could read.
    pub namespace: String,
    /// Of the trigger; `unknown` for a message that nobody could read.
    pub flow: String,
}

/// A name that CloudWatch and Prometheus take: letters, digits and `_`.
fn plain(name: &str) -> String {
    name.chars()
        .take(NAME_CHARS_MAX)
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

/// Adds every value of `more`.
fn add_all(to: &mut BTreeMap<String, f64>, more: &BTreeMap<String, f64>) {
    for (name, value) in more {
        *to.entry(name.clone()).or_default() += value;
    }
}

#[cfg(test)]
mod tests;
