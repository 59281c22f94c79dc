//! What executions cost, estimated from what their attempts reserved and how long they took.

use operon_core::lang::model::Resources;
use operon_engine::metrics::{USD_PER_GB_HOUR, USD_PER_VCPU_HOUR};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Prices in US dollars. The defaults are those of Fargate on Linux and Arm in us-east-1 (aws.md 3), on demand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// Of one virtual CPU for an hour.
    pub vcpu_hour: f64,
    /// Of one GB of memory for an hour.
    pub gb_hour: f64,
}

impl Prices {
    /// This machine: what is used is counted and costs nothing.
    pub const FREE: Self = Self {
        vcpu_hour: 0.0,
        gb_hour: 0.0,
    };
    /// Fargate, Linux on x86, us-east-1, on demand.
    pub const FARGATE: Self = Self {
        vcpu_hour: USD_PER_VCPU_HOUR,
        gb_hour: USD_PER_GB_HOUR,
    };
}

/// What was reserved, and what that costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Virtual CPUs times seconds.
    pub vcpu_seconds: f64,
    /// Gigabytes of memory times seconds.
    pub gb_seconds: f64,
    /// Of CPU time that was really used.
    pub cpu_seconds_used: f64,
    /// Estimate in US dollars.
    pub usd: f64,
    /// False when there were more attempts than are looked at: then it is at least this.
    pub complete: bool,
}

impl Cost {
    /// Nothing yet.
    pub(crate) const fn none() -> Self {
        Self {
            vcpu_seconds: 0.0,
            gb_seconds: 0.0,
            cpu_seconds_used: 0.0,
            usd: 0.0,
            complete: true,
        }
    }

    /// Adds an attempt that took so long.
    pub(crate) fn add(&mut self, prices: &Prices, resources: &Resources, ms: u64, used: f64) {
        // Durations are far below 2^53 ms.
        #[allow(clippy::cast_precision_loss)]
        let seconds = ms as f64 / 1000.0;
        let vcpu = f64::from(resources.cpu_milli) / 1000.0 * seconds;
        let gb = f64::from(resources.memory_mib) / 1024.0 * seconds;
        self.vcpu_seconds += vcpu;
        self.gb_seconds += gb;
        self.cpu_seconds_used += used;
        self.usd += vcpu / 3600.0 * prices.vcpu_hour + gb / 3600.0 * prices.gb_hour;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_a_virtual_cpu_costs_its_price() {
        let resources = Resources {
            cpu_milli: 1000,
            memory_mib: 2048,
            ephemeral_gib: 20,
        };
        let mut cost = Cost::none();
        cost.add(&Prices::FARGATE, &resources, 3_600_000, 12.5);
        assert!((cost.vcpu_seconds - 3600.0).abs() < 1e-9);
        assert!((cost.gb_seconds - 7200.0).abs() < 1e-9);
        assert!((cost.usd - (0.040_48 + 2.0 * 0.004_445)).abs() < 1e-9);
        cost.add(&Prices::FREE, &resources, 3_600_000, 0.0);
        assert!((cost.usd - (0.040_48 + 2.0 * 0.004_445)).abs() < 1e-9);
    }
}
