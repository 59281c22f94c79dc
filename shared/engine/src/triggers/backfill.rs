//! Backfills: dates of a schedule in a range are made up for, some at a time, by order of a person.
//!
//! A date that was fired by the schedule, or by an earlier backfill, has its execution already; it is tried again only
//! when that did not succeed, under a name of this backfill. The cursor of the schedule is not touched.

use std::collections::BTreeMap;

use operon_core::triggers::schedule::Schedule;
use operon_core::triggers::{Config, Kind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::record::read;
use super::schedules::{event_of, identity_of};
use super::{DeployedFlow, Outcome, TriggerKey, Triggers};
use crate::ports::{ExecutionId, Record, RecordKey, RecordKind, StoreError};

/// Time between two looks at the executions of a backfill.
const LOOK_MS: u64 = 5_000;
/// Dates looked at in one go.
const DATES_MAX: usize = 500;
/// Executions at once at most.
pub(super) const CAP_MAX: u32 = 1_000;

/// What is to be made up for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackfillRange {
    /// First date that may be, in milliseconds since the epoch.
    pub from_ms: u64,
    /// Dates before this one.
    pub until_ms: u64,
    /// Executions at once.
    pub cap: u32,
    /// Executions that it starts at most; none means every date of the range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_executions: Option<u64>,
    /// Instead of the trigger's.
    #[serde(default)]
    pub inputs: BTreeMap<String, Value>,
    /// In addition to the trigger's.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A backfill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackfillState {
    /// Of this document.
    pub format: u32,
    /// Names it; part of what its executions are named by.
    pub id: String,
    /// What is to be made up for.
    pub range: BackfillRange,
    /// Dates before this one are dealt with.
    pub next_ms: u64,
    /// Waits for a person.
    pub paused: bool,
    /// Everything was dealt with, or a person ended it.
    pub over: bool,
    /// Executions it started.
    pub started: u64,
    /// Dates that had succeeded before.
    pub skipped: u64,
    /// Executions that have not ended.
    pub active: Vec<ExecutionId>,
}

/// Why there is no backfill.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// The trigger is not deployed.
    #[error("there is no trigger `{0}`; `operon triggers list` shows them")]
    Missing(TriggerKey),
    /// The trigger has no dates.
    #[error("trigger `{0}` is no schedule: only dates can be made up for")]
    NoSchedule(String),
    /// The range is not one.
    #[error(
        "the range must begin before it ends, executions at once be from 1 to {CAP_MAX}, and executions in all at \
         least 1"
    )]
    Range,
    /// There is one.
    #[error("a backfill of this trigger is going on; pause, resume or end it")]
    GoingOn,
    /// There is none.
    #[error("no backfill of this trigger is going on")]
    None,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn key_of(key: &TriggerKey) -> RecordKey {
    RecordKey::new(RecordKind::Backfill, key.to_string(), "")
}

impl Triggers {
    /// The backfill of a trigger, also one that is over.
    pub async fn backfill(&self, key: &TriggerKey) -> Result<Option<BackfillState>, StoreError> {
        Ok(self
            .get::<BackfillState>(&key_of(key))
            .await?
            .map(|(_, state)| state))
    }

    /// Begins a backfill.
    pub async fn start_backfill(
        &self,
        key: &TriggerKey,
        range: BackfillRange,
    ) -> Result<BackfillState, BackfillError> {
        let flow = self.flows.deployed_flow(&key.namespace, &key.flow).await?;
        let trigger = flow.as_ref().and_then(|flow| flow.trigger(&key.trigger));
        let trigger = trigger.ok_or_else(|| BackfillError::Missing(key.clone()))?;
        if super::state::schedule_of(trigger).is_none() {
            return Err(BackfillError::NoSchedule(trigger.id.clone()));
        }
        let none = range.max_executions == Some(0);
        if range.from_ms >= range.until_ms || !(1..=CAP_MAX).contains(&range.cap) || none {
            return Err(BackfillError::Range);
        }
        let known = self.get::<BackfillState>(&key_of(key)).await?;
        if known.as_ref().is_some_and(|(_, known)| !known.over) {
            return Err(BackfillError::GoingOn);
        }
        let state = BackfillState {
            format: 1,
            id: self.now().to_string(),
            next_ms: range.from_ms,
            range,
            paused: false,
            over: false,
            started: 0,
            skipped: 0,
            active: Vec::new(),
        };
        let version = known.map_or(0, |(version, _)| version);
        match self
            .put(key_of(key), version, &state, Some(self.now()), None)
            .await?
        {
            Ok(_) => {
                self.wakeups.wake(key, self.now()).await?;
                Ok(state)
            }
            Err(_) => Err(BackfillError::GoingOn),
        }
    }

    /// Pauses a backfill, or lets it go on.
    pub async fn pause_backfill(
        &self,
        key: &TriggerKey,
        paused: bool,
    ) -> Result<BackfillState, BackfillError> {
        self.change_backfill(key, |state| state.paused = paused)
            .await
    }

    /// Ends a backfill; executions that it started go on.
    pub async fn end_backfill(&self, key: &TriggerKey) -> Result<BackfillState, BackfillError> {
        self.change_backfill(key, |state| state.over = true).await
    }

    async fn change_backfill(
        &self,
        key: &TriggerKey,
        change: impl Fn(&mut BackfillState),
    ) -> Result<BackfillState, BackfillError> {
        loop {
            let found = self.get::<BackfillState>(&key_of(key)).await?;
            let (version, mut state) = found
                .filter(|(_, state)| !state.over)
                .ok_or(BackfillError::None)?;
            change(&mut state);
            let due = (!state.over && !state.paused).then(|| self.now());
            if self
                .put(key_of(key), version, &state, due, None)
                .await?
                .is_ok()
            {
                return Ok(state);
            }
        }
    }

    /// Goes on with the backfills that are due. One that fails does not keep others waiting.
    pub(super) async fn backfills_due(&self, limit: u32) -> Result<(), StoreError> {
        let records = &self.evaluator.ports.records;
        for record in records
            .due_records(RecordKind::Backfill, self.now(), limit)
            .await?
        {
            if let Err(error) = self.backfill_due(&record).await {
                tracing::warn!(trigger = record.key.partition, %error, "a backfill could not go on");
            }
        }
        Ok(())
    }

    async fn backfill_due(&self, record: &Record) -> Result<(), StoreError> {
        let mut state: BackfillState = read(record)?;
        let found = self.of_partition(&record.key.partition).await?;
        let trigger = found
            .as_ref()
            .and_then(|(flow, id)| Some((flow, flow.trigger(id)?)));
        match trigger {
            Some((flow, trigger)) if !state.paused && !state.over => {
                self.fill(flow, trigger, &mut state).await?;
            }
            Some(_) => {}
            None => state.over = true,
        }
        let due = (!state.over && !state.paused).then(|| self.now() + LOOK_MS);
        let _ = self
            .put(record.key.clone(), record.version, &state, due, None)
            .await?;
        Ok(())
    }

    /// Starts as many dates as the cap allows. Repeated after a crash it finds what it has started.
    async fn fill(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        state: &mut BackfillState,
    ) -> Result<(), StoreError> {
        let Kind::Schedule(schedule) = &trigger.kind else {
            state.over = true;
            return Ok(());
        };
        let mut active = Vec::new();
        for id in std::mem::take(&mut state.active) {
            let row = self.evaluator.ports.store.execution(&id).await?;
            if row.is_some_and(|row| row.ended_ms.is_none()) {
                active.push(id);
            }
        }
        state.active = active;
        let mut filled = trigger.clone();
        filled.inputs.extend(state.range.inputs.clone());
        let labels = state.range.labels.iter();
        filled
            .labels
            .extend(labels.map(|(key, value)| (key.clone(), json!(value))));
        filled.labels.insert("backfill".to_owned(), json!(state.id));
        let mut cap = usize::try_from(state.range.cap).unwrap_or(usize::MAX);
        if !filled.allow_concurrent {
            // One after the other, and counted here: in the trigger's own queue nobody could pause or end them.
            (filled.allow_concurrent, cap) = (true, 1);
        }
        for _ in 0..DATES_MAX {
            if state.active.len() >= cap {
                return Ok(());
            }
            let max = state.range.max_executions;
            if max.is_some_and(|max| state.started >= max) {
                state.over = state.active.is_empty();
                return Ok(());
            }
            let next = state
                .next_ms
                .checked_sub(1)
                .and_then(|before| schedule.next_after(before));
            let Some(date) = next.filter(|date| *date < state.range.until_ms) else {
                state.over = state.active.is_empty();
                return Ok(());
            };
            match self.fill_date(flow, &filled, schedule, state, date).await? {
                Some(id) => {
                    state.active.push(id);
                    state.started += 1;
                }
                None => state.skipped += 1,
            }
            state.next_ms = date + 1;
        }
        Ok(())
    }

    /// Starts one date, unless it has succeeded or goes on.
    async fn fill_date(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        schedule: &Schedule,
        state: &BackfillState,
        date: u64,
    ) -> Result<Option<ExecutionId>, StoreError> {
        let key = flow.key(trigger);
        let own = format!("{}:{}", identity_of(date), state.id);
        if let Some(id) = key.execution(&identity_of(date)) {
            let row = self.evaluator.ports.store.execution(&id).await?;
            let settled = |state: &str| matches!(state, "SUCCESS" | "WARNING");
            if row.is_some_and(|row| row.ended_ms.is_none() || settled(&row.state)) {
                return Ok(None);
            }
        }
        if self.succeeded_before(&key, date).await? {
            return Ok(None);
        }
        let mut event = event_of(schedule, date);
        event.identity = own;
        event.fields.insert("backfill".to_owned(), json!(state.id));
        let outcome = self.accept(flow, trigger, event).await?;
        if let Some(id) = outcome.execution() {
            self.remember_fill(&key, date, id).await?;
        }
        Ok(match outcome {
            Outcome::Started(id) => Some(id),
            Outcome::Known(record) => record.execution,
            Outcome::Waits | Outcome::Rejected(_) => None,
        })
    }

    /// Which execution made up for a date last, so that another backfill can tell.
    async fn remember_fill(
        &self,
        key: &TriggerKey,
        date: u64,
        id: &ExecutionId,
    ) -> Result<(), StoreError> {
        let at = RecordKey::new(
            RecordKind::Backfill,
            key.to_string(),
            format!("d/{date:015}"),
        );
        let known = self.get::<ExecutionId>(&at).await?;
        let version = known.map_or(0, |(version, _)| version);
        let expires = super::accept::expiry(self.now());
        let _ = self.put(at, version, id, None, expires).await?;
        Ok(())
    }

    async fn succeeded_before(&self, key: &TriggerKey, date: u64) -> Result<bool, StoreError> {
        let at = RecordKey::new(
            RecordKind::Backfill,
            key.to_string(),
            format!("d/{date:015}"),
        );
        let Some((_, id)) = self.get::<ExecutionId>(&at).await? else {
            return Ok(false);
        };
        let row = self.evaluator.ports.store.execution(&id).await?;
        Ok(row.is_some_and(|row| matches!(row.state.as_str(), "SUCCESS" | "WARNING")))
    }
}
