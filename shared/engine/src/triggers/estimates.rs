//! What was measured of tasks, for choosing the sizes of batches.

use std::collections::BTreeMap;

use operon_core::triggers::Config;
use operon_core::triggers::batch::{Limits, Waiting};
use operon_core::triggers::size::{Estimate, Sample};

use super::{DeployedFlow, Triggers};
use crate::ports::{ExecutionFilter, ExecutionRow, RecordKey, RecordKind, StoreError};
use crate::rows::OPEN_STATES;

/// Attempts of one task that are measured per execution.
const ATTEMPTS_MAX: u32 = 100;

fn key_of(flow: &DeployedFlow, task: Option<&str>) -> RecordKey {
    let partition = format!("{}/{}", flow.plan.namespace, flow.plan.flow);
    RecordKey::new(RecordKind::Estimate, partition, task.unwrap_or_default())
}

impl Triggers {
    /// What is known of a task, or of the executions of the flow as a whole.
    pub async fn estimate(
        &self,
        flow: &DeployedFlow,
        task: Option<&str>,
    ) -> Result<Estimate, StoreError> {
        let found = self.get::<Estimate>(&key_of(flow, task)).await?;
        Ok(found.map(|(_, estimate)| estimate).unwrap_or_default())
    }

    /// The limits of the next batches: as written, or chosen from what was measured, what waits and what is free. None
    /// when they are to be chosen and nothing is free.
    pub(super) async fn sized(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        groups: &BTreeMap<String, Vec<Waiting>>,
    ) -> Result<Option<Limits>, StoreError> {
        let Some(batch) = &trigger.batch else {
            return Ok(Some(Limits {
                items_max: 1,
                bytes_max: None,
                wait_max_ms: 0,
            }));
        };
        let Some(wish) = batch.dynamic else {
            return Ok(Some(batch.limits));
        };
        let estimate = self.estimate(flow, batch.task.as_deref()).await?;
        let backlog = groups.values().map(Vec::len).sum::<usize>();
        let free = self.free(flow).await?;
        if free == 0 {
            return Ok(None);
        }
        let size = estimate.size(wish, u64::try_from(backlog).unwrap_or(u64::MAX), free);
        Ok(Some(Limits {
            items_max: usize::try_from(size).unwrap_or(usize::MAX).max(1),
            ..batch.limits
        }))
    }

    /// Executions of the flow that could begin now.
    async fn free(&self, flow: &DeployedFlow) -> Result<u32, StoreError> {
        let limit = flow
            .plan
            .concurrency
            .as_ref()
            .filter(|lock| lock.key.is_none());
        let most = limit.map_or(self.capacity, |lock| lock.limit.min(self.capacity));
        let filter = ExecutionFilter {
            namespace: Some(flow.plan.namespace.clone()),
            flow: Some(flow.plan.flow.clone()),
            states: OPEN_STATES
                .iter()
                .map(|state| (*state).to_owned())
                .collect(),
            limit: most.max(1),
            ..ExecutionFilter::default()
        };
        let active = self.evaluator.ports.store.executions(&filter).await?.len();
        Ok(most.saturating_sub(u32::try_from(active).unwrap_or(u32::MAX)))
    }

    /// Learns from an execution that has ended.
    pub(super) async fn learn(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        row: &ExecutionRow,
    ) -> Result<(), StoreError> {
        let Some(batch) = trigger
            .batch
            .as_ref()
            .filter(|batch| batch.dynamic.is_some())
        else {
            return Ok(());
        };
        let items = row
            .meta
            .trigger
            .get("count")
            .and_then(serde_json::Value::as_u64);
        let Some(items) = items
            .and_then(|items| u32::try_from(items).ok())
            .filter(|items| *items > 0)
        else {
            return Ok(());
        };
        if !matches!(row.state.as_str(), "SUCCESS" | "WARNING") {
            return Ok(());
        }
        let samples = match &batch.task {
            None => whole(row, items).into_iter().collect(),
            Some(task) => self.attempts(row, task, items).await?,
        };
        let at = key_of(flow, batch.task.as_deref());
        for sample in samples {
            loop {
                let (version, estimate) = self.get::<Estimate>(&at).await?.unwrap_or_default();
                let next = estimate.with(sample);
                if self
                    .put(at.clone(), version, &next, None, None)
                    .await?
                    .is_ok()
                {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Attempts of one task: alone it had all items, in a loop its share.
    async fn attempts(
        &self,
        row: &ExecutionRow,
        task: &str,
        items: u32,
    ) -> Result<Vec<Sample>, StoreError> {
        let store = &self.evaluator.ports.store;
        let attempts = store
            .attempts_of_task(&row.meta.id, task, ATTEMPTS_MAX)
            .await?;
        let done: Vec<_> = attempts
            .into_iter()
            .filter(|attempt| matches!(attempt.state.as_str(), "SUCCESS" | "WARNING"))
            .filter_map(|attempt| {
                let (started, ended) = (attempt.started_ms?, attempt.ended_ms?);
                Some((attempt.created_ms, started, ended))
            })
            .collect();
        let each = items.div_ceil(u32::try_from(done.len()).unwrap_or(1).max(1));
        Ok(done
            .into_iter()
            .map(|(created, started, ended)| Sample {
                items: each,
                overhead_ms: started.saturating_sub(created),
                work_ms: ended.saturating_sub(started),
            })
            .collect())
    }
}

fn whole(row: &ExecutionRow, items: u32) -> Option<Sample> {
    let (started, ended) = (row.started_ms?, row.ended_ms?);
    Some(Sample {
        items,
        overhead_ms: started.saturating_sub(row.meta.created_ms),
        work_ms: ended.saturating_sub(started),
    })
}
