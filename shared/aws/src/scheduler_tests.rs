//! Against a server of this process that answers as the service does.

#![allow(clippy::unwrap_used, reason = "tests")]

use operon_core::lang::{Plugins, parse};

use super::*;
use crate::testing::{Answer, Asked, server};

const DATES: &str = "type: schedule, cron: '0 2 * * *', timezone: Europe/Zurich";

fn key() -> TriggerKey {
    TriggerKey {
        namespace: "n".repeat(150),
        flow: "f".repeat(100),
        trigger: "t".repeat(100),
    }
}

/// The trigger of a flow.
fn trigger(properties: &str) -> Config {
    let source = format!(
        "id: f\nnamespace: n\ntasks: [{{id: t, type: log, message: x}}]\ntriggers: [{{id: t, {properties}}}]"
    );
    let flow = parse(&source, &Plugins::default()).flow.unwrap();
    Config::read(&flow.triggers[0]).unwrap()
}

/// Schedules of a service that answers so, and what it is asked.
async fn scheduler(
    answers: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> (EventBridgeScheduler, Asked) {
    let (sdk, asked) = server(move |head, _| answers(head)).await;
    let made = EventBridgeScheduler::new(&sdk, "operon-dev", "arn:queue", "arn:role");
    (made, asked)
}

/// A refusal of a service with paths, which has the code in a header.
fn refusal(status: u16, code: &'static str) -> Answer {
    let body = json!({"Message": "said by the service"}).to_string();
    Answer { status, code, body }
}

/// Method, path and body of each request.
fn requests(asked: &Asked) -> Vec<(String, String, Value)> {
    let asked = asked.lock().unwrap();
    let parts = asked.iter().map(|(head, body)| {
        let mut words = head.split(' ').map(str::to_owned);
        let body = serde_json::from_str(body).unwrap_or_default();
        (words.next().unwrap(), words.next().unwrap(), body)
    });
    parts.collect()
}

#[test]
fn names_fit_and_are_stable() {
    let name = schedule_name(&key());
    assert!(name.len() <= 64);
    assert_eq!(name, schedule_name(&key()));
}

#[tokio::test]
async fn a_schedule_is_made_with_its_zone_and_its_message() {
    let (scheduler, asked) = scheduler(|_| Answer::new(200, "{}")).await;
    scheduler.put(&key(), &trigger(DATES)).await.unwrap();
    let [(method, path, body)] = requests(&asked).try_into().unwrap();
    assert_eq!((method.as_str(), path), ("POST", self::path(&key())));
    assert_eq!(body["GroupName"], "operon-dev");
    assert_eq!(body["ScheduleExpression"], "cron(0 2 * * ? *)");
    assert_eq!(body["ScheduleExpressionTimezone"], "Europe/Zurich");
    assert_eq!(body["FlexibleTimeWindow"], json!({"Mode": "OFF"}));
    let input: Own = serde_json::from_str(body["Target"]["Input"].as_str().unwrap()).unwrap();
    assert!(matches!(input, Own::Look { trigger, .. } if trigger == key().trigger));
    let rest = json!({"MaximumEventAgeInSeconds": AGE_S_MAX});
    assert_eq!(body["Target"]["RetryPolicy"], rest);
}

#[tokio::test]
async fn what_is_there_is_changed() {
    let (scheduler, asked) = scheduler(|head| {
        if head.starts_with("POST") {
            refusal(409, "ConflictException")
        } else {
            Answer::new(200, "{}")
        }
    })
    .await;
    scheduler.put(&key(), &trigger(DATES)).await.unwrap();
    let [(_, _, made), (method, path, changed)] = requests(&asked).try_into().unwrap();
    assert_eq!((method.as_str(), path), ("PUT", self::path(&key())));
    assert_eq!(made, changed);
}

#[tokio::test]
async fn what_somebody_changes_at_this_moment_is_tried_again() {
    let (scheduler, asked) = scheduler(|_| refusal(409, "ConflictException")).await;
    let error = scheduler.put(&key(), &trigger(DATES)).await.unwrap_err();
    assert!(matches!(error, StoreError::Busy(_)), "{error}");
    assert_eq!(requests(&asked).len(), 2);
}

#[tokio::test]
async fn what_never_fires_is_removed_and_may_be_gone() {
    let (scheduler, asked) = scheduler(|_| refusal(404, "ResourceNotFoundException")).await;
    scheduler.remove(&key()).await.unwrap();
    let disabled = trigger(&format!("{DATES}, disabled: true"));
    scheduler.put(&key(), &disabled).await.unwrap();
    let path = format!("{}?groupName=operon-dev", path(&key()));
    let expected = ("DELETE".to_owned(), path, Value::Null);
    assert_eq!(requests(&asked), [expected.clone(), expected]);
}

#[tokio::test]
async fn a_refusal_says_what_was_tried_and_whether_to_try_again() {
    for (status, code, busy) in [
        (400, "ValidationException", false),
        (403, "AccessDeniedException", false),
        (429, "ThrottlingException", true),
    ] {
        let (scheduler, _) = scheduler(move |_| refusal(status, code)).await;
        let error = scheduler.put(&key(), &trigger(DATES)).await.unwrap_err();
        assert_eq!(matches!(error, StoreError::Busy(_)), busy, "{error}");
        let text = error.to_string();
        assert!(
            text.contains("make a schedule") && text.contains(code),
            "{text}"
        );
    }
}
