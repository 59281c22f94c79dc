//! What became of each item of a batch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::Triggers;
use crate::ports::{ArtifactUri, AttemptRow, ExecutionId, RECORD_PAGE_MAX, StoreError};

/// What became of one item of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemOutcome {
    /// Its place in `trigger.items`.
    pub item: u32,
    /// The identity of its event.
    pub identity: String,
    /// State of the task run that worked on it; the execution's where no task run did for it alone.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
}

impl Triggers {
    /// What became of each item of a batch's execution: the state of the loop iterations that had the item as their
    /// value, or of the execution where there was no such loop.
    pub async fn item_outcomes(&self, id: &ExecutionId) -> Result<Vec<ItemOutcome>, StoreError> {
        let store = &self.evaluator.ports.store;
        let Some(row) = store.execution(id).await? else {
            return Ok(Vec::new());
        };
        let items = self.items_of(&row.meta.trigger).await?;
        let mut latest: BTreeMap<String, AttemptRow> = BTreeMap::new();
        let mut after = None;
        loop {
            let page = store.attempts_page(id, after, RECORD_PAGE_MAX).await?;
            let Some(last) = page.last() else { break };
            after = Some((last.task_run.clone(), last.attempt));
            for attempt in page {
                let event = attempt
                    .item
                    .as_ref()
                    .and_then(|item| item.get("event")?.as_str());
                let Some(event) = event.map(str::to_owned) else {
                    continue;
                };
                // Several tasks may work on one item: the worst tells.
                let worse = latest.get(&event).is_none_or(|known| {
                    known.task_run == attempt.task_run || rank(&attempt.state) >= rank(&known.state)
                });
                if worse {
                    latest.insert(event, attempt);
                }
            }
        }
        let of = |(item, identity): (usize, String)| {
            let attempt = latest.get(&identity);
            ItemOutcome {
                item: u32::try_from(item).unwrap_or(u32::MAX),
                state: attempt.map_or_else(|| row.state.clone(), |attempt| attempt.state.clone()),
                reason: attempt
                    .map_or_else(|| row.reason.clone(), |attempt| attempt.message.clone()),
                identity,
            }
        };
        Ok(items.into_iter().enumerate().map(of).collect())
    }

    /// The identities of a batch's items.
    async fn items_of(&self, trigger: &Value) -> Result<Vec<String>, StoreError> {
        let identity = |item: &Value| {
            item.get("event")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        match trigger.get("items") {
            Some(Value::Array(items)) => Ok(items.iter().map(identity).collect()),
            Some(Value::String(uri)) => {
                let failed = |error: String| StoreError::Failed(error);
                let uri: ArtifactUri = uri.parse().map_err(|error| failed(format!("{error}")))?;
                let artifacts = &self.evaluator.ports.artifacts;
                let max = crate::items::ITEMS_BYTES_MAX;
                let bytes = artifacts
                    .get(&uri, max)
                    .await
                    .map_err(|error| failed(error.to_string()))?;
                let lines = bytes
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty());
                Ok(lines
                    .filter_map(|line| serde_json::from_slice(line).ok())
                    .map(|item: Value| identity(&item))
                    .collect())
            }
            _ => Ok(Vec::new()),
        }
    }
}

/// Worse states are larger.
fn rank(state: &str) -> u8 {
    match state {
        "SUCCESS" | "SKIPPED" => 0,
        "WARNING" => 1,
        "FAILED" => 3,
        _ => 2,
    }
}
