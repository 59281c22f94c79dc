//! Tasks that tell people: Slack, e-mail, SNS, `PagerDuty`, any service by a webhook.

use serde_json::{Map, Value, json};

use super::props::{Props, any_text};
use super::{TaskCall, TaskError, TaskOutput, outputs};
use crate::notify::format::SUMMARY_CHARS_MAX;
use crate::ports::{Email, LogLevel, MailServer, MailTls, MessageError};

impl From<MessageError> for TaskError {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::Unavailable(message) | MessageError::Invalid(message) => {
                Self::invalid(message)
            }
            MessageError::Failed(message) => Self::failed(message),
        }
    }
}

/// `slack`: posts `payload`, or a message with `messageText`.
pub(super) async fn slack(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let mut payload = match props.value("payload") {
        Some(Value::Object(map)) => map.clone(),
        Some(Value::String(text)) => serde_json::from_str(text)
            .map_err(|error| props.wrong("payload", &format!("is not a JSON object: {error}")))?,
        Some(_) => return Err(props.wrong("payload", "must be a map, or JSON as text")),
        None => Map::new(),
    };
    if let Some(text) = props.text("messageText")? {
        payload.insert("text".to_owned(), Value::String(text));
    }
    if payload.is_empty() {
        return Err(props.wrong("messageText", "is required unless there is a `payload`"));
    }
    for name in ["channel", "username"] {
        if let Some(text) = props.text(name)? {
            payload.insert(name.to_owned(), Value::String(text));
        }
    }
    let url = props.required_text("url")?;
    post(call, &url, &Value::Object(payload)).await?;
    call.log(LogLevel::Info, "told Slack");
    Ok(TaskOutput::default())
}

/// `pagerduty`: sends an event, gives `dedupKey`.
pub(super) async fn pagerduty(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let meta = call.meta;
    let place = format!("{}/{}", meta.namespace, meta.flow);
    let dedup = props.text("dedupKey")?.unwrap_or_else(|| place.clone());
    let action = props
        .word("eventAction", &["trigger", "acknowledge", "resolve"])?
        .unwrap_or("trigger");
    let severity = props
        .word("severity", &["critical", "error", "warning", "info"])?
        .unwrap_or("error");
    let summary: String = props
        .required_text("summary")?
        .chars()
        .take(SUMMARY_CHARS_MAX)
        .collect();
    let event = json!({
        "routing_key": props.required_text("routingKey")?,
        "event_action": action,
        "dedup_key": dedup,
        "payload": {
            "summary": summary,
            "source": props.text("source")?.unwrap_or(place),
            "severity": severity,
            "custom_details": props.map("customDetails")?.into_owned(),
        },
    });
    let url = props
        .text("url")?
        .unwrap_or_else(|| crate::notify::format::PAGERDUTY_URL.to_owned());
    post(call, &url, &event).await?;
    call.log(LogLevel::Info, &format!("told PagerDuty: {action} {dedup}"));
    Ok(outputs([("dedupKey", json!(dedup))]))
}

/// `webhook`: posts `payload`.
pub(super) async fn webhook(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let payload = props
        .value("payload")
        .ok_or_else(|| props.wrong("payload", "is required and has no value"))?;
    let url = props.required_text("url")?;
    let headers = props.map("headers")?;
    call.http.post_json(&url, &headers, payload).await?;
    call.log(LogLevel::Info, "posted");
    Ok(TaskOutput::default())
}

async fn post(call: &TaskCall<'_>, url: &str, body: &Value) -> Result<(), TaskError> {
    call.http
        .post_json(url, &Map::new(), body)
        .await
        .map_err(TaskError::from)
}

/// `sns`: publishes, gives `messageId`.
pub(super) async fn sns(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let message = props
        .value("message")
        .ok_or_else(|| props.wrong("message", "is required and has no value"))?;
    let id = call
        .ports
        .messages
        .publish(
            &props.required_text("topicArn")?,
            props.text("subject")?.as_deref(),
            &any_text(message),
        )
        .await?;
    Ok(outputs([("messageId", json!(id))]))
}

/// `email`: sends by the task's server or the installation's.
pub(super) async fn email(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let addresses = |name: &str| -> Result<Vec<String>, TaskError> {
        let texts = props.texts(name)?.unwrap_or_default();
        Ok(texts
            .iter()
            .flat_map(|text| text.split([',', ';']))
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
            .collect())
    };
    let server = match props.text("host")? {
        None => None,
        Some(host) => Some(MailServer {
            host,
            port: match props.count("port")? {
                None => None,
                Some(port) => {
                    Some(u16::try_from(port).map_err(|_| props.wrong("port", "is at most 65535"))?)
                }
            },
            tls: match props.word("transportStrategy", &["SMTP", "SMTPS", "SMTP_TLS"])? {
                Some("SMTP") => MailTls::None,
                Some("SMTP_TLS") => MailTls::Starttls,
                _ => MailTls::Wrapped,
            },
            login: match (props.text("username")?, props.text("password")?) {
                (Some(user), Some(password)) => Some((user, password)),
                _ => None,
            },
        }),
    };
    let email = Email {
        from: props.text("from")?,
        to: addresses("to")?,
        cc: addresses("cc")?,
        subject: props
            .text("subject")?
            .unwrap_or_else(|| format!("{}/{}", call.meta.namespace, call.meta.flow)),
        text: props.text("plainTextContent")?.unwrap_or_default(),
        server,
    };
    call.ports.messages.email(&email).await?;
    call.log(LogLevel::Info, &format!("sent to {}", email.to.join(", ")));
    Ok(TaskOutput::default())
}
