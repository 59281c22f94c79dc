//! Batches whose time has come.

use std::sync::Arc;

use super::super::record::content;
use super::super::{DeployedFlow, TriggerKey, Triggers};
use crate::ports::{Record, RecordKind, StoreError};

impl Triggers {
    /// Takes up batches whose time has come. One that fails does not keep others waiting.
    pub(in super::super) async fn close_due(&self, limit: u32) -> Result<u32, StoreError> {
        let now = self.now();
        let records = &self.evaluator.ports.records;
        let mut made = 0;
        for record in records.due_records(RecordKind::Batch, now, limit).await? {
            match self.batch_due(&record).await {
                Ok(closed) => made += closed,
                Err(error) => {
                    tracing::warn!(batch = record.key.sort, partition = record.key.partition, %error, "a batch could not be taken up");
                }
            }
        }
        Ok(made)
    }

    async fn batch_due(&self, record: &Record) -> Result<u32, StoreError> {
        let found = self.of_partition(&record.key.partition).await?;
        let trigger = found
            .as_ref()
            .and_then(|(flow, id)| Some((flow, flow.trigger(id)?)));
        let Some((flow, trigger)) = trigger else {
            self.unarm(record).await?;
            return Ok(0);
        };
        if record.key.sort.starts_with("w/") {
            self.window_passed(flow, trigger, record).await?;
            return Ok(0);
        }
        self.close(flow, trigger).await
    }

    /// The deployed flow of a trigger's records, and the trigger's id.
    pub(in super::super) async fn of_partition(
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
    pub(in super::super) async fn unarm(&self, record: &Record) -> Result<bool, StoreError> {
        let written = self
            .put(
                record.key.clone(),
                record.version,
                &content(&record.value)?,
                None,
                record.expires_ms,
            )
            .await?;
        Ok(written.is_ok())
    }
}
