//! The engine's triggers behind this interface: webhooks, what is shown and steered.

use async_trait::async_trait;
use operon_core::triggers::{Config, Kind};
use operon_engine::ports::ExecutionId;
use operon_engine::triggers::{
    BackfillError, BackfillRange, BackfillState, DeployedFlow, EventRecord, EventState,
    ItemOutcome, Missed, Outcome, TriggerKey, TriggerView, Triggers, route::DeliverError, webhook,
};
use serde_json::{Value, json};

use crate::hooks::{
    BackfillRequest, BackfillSteer, BackfillView, DeliveredEvent, ItemView, MissedDate,
    TriggerAdmin, TriggerEventView, TriggerSummary, WebhookAnswer, WebhookRequest, Webhooks,
};
use crate::problem::Problem;

/// Executions at once of a backfill that is asked for here.
const BACKFILL_CAP: u32 = 4;
/// Pages of events that one question looks through.
const EVENT_PAGES_MAX: usize = 20;

/// The engine's triggers.
#[derive(Debug, Clone)]
pub struct EngineTriggers(pub Triggers);

#[async_trait]
impl Webhooks for EngineTriggers {
    async fn receive(&self, request: WebhookRequest) -> Result<WebhookAnswer, Problem> {
        let headers = request
            .headers
            .iter()
            // A header that is no text can neither be a signature nor be seen by a template.
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
            .collect();
        let call = webhook::Request {
            namespace: request.namespace,
            flow: request.flow,
            trigger: request.trigger,
            method: request.method.to_string(),
            headers,
            parameters: request.query,
            body: request.body.to_vec(),
        };
        let answer = webhook::accept(&self.0, call).await?;
        Ok(WebhookAnswer {
            status: answer.status,
            content_type: answer.content_type,
            body: answer.body,
        })
    }
}

fn missed_date(missed: &Missed) -> MissedDate {
    MissedDate {
        date_ms: missed.date_ms,
        at_ms: missed.at_ms,
        reason: missed.reason.clone(),
    }
}

fn summary(view: &TriggerView, trigger: Option<&Config>) -> TriggerSummary {
    let key = &view.key;
    let webhook = trigger.is_some_and(|trigger| matches!(trigger.kind, Kind::Webhook(_)));
    let missed = view.missed.last().map(|missed| {
        let reason = missed.reason.as_deref().unwrap_or("late");
        format!(
            "{} dates did not fire, the last: {reason}",
            view.missed_count
        )
    });
    let off = view
        .disabled
        .as_ref()
        .map(|off| format!("off by {}: {}", off.by, off.reason));
    let backfill = view
        .backfill
        .as_ref()
        .filter(|backfill| !backfill.over)
        .map(|backfill| {
            let what = if backfill.paused {
                "paused"
            } else {
                "going on"
            };
            format!(
                "backfill {what}: {} started, {} skipped",
                backfill.started, backfill.skipped
            )
        });
    let detail: Vec<String> = [off, backfill, missed].into_iter().flatten().collect();
    TriggerSummary {
        namespace: key.namespace.clone(),
        flow: key.flow.clone(),
        id: key.trigger.clone(),
        kind: view.trigger_type.to_owned(),
        disabled: !view.enabled,
        last_ms: view.last_ms,
        next_ms: view.next_ms,
        late: view.late,
        detail: (!detail.is_empty()).then(|| detail.join("; ")),
        url: webhook.then(|| {
            format!(
                "/api/v1/webhooks/{}/{}/{}",
                key.namespace, key.flow, key.trigger
            )
        }),
        last_error: view.trouble.as_ref().map(|trouble| trouble.message.clone()),
        late_dates: view.late_dates.iter().map(missed_date).collect(),
        missed_dates: view.missed.iter().map(missed_date).collect(),
        missed_count: view.missed_count,
        backfill: view.backfill.as_ref().map(backfill_view),
    }
}

fn backfill_view(backfill: &BackfillState) -> BackfillView {
    BackfillView {
        from_ms: backfill.range.from_ms,
        to_ms: backfill.range.until_ms,
        next_ms: backfill.next_ms,
        paused: backfill.paused,
        over: backfill.over,
        started: backfill.started,
        skipped: backfill.skipped,
        active: backfill.active.len(),
    }
}

fn event_view(event: EventRecord) -> TriggerEventView {
    TriggerEventView {
        identity: event.identity,
        at_ms: event.at_ms,
        state: state_name(event.state).to_owned(),
        execution: event.execution.map(|id| id.to_string()),
        item: event.item,
        reason: event.reason,
    }
}

fn place(summary: &TriggerSummary) -> String {
    format!("{}/{}/{}", summary.namespace, summary.flow, summary.id)
}

impl EngineTriggers {
    async fn all(&self, namespace: Option<&str>) -> Result<Vec<TriggerSummary>, Problem> {
        let mut all = Vec::new();
        for view in self.0.list(namespace).await? {
            let flow = self
                .0
                .flows
                .deployed_flow(&view.key.namespace, &view.key.flow)
                .await?;
            let trigger = flow
                .as_ref()
                .and_then(|flow| flow.trigger(&view.key.trigger));
            all.push(summary(&view, trigger));
        }
        all.sort_by_key(place);
        Ok(all)
    }

    async fn find(
        &self,
        key: &TriggerKey,
    ) -> Result<(std::sync::Arc<DeployedFlow>, TriggerSummary), Problem> {
        let missing = || Problem::not_found(format!("there is no trigger `{key}`"));
        let flow = self
            .0
            .flows
            .deployed_flow(&key.namespace, &key.flow)
            .await?;
        let flow = flow.ok_or_else(missing)?;
        let views = self.0.list(Some(&key.namespace)).await?;
        let view = views
            .iter()
            .find(|view| view.key == *key)
            .ok_or_else(missing)?;
        let summary = summary(view, flow.trigger(&key.trigger));
        Ok((flow, summary))
    }
}

fn key_of(namespace: &str, flow: &str, id: &str) -> TriggerKey {
    TriggerKey {
        namespace: namespace.to_owned(),
        flow: flow.to_owned(),
        trigger: id.to_owned(),
    }
}

fn backfill_problem(error: BackfillError) -> Problem {
    match error {
        BackfillError::Store(error) => error.into(),
        BackfillError::Missing(_) | BackfillError::None => Problem::not_found(error.to_string()),
        BackfillError::NoSchedule(_) | BackfillError::Range => {
            Problem::bad_request(error.to_string())
        }
        BackfillError::GoingOn => Problem::conflict(error.to_string()),
    }
}

fn state_name(state: EventState) -> &'static str {
    match state {
        EventState::Pending => "pending",
        EventState::Started => "started",
        EventState::Item => "item",
        EventState::Rejected => "rejected",
    }
}

fn delivered((key, outcome): (TriggerKey, Outcome)) -> DeliveredEvent {
    let (state, execution, reason) = match outcome {
        Outcome::Started(id) => (EventState::Started, Some(id), None),
        Outcome::Waits => (EventState::Pending, None, None),
        Outcome::Rejected(reason) => (EventState::Rejected, None, Some(reason)),
        Outcome::Known(record) => (record.state, record.execution, record.reason),
    };
    DeliveredEvent {
        namespace: key.namespace,
        flow: key.flow,
        trigger: key.trigger,
        state: state_name(state).to_owned(),
        execution: execution.map(|id| id.to_string()),
        reason,
    }
}

#[async_trait]
impl TriggerAdmin for EngineTriggers {
    async fn deliver(&self, event: &Value) -> Result<Vec<DeliveredEvent>, Problem> {
        match self.0.deliver(event).await {
            Ok(outcomes) => Ok(outcomes.into_iter().map(delivered).collect()),
            Err(DeliverError::Store(error)) => Err(error.into()),
            Err(error @ DeliverError::Unreadable(_)) => {
                Err(Problem::unprocessable(error.to_string()))
            }
        }
    }

    async fn list(
        &self,
        namespace: Option<&str>,
        flow: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<TriggerSummary>, Option<String>), Problem> {
        let mut rows = self.all(namespace).await?;
        rows.retain(|row| {
            flow.is_none_or(|flow| flow == row.flow)
                && after.is_none_or(|after| place(row).as_str() > after)
        });
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(place);
        Ok((rows, next))
    }

    async fn set_disabled(
        &self,
        namespace: &str,
        flow: &str,
        id: &str,
        disabled: bool,
    ) -> Result<TriggerSummary, Problem> {
        let key = key_of(namespace, flow, id);
        let (deployed, before) = self.find(&key).await?;
        if disabled {
            self.0
                .disable(&key, "a person", "switched off by hand")
                .await?;
        } else if let Some(trigger) = deployed.trigger(id) {
            self.0.enable(&deployed, trigger).await?;
        }
        self.0.follow(namespace, flow).await?;
        Ok(before)
    }

    async fn follow(&self, namespace: &str, flow: &str) -> Result<(), Problem> {
        Ok(self.0.follow(namespace, flow).await?)
    }

    async fn never_fire(&self, namespace: &str, flow: &str) -> Result<Vec<String>, Problem> {
        let found = self.0.never_fire(Some((namespace, flow))).await?;
        let sentence =
            |(key, reason): (TriggerKey, String)| format!("trigger `{}`: {reason}", key.trigger);
        Ok(found.into_iter().map(sentence).collect())
    }

    async fn backfill(
        &self,
        namespace: &str,
        flow: &str,
        id: &str,
        request: BackfillRequest,
    ) -> Result<Value, Problem> {
        let range = BackfillRange {
            from_ms: request.from_ms,
            until_ms: request.to_ms,
            cap: request.parallel.unwrap_or(BACKFILL_CAP),
            max_executions: request.max_executions,
            inputs: request.inputs.into_iter().collect(),
            labels: request.labels,
        };
        let key = key_of(namespace, flow, id);
        let state = self
            .0
            .start_backfill(&key, range)
            .await
            .map_err(backfill_problem)?;
        Ok(json!(state))
    }

    async fn backfill_state(
        &self,
        namespace: &str,
        flow: &str,
        id: &str,
    ) -> Result<Value, Problem> {
        let state = self.0.backfill(&key_of(namespace, flow, id)).await?;
        let state = state.ok_or_else(|| backfill_problem(BackfillError::None))?;
        Ok(json!(state))
    }

    async fn steer_backfill(
        &self,
        namespace: &str,
        flow: &str,
        id: &str,
        steer: BackfillSteer,
    ) -> Result<Value, Problem> {
        let key = key_of(namespace, flow, id);
        let state = match steer {
            BackfillSteer::Pause => self.0.pause_backfill(&key, true).await,
            BackfillSteer::Resume => self.0.pause_backfill(&key, false).await,
            BackfillSteer::End => self.0.end_backfill(&key).await,
        };
        Ok(json!(state.map_err(backfill_problem)?))
    }

    async fn events(
        &self,
        namespace: &str,
        flow: &str,
        id: &str,
        state: Option<&str>,
        after: Option<String>,
        limit: u32,
    ) -> Result<(Vec<TriggerEventView>, Option<String>), Problem> {
        let key = key_of(namespace, flow, id);
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let (mut found, mut place) = (Vec::new(), after);
        'pages: for _ in 0..EVENT_PAGES_MAX {
            let page = self.0.events_of(&key, place.clone(), limit).await?;
            if page.is_empty() {
                place = None;
                break;
            }
            for event in page {
                if found.len() >= wanted {
                    break 'pages;
                }
                place = Some(key.event_name(&event.identity));
                let view = event_view(event);
                if state.is_none_or(|state| state == view.state) {
                    found.push(view);
                }
            }
        }
        found.sort_by_key(|event| std::cmp::Reverse(event.at_ms));
        Ok((found, place))
    }

    async fn items(&self, execution: &ExecutionId) -> Result<Vec<ItemView>, Problem> {
        let outcomes = self.0.item_outcomes(execution).await?;
        let view = |one: ItemOutcome| ItemView {
            item: one.item,
            identity: one.identity,
            state: one.state,
            reason: one.reason,
        };
        Ok(outcomes.into_iter().map(view).collect())
    }

    async fn next(
        &self,
        namespace: Option<&str>,
        limit: u32,
    ) -> Result<Vec<TriggerSummary>, Problem> {
        let mut rows = self.all(namespace).await?;
        rows.retain(|row| row.kind == "schedule" && row.next_ms.is_some() && !row.disabled);
        rows.sort_by_key(|row| row.next_ms);
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(rows)
    }
}
