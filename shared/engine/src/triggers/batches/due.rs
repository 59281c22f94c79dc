//! Batches whose time has come, and events that nobody queued.

use std::sync::Arc;

use super::super::record::{content, read};
use super::super::{DeployedFlow, EventRecord, EventState, TriggerKey, Triggers};
use super::GRACE_MS;
use crate::ports::{Record, RecordKind, StoreError};

impl Triggers {
    /// Takes up batches whose time has come, and events that nobody queued.
    pub(in super::super) async fn close_due(&self, limit: u32) -> Result<u32, StoreError> {
        let now = self.now();
        let records = &self.evaluator.ports.records;
        let mut made = 0;
        for record in records.due_records(RecordKind::Event, now, limit).await? {
            let Some((flow, trigger)) = self.of_partition(&record.key.partition).await? else {
                self.unarm(&record).await?;
                continue;
            };
            let Some(trigger) = flow.trigger(&trigger) else {
                self.unarm(&record).await?;
                continue;
            };
            let event: EventRecord = read(&record)?;
            if event.state != EventState::Pending && event.action.is_some() {
                continue; // Its object is moved or deleted elsewhere.
            }
            if event.state == EventState::Pending {
                self.enqueue(&flow, trigger, &event).await?;
            }
            // Looked at again later, should it still wait.
            let due = (event.state == EventState::Pending).then_some(now + GRACE_MS);
            let _ = self
                .put(
                    record.key.clone(),
                    record.version,
                    &event,
                    due,
                    record.expires_ms,
                )
                .await?;
        }
        for record in records.due_records(RecordKind::Batch, now, limit).await? {
            let found = self.of_partition(&record.key.partition).await?;
            let trigger = found
                .as_ref()
                .and_then(|(flow, id)| Some((flow, flow.trigger(id)?)));
            let Some((flow, trigger)) = trigger else {
                self.unarm(&record).await?;
                continue;
            };
            if record.key.sort.starts_with("w/") {
                self.window_passed(flow, trigger, &record).await?;
            } else {
                made += self.close(flow, trigger).await?;
            }
        }
        Ok(made)
    }

    async fn of_partition(
        &self,
        partition: &str,
    ) -> Result<Option<(Arc<DeployedFlow>, String)>, StoreError> {
        let Some(key) = TriggerKey::of_partition(partition) else {
            return Ok(None);
        };
        let flow = self.flows.deployed_flow(&key.namespace, &key.flow).await?;
        Ok(flow.map(|flow| (flow, key.trigger)))
    }

    /// The trigger is gone: nobody looks any more. The record stays, for people.
    async fn unarm(&self, record: &Record) -> Result<(), StoreError> {
        let _ = self
            .put(
                record.key.clone(),
                record.version,
                &content(&record.value)?,
                None,
                record.expires_ms,
            )
            .await?;
        Ok(())
    }
}
