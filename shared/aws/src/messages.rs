//! E-mail by SES, topics by SNS, with the function's own permissions.

use std::time::Duration;

use async_trait::async_trait;
use operon_engine::ports::{Email, MESSAGE_BYTES_MAX, MessageError, Messages};
use operon_engine::smtp::SmtpMessages;
use serde_json::json;

use crate::sdk::Sdk;
use crate::signed::{Service, ServiceName, SignedError, form, in_xml};

/// Characters of a topic message's subject (SNS, `Publish`).
const SUBJECT_CHARS_MAX: usize = 100;
/// `SendEmail` of SES, which knows no token: what may have been sent is not sent again.
const SEND_EMAIL: &str = "/v2/email/outbound-emails";
/// One transmission; messages are small.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The services for messages of a deployment.
#[derive(Debug, Clone)]
pub struct AwsMessages {
    ses: Service,
    sns: Service,
    /// Sender, unless a message has one.
    from: Option<String>,
    /// For tasks that name a server of their own.
    smtp: SmtpMessages,
}

impl AwsMessages {
    /// The two services; connections are made when they are first used. An empty `from` is none.
    #[must_use]
    pub fn new(sdk: &Sdk, from: &str) -> Self {
        let service = |name| Service::new(sdk, name, TIMEOUT);
        Self {
            ses: service(ServiceName::Mail),
            sns: service(ServiceName::Topics),
            from: (!from.is_empty()).then(|| from.to_owned()),
            smtp: SmtpMessages::default(),
        }
    }
}

fn failed(what: &str, error: &SignedError) -> MessageError {
    match error {
        SignedError::Missing(text) => MessageError::Unavailable(text.clone()),
        SignedError::Unsignable(_) | SignedError::Silent { .. } | SignedError::Refused { .. } => {
            MessageError::Failed(format!("{what}: {error}"))
        }
    }
}

#[async_trait]
impl Messages for AwsMessages {
    async fn email(&self, email: &Email) -> Result<(), MessageError> {
        if email.server.is_some() {
            return self.smtp.email(email).await;
        }
        // Checks addresses and size the same way as by SMTP.
        operon_engine::smtp::compose(email, self.from.as_deref())?;
        let content = |text: &str| json!({"Data": text, "Charset": "UTF-8"});
        let mut destination = json!({"ToAddresses": email.to});
        if !email.cc.is_empty() {
            destination["CcAddresses"] = json!(email.cc);
        }
        let message = json!({
            "FromEmailAddress": email.from.as_ref().or(self.from.as_ref()),
            "Destination": destination,
            "Content": {"Simple": {
                "Subject": content(&email.subject), "Body": {"Text": content(&email.text)},
            }},
        });
        let headers = [("content-type", "application/json")];
        let sent = self
            .ses
            .post(SEND_EMAIL, &headers, message.to_string().into(), false);
        sent.await
            .map(drop)
            .map_err(|error| failed("SES did not take the message", &error))
    }

    async fn publish(
        &self,
        topic: &str,
        subject: Option<&str>,
        text: &str,
    ) -> Result<String, MessageError> {
        if text.len() > MESSAGE_BYTES_MAX {
            return Err(MessageError::Invalid(format!(
                "the message has {} bytes; at most {MESSAGE_BYTES_MAX} are sent",
                text.len()
            )));
        }
        // SNS takes one line of ASCII.
        let subject = subject.map(|subject| {
            subject
                .chars()
                .map(|c| if c.is_ascii_graphic() { c } else { ' ' })
                .take(SUBJECT_CHARS_MAX)
                .collect::<String>()
        });
        let subject = subject.filter(|subject| !subject.trim().is_empty());
        let mut pairs = vec![
            ("Action", "Publish"),
            ("Version", "2010-03-31"),
            ("TopicArn", topic),
            ("Message", text),
        ];
        pairs.extend(subject.as_deref().map(|subject| ("Subject", subject)));
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let sent = self.sns.post("/", &headers, form(&pairs).into(), false);
        let answer = sent
            .await
            .map_err(|error| failed("SNS did not take the message", &error))?;
        Ok(in_xml(&answer.body, "MessageId").unwrap_or_default())
    }
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
