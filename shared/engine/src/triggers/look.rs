//! Looking: at one trigger, because somebody said that it is time, or at all that are due.

use super::record::read;
use super::state::{TriggerState, trigger_of};
use super::{TriggerKey, Triggers};
use crate::ports::{RecordKind, RecordWrite, StoreError};
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
        if trigger.batch.is_some() || !trigger.allow_concurrent {
            self.close(&flow, trigger).await?;
        }
        Ok(())
    }

    /// Looks at everything that is due. Call it every second locally, every minute in the cloud, where hints come in
    /// between. One trigger that fails does not keep others from being looked at.
    pub async fn look_at_due(&self) -> Result<(), StoreError> {
        let now = self.now();
        let records = &self.evaluator.ports.records;
        for record in records
            .due_records(RecordKind::Trigger, now, DUE_MAX)
            .await?
        {
            let key = trigger_of(&record.key);
            let deployed = match &key {
                Some(key) => self.is_deployed(key).await?,
                None => false,
            };
            if let (Some(key), true) = (&key, deployed) {
                if let Err(error) = self.look(key).await {
                    tracing::warn!(trigger = %key, %error, "a trigger could not be looked at");
                }
                continue;
            }
            // The trigger is gone: nobody looks any more.
            let mut state: TriggerState = read(&record)?;
            (state.next_ms, state.asked) = (None, None);
            let write = RecordWrite {
                key: record.key.clone(),
                expected: record.version,
                value: super::record::content(&state)?,
                due_ms: None,
                expires_ms: None,
            };
            records.save_record(write).await?;
        }
        self.events_due().await?;
        self.close_due(DUE_MAX).await?;
        self.backfills_due(DUE_MAX).await
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
