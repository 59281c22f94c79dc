//! Webhooks: from an HTTP request to an event and an answer, for whichever server received it.
//!
//! Invariant: nothing is stored, and nothing of the body is read, before the call has proved that it may be made. What
//! it lacked is told to the log, not to the caller.

use std::time::Duration;

use operon_core::triggers::config::Webhook;
use operon_core::triggers::parse::{BODY_BYTES_MAX, HEADERS_MAX, body, delivery_of_slack};
use operon_core::triggers::signature::{Convention, equal};
use operon_core::triggers::{Config, Kind, Source, TriggerEvent, name};
use serde_json::{Map, Value, json};

use super::{DeployedFlow, Outcome, TriggerKey, Triggers};
use crate::ports::{ExecutionId, StoreError};

/// Longest wait for an execution: API Gateway gives up after 29 seconds.
pub const WAIT_MAX: Duration = Duration::from_secs(25);
/// Time between two looks at the execution.
const LOOK: Duration = Duration::from_millis(250);
/// Bytes of a header's value that templates see.
const HEADER_BYTES_MAX: usize = 4_096;
/// Parameters of the address.
const PARAMETERS_MAX: usize = 100;
/// Headers that are credentials: templates do not see them, so they are not stored.
const HIDDEN: &[&str] = &[
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-operon-key",
];

/// A call.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// From the address.
    pub namespace: String,
    /// From the address.
    pub flow: String,
    /// From the address: the trigger's id, or its key as Kestra has it.
    pub trigger: String,
    /// `GET`, `POST` or `PUT`.
    pub method: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Of the query.
    pub parameters: Vec<(String, String)>,
    /// As it came; the signature is over these bytes.
    pub body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        parameters
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Of the body.
    pub content_type: String,
    /// Usually JSON.
    pub body: String,
}

impl Response {
    fn json(status: u16, value: &Value) -> Self {
        Self {
            status,
            content_type: "application/json".to_owned(),
            body: value.to_string(),
        }
    }

    fn problem(status: u16, title: &str, detail: &str) -> Self {
        let value =
            json!({"type": "about:blank", "title": title, "status": status, "detail": detail});
        Self {
            content_type: "application/problem+json".to_owned(),
            ..Self::json(status, &value)
        }
    }

    fn unauthorised() -> Self {
        Self::problem(
            401,
            "Unauthorized",
            "the call is not signed as the trigger asks, or its key is wrong",
        )
    }
}

/// Takes a call and gives the answer.
pub async fn accept(triggers: &Triggers, request: Request) -> Result<Response, StoreError> {
    if request.body.len() > BODY_BYTES_MAX {
        let detail = format!(
            "the body has {} bytes; at most {BODY_BYTES_MAX}",
            request.body.len()
        );
        return Ok(Response::problem(413, "Content Too Large", &detail));
    }
    let flow = triggers
        .flows
        .deployed_flow(&request.namespace, &request.flow)
        .await?;
    let Some(flow) = flow else {
        // The same as for a wrong key: strangers cannot find out which flows there are.
        return Ok(Response::unauthorised());
    };
    let mut allowed = None;
    for trigger in &flow.triggers {
        let Kind::Webhook(webhook) = &trigger.kind else {
            continue;
        };
        match triggers.may_call(&flow, trigger, webhook, &request).await {
            Ok(()) => {
                allowed = Some((trigger, webhook));
                break;
            }
            Err(reason) if trigger.id == request.trigger => {
                tracing::warn!(trigger = %flow.key(trigger), reason, "a webhook call was refused");
            }
            Err(_) => {}
        }
    }
    let Some((trigger, webhook)) = allowed else {
        return Ok(Response::unauthorised());
    };
    let content_type = request.header("content-type").unwrap_or_default();
    let content = match body(&request.body, content_type) {
        Ok(content) => content,
        Err(error) => {
            return Ok(Response::problem(
                400,
                "Bad Request",
                &format!("the body: {error}"),
            ));
        }
    };
    if let Some(challenge) = challenge(webhook, &content) {
        return Ok(Response::json(200, &json!({"challenge": challenge})));
    }
    let event = event_of(triggers, webhook, &flow.key(trigger), &request, content);
    let outcome = triggers.accept(&flow, trigger, event).await?;
    triggers.answer(webhook, outcome).await
}

/// Slack asks once whether the address is right, with a signed call.
fn challenge(webhook: &Webhook, content: &Value) -> Option<String> {
    let slack = webhook
        .signature
        .as_ref()
        .is_some_and(|signature| signature.convention == Convention::Slack);
    let asks = content.get("type").and_then(Value::as_str) == Some("url_verification");
    let challenge = content.get("challenge").and_then(Value::as_str)?;
    (slack && asks && challenge.len() <= 1_000).then(|| challenge.to_owned())
}

/// The event of a call. Its identity is the delivery's name; a signed call without one is known by its signature, so
/// that it cannot be repeated; any other call is an event of its own.
fn event_of(
    triggers: &Triggers,
    webhook: &Webhook,
    key: &TriggerKey,
    request: &Request,
    content: Value,
) -> TriggerEvent {
    let signature = webhook.signature.as_ref();
    let named = signature
        .and_then(|signature| signature.id_header.as_deref())
        .and_then(|header| request.header(header))
        .or_else(|| request.header("idempotency-key"))
        .or_else(|| {
            let slack =
                signature.is_some_and(|signature| signature.convention == Convention::Slack);
            slack.then(|| delivery_of_slack(&content)).flatten()
        })
        .filter(|id| !id.is_empty() && id.len() <= 512);
    let signed = signature.and_then(|signature| {
        let time = signature
            .timestamp_header
            .as_deref()
            .and_then(|header| request.header(header))
            .unwrap_or_default();
        Some(format!("{time}.{}", request.header(&signature.header)?))
    });
    let identity = match (named, signed) {
        (Some(named), _) => format!("delivery:{named}"),
        (None, Some(signed)) => format!("signed:{}", name(&[&signed], 24)),
        (None, None) => format!("call:{}", unique(triggers, key)),
    };
    let headers: Map<String, Value> = request
        .headers
        .iter()
        .filter(|(name, value)| {
            let name = name.to_ascii_lowercase();
            let secret = signature.is_some_and(|signature| signature.header == name);
            !secret && !HIDDEN.contains(&name.as_str()) && value.len() <= HEADER_BYTES_MAX
        })
        .take(HEADERS_MAX)
        .map(|(name, value)| (name.to_ascii_lowercase(), json!(value)))
        .collect();
    let parameters: Map<String, Value> = request
        .parameters
        .iter()
        .filter(|(name, value)| name != "key" && value.len() <= HEADER_BYTES_MAX)
        .take(PARAMETERS_MAX)
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let mut fields = Map::new();
    for (name, value) in [
        ("body", content),
        ("headers", Value::Object(headers)),
        ("parameters", Value::Object(parameters)),
        ("method", json!(request.method)),
    ] {
        fields.insert(name.to_owned(), value);
    }
    TriggerEvent {
        source: Source::Bus { event: Value::Null },
        identity,
        time_ms: Some(triggers.now()),
        fields,
    }
}

/// A name for a call that has none.
fn unique(triggers: &Triggers, key: &TriggerKey) -> String {
    use std::hash::{BuildHasher as _, RandomState};
    // The standard library seeds its hashers by chance; the name is no secret.
    let chance = RandomState::new().hash_one(key);
    let more = RandomState::new().hash_one(chance);
    format!("{}-{chance:016x}{more:016x}", triggers.now())
}

impl Triggers {
    /// Whether the call may be made. The text is for the log.
    async fn may_call(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        webhook: &Webhook,
        request: &Request,
    ) -> Result<(), String> {
        let named = trigger.id == request.trigger;
        let wanted = json!({"key": webhook.key});
        let key = self
            .rendered_with_secrets(flow, &wanted, Map::new(), "key")
            .await?;
        let key = key
            .0
            .get("key")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let given = if named {
            request
                .parameter("key")
                .or_else(|| request.header("x-operon-key"))
        } else {
            Some(request.trigger.as_str())
        };
        let right = !key.is_empty() && given.is_some_and(|given| equal(given, &key));
        let Some(signature) = &webhook.signature else {
            return if right {
                Ok(())
            } else {
                Err("the key is wrong or missing".to_owned())
            };
        };
        // With a signature the key may stay away, but a wrong one is wrong.
        if !right && (!named || given.is_some()) {
            return Err("the key is wrong".to_owned());
        }
        let secrets = &self.evaluator.ports.secrets;
        let secret = secrets
            .secret(&flow.plan.namespace, &signature.secret)
            .await;
        let secret = secret.map_err(|error| error.to_string())?;
        signature
            .check(
                secret.as_bytes(),
                |name| request.header(name),
                &request.body,
                self.now(),
            )
            .map_err(|refused| refused.to_string())
    }

    async fn answer(&self, webhook: &Webhook, outcome: Outcome) -> Result<Response, StoreError> {
        let known = matches!(outcome, Outcome::Known(_));
        let rejected = match &outcome {
            Outcome::Rejected(reason) => Some(reason.clone()),
            Outcome::Known(record) => record.reason.clone().filter(|_| record.execution.is_none()),
            Outcome::Started(_) | Outcome::Waits => None,
        };
        if let Some(reason) = rejected {
            let value = json!({"accepted": false, "reason": reason});
            return Ok(Response::json(200, &value));
        }
        let Some(id) = outcome.execution().cloned() else {
            return Ok(Response::json(
                webhook.status.unwrap_or(202),
                &json!({"accepted": true}),
            ));
        };
        if webhook.wait {
            return self.answer_at_end(webhook, &id, known).await;
        }
        let value = json!({"accepted": true, "executionId": id, "duplicate": known});
        let status = webhook.status.unwrap_or(if known { 200 } else { 202 });
        Ok(Response::json(status, &value))
    }

    /// Waits for the execution's end, as long as callers do.
    async fn answer_at_end(
        &self,
        webhook: &Webhook,
        id: &ExecutionId,
        known: bool,
    ) -> Result<Response, StoreError> {
        let begin = tokio::time::Instant::now();
        loop {
            let row = self.evaluator.ports.store.execution(id).await?;
            if let Some(row) = row.filter(|row| row.ended_ms.is_some()) {
                let good = matches!(row.state.as_str(), "SUCCESS" | "WARNING");
                let status = if good {
                    webhook.status.unwrap_or(200)
                } else {
                    500
                };
                let body = match row.outputs.values().next() {
                    // A single text output in a content type of its own is the body as it is.
                    Some(Value::String(text))
                        if webhook.return_outputs && webhook.content_type != "application/json" =>
                    {
                        text.clone()
                    }
                    _ if webhook.return_outputs && good => json!(row.outputs).to_string(),
                    _ => json!({"executionId": id, "state": row.state, "reason": row.reason, "duplicate": known}).to_string(),
                };
                return Ok(Response {
                    status,
                    content_type: webhook.content_type.clone(),
                    body,
                });
            }
            if begin.elapsed() >= WAIT_MAX {
                let value = json!({"accepted": true, "executionId": id, "state": "RUNNING", "duplicate": known});
                return Ok(Response::json(202, &value));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
