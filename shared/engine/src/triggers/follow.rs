//! What somebody must look at follows the revision that counts: after a flow was deployed, rolled back, switched on or
//! off, and after one of its triggers was.
//!
//! Invariant: it is derived from what is stored, so it may be asked at any time and as often as one likes, and what a
//! crash left out the next time makes good. A trigger that a former revision had is known by its state record.

use std::collections::BTreeSet;

use async_trait::async_trait;
use operon_core::triggers::Config;

use super::state::schedule_of;
use super::{Scheduler, TriggerKey, Triggers};
use crate::ports::{RECORD_PAGE_MAX, RecordKind, RecordQuery, StoreError};

/// Nothing is made: where [`Triggers::look_at_due`] is called every second.
#[derive(Debug, Default)]
pub struct NoSchedules;

#[async_trait]
impl Scheduler for NoSchedules {
    async fn put(&self, _: &TriggerKey, _: &Config) -> Result<(), StoreError> {
        Ok(())
    }

    async fn remove(&self, _: &TriggerKey) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Triggers {
    /// Makes that exactly those triggers of a flow are looked at, at their times, that its current revision has and
    /// that are switched on.
    pub async fn follow(&self, namespace: &str, flow: &str) -> Result<(), StoreError> {
        let mut scheduled = BTreeSet::new();
        if let Some(deployed) = self.flows.deployed_flow(namespace, flow).await? {
            for trigger in &deployed.triggers {
                self.arm(&deployed, trigger).await?;
                let key = deployed.key(trigger);
                let off = deployed.disabled
                    || trigger.disabled
                    || self.state(&key).await?.disabled.is_some();
                if off {
                    continue;
                }
                self.open_windows(&deployed, trigger).await?;
                if schedule_of(trigger).is_some() || trigger.interval_ms().is_some() {
                    self.scheduler.put(&key, trigger).await?;
                    scheduled.insert(trigger.id.clone());
                }
            }
        }
        for trigger in self.remembered(namespace, flow).await? {
            if !scheduled.contains(&trigger) {
                let key = TriggerKey {
                    namespace: namespace.to_owned(),
                    flow: flow.to_owned(),
                    trigger,
                };
                self.scheduler.remove(&key).await?;
            }
        }
        Ok(())
    }

    /// Ids of all triggers that any revision of a flow had and that remember something.
    async fn remembered(&self, namespace: &str, flow: &str) -> Result<Vec<String>, StoreError> {
        let partition = format!("{namespace}/{flow}");
        let mut found: Vec<String> = Vec::new();
        loop {
            let query = RecordQuery {
                after: found.last().cloned(),
                limit: RECORD_PAGE_MAX,
                ..RecordQuery::default()
            };
            let records = &self.evaluator.ports.records;
            let page = records
                .records(RecordKind::Trigger, &partition, &query)
                .await?;
            if page.is_empty() {
                return Ok(found);
            }
            found.extend(page.into_iter().map(|record| record.key.sort));
        }
    }
}
