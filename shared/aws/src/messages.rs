//! E-mail by SES, topics by SNS, with the function's own permissions.

use async_trait::async_trait;
use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, Message};
use operon_engine::ports::{Email, MESSAGE_BYTES_MAX, MessageError, Messages};
use operon_engine::smtp::SmtpMessages;

use crate::sdk::Sdk;

/// Characters of a topic message's subject (SNS, `Publish`).
const SUBJECT_CHARS_MAX: usize = 100;

/// The services for messages of a deployment.
#[derive(Debug, Clone)]
pub struct AwsMessages {
    ses: aws_sdk_sesv2::Client,
    sns: aws_sdk_sns::Client,
    /// Sender, unless a message has one.
    from: Option<String>,
    /// For tasks that name a server of their own.
    smtp: SmtpMessages,
}

impl AwsMessages {
    /// Clients of the two services; connections are made when they are first used. An empty `from` is none.
    #[must_use]
    pub fn new(sdk: &Sdk, from: &str) -> Self {
        Self {
            ses: aws_sdk_sesv2::Client::new(sdk.config()),
            sns: aws_sdk_sns::Client::new(sdk.config()),
            from: (!from.is_empty()).then(|| from.to_owned()),
            smtp: SmtpMessages::default(),
        }
    }
}

fn content(text: &str) -> Result<Content, MessageError> {
    Content::builder()
        .data(text)
        .charset("UTF-8")
        .build()
        .map_err(|error| MessageError::Invalid(error.to_string()))
}

fn failed(what: &str, error: &impl std::error::Error) -> MessageError {
    let mut text = format!("{what}: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    MessageError::Failed(text)
}

#[async_trait]
impl Messages for AwsMessages {
    async fn email(&self, email: &Email) -> Result<(), MessageError> {
        if email.server.is_some() {
            return self.smtp.email(email).await;
        }
        // Checks addresses and size the same way as by SMTP.
        operon_engine::smtp::compose(email, self.from.as_deref())?;
        let message = Message::builder()
            .subject(content(&email.subject)?)
            .body(Body::builder().text(content(&email.text)?).build())
            .build();
        let destination = Destination::builder()
            .set_to_addresses(Some(email.to.clone()))
            .set_cc_addresses(Some(email.cc.clone()))
            .build();
        let sent = self
            .ses
            .send_email()
            .set_from_email_address(email.from.clone().or_else(|| self.from.clone()))
            .destination(destination)
            .content(EmailContent::builder().simple(message).build())
            .send()
            .await;
        sent.map(drop)
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
        let sent = self
            .sns
            .publish()
            .topic_arn(topic)
            .set_subject(subject.filter(|subject| !subject.trim().is_empty()))
            .message(text)
            .send()
            .await
            .map_err(|error| failed("SNS did not take the message", &error))?;
        Ok(sent.message_id.unwrap_or_default())
    }
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
