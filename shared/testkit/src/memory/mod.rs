//! The ports in memory: fast, exact, and gone with the test.
//!
//! Everything is behind one lock per port, so each method is atomic, as the contracts of the ports ask.

mod artifacts;
mod records;
mod seen;
mod small;
mod store;
pub mod units;

use std::sync::Arc;

use operon_engine::Ports;
use operon_engine::ports::{Messages, NoMessages};

use crate::cloud::Faults;

pub use artifacts::MemoryArtifacts;
pub use records::MemoryRecords;
pub use seen::{MemoryMeasures, MemorySchedules};
pub use small::{MemoryLogs, MemorySecrets, TestClock};
pub use store::MemoryStore;
pub use units::WriteUnits;

/// All ports in memory, with their own types so that a test can look into them.
pub struct MemoryPorts {
    /// State.
    pub store: Arc<MemoryStore>,
    /// Documents beside executions.
    pub records: Arc<MemoryRecords>,
    /// Files.
    pub artifacts: Arc<MemoryArtifacts>,
    /// Secrets.
    pub secrets: Arc<MemorySecrets>,
    /// The time; stands still until it is set.
    pub clock: Arc<TestClock>,
    /// Logs.
    pub logs: Arc<MemoryLogs>,
    /// Messages to people: nobody takes them, unless a test says who.
    pub messages: Arc<dyn Messages>,
}

impl Default for MemoryPorts {
    fn default() -> Self {
        Self::failing(Arc::default())
    }
}

impl MemoryPorts {
    /// Ports that fail when they are told to, and count what they are asked.
    #[must_use]
    pub fn failing(faults: Arc<Faults>) -> Self {
        let clock = Arc::<TestClock>::default();
        Self {
            store: Arc::new(MemoryStore::failing(
                Arc::clone(&clock),
                Arc::clone(&faults),
            )),
            records: Arc::new(MemoryRecords::failing(
                Arc::clone(&clock),
                Arc::clone(&faults),
            )),
            artifacts: Arc::new(MemoryArtifacts::failing(faults)),
            secrets: Arc::default(),
            clock,
            logs: Arc::default(),
            messages: Arc::new(NoMessages),
        }
    }
}

impl MemoryPorts {
    /// As the engine takes them.
    #[must_use]
    pub fn ports(&self) -> Ports {
        Ports {
            store: Arc::clone(&self.store) as Arc<_>,
            records: Arc::clone(&self.records) as Arc<_>,
            artifacts: Arc::clone(&self.artifacts) as Arc<_>,
            secrets: Arc::clone(&self.secrets) as Arc<_>,
            messages: Arc::clone(&self.messages),
            services: Arc::new(operon_engine::ports::NoServices),
            clock: Arc::clone(&self.clock) as Arc<_>,
            logs: Arc::clone(&self.logs) as Arc<_>,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryPorts;

    #[tokio::test]
    async fn records_keep_their_contract() {
        crate::contract::records(&*MemoryPorts::default().records).await;
    }

    #[tokio::test]
    async fn state_keeps_its_contract() {
        let ports = MemoryPorts::default();
        crate::contract::state(&*ports.store, &ports.clock).await;
        crate::contract::state::a_late_writer_replaces_nothing_newer(&*ports.store).await;
    }
}
