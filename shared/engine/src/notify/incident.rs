//! An incident: what happened, what was told, what is still to be told. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use operon_core::lang::model::Notify;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ports::{ExecutionId, ExecutionRow};

/// Failures described in one message; of the others only the number is told.
pub const DESCRIBED_MAX: usize = 10;
/// Executions remembered, so that none is counted twice.
const REMEMBERED_MAX: usize = 1000;
/// Characters of one log line in a message.
const LINE_CHARS_MAX: usize = 300;
/// Characters of a failure's message.
const MESSAGE_CHARS_MAX: usize = 1000;
/// Tries to send before an incident is given up until its next failure.
pub const TRIES_MAX: u32 = 10;
/// Wait before the first repetition, in milliseconds; doubled each time.
const RETRY_MS: u64 = 30_000;
/// Longest wait between two tries, in milliseconds.
const RETRY_MAX_MS: u64 = 900_000;
/// How long a sender has, in milliseconds; then another one may send.
pub const LEASE_MS: u64 = 120_000;

/// An execution that ended badly, as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Which execution.
    pub execution: ExecutionId,
    /// Of the flow.
    pub namespace: String,
    /// Of the execution.
    pub flow: String,
    /// Its revision.
    pub revision: u32,
    /// Kestra's name, or `SLA`.
    pub state: String,
    /// All of them; `organism` is shown first.
    pub labels: BTreeMap<String, String>,
    /// The task run that failed first.
    pub task: Option<String>,
    /// Typed reason.
    pub reason: Option<String>,
    /// Sentence for people.
    pub message: Option<String>,
    /// Last lines of its log, oldest first.
    pub lines: Vec<String>,
    /// Page of the execution.
    pub link: Option<String>,
    /// What happens next by itself.
    pub next: String,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
}

impl Failure {
    /// What an execution's row says.
    #[must_use]
    pub fn of(row: &ExecutionRow, console_url: Option<&str>) -> Self {
        let next = match (row.state.as_str(), &row.reason) {
            ("RETRIED", Some(reason)) => reason.clone(),
            ("SLA", _) => "it goes on".to_owned(),
            _ => "nothing; restart or replay it when the cause is repaired".to_owned(),
        };
        Self {
            execution: row.meta.id.clone(),
            namespace: row.meta.namespace.clone(),
            flow: row.meta.flow.clone(),
            revision: row.meta.revision,
            state: row.state.clone(),
            labels: row.labels.clone(),
            task: None,
            reason: row.reason.clone(),
            message: None,
            lines: Vec::new(),
            link: console_url.map(|url| format!("{url}/executions/{}", row.meta.id)),
            next,
            at_ms: row
                .ended_ms
                .or(row.started_ms)
                .unwrap_or(row.meta.created_ms),
        }
    }

    /// Cuts what is too long for a message.
    pub fn bound(&mut self) {
        for line in &mut self.lines {
            cut(line, LINE_CHARS_MAX);
        }
        for text in [&mut self.message, &mut self.reason].into_iter().flatten() {
            cut(text, MESSAGE_CHARS_MAX);
        }
    }

    fn flow_key(&self) -> String {
        format!("{}/{}", self.namespace, self.flow)
    }
}

fn cut(text: &mut String, chars: usize) {
    if let Some((end, _)) = text.char_indices().nth(chars) {
        text.truncate(end);
        text.push('…');
    }
}

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    /// A service level that is watched.
    Watch,
    /// Something failed and has not succeeded since.
    Open,
    /// All that failed has succeeded since.
    Closed,
}

/// What became of the messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Messages that were taken.
    pub sent: u32,
    /// Tries since the last one that were not.
    pub failed: u32,
    /// Why the last try was not taken.
    pub error: Option<String>,
    /// When the last message was taken, milliseconds since the epoch.
    pub sent_ms: Option<u64>,
    /// Given up until something new happens.
    pub given_up: bool,
}

/// Failures of what one policy watches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    /// Of this record; 1.
    pub format: u8,
    /// Where it stands.
    pub phase: Phase,
    /// The policy, as it was at the last failure.
    pub policy: Notify,
    /// First failure, milliseconds since the epoch.
    pub opened_ms: u64,
    /// Failures since it was opened.
    pub count: u32,
    /// Failures that have not been told.
    pub untold: u32,
    /// The newest of those, oldest first, [`DESCRIBED_MAX`] at most.
    pub failures: Vec<Failure>,
    /// Flows that failed and have not succeeded since.
    pub failing: BTreeSet<String>,
    /// The last of them that did succeed.
    pub last_flow: Option<String>,
    /// The end is to be told.
    pub recovery: bool,
    /// What became of the messages.
    pub delivery: Delivery,
    /// When the next message may be sent, milliseconds since the epoch.
    pub next_ms: Option<u64>,
    remembered: VecDeque<ExecutionId>,
}

impl Incident {
    /// Feeds a failure into what is there.
    #[must_use]
    pub fn add(before: Option<Self>, policy: Notify, failure: Failure, now_ms: u64) -> Self {
        let mut incident = match before {
            Some(mut open) if open.phase == Phase::Open || open.untold > 0 => {
                open.policy = policy;
                open
            }
            closed => Self {
                // Late reports of what was told before are still known.
                remembered: closed.map(|closed| closed.remembered).unwrap_or_default(),
                ..Self::empty(policy, now_ms)
            },
        };
        let wait = match incident.delivery.sent_ms {
            // An earlier message of this incident: further failures come together.
            Some(sent) => sent.saturating_add(incident.policy.group_wait_ms),
            None => now_ms,
        };
        incident.phase = Phase::Open;
        incident.recovery = false;
        incident.count += 1;
        incident.untold += 1;
        incident.failing.insert(failure.flow_key());
        incident.remembered.push_back(failure.execution.clone());
        if incident.remembered.len() > REMEMBERED_MAX {
            incident.remembered.pop_front();
        }
        incident.failures.push(failure);
        if incident.failures.len() > DESCRIBED_MAX {
            incident.failures.remove(0);
        }
        incident.delivery.given_up = false;
        // A sender that is at work comes back to it.
        incident.next_ms = Some(incident.next_ms.map_or(wait, |next| next.max(wait)));
        incident
    }

    fn empty(policy: Notify, now_ms: u64) -> Self {
        Self {
            format: 1,
            phase: Phase::Open,
            policy,
            opened_ms: now_ms,
            count: 0,
            untold: 0,
            failures: Vec::new(),
            failing: BTreeSet::new(),
            last_flow: None,
            recovery: false,
            delivery: Delivery::default(),
            next_ms: None,
            remembered: VecDeque::new(),
        }
    }

    /// A service level that is missed when `due_ms` comes and the execution still runs.
    #[must_use]
    pub fn watch(policy: Notify, failure: Failure, due_ms: u64) -> Self {
        Self {
            phase: Phase::Watch,
            untold: 1,
            count: 1,
            failures: vec![failure],
            next_ms: Some(due_ms),
            ..Self::empty(policy, due_ms)
        }
    }

    /// The execution that was counted last.
    #[must_use]
    pub fn newest(&self) -> Option<&ExecutionId> {
        self.remembered
            .back()
            .or(self.failures.last().map(|failure| &failure.execution))
    }

    /// The flow that was told about last.
    #[must_use]
    pub fn newest_flow(&self) -> String {
        let failed = self.failures.last().map(|failure| failure.flow.clone());
        let recovered = self
            .last_flow
            .as_deref()
            .and_then(|name| name.rsplit('/').next());
        failed
            .or_else(|| recovered.map(str::to_owned))
            .unwrap_or_default()
    }

    /// Whether this execution was counted.
    #[must_use]
    pub fn knows(&self, id: &ExecutionId) -> bool {
        self.remembered.contains(id)
    }

    /// Takes in a success; none when nothing changes.
    #[must_use]
    pub fn recovered(mut self, row: &ExecutionRow, now_ms: u64) -> Option<Self> {
        let flow = format!("{}/{}", row.meta.namespace, row.meta.flow);
        // What began before the failure says nothing about the time after it.
        if self.phase != Phase::Open || !self.failing.remove(&flow) {
            return None;
        }
        self.last_flow = Some(flow);
        if self.failing.is_empty() {
            self.phase = Phase::Closed;
            self.recovery = self.policy.recovery && self.delivery.sent > 0;
            if self.recovery {
                self.next_ms = Some(now_ms);
            }
        }
        Some(self)
    }

    /// When somebody must look at it.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        let open = (self.untold > 0 || self.recovery) && !self.delivery.given_up;
        self.next_ms.filter(|_| open)
    }

    /// Reserves it for a sender.
    pub fn lease(&mut self, now_ms: u64) {
        self.next_ms = Some(now_ms.saturating_add(LEASE_MS));
    }

    /// Takes in what became of a message that told `told` failures, and whether it told the end.
    pub fn sent(&mut self, told: u32, recovery: bool, result: Result<(), String>, now_ms: u64) {
        match result {
            Ok(()) => {
                self.untold = self.untold.saturating_sub(told);
                let keep = usize::try_from(self.untold).unwrap_or(usize::MAX);
                let gone = self.failures.len().saturating_sub(keep);
                self.failures.drain(..gone);
                self.recovery &= !recovery;
                let sent = self.delivery.sent.saturating_add(1);
                self.delivery = Delivery {
                    sent,
                    sent_ms: Some(now_ms),
                    ..Delivery::default()
                };
                self.next_ms = Some(now_ms.saturating_add(self.policy.group_wait_ms));
            }
            Err(error) => {
                let failed = self.delivery.failed.saturating_add(1);
                self.delivery.failed = failed;
                self.delivery.error = Some(error);
                self.delivery.given_up = failed >= TRIES_MAX;
                let wait = RETRY_MS
                    .saturating_mul(1 << failed.saturating_sub(1).min(10))
                    .min(RETRY_MAX_MS);
                self.next_ms = Some(now_ms.saturating_add(wait));
            }
        }
    }

    /// As it is stored.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
