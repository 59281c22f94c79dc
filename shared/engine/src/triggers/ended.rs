//! The end of an execution: flow triggers that wait for it, triggers that stop after it or go on after it, and what
//! is learned from it.
//!
//! Whoever ends executions calls [`Triggers::ended`] after the end is stored, as often as it likes: every effect is
//! named by the execution's id.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use operon_core::triggers::config::{Dependency, FlowTrigger};
use operon_core::triggers::window::{Fact, Facts, Verdict};
use operon_core::triggers::{Config, Kind, Source, TriggerEvent, name};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::record::{EVENT_TTL_MS, NAME_CHARS, read};
use super::render::trigger_root;
use super::{DeployedFlow, Triggers};
use crate::decide::truthy;
use crate::evaluate::rfc3339;
use crate::ports::{ExecutionRow, Record, StoreError};

/// Chains of flow triggers that are followed; a circle ends here.
const CHAIN_MAX: u64 = 100;

/// What is known in one window of a flow trigger.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Window {
    format: u32,
    facts: Facts,
    /// `trigger.*` of what satisfied each dependency.
    events: BTreeMap<usize, Value>,
    /// What fired and whose execution may not exist yet.
    firing: Option<TriggerEvent>,
    from_ms: u64,
    until_ms: Option<u64>,
}

impl Triggers {
    /// An execution has ended. May be called again.
    pub async fn ended(&self, row: &ExecutionRow) -> Result<(), StoreError> {
        if row.ended_ms.is_none() {
            return Ok(());
        }
        self.own_trigger(row).await?;
        for flow in self.flows.deployed().await? {
            for trigger in &flow.triggers {
                let Kind::Flow(wanted) = &trigger.kind else {
                    continue;
                };
                for index in 0..wanted.depends_on.len() {
                    self.dependency(&flow, trigger, wanted, index, row).await?;
                }
            }
        }
        Ok(())
    }

    /// [`Self::ended`] of an execution that was over before it began: what follows may be such an execution, too.
    pub(super) fn ended_at_once<'a>(
        &'a self,
        row: &'a ExecutionRow,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.ended(row))
    }

    /// What the trigger that started it makes of its end.
    async fn own_trigger(&self, row: &ExecutionRow) -> Result<(), StoreError> {
        let Some(id) = row.meta.trigger.get("id").and_then(Value::as_str) else {
            return Ok(());
        };
        let Some(flow) = self
            .flows
            .deployed_flow(&row.meta.namespace, &row.meta.flow)
            .await?
        else {
            return Ok(());
        };
        let Some(trigger) = flow.trigger(id) else {
            return Ok(());
        };
        if trigger.stop_after.contains(&row.state) {
            let reason = format!(
                "execution {} ended {} (`stopAfter`)",
                row.meta.id, row.state
            );
            self.disable(&flow.key(trigger), "stopAfter", &reason)
                .await?;
        }
        self.learn(&flow, trigger, row).await?;
        let sized = trigger
            .batch
            .as_ref()
            .is_some_and(|batch| batch.dynamic.is_some());
        if !trigger.allow_concurrent || sized {
            self.close(&flow, trigger).await?;
        }
        Ok(())
    }

    /// Accepts an event of the flow trigger itself, and makes the batches that are full.
    async fn fire(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        event: TriggerEvent,
    ) -> Result<(), StoreError> {
        self.accept(flow, trigger, event).await?;
        if trigger.waits() {
            self.close(flow, trigger).await?;
        }
        Ok(())
    }

    async fn dependency(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        wanted: &FlowTrigger,
        index: usize,
        row: &ExecutionRow,
    ) -> Result<(), StoreError> {
        let Some(one) = wanted.depends_on.get(index) else {
            return Ok(());
        };
        let ended = row.ended_ms.unwrap_or_default();
        let own = (row.meta.namespace == flow.plan.namespace) && (row.meta.flow == flow.plan.flow);
        if own || !meant(one, &flow.plan.namespace, row) {
            return Ok(());
        }
        let fields = fields_of(row);
        if fields.get("depth").and_then(Value::as_u64).unwrap_or(0) > CHAIN_MAX {
            tracing::warn!(execution_id = %row.meta.id, "flow triggers go in a circle");
            return Ok(());
        }
        if let Some(when) = &one.when {
            let root = trigger_root(trigger, row.meta.id.as_str(), &fields);
            let holds = self
                .over_event(flow, &json!(when), &root, row.meta.id.as_str())
                .await;
            match holds {
                Ok(value) if truthy(&value) => {}
                Ok(_) => return Ok(()),
                Err(reason) => {
                    let event = event_of(row, fields);
                    let (key, identity) = (flow.key(trigger), event.identity.clone());
                    let reason = format!("`when` of `dependsOn`: {reason}");
                    self.reject(&key, &identity, event, reason, true).await?;
                    return Ok(());
                }
            }
        }
        let span = wanted.window.at(ended, &wanted.zone);
        let count = wanted.depends_on.len();
        if wanted.mode.needed(count) == 1 && wanted.on_miss.is_none() && !wanted.fire_once {
            // Nothing to remember: the event is the end itself.
            self.fire(flow, trigger, event_of(row, fields)).await?;
            return Ok(());
        }
        let Some(span) = span else {
            return Ok(()); // Outside every window.
        };
        let key = flow.key(trigger);
        let at = key.batch_key(&format!("w/{:015}", span.from));
        loop {
            let (version, mut window) = self.get::<Window>(&at).await?.unwrap_or_default();
            if let Some(event) = window.firing.clone() {
                self.fire(flow, trigger, event).await?;
            }
            (window.format, window.firing) = (1, None);
            (window.from_ms, window.until_ms) = (span.from, span.until);
            let fact = Fact {
                execution: row.meta.id.to_string(),
                at_ms: ended,
            };
            let verdict = window.facts.add(
                index,
                fact,
                (wanted.mode, count),
                wanted.window.lookback(),
                wanted.fire_once,
            );
            match &verdict {
                Verdict::Known => return Ok(()),
                Verdict::Waits => {
                    window.events.insert(index, Value::Object(fields.clone()));
                }
                Verdict::Fires(facts) => {
                    window.events.insert(index, Value::Object(fields.clone()));
                    window.firing = Some(fired(facts, &window.events, span.from));
                    window.events.clear();
                }
            }
            let due = span.until.filter(|_| window.facts.fired == 0);
            let due = if window.firing.is_some() {
                Some(self.now())
            } else {
                due
            };
            let expires = Some(span.until.unwrap_or(ended).max(ended) + EVENT_TTL_MS);
            if let Ok(version) = self.put(at.clone(), version, &window, due, expires).await? {
                let Some(event) = window.firing.take() else {
                    return Ok(());
                };
                self.fire(flow, trigger, event).await?;
                // Not needed any more; a conflict means that somebody else took it.
                let _ = self
                    .put(at.clone(), version, &window, None, expires)
                    .await?;
                return Ok(());
            }
        }
    }

    /// A window has passed: what fired in it is made sure of, and what did not is told as the trigger says.
    pub(super) async fn window_passed(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        record: &Record,
    ) -> Result<(), StoreError> {
        let mut window: Window = read(record)?;
        if let Some(event) = window.firing.take() {
            self.fire(flow, trigger, event).await?;
        }
        let Kind::Flow(wanted) = &trigger.kind else {
            return Ok(());
        };
        let over = window.until_ms.is_some_and(|until| until <= self.now());
        if over && window.facts.fired == 0 && !window.facts.missed {
            if let Some(labels) = &wanted.on_miss {
                let satisfied = window.facts.satisfied.len();
                let reason = format!(
                    "the window that began {} passed with {satisfied} of {} dependencies",
                    rfc3339(window.from_ms),
                    wanted.mode.needed(wanted.depends_on.len()),
                );
                let identity = format!("miss:{}", window.from_ms);
                let fields = json!({"missed": true, "windowStart": rfc3339(window.from_ms), "labels": labels});
                let fields = if let Value::Object(fields) = fields {
                    fields
                } else {
                    Map::new()
                };
                let root = trigger_root(trigger, &identity, &fields);
                let mut labelled = flow.clone();
                labelled.plan.labels.extend(labels.clone());
                let row = self
                    .failed_execution(&labelled, trigger, &identity, root, &reason)
                    .await?;
                self.set_going(&row).await?;
            }
            window.facts.missed = true;
        }
        // The next one has begun: should nothing at all happen in it, it is missed as well.
        self.open_windows(flow, trigger).await?;
        let due = window
            .until_ms
            .filter(|until| *until > self.now() && window.facts.fired == 0);
        let _ = self
            .put(
                record.key.clone(),
                record.version,
                &window,
                due,
                record.expires_ms,
            )
            .await?;
        Ok(())
    }

    /// Makes that every window of the present is there, so that one in which nothing at all happens is missed too.
    pub(super) async fn open_windows(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
    ) -> Result<(), StoreError> {
        let Kind::Flow(wanted) = &trigger.kind else {
            return Ok(());
        };
        let now = self.now();
        let Some(span) = wanted
            .window
            .at(now, &wanted.zone)
            .filter(|_| wanted.on_miss.is_some())
        else {
            return Ok(());
        };
        let at = flow.key(trigger).batch_key(&format!("w/{:015}", span.from));
        if span.until.is_none() || self.get::<Window>(&at).await?.is_some() {
            return Ok(());
        }
        let window = Window {
            format: 1,
            from_ms: span.from,
            until_ms: span.until,
            ..Window::default()
        };
        let expires = span.until.map(|until| until + EVENT_TTL_MS);
        let _ = self.put(at, 0, &window, span.until, expires).await?;
        Ok(())
    }
}

/// The event that the end of an execution is by itself.
fn event_of(row: &ExecutionRow, fields: Map<String, Value>) -> TriggerEvent {
    TriggerEvent {
        source: Source::Bus { event: Value::Null },
        identity: format!("execution:{}", row.meta.id),
        time_ms: row.ended_ms,
        fields,
    }
}

/// Whether a dependency is about this execution.
fn meant(one: &Dependency, namespace: &str, row: &ExecutionRow) -> bool {
    row.meta.namespace == one.namespace.as_deref().unwrap_or(namespace)
        && one.flow.as_ref().is_none_or(|flow| *flow == row.meta.flow)
        && one.states.contains(&row.state)
        && one
            .labels
            .iter()
            .all(|(key, value)| row.labels.get(key) == Some(value))
}

/// `trigger.*` of an execution that ended.
fn fields_of(row: &ExecutionRow) -> Map<String, Value> {
    let depth = row
        .meta
        .trigger
        .get("depth")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    let fields = json!({
        "executionId": row.meta.id, "namespace": row.meta.namespace, "flowId": row.meta.flow,
        "flowRevision": row.meta.revision, "state": row.state, "labels": row.labels, "outputs": row.outputs,
        "endDate": row.ended_ms.map(rfc3339), "depth": depth + 1,
    });
    if let Value::Object(fields) = fields {
        fields
    } else {
        Map::new()
    }
}

/// The event of dependencies that were satisfied together: the last one's fields, and all as `trigger.executions`.
fn fired(facts: &[(usize, Fact)], events: &BTreeMap<usize, Value>, from: u64) -> TriggerEvent {
    let ids: Vec<&str> = facts
        .iter()
        .map(|(_, fact)| fact.execution.as_str())
        .collect();
    let latest = facts
        .iter()
        .max_by_key(|(index, fact)| (fact.at_ms, *index));
    let of = |index: &usize| events.get(index).cloned().unwrap_or(Value::Null);
    let mut fields = match latest.map(|(index, _)| of(index)) {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let all: Vec<Value> = facts.iter().map(|(index, _)| of(index)).collect();
    let depth = all
        .iter()
        .filter_map(|event| event.get("depth")?.as_u64())
        .max();
    fields.insert("depth".to_owned(), json!(depth));
    fields.insert("executions".to_owned(), Value::Array(all));
    TriggerEvent {
        source: Source::Bus { event: Value::Null },
        identity: format!("window:{from}:{}", name(&ids, NAME_CHARS)),
        time_ms: latest.map(|(_, fact)| fact.at_ms),
        fields,
    }
}
