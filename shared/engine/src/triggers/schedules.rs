//! Dates: what is due is fired or skipped, and the cursor moves past it.
//!
//! A crash before the cursor is written repeats dates, and a date that fired once starts nothing again.

use operon_core::triggers::schedule::{ON_TIME_MS, Schedule};
use operon_core::triggers::{Config, Source, TriggerEvent};
use serde_json::{Map, Value, json};

use super::{DeployedFlow, Triggers};
use crate::ports::StoreError;

/// The event of a date.
pub(super) fn event_of(schedule: &Schedule, date_ms: u64) -> TriggerEvent {
    let local = |at: Option<u64>| at.map_or(Value::Null, |at| json!(schedule.local(at)));
    let before = date_ms
        .checked_sub(1)
        .and_then(|at| schedule.last_until(at));
    let mut fields = Map::new();
    fields.insert("date".to_owned(), local(Some(date_ms)));
    fields.insert("next".to_owned(), local(schedule.next_after(date_ms)));
    fields.insert("previous".to_owned(), local(before));
    TriggerEvent {
        source: Source::Bus { event: Value::Null },
        identity: identity_of(date_ms),
        time_ms: Some(date_ms),
        fields,
    }
}

pub(super) fn identity_of(date_ms: u64) -> String {
    format!("date:{date_ms}")
}

impl Triggers {
    /// Deals with the dates that are due.
    pub(super) async fn dates(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        schedule: &Schedule,
    ) -> Result<(), StoreError> {
        let key = flow.key(trigger);
        if self.switched_off(flow, trigger, &key).await?.is_some() {
            // The cursor stays: what comes meanwhile is dealt with when it is switched on again.
            self.change_state(&key, |state| state.next_ms = None)
                .await?;
            return Ok(());
        }
        let now = self.now();
        let state = self.state(&key).await?;
        let due = schedule.due(state.cursor_ms.unwrap_or(now), now);
        for date in &due.fire {
            self.accept(flow, trigger, event_of(schedule, *date))
                .await?;
        }
        self.change_state(&key, |state| {
            if state.cursor_ms.is_some_and(|cursor| cursor > due.cursor) {
                return; // Somebody else was faster.
            }
            if state.cursor_ms != Some(due.cursor) {
                state.missed_count += due.skipped_count;
            }
            for date in &due.fire {
                if now.saturating_sub(*date) > ON_TIME_MS {
                    state.remember_late(*date, now);
                }
            }
            for (date, skip) in &due.skipped {
                state.remember_missed(*date, now, skip.reason());
            }
            state.cursor_ms = Some(due.cursor);
            state.last_ms = due.fire.last().copied().or(state.last_ms);
            state.looked_ms = Some(now);
            state.next_ms = due.next;
        })
        .await?;
        Ok(())
    }
}
