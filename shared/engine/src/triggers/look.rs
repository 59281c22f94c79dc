//! Looking: at one trigger, because somebody said that it is time, or at all that are due.

use super::record::read;
use super::state::{TriggerState, trigger_of};
use super::{TriggerKey, Triggers};
use crate::ports::{Record, RecordKind, StoreError};
use operon_core::triggers::Kind;

/// Triggers looked at in one go; the rest stays due.
const DUE_MAX: u32 = 200;

impl Triggers {
    /// Does whatever is due for one trigger: dates, a poll (or the question for it), a batch.
    pub async fn look(&self, key: &TriggerKey) -> Result<(), StoreError> {
        let Some(flow) = self.flows.deployed_flow(&key.namespace, &key.flow).await? else {
            return Ok(());
        };
        let Some(trigger) = flow.trigger(&key.trigger) else {
            return Ok(());
        };
        match &trigger.kind {
            Kind::Schedule(schedule) => self.dates(&flow, trigger, schedule).await?,
            Kind::Postgres(_) | Kind::Http(_) => self.poll_or_ask(&flow, trigger).await?,
            Kind::Flow(_) => self.open_windows(&flow, trigger).await?,
            Kind::Webhook(_)
            | Kind::S3(_)
            | Kind::Sqs { .. }
            | Kind::Sns { .. }
            | Kind::EventBridge { .. }
            | Kind::Alarm { .. } => {}
        }
        if trigger.waits() {
            self.close(&flow, trigger).await?;
        }
        Ok(())
    }

    /// Looks at everything that is due. Call it every second locally, every minute in the cloud, where hints come in
    /// between. Nothing that fails or cannot be read keeps anything else from being looked at; an error says that what
    /// is due could not be listed. Batches come first: they promise a time, and looks may take long.
    pub async fn look_at_due(&self) -> Result<(), StoreError> {
        let batches = self.close_due(DUE_MAX).await;
        let triggers = self.triggers_due().await;
        let backfills = self.backfills_due(DUE_MAX).await;
        let events = self.events_due().await;
        batches?;
        triggers?;
        backfills?;
        events?;
        Ok(())
    }

    async fn triggers_due(&self) -> Result<(), StoreError> {
        let (now, records) = (self.now(), &self.evaluator.ports.records);
        for record in records
            .due_records(RecordKind::Trigger, now, DUE_MAX)
            .await?
        {
            if let Err(error) = self.trigger_due(&record).await {
                tracing::warn!(record = %record.key.sort, partition = record.key.partition, %error, "a trigger could not be looked at");
            }
        }
        Ok(())
    }

    async fn trigger_due(&self, record: &Record) -> Result<(), StoreError> {
        if let Some(key) = trigger_of(&record.key)
            && self.is_deployed(&key).await?
        {
            return self.look(&key).await;
        }
        // The trigger is gone: nobody looks any more.
        let mut state: TriggerState = read(record)?;
        (state.next_ms, state.asked) = (None, None);
        let (key, version) = (record.key.clone(), record.version);
        // A conflict means that somebody has deployed it again, or did the same.
        let _ = self.put(key, version, &state, None, None).await?;
        Ok(())
    }

    async fn is_deployed(&self, key: &TriggerKey) -> Result<bool, StoreError> {
        let flow = self.flows.deployed_flow(&key.namespace, &key.flow).await?;
        Ok(flow.is_some_and(|flow| flow.trigger(&key.trigger).is_some()))
    }

    /// Makes that all triggers of all flows are looked at when they must be. Call it at the start and now and then.
    pub async fn arm_all(&self) -> Result<(), StoreError> {
        for flow in self.flows.deployed().await? {
            for trigger in &flow.triggers {
                self.arm(&flow, trigger).await?;
                if !flow.disabled && !trigger.disabled {
                    self.open_windows(&flow, trigger).await?;
                }
            }
        }
        Ok(())
    }
}
