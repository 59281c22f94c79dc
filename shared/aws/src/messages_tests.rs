//! `sns` and `email` as tasks of a flow, executed by the worker, against a server of this process that answers as SNS and
//! SES do.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use operon_core::lang::{Plugins, parse};
use operon_core::plan::compile;
use operon_engine::ports::{AttemptRow, ExecutionRow};
use operon_testkit::cloud::CloudWorld;
use serde_json::{Value, json};

use super::*;
use crate::testing::{Answer, Asked, server};

const TOPIC: &str = "arn:aws:sns:eu-central-1:1:lab";
const HOUR: u64 = 60 * 60 * 1000;

/// Services that give everything this answer: status, code and body.
async fn services(status: u16, code: &'static str, body: String) -> (Sdk, Asked) {
    let answer = Answer { status, code, body };
    server(move |_, _| answer.clone()).await
}

/// Path and body of the one request.
fn only(asked: &Asked) -> (String, String) {
    let [(head, body)] = asked.lock().unwrap().clone().try_into().unwrap();
    let path = head.split(' ').nth(1).unwrap_or_default();
    (path.to_owned(), body)
}

/// An answer of SNS.
async fn sns(status: u16, inside: &str) -> (Sdk, Asked) {
    let kind = if status == 200 {
        "PublishResponse"
    } else {
        "ErrorResponse"
    };
    let text = format!(
        "<{kind} xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">{inside}<RequestId>r</RequestId></{kind}>"
    );
    services(status, "", text).await
}

fn refusal(code: &str, message: &str) -> String {
    format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>")
}

/// Runs a flow of one task; the secret `WORD` is `hunter2`. In a box, because a cloud is large.
fn run(sdk: Sdk, task: Value) -> Pin<Box<dyn Future<Output = (ExecutionRow, AttemptRow)>>> {
    Box::pin(async move {
        let mut cloud = CloudWorld::default();
        cloud.ports.messages = Arc::new(AwsMessages::new(&sdk, "operon@example.org"));
        cloud.ports.secrets.set("WORD", "hunter2");
        cloud.cold_start();
        let source = json!({"id": "processing", "namespace": "genomics", "tasks": [task]});
        let parsed = parse(&source.to_string(), &Plugins::default());
        let id = cloud.start(&compile(&parsed.flow.unwrap()).unwrap()).await;
        assert!(cloud.run(&id, HOUR).await);
        let rows = cloud.rows(&id).await;
        let task_run = rows.into_iter().find(|row| row.task == "tell").unwrap();
        let execution = cloud.row(&id).await;
        let shown = format!("{execution:?} {task_run:?} {:?}", cloud.ports.logs);
        assert!(!shown.contains("hunter2"), "{shown}");
        (execution, task_run)
    })
}

fn publish() -> Value {
    json!({
        "id": "tell", "type": "sns", "topicArn": TOPIC, "subject": "{{ flow.id }} ist fertig: ü",
        "message": {"flow": "{{ flow.id }}", "word": "{{ secret('WORD') }}"},
    })
}

#[tokio::test]
async fn a_task_publishes_to_a_topic() {
    let (sdk, asked) = sns(
        200,
        "<PublishResult><MessageId>m-1</MessageId></PublishResult>",
    )
    .await;
    let (execution, task_run) = run(sdk, publish()).await;
    assert_eq!(execution.state, "SUCCESS", "{task_run:?}");
    assert_eq!(task_run.outputs["messageId"], "m-1");
    let (path, body) = only(&asked);
    assert_eq!(path, "/");
    let form = reqwest::Url::parse(&format!("http://x/?{body}")).unwrap();
    let form: BTreeMap<String, String> = form.query_pairs().into_owned().collect();
    let message: Value = serde_json::from_str(&form["Message"]).unwrap();
    assert_eq!(message, json!({"flow": "processing", "word": "hunter2"}));
    let rest: Vec<(&str, &str)> = form
        .iter()
        .filter(|(name, _)| *name != "Message")
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let expected = [
        ("Action", "Publish"),
        // One line of ASCII.
        ("Subject", "processing ist fertig:  "),
        ("TopicArn", TOPIC),
        ("Version", "2010-03-31"),
    ];
    assert_eq!(rest, expected);
}

#[tokio::test]
async fn what_sns_refuses_fails_with_what_it_said() {
    for (status, code, message) in [
        (404, "NotFound", "Topic does not exist"),
        (
            403,
            "AuthorizationError",
            "not authorized to perform SNS:Publish",
        ),
        (
            403,
            "InvalidClientTokenId",
            "The token of hunter2 is invalid",
        ),
    ] {
        let (sdk, _) = sns(status, &refusal(code, message)).await;
        let (execution, task_run) = run(sdk, publish()).await;
        assert_eq!(execution.state, "FAILED");
        assert_eq!(task_run.reason.as_deref(), Some("task failed"));
        let said = task_run.message.unwrap();
        let expected = message.replace("hunter2", "******");
        assert!(
            said.contains("SNS did not take the message") && said.contains(&expected),
            "{said}"
        );
    }
}

#[tokio::test]
async fn what_is_too_large_for_a_topic_is_not_sent() {
    let (sdk, asked) = sns(200, "").await;
    let long = "x".repeat(MESSAGE_BYTES_MAX + 1);
    let sent = AwsMessages::new(&sdk, "").publish(TOPIC, None, &long).await;
    assert!(matches!(sent, Err(MessageError::Invalid(_))), "{sent:?}");
    assert_eq!(*asked.lock().unwrap(), []);
}

fn email() -> Value {
    json!({
        "id": "tell", "type": "email", "to": ["ops@example.org", "lab@example.org"], "cc": "boss@example.org",
        "subject": "{{ flow.id }}", "plainTextContent": "{{ 3 * 7 }} sequences, {{ secret('WORD') }}",
    })
}

#[tokio::test]
async fn a_task_sends_e_mail_by_ses() {
    let said = json!({"MessageId": "e-1"}).to_string();
    let (sdk, asked) = services(200, "", said).await;
    let (execution, task_run) = run(sdk, email()).await;
    assert_eq!(execution.state, "SUCCESS", "{task_run:?}");
    let (path, body) = only(&asked);
    assert_eq!(path, "/v2/email/outbound-emails");
    let text = |text: &str| json!({"Data": text, "Charset": "UTF-8"});
    let expected = json!({
        "FromEmailAddress": "operon@example.org",
        "Destination": {
            "ToAddresses": ["ops@example.org", "lab@example.org"], "CcAddresses": ["boss@example.org"],
        },
        "Content": {"Simple": {
            "Subject": text("processing"), "Body": {"Text": text("21 sequences, hunter2")},
        }},
    });
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
}

#[tokio::test]
async fn what_ses_refuses_fails_with_what_it_said() {
    for (code, message) in [
        ("MessageRejected", "Email address is not verified."),
        (
            "AccessDeniedException",
            "not authorized to perform ses:SendEmail on hunter2",
        ),
    ] {
        let (sdk, _) = services(400, code, json!({"message": message}).to_string()).await;
        let (execution, task_run) = run(sdk, email()).await;
        assert_eq!(execution.state, "FAILED");
        assert_eq!(task_run.reason.as_deref(), Some("task failed"));
        let said = task_run.message.unwrap();
        let expected = message.replace("hunter2", "******");
        assert!(
            said.contains("SES did not take the message") && said.contains(&expected),
            "{said}"
        );
    }
}
