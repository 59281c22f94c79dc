//! What a trigger remembers: its cursor, its last and next time, what was late or missed, whether it is disabled.

use operon_core::triggers::{Config, Feed, Kind, name, schedule::Schedule};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::{content, read};
use super::{DeployedFlow, TriggerKey, Triggers};
use crate::ports::{RecordKey, RecordKind, StoreError};

/// Late and missed dates that are kept for people.
const SHOWN_MAX: usize = 20;
/// Characters of what is said to be wrong.
const MESSAGE_CHARS_MAX: usize = 500;

/// A person or `stopAfter` switched the trigger off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Disabled {
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A date that fired late or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Missed {
    /// The date, in milliseconds since the epoch.
    pub date_ms: u64,
    /// When it was dealt with.
    pub at_ms: u64,
    /// Why it did not fire; none when it fired late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What went wrong when a trigger looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// How many looks failed one after the other; pauses grow with it.
    pub times: u32,
    /// What.
    pub message: String,
}

/// Somebody was asked to look, and has not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// When for the first time, in milliseconds since the epoch. It names the question: what a look finds that has no
    /// name of its own is the same event, however often the question was asked.
    pub at_ms: u64,
    /// When somebody else may be asked: the message counts as lost, and whoever began with it is dead.
    pub again_ms: u64,
    /// How often without an answer.
    pub times: u32,
    /// When somebody began to look, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_ms: Option<u64>,
}

/// What was made outside so that events reach a trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fed {
    /// What. It may be half made.
    pub feed: Feed,
    /// Why it could not be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// State of a trigger.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TriggerState {
    /// Of this document.
    pub format: u32,
    /// Hash of the trigger as it was when `next_ms` was found.
    pub spec: String,
    /// Switched off.
    pub disabled: Option<Disabled>,
    /// Last date that was dealt with.
    pub cursor_ms: Option<u64>,
    /// Last date that fired, or last look that found something.
    pub last_ms: Option<u64>,
    /// When it looks again.
    pub next_ms: Option<u64>,
    /// When it last looked.
    pub looked_ms: Option<u64>,
    /// Who looks was asked, and has not answered.
    pub asked: Option<Asked>,
    /// What a poll remembers.
    pub poll: Value,
    /// Dates that fired late, the newest last.
    pub late: Vec<Missed>,
    /// Dates that did not fire, the newest last.
    pub missed: Vec<Missed>,
    /// How many did not.
    pub missed_count: u64,
    /// What is wrong now.
    pub trouble: Option<Trouble>,
    /// What brings its events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed: Option<Fed>,
}

impl TriggerState {
    /// When somebody must look at it: not while a question for it is on its way.
    fn due_ms(&self) -> Option<u64> {
        let again = self.asked.as_ref().map_or(0, |asked| asked.again_ms);
        self.next_ms.map(|next| next.max(again))
    }

    /// What people see until a look goes well. It says nothing of what is looked at, so no pause grows with it.
    pub(super) fn remember_trouble(&mut self, at_ms: u64, message: &str) {
        self.trouble = Some(Trouble {
            at_ms,
            times: self.trouble.as_ref().map_or(0, |trouble| trouble.times),
            message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
        });
    }

    /// Why no event reaches it; nothing when one does, as far as is known.
    pub(super) fn unfed(&self) -> Option<&str> {
        self.feed.as_ref()?.trouble.as_deref()
    }

    pub(super) fn remember_late(&mut self, date_ms: u64, at_ms: u64) {
        push(
            &mut self.late,
            Missed {
                date_ms,
                at_ms,
                reason: None,
            },
        );
    }

    pub(super) fn remember_missed(&mut self, date_ms: u64, at_ms: u64, reason: &str) {
        let reason = Some(reason.to_owned());
        push(
            &mut self.missed,
            Missed {
                date_ms,
                at_ms,
                reason,
            },
        );
    }
}

fn push(list: &mut Vec<Missed>, entry: Missed) {
    if list.iter().all(|known| known.date_ms != entry.date_ms) {
        list.push(entry);
    }
    let surplus = list.len().saturating_sub(SHOWN_MAX);
    list.drain(..surplus);
}

/// The hash that tells whether a trigger was changed.
fn spec_of(trigger: &Config) -> String {
    let text = match &trigger.kind {
        Kind::Schedule(schedule) => format!("{:?} {:?}", schedule.dates, schedule.zone),
        kind @ (Kind::Flow(_)
        | Kind::Webhook(_)
        | Kind::S3(_)
        | Kind::Sqs { .. }
        | Kind::Sns { .. }
        | Kind::EventBridge { .. }
        | Kind::Alarm { .. }
        | Kind::Postgres(_)
        | Kind::Http(_)) => format!("{kind:?}"),
    };
    name(&[&text], 16)
}

pub(super) fn schedule_of(trigger: &Config) -> Option<&Schedule> {
    if let Kind::Schedule(schedule) = &trigger.kind {
        Some(schedule)
    } else {
        None
    }
}

fn key_of(key: &TriggerKey) -> RecordKey {
    RecordKey::new(
        RecordKind::Trigger,
        format!("{}/{}", key.namespace, key.flow),
        key.trigger.clone(),
    )
}

/// The trigger of a state record.
pub(super) fn trigger_of(record: &RecordKey) -> Option<TriggerKey> {
    TriggerKey::of_partition(&format!("{}/{}", record.partition, record.sort))
}

impl Triggers {
    /// What the trigger remembers.
    pub async fn state(&self, key: &TriggerKey) -> Result<TriggerState, StoreError> {
        let found = self.get::<TriggerState>(&key_of(key)).await?;
        Ok(found.map(|(_, state)| state).unwrap_or_default())
    }

    /// Changes what it remembers; `change` may be called several times.
    pub(super) async fn change_state(
        &self,
        key: &TriggerKey,
        mut change: impl FnMut(&mut TriggerState),
    ) -> Result<TriggerState, StoreError> {
        let at = key_of(key);
        let mut found = self.get::<TriggerState>(&at).await?;
        loop {
            let (version, before) = found.unwrap_or_default();
            let mut state = before.clone();
            state.format = 1;
            change(&mut state);
            if version > 0 && state == before {
                return Ok(state);
            }
            let due = state.due_ms();
            match self
                .put(at.clone(), version, &content(&state)?, due, None)
                .await?
            {
                Ok(_) => return Ok(state),
                Err(there) => {
                    found = match there {
                        Some(record) => Some((record.version, read(&record)?)),
                        None => None,
                    };
                }
            }
        }
    }

    /// Makes that the trigger of a deployed flow is looked at when it must be. Call it for every trigger when a flow
    /// is deployed and when an engine starts; it changes nothing that is right already.
    pub async fn arm(&self, flow: &DeployedFlow, trigger: &Config) -> Result<(), StoreError> {
        let (schedule, interval) = (schedule_of(trigger), trigger.interval_ms());
        if schedule.is_none() && interval.is_none() {
            return Ok(());
        }
        let (key, now, spec) = (flow.key(trigger), self.now(), spec_of(trigger));
        let off = flow.disabled || trigger.disabled;
        self.change_state(&key, |state| {
            if state.spec != spec {
                // New or changed: what other dates would have been before does not count.
                state.spec.clone_from(&spec);
                state.cursor_ms = Some(state.cursor_ms.unwrap_or(now).max(now));
                (state.next_ms, state.asked) = (None, None);
            }
            if off || state.disabled.is_some() {
                (state.next_ms, state.asked) = (None, None);
            } else if state.next_ms.is_none() {
                state.next_ms = match schedule {
                    Some(schedule) => schedule.next_after(state.cursor_ms.unwrap_or(now)),
                    None => Some(now),
                };
            }
        })
        .await?;
        Ok(())
    }

    /// Switches a trigger off.
    pub async fn disable(
        &self,
        key: &TriggerKey,
        by: &str,
        reason: &str,
    ) -> Result<(), StoreError> {
        let now = self.now();
        self.change_state(key, |state| {
            if state.disabled.is_none() {
                state.disabled = Some(Disabled {
                    at_ms: now,
                    by: by.to_owned(),
                    reason: reason.to_owned(),
                });
            }
            (state.next_ms, state.asked) = (None, None);
        })
        .await?;
        Ok(())
    }

    /// Switches it on. Its cursor stays: what was missed is dealt with as after an outage.
    pub async fn enable(&self, flow: &DeployedFlow, trigger: &Config) -> Result<(), StoreError> {
        self.change_state(&flow.key(trigger), |state| state.disabled = None)
            .await?;
        self.arm(flow, trigger).await
    }
}
