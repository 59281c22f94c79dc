//! Alerts: who is told about executions that end, once, with the reason.
//!
//! An *incident* is a record per policy: opened by the first failure, told at once; further failures wait for
//! `groupWait` and come together; a success of what had failed closes it, and that is told too. What is to be sent is
//! state, not a call: a record that is due is sent by whoever looks first, and a crash in between sends it again.
//!
//! Invariant: an execution is counted once per policy, however often its end is observed.
//! Invariant: a message that nobody took is visible on its incident, with the reason, and is tried again.

use std::collections::BTreeMap;

use operon_core::lang::model::{Notify, SlaKind};
use operon_core::plan::Plan;
use serde_json::Value;
use tracing::warn;

use crate::Ports;
use crate::plans::LoadedPlan;
use crate::ports::{
    AttemptRow, ExecutionRow, LogReader, Record, RecordKey, RecordKind, RecordOutcome, RecordQuery,
    RecordWrite, StoreError,
};

mod deliver;
pub mod format;
pub mod incident;
mod policies;

pub use deliver::{Delivered, deliver};
pub use incident::{Failure, Incident, Phase};
pub use policies::{Policies, PolicyError, policies, remove_policies, set_policies};

/// Writes of one incident that may lose against others before the observation is given back.
const CONFLICTS_MAX: usize = 20;
/// Attempt rows looked at for the task that failed.
const ROWS_MAX: u32 = 1000;
/// Lines of the failing task's log in a message.
pub const LOG_LINES: usize = 20;
/// Milliseconds after which a quiet incident is forgotten: thirty days.
const FORGOTTEN_MS: u64 = 30 * 24 * 3600 * 1000;

/// What an alert may say beyond the execution itself.
pub struct Context<'a> {
    /// The world.
    pub ports: &'a Ports,
    /// Reads logs.
    pub logs: &'a dyn LogReader,
    /// Address of the console, without a slash at its end.
    pub console_url: Option<&'a str>,
}

/// A policy with where it was written.
#[derive(Debug, Clone, Copy)]
struct Policy<'a> {
    notify: &'a Notify,
    /// `flow/<flow>` or `namespace`.
    scope: &'a str,
    namespace: &'a str,
}

impl Policy<'_> {
    fn key(&self) -> RecordKey {
        let sort = format!("{}/{}", self.scope, self.notify.id);
        RecordKey::new(RecordKind::Incident, self.namespace, sort)
    }
}

fn tells_of_sla(notify: &Notify) -> bool {
    notify.states.iter().any(|state| state == "SLA")
}

/// The shortest duration after which an execution misses a service level while it still runs, in milliseconds; none when
/// it has none. Who is told then, the flow and its namespaces say.
#[must_use]
pub fn watched(plan: &Plan) -> Option<u64> {
    let limits = plan.sla.iter().filter_map(|sla| match &sla.kind {
        SlaKind::MaxDuration { duration_ms } => Some(*duration_ms),
        SlaKind::ExecutionAssertion { .. } => None,
    });
    limits.min()
}

impl Context<'_> {
    /// Notes the end of an execution: opens, feeds or closes incidents. May be repeated.
    pub async fn ended(&self, plan: &LoadedPlan, row: &ExecutionRow) -> Result<(), StoreError> {
        let scope = format!("flow/{}", row.meta.flow);
        for notify in &plan.plan.notify {
            let namespace = &row.meta.namespace;
            self.policy_ended(
                Policy {
                    notify,
                    scope: &scope,
                    namespace,
                },
                row,
            )
            .await?;
        }
        for (namespace, policies) in self.of_namespaces(&row.meta.namespace).await? {
            for notify in &policies {
                let (scope, namespace) = ("namespace", namespace.as_str());
                self.policy_ended(
                    Policy {
                        notify,
                        scope,
                        namespace,
                    },
                    row,
                )
                .await?;
            }
        }
        Ok(())
    }

    /// Notes that an execution runs, where a missed service level is to be told while it still does; when that will
    /// be.
    pub async fn started(
        &self,
        plan: &LoadedPlan,
        row: &ExecutionRow,
    ) -> Result<Option<u64>, StoreError> {
        let Some(started) = row.started_ms else {
            return Ok(None);
        };
        let Some(limit) = watched(&plan.plan) else {
            return Ok(None);
        };
        let due = started.saturating_add(limit);
        let own = plan.plan.notify.iter();
        let mut told: Vec<_> = own
            .map(|notify| ("sla", row.meta.namespace.clone(), notify.clone()))
            .collect();
        for (namespace, policies) in self.of_namespaces(&row.meta.namespace).await? {
            let of = policies.into_iter();
            told.extend(of.map(|notify| ("sla-namespace", namespace.clone(), notify)));
        }
        told.retain(|(_, _, notify)| tells_of_sla(notify));
        if told.is_empty() {
            return Ok(None);
        }
        for (scope, namespace, notify) in &told {
            let key = RecordKey::new(
                RecordKind::Incident,
                namespace.clone(),
                format!("{scope}/{}/{}/{}", row.meta.flow, notify.id, row.meta.id),
            );
            let failure = Failure {
                reason: Some(format!(
                    "runs longer than its service level of {} s",
                    limit / 1000
                )),
                state: "SLA".to_owned(),
                ..Failure::of(row, self.console_url)
            };
            let incident = Incident::watch(notify.clone(), failure, due);
            // Whoever was first has written the same.
            self.save(&key, 0, &incident, Some(due)).await?;
        }
        Ok(Some(due))
    }

    async fn policy_ended(&self, policy: Policy<'_>, row: &ExecutionRow) -> Result<(), StoreError> {
        let told = policy.notify.states.contains(&row.state);
        let good = matches!(row.state.as_str(), "SUCCESS" | "WARNING" | "SKIPPED");
        if !told && !good {
            return Ok(());
        }
        let key = policy.key();
        let now = self.ports.clock.now_ms();
        let mut failure = None;
        for _ in 0..CONFLICTS_MAX {
            let there = self.ports.records.record(&key, now).await?;
            let version = there.as_ref().map_or(0, |record| record.version);
            let before = there.as_ref().and_then(Incident::read);
            let next = if told {
                if before
                    .as_ref()
                    .is_some_and(|incident| incident.knows(&row.meta.id))
                {
                    return Ok(());
                }
                let failure = match &failure {
                    Some(failure) => Failure::clone(failure),
                    None => failure.insert(self.failure(row).await?).clone(),
                };
                Incident::add(before, policy.notify.clone(), failure, now)
            } else {
                match before.and_then(|incident| incident.recovered(row, now)) {
                    Some(next) => next,
                    None => return Ok(()),
                }
            };
            let due = next.due_ms();
            if self.save(&key, version, &next, due).await? {
                return Ok(());
            }
        }
        Err(StoreError::Busy(format!(
            "{} is written by others all the time",
            key.sort
        )))
    }

    async fn save(
        &self,
        key: &RecordKey,
        expected: u64,
        incident: &Incident,
        due_ms: Option<u64>,
    ) -> Result<bool, StoreError> {
        let write = RecordWrite {
            key: key.clone(),
            expected,
            value: incident.value(),
            due_ms,
            expires_ms: Some(self.ports.clock.now_ms().saturating_add(FORGOTTEN_MS)),
        };
        let outcome = self.ports.records.save_record(write).await?;
        Ok(matches!(outcome, RecordOutcome::Saved(_)))
    }

    /// What is told of a failed execution: the task that failed first, its reason and its last lines.
    async fn failure(&self, row: &ExecutionRow) -> Result<Failure, StoreError> {
        let mut failure = Failure::of(row, self.console_url);
        let rows = self
            .ports
            .store
            .attempts_page(&row.meta.id, None, ROWS_MAX)
            .await?;
        let failed = rows
            .iter()
            .filter(|row| matches!(row.state.as_str(), "FAILED" | "KILLED") && row.attempt > 0)
            .min_by_key(|row| row.ended_ms);
        if let Some(attempt) = failed {
            failure.task = Some(attempt.name.clone());
            failure.reason = attempt.reason.clone().or(failure.reason);
            failure.message.clone_from(&attempt.message);
            failure.lines = self.lines(attempt).await;
        }
        failure.bound();
        Ok(failure)
    }

    /// The last lines of an attempt's log; none when they cannot be read: the alert matters more.
    async fn lines(&self, row: &AttemptRow) -> Vec<String> {
        let attempt = row.id();
        match self.logs.tail(&attempt, None, LOG_LINES).await {
            Ok(found) => found.lines.into_iter().map(|line| line.text).collect(),
            Err(reason) => {
                warn!(%reason, attempt = %attempt, "an alert goes without its log");
                Vec::new()
            }
        }
    }

    /// Policies of the namespace and of those above it.
    async fn of_namespaces(
        &self,
        namespace: &str,
    ) -> Result<BTreeMap<String, Vec<Notify>>, StoreError> {
        let mut found = BTreeMap::new();
        let mut name = namespace;
        loop {
            if let Some(there) = policies(self.ports, name).await? {
                found.insert(name.to_owned(), there.notify);
            }
            match name.rsplit_once('.') {
                Some((above, _)) => name = above,
                None => return Ok(found),
            }
        }
    }
}

/// A page of incidents of a namespace after the one named, for people; and which one is named for the next page.
pub async fn incidents(
    ports: &Ports,
    namespace: &str,
    after: Option<String>,
    limit: u32,
) -> Result<(Vec<Incident>, Option<String>), StoreError> {
    let query = RecordQuery {
        after,
        limit,
        ..RecordQuery::default()
    };
    let records = ports
        .records
        .records(RecordKind::Incident, namespace, &query)
        .await?;
    let full = records.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let last = records.last().filter(|_| full);
    let next = last.map(|record| record.key.sort.clone());
    Ok((records.iter().filter_map(Incident::read).collect(), next))
}

/// A value of a record, if it is an incident.
fn read(value: &Value) -> Option<Incident> {
    serde_json::from_value(value.clone()).ok()
}

impl Incident {
    /// The incident a record holds; none when another release wrote what this one cannot read.
    #[must_use]
    pub fn read(record: &Record) -> Option<Self> {
        read(&record.value)
    }
}
