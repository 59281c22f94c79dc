//! Sending what is due.

use operon_core::lang::model::Channel;
use serde_json::{Map, Value, json};
use tracing::{error, info};

use super::format;
use super::incident::{Incident, Phase};
use crate::Ports;
use crate::evaluate::Site;
use crate::evaluate::{Evaluator, Overlay};
use crate::metrics::Alert;
use crate::plans::Plans;
use crate::ports::{
    Email, ExecutionRow, Record, RecordKind, RecordOutcome, RecordWrite, StoreError,
};
use crate::tasks::HttpClients;
use crate::templates::Tree;

/// Incidents looked at in one call.
const PAGE: u32 = 50;

/// What one call did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Messages that were taken.
    pub sent: u32,
    /// Messages that were not.
    pub failed: u32,
    /// Each of them, to be counted.
    pub alerts: Vec<Alert>,
}

/// Sends every message that is due. Several callers may do so at once.
pub async fn deliver(
    evaluator: &Evaluator,
    plans: &Plans,
    http: &HttpClients,
) -> Result<Delivered, StoreError> {
    let ports = &evaluator.ports;
    let now = ports.clock.now_ms();
    let mut done = Delivered::default();
    for record in ports
        .records
        .due_records(RecordKind::Incident, now, PAGE)
        .await?
    {
        let Some(mut incident) = Incident::read(&record) else {
            continue; // A newer release's; it sends it.
        };
        if incident.phase == Phase::Watch && !still_runs(ports, &incident).await? {
            ports
                .records
                .delete_record(&record.key, record.version)
                .await?;
            continue;
        }
        let (told, recovery) = (incident.untold, incident.recovery && incident.untold == 0);
        let message = format::Message::of(&incident, recovery);
        incident.lease(now);
        let Some(version) = save(ports, &record, record.version, &incident).await? else {
            continue; // Somebody else sends it.
        };
        let result = send(evaluator, plans, http, &incident, &message).await;
        done.alerts.push(Alert {
            namespace: record.key.partition.clone(),
            flow: incident.newest_flow(),
            sent: result.is_ok(),
        });
        match &result {
            Ok(()) => {
                done.sent += 1;
                info!(policy = %incident.policy.id, "told");
            }
            Err(reason) => {
                done.failed += 1;
                error!(policy = %incident.policy.id, %reason, "an alert could not be sent");
            }
        }
        settle(ports, &record, version, incident, (told, recovery), result).await?;
    }
    Ok(done)
}

/// Stores what became of a message, whatever failed meanwhile.
async fn settle(
    ports: &Ports,
    record: &Record,
    mut version: u64,
    mut incident: Incident,
    (told, recovery): (u32, bool),
    result: Result<(), String>,
) -> Result<(), StoreError> {
    loop {
        incident.sent(told, recovery, result.clone(), ports.clock.now_ms());
        let write = RecordWrite {
            key: record.key.clone(),
            expected: version,
            value: incident.value(),
            due_ms: incident.due_ms(),
            expires_ms: record.expires_ms,
        };
        match ports.records.save_record(write).await? {
            RecordOutcome::Saved(_) | RecordOutcome::Conflict(None) => return Ok(()),
            RecordOutcome::Conflict(Some(there)) => {
                let Some(fresh) = Incident::read(&there) else {
                    return Ok(());
                };
                version = there.version;
                incident = fresh;
            }
        }
    }
}

async fn save(
    ports: &Ports,
    record: &Record,
    expected: u64,
    incident: &Incident,
) -> Result<Option<u64>, StoreError> {
    let write = RecordWrite {
        key: record.key.clone(),
        expected,
        value: incident.value(),
        due_ms: incident.due_ms(),
        expires_ms: record.expires_ms,
    };
    Ok(match ports.records.save_record(write).await? {
        RecordOutcome::Saved(version) => Some(version),
        RecordOutcome::Conflict(_) => None,
    })
}

async fn still_runs(ports: &Ports, incident: &Incident) -> Result<bool, StoreError> {
    let Some(failure) = incident.failures.first() else {
        return Ok(false);
    };
    let row = ports.store.execution(&failure.execution).await?;
    Ok(row.is_some_and(|row| row.ended_ms.is_none()))
}

/// Renders the channel, secrets included, and sends.
async fn send(
    evaluator: &Evaluator,
    plans: &Plans,
    http: &HttpClients,
    incident: &Incident,
    message: &format::Message,
) -> Result<(), String> {
    let channel = render(evaluator, plans, incident).await?;
    let messages = &evaluator.ports.messages;
    let posted = |url: String, headers: Map<String, Value>, body: Value| async move {
        http.post_json(&url, &headers, &body)
            .await
            .map_err(|error| error.to_string())
    };
    match channel {
        Channel::Slack { url } => posted(url, Map::new(), format::slack(message)).await,
        Channel::Webhook { url, headers } => {
            let headers = headers
                .into_iter()
                .map(|(name, value)| (name, Value::String(value)))
                .collect();
            posted(url, headers, format::webhook(message)).await
        }
        Channel::Pagerduty { routing_key, url } => {
            posted(url, Map::new(), format::pagerduty(message, &routing_key)).await
        }
        Channel::Email { to, from } => {
            let email = Email {
                from,
                to,
                cc: Vec::new(),
                subject: message.title.clone(),
                text: format::text(message),
                server: None,
            };
            messages
                .email(&email)
                .await
                .map_err(|error| error.to_string())
        }
        Channel::Sns { topic_arn } => messages
            .publish(&topic_arn, Some(&message.title), &format::text(message))
            .await
            .map(drop)
            .map_err(|error| error.to_string()),
    }
}

/// The channel with its templates filled in from the newest execution told about.
async fn render(
    evaluator: &Evaluator,
    plans: &Plans,
    incident: &Incident,
) -> Result<Channel, String> {
    let value = json!(incident.policy.channel);
    let tree = Tree::parse(&value).map_err(|error| error.to_string())?;
    let row = execution(evaluator, incident).await?;
    let plan = plans
        .get(&*evaluator.ports.store, &row.meta.plan_hash)
        .await
        .map_err(|error| error.to_string())?;
    let rendered = evaluator
        .render(
            Site::flow(&plan, &row.meta),
            &tree,
            &Map::new(),
            &Overlay::default(),
        )
        .await
        .map_err(|error| error.to_string())?;
    serde_json::from_value(rendered.value).map_err(|error| {
        format!(
            "the channel of `{}` is not valid: {error}",
            incident.policy.id
        )
    })
}

async fn execution(evaluator: &Evaluator, incident: &Incident) -> Result<ExecutionRow, String> {
    let id = incident
        .newest()
        .ok_or_else(|| "the incident names no execution".to_owned())?;
    let row = evaluator.ports.store.execution(id).await;
    row.map_err(|error| error.to_string())?
        .ok_or_else(|| format!("execution {id} is gone"))
}
