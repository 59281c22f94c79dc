//! What `main` used, from samples of its counters.

use operon_core::agent::Usage;

use crate::metadata::Stats;

/// Peaks and sums of the samples so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Peak {
    memory_bytes: u64,
    cpu_nanoseconds: u64,
}

impl Peak {
    pub(crate) fn take(&mut self, stats: &Stats) {
        self.memory_bytes = self.memory_bytes.max(stats.memory_bytes());
        // The counter only grows; a sample of a container that is gone is zero.
        self.cpu_nanoseconds = self.cpu_nanoseconds.max(stats.cpu_nanoseconds());
    }

    pub(crate) fn usage(self) -> Usage {
        #[allow(
            clippy::cast_precision_loss,
            reason = "seconds for people; a double holds 104 days of nanoseconds exactly"
        )]
        let cpu_seconds = self.cpu_nanoseconds as f64 / 1e9;
        Usage {
            peak_rss_bytes: self.memory_bytes,
            cpu_seconds,
            provision_seconds: 0.0,
        }
    }
}
