//! Measurements that are kept, so that each end of an execution is counted once, and costs per flow and label can be
//! asked for.
//!
//! Invariant: an attempt is in one measurement, however often its execution is restarted and its end is observed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Measurement, Prices, add_all};
use crate::Ports;
use crate::plans::LoadedPlan;
use crate::ports::{
    AttemptRow, ExecutionRow, RECORD_PAGE_MAX, RecordKey, RecordKind, RecordOutcome, RecordQuery,
    RecordWrite, StoreError, TaskRunKey,
};

/// Attempts of one execution that are measured.
const ATTEMPTS_MAX: usize = 100_000;
/// Attempts read at once.
const PAGE: u32 = 1000;
/// Milliseconds for which measurements are kept: 400 days, so that a year can be compared with the one before.
const KEPT_MS: u64 = 400 * 24 * 3600 * 1000;
/// Measurements that one question reads at most.
const COSTS_MAX: usize = 50_000;
/// Groups in one answer; further ones are added up as `_other`.
const GROUPS_MAX: usize = 1000;

/// What is stored of an execution.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    /// Of this record; 1.
    format: u8,
    ended_ms: u64,
    /// Of all its ends together.
    #[serde(flatten)]
    total: Measurement,
}

fn key(row: &ExecutionRow) -> RecordKey {
    let sort = format!("{:013}/{}", row.meta.created_ms, row.meta.id);
    RecordKey::new(RecordKind::Measurement, &row.meta.namespace, sort)
}

/// Measures the end of an execution and keeps it; none when this end was measured before, or it is not over.
pub async fn measure(
    ports: &Ports,
    plan: &LoadedPlan,
    row: &ExecutionRow,
    prices: Prices,
) -> Result<Option<Measurement>, StoreError> {
    let Some(ended_ms) = row.ended_ms else {
        return Ok(None);
    };
    let now = ports.clock.now_ms();
    let key = key(row);
    let mut there = ports.records.record(&key, now).await?;
    let mut attempts = None;
    loop {
        let version = there.as_ref().map_or(0, |record| record.version);
        let before: Option<Kept> =
            there.and_then(|record| serde_json::from_value(record.value).ok());
        let after_ms = before.as_ref().map_or(0, |kept| kept.ended_ms);
        if after_ms >= ended_ms {
            return Ok(None);
        }
        let rows = match &attempts {
            Some(rows) => rows,
            None => attempts.insert(measured_attempts(ports, row).await?),
        };
        let measured = Measurement::of(&plan.plan, row, rows, prices, after_ms);
        let write = RecordWrite {
            key: key.clone(),
            expected: version,
            value: json!(Kept {
                format: 1,
                ended_ms,
                total: total(before, &measured),
            }),
            due_ms: None,
            expires_ms: Some(now.saturating_add(KEPT_MS)),
        };
        match ports.records.save_record(write).await? {
            RecordOutcome::Saved(_) => return Ok(Some(measured)),
            RecordOutcome::Conflict(fresh) => there = fresh.map(|record| *record),
        }
    }
}

fn total(before: Option<Kept>, measured: &Measurement) -> Measurement {
    let mut total = measured.clone();
    if let Some(before) = before {
        add_all(&mut total.values, &before.total.values);
        add_all(&mut total.retries, &before.total.retries);
        // One execution, however often it ended, and the time it took is counted from its creation.
        for name in ["executions", "execution_seconds", "queue_seconds"] {
            if let Some(value) = measured.values.get(name) {
                total.values.insert(name.to_owned(), *value);
            }
        }
    }
    total
}

/// The attempts of an execution that are measured and traced.
pub async fn measured_attempts(
    ports: &Ports,
    row: &ExecutionRow,
) -> Result<Vec<AttemptRow>, StoreError> {
    let mut attempts: Vec<AttemptRow> = Vec::new();
    let mut after: Option<(TaskRunKey, u8)> = None;
    while attempts.len() < ATTEMPTS_MAX {
        let store = &ports.store;
        let page = store.attempts_page(&row.meta.id, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.task_run.clone(), last.attempt));
        attempts.extend(page);
    }
    Ok(attempts)
}

/// What costs are added up by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The flow.
    Flow,
    /// The value of a label.
    Label(String),
}

/// Whose costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostQuery {
    /// Of this namespace.
    pub namespace: String,
    /// Groups.
    pub by: By,
    /// Executions created at or after this time, milliseconds since the epoch.
    pub from_ms: u64,
    /// Executions created before this time.
    pub to_ms: u64,
}

/// Executions that belong together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CostGroup {
    /// Flow, or value of the label; empty for executions without it.
    pub key: String,
    /// Sums by the names of [`super::OF_EXECUTIONS`].
    pub values: BTreeMap<String, f64>,
    /// Executions that ended `SUCCESS` or `WARNING`.
    pub succeeded: u64,
}

/// What executions that are over cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Costs {
    /// The most expensive first.
    pub groups: Vec<CostGroup>,
    /// False when there were more executions than are read: then it is at least this.
    pub complete: bool,
}

/// Adds up what executions of a namespace cost.
pub async fn costs(ports: &Ports, query: &CostQuery) -> Result<Costs, StoreError> {
    let mut groups: BTreeMap<String, CostGroup> = BTreeMap::new();
    let mut after = Some(format!("{:013}", query.from_ms));
    let end = format!("{:013}", query.to_ms);
    let mut read = 0;
    let complete = loop {
        let page = RecordQuery {
            after: after.take(),
            limit: RECORD_PAGE_MAX,
            ..RecordQuery::default()
        };
        let kind = RecordKind::Measurement;
        let page = ports.records.records(kind, &query.namespace, &page).await?;
        let Some(last) = page.last().map(|record| record.key.sort.clone()) else {
            break true;
        };
        read += page.len();
        for record in page.into_iter().filter(|record| record.key.sort < end) {
            if let Ok(kept) = serde_json::from_value::<Kept>(record.value) {
                add(&mut groups, &query.by, &kept.total);
            }
        }
        if last >= end {
            break true;
        }
        if read >= COSTS_MAX {
            break false;
        }
        after = Some(last);
    };
    let usd = |group: &CostGroup| group.values.get("cost_usd").copied().unwrap_or_default();
    let mut groups: Vec<CostGroup> = groups.into_values().collect();
    groups.sort_by(|a, b| usd(b).total_cmp(&usd(a)).then_with(|| a.key.cmp(&b.key)));
    Ok(Costs { groups, complete })
}

fn add(groups: &mut BTreeMap<String, CostGroup>, by: &By, measured: &Measurement) {
    let mut key = match by {
        By::Flow => measured.flow.clone(),
        By::Label(label) => measured.labels.get(label).cloned().unwrap_or_default(),
    };
    if groups.len() >= GROUPS_MAX && !groups.contains_key(&key) {
        "_other".clone_into(&mut key);
    }
    let group = groups.entry(key.clone()).or_default();
    group.key = key;
    group.succeeded += u64::from(matches!(measured.outcome.as_str(), "SUCCESS" | "WARNING"));
    add_all(&mut group.values, &measured.values);
}
