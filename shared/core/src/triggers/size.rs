//! How large a batch should be: from what was measured, what waits and what is free.
//!
//! An execution costs its *overhead* (provisioning, pulling, loading a dataset) whatever it does, and then some time
//! per item. Small batches pay the overhead too often; large ones leave capacity idle while one of them works. The
//! size chosen here spreads the backlog over what is free, and stops where the overhead would be more than a fifth
//! of the time or the target time is exceeded.

use serde::{Deserialize, Serialize};

/// Weight of a new measurement in the running means.
const WEIGHT: f64 = 0.2;
/// The share of the time that the overhead should not exceed.
const OVERHEAD_SHARE: f64 = 0.2;

/// Items of a batch while nothing is known of the task.
const UNKNOWN: u32 = 100;

/// What is known of a task: running means of what was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// Items per second while it works.
    pub items_per_s: f64,
    /// Seconds from its command to the begin of its work.
    pub overhead_s: f64,
    /// Measurements so far.
    pub samples: u32,
}

/// One attempt, measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Items it worked through.
    pub items: u32,
    /// Milliseconds before it began to work.
    pub overhead_ms: u64,
    /// Milliseconds it worked.
    pub work_ms: u64,
}

/// What `batch` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// How long an execution should take, in milliseconds.
    pub target_ms: u64,
    /// Items at least.
    pub min: u32,
    /// Items at most.
    pub max: u32,
}

#[allow(
    clippy::cast_precision_loss,
    reason = "times and counts are far below 2^52"
)]
const fn float(number: u64) -> f64 {
    number as f64
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is clamped to the range first"
)]
fn whole(number: f64) -> u32 {
    if number.is_nan() {
        return 0;
    }
    number.clamp(0.0, f64::from(u32::MAX)) as u32
}

impl Estimate {
    /// Takes in a measurement.
    #[must_use]
    pub fn with(self, sample: Sample) -> Self {
        let rate = f64::from(sample.items.max(1)) / (float(sample.work_ms.max(1)) / 1_000.0);
        let overhead = float(sample.overhead_ms) / 1_000.0;
        if self.samples == 0 {
            return Self {
                items_per_s: rate,
                overhead_s: overhead,
                samples: 1,
            };
        }
        // The mean of the seconds per item, not of their inverse: one fast item must not hide many slow ones.
        let seconds = mean(1.0 / self.items_per_s.max(f64::MIN_POSITIVE), 1.0 / rate);
        Self {
            items_per_s: 1.0 / seconds.max(f64::MIN_POSITIVE),
            overhead_s: mean(self.overhead_s, overhead),
            samples: self.samples.saturating_add(1),
        }
    }

    /// Items of the next batch, when `backlog` wait and `free` executions could begin now.
    #[must_use]
    pub fn size(&self, wish: Wish, backlog: u64, free: u32) -> u32 {
        let (min, max) = (wish.min.max(1), wish.max.max(wish.min).max(1));
        if self.samples == 0 {
            return UNKNOWN.clamp(min, max);
        }
        let target_s = float(wish.target_ms) / 1_000.0;
        // As many as fit into the target next to the overhead; half the target at least is work.
        let work_s = (target_s - self.overhead_s).max(target_s / 2.0);
        let most = whole(work_s * self.items_per_s).clamp(min, max);
        let least = whole(self.overhead_s * self.items_per_s * (1.0 / OVERHEAD_SHARE - 1.0))
            .clamp(min, most);
        // Equal parts: the last one should not be small.
        let batches = (backlog / u64::from(least.max(1))).clamp(1, u64::from(free.max(1)));
        let share = u32::try_from(backlog.div_ceil(batches)).unwrap_or(u32::MAX);
        share.clamp(least, most)
    }
}

fn mean(old: f64, new: f64) -> f64 {
    old * (1.0 - WEIGHT) + new * WEIGHT
}

#[cfg(test)]
mod tests;
