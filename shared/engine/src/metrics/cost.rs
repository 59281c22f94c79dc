//! What attempts cost: what they reserved, for how long, at which price. The one definition: the interface, the
//! metrics and the costs per flow and label all come from here.
//!
//! Fargate is paid for what is reserved, not for what is used, from the first pull of an image to the end, for a
//! minute at least (aws.md 2.4), and its sizes are steps. Built-in tasks have no machine of their own and are not counted.

use std::collections::BTreeMap;

use operon_core::lang::model::Resources;
use operon_core::plan::{NodeKind, Plan};
use serde::{Deserialize, Serialize};

use crate::ports::AttemptRow;
use crate::{fargate, replay, script};

/// Fargate in us-east-1 on x86, per vCPU and hour, in dollars (aws.md 2.4).
pub const USD_PER_VCPU_HOUR: f64 = 0.040_48;
/// The same per GB and hour.
pub const USD_PER_GB_HOUR: f64 = 0.004_445;
/// Seconds that are paid for at least.
const MINIMUM_S: f64 = 60.0;

/// Prices in US dollars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// Of one virtual CPU for an hour.
    pub vcpu_hour: f64,
    /// Of one GB of memory for an hour.
    pub gb_hour: f64,
}

impl Prices {
    /// Fargate, Linux on x86, us-east-1, on demand. On a machine of one's own: what it would cost there.
    pub const FARGATE: Self = Self {
        vcpu_hour: USD_PER_VCPU_HOUR,
        gb_hour: USD_PER_GB_HOUR,
    };
}

/// What was reserved, and what that costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Virtual CPUs reserved, times seconds.
    pub vcpu_seconds: f64,
    /// Gigabytes of memory reserved, times seconds.
    pub gb_seconds: f64,
    /// Of CPU time that was really used.
    pub cpu_seconds_used: f64,
    /// Estimate in US dollars.
    pub usd: f64,
}

/// What the tasks of a plan reserve.
#[derive(Debug, Clone)]
pub struct Reservations {
    by_task: BTreeMap<String, Resources>,
    prices: Prices,
}

impl Reservations {
    /// Of the tasks of this plan that have a machine of their own.
    #[must_use]
    pub fn of(plan: &Plan, prices: Prices) -> Self {
        let mut by_task = BTreeMap::new();
        for node in plan.scopes.iter().flat_map(|scope| &scope.nodes) {
            if let NodeKind::Task(task) = &node.kind
                && script::is_process(&task.task_type)
            {
                by_task.insert(node.id.clone(), task.resources);
            }
        }
        Self { by_task, prices }
    }

    /// What one attempt cost, up to now if it still runs; nothing where nothing was started for it.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "milliseconds far below 2^53")]
    pub fn cost(&self, row: &AttemptRow, now_ms: u64) -> Cost {
        let reused = row.reason.as_deref() == Some(replay::REUSED);
        let started = row.started_ms.filter(|_| row.attempt > 0 && !reused);
        let (Some(started), Some(resources)) = (started, self.by_task.get(&row.task)) else {
            return Cost::default();
        };
        let ran = row.ended_ms.unwrap_or(now_ms).saturating_sub(started);
        let provision = row.usage.provision_seconds.max(0.0);
        let seconds = ran as f64 / 1000.0 + provision;
        let (vcpu, gb) = size(resources);
        let paid = seconds.max(MINIMUM_S);
        let prices = &self.prices;
        Cost {
            vcpu_seconds: vcpu * seconds,
            gb_seconds: gb * seconds,
            cpu_seconds_used: row.usage.cpu_seconds,
            usd: (vcpu * prices.vcpu_hour + gb * prices.gb_hour) * paid / 3600.0,
        }
    }
}

/// Virtual CPUs and gigabytes of the smallest task of Fargate that holds this; what is asked for where none does.
fn size(resources: &Resources) -> (f64, f64) {
    match fargate::size_for(resources.cpu_milli, resources.memory_mib) {
        Some(size) => (
            f64::from(size.cpu_units) / 1024.0,
            f64::from(size.memory_mib) / 1024.0,
        ),
        None => (
            f64::from(resources.cpu_milli) / 1000.0,
            f64::from(resources.memory_mib) / 1024.0,
        ),
    }
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.vcpu_seconds += other.vcpu_seconds;
        self.gb_seconds += other.gb_seconds;
        self.cpu_seconds_used += other.cpu_seconds_used;
        self.usd += other.usd;
    }
}
