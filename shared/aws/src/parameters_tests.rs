//! Against a server of this process that speaks the service's protocol.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use operon_engine::ports::{SecretNames as _, Secrets as _};
use operon_testkit::memory::TestClock;

use super::*;
use crate::ManagedSecrets;
use crate::ecs::SecretArns;
use crate::testing::{Answer, Asked, header, server};

/// Secrets Manager and Parameter Store, which both speak JSON with a target.
async fn stores(answers: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static) -> (Sdk, Asked) {
    server(move |head, body| {
        let kind = "application/x-amz-json-1.1";
        assert_eq!(header(head, "content-type"), kind);
        answers(header(head, "x-amz-target"), &parsed(body))
    })
    .await
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

fn parameter(kind: &str, value: &str) -> Answer {
    let arn = "arn:aws:ssm:eu-central-1:1:parameter/operon/s/T";
    let answer = json!({"Parameter": {
        "ARN": arn, "Name": "/operon/s/T", "Type": kind, "Value": value, "Version": 1, "DataType": "text",
    }});
    Answer::new(200, answer.to_string())
}

fn refused(code: &str) -> Answer {
    let answer = json!({"__type": code, "message": "said by the service"});
    Answer::new(400, answer.to_string())
}

async fn one(answer: Answer) -> (Result<Option<Parameter>, SecretError>, Asked) {
    wanted(answer, Wanted::Value).await
}

async fn wanted(answer: Answer, how: Wanted) -> (Result<Option<Parameter>, SecretError>, Asked) {
    let (sdk, asked) = stores(move |_, _| answer.clone()).await;
    let parameters = Parameters::new(&sdk);
    let found = parameters.find("operon/s/T", how).await;
    (found, asked)
}

#[tokio::test]
async fn a_parameter_is_found_by_its_name_and_not_printed() {
    let (found, asked) = one(parameter("SecureString", "hunter2")).await;
    let found = found.unwrap().unwrap();
    assert_eq!(found.value, "hunter2");
    assert!(found.arn.ends_with(":parameter/operon/s/T"));
    assert!(!format!("{found:?}").contains("hunter2"));
    let body = json!({"Name": "/operon/s/T", "WithDecryption": true});
    let [(head, sent)] = asked.lock().unwrap().clone().try_into().unwrap();
    assert_eq!(header(&head, "x-amz-target"), "AmazonSSM.GetParameter");
    assert_eq!(parsed(&sent), body);
}

#[tokio::test]
async fn what_is_not_there_is_none_and_asked_once() {
    for code in ["ParameterNotFound", "com.amazonaws.ssm#ParameterNotFound"] {
        let (found, asked) = one(refused(code)).await;
        assert_eq!(found.unwrap(), None);
        assert_eq!(asked.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn who_is_denied_hears_what_the_service_says() {
    let (found, asked) = one(refused("AccessDeniedException")).await;
    let error = found.unwrap_err().to_string();
    assert!(
        error.contains("`/operon/s/T`") && error.contains("AccessDeniedException: said by"),
        "{error}"
    );
    assert_eq!(asked.lock().unwrap().len(), 1, "it is not asked again");
}

#[tokio::test]
async fn a_service_that_is_busy_is_asked_again_and_given_up() {
    let tries = Mutex::new(0);
    let (sdk, asked) = stores(move |_, _| {
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        match *tries {
            1 => refused("ThrottlingException"),
            2 => Answer::new(503, ""),
            _ => parameter("SecureString", "hunter2"),
        }
    })
    .await;
    let parameters = Parameters::new(&sdk);
    let found = parameters.find("operon/s/T", Wanted::Value).await;
    assert_eq!(found.unwrap().unwrap().value, "hunter2");
    assert_eq!(asked.lock().unwrap().len(), 3);
    assert_eq!(sdk.meter().counts().requests["ssm.GetParameter"], 3);

    let (found, asked) = one(refused("ThrottlingException")).await;
    let error = found.unwrap_err();
    assert!(matches!(&error, SecretError::Failed(text) if text.contains("ThrottlingException")));
    assert_eq!(asked.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn what_is_too_large_or_not_encrypted_is_refused_without_its_value() {
    let (found, _) = one(parameter("SecureString", &"x".repeat(VALUE_MAX))).await;
    assert!(found.is_ok());
    let (found, _) = one(parameter("SecureString", &"x".repeat(VALUE_MAX + 1))).await;
    let error = found.unwrap_err().to_string();
    assert!(
        error.contains("8193 bytes") && !error.contains("xx"),
        "{error}"
    );
    // What is not decrypted is longer than what it holds.
    let long = parameter("SecureString", &"x".repeat(2 * VALUE_MAX));
    assert!(wanted(long, Wanted::Encrypted).await.0.is_ok());
    let (found, _) = one(parameter("String", "hunter2")).await;
    let error = found.unwrap_err().to_string();
    assert!(
        error.contains("--type SecureString") && !error.contains("hunter2"),
        "{error}"
    );
}

/// Secrets Manager has `operon/s/a/BOTH` and `operon/s/UP`, Parameter Store `BOTH` and `OWN` of `a.b`, and of `a` `UP`.
fn both(target: &str, body: &Value) -> Answer {
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    if target == "secretsmanager.GetSecretValue" {
        return match text("SecretId").as_str() {
            name @ ("operon/s/a/BOTH" | "operon/s/a.b/SAME" | "operon/s/UP") => {
                let answer = json!({"Name": name, "SecretString": format!("managed {name}")});
                Answer::new(200, answer.to_string())
            }
            _ => refused("ResourceNotFoundException"),
        };
    }
    assert_eq!(target, "AmazonSSM.GetParameter");
    match text("Name").as_str() {
        name @ ("/operon/s/a.b/BOTH" | "/operon/s/a.b/SAME" | "/operon/s/a/UP") => {
            parameter("SecureString", &format!("stored {name}"))
        }
        _ => refused("ParameterNotFound"),
    }
}

#[tokio::test]
async fn the_nearer_namespace_counts_and_in_one_namespace_secrets_manager() {
    let (sdk, asked) = stores(both).await;
    let secrets = ManagedSecrets::new(&sdk, "operon/s", Arc::new(TestClock::default()));
    for (name, expected) in [
        ("SAME", "managed operon/s/a.b/SAME"),
        ("BOTH", "stored /operon/s/a.b/BOTH"),
        ("UP", "stored /operon/s/a/UP"),
    ] {
        assert_eq!(secrets.secret("a.b", name).await.unwrap(), expected);
    }
    let full = secrets.full_name("a.b", "UP").await.unwrap();
    assert_eq!(full, "/operon/s/a/UP");
    // Known for a while, also that there is none.
    let count = asked.lock().unwrap().len();
    secrets.secret("a.b", "UP").await.unwrap();
    assert_eq!(asked.lock().unwrap().len(), count);
    let error = secrets.secret("a.b", "NONE").await.unwrap_err();
    assert!(matches!(error, SecretError::Missing { .. }));
    let error = error.to_string();
    assert!(
        error.contains("aws secretsmanager create-secret --name 'operon/s/a.b/NONE'")
            && error
                .contains("aws ssm put-parameter --type SecureString --name '/operon/s/a.b/NONE'"),
        "{error}"
    );
}

#[tokio::test]
async fn an_arn_is_asked_for_once_in_a_while() {
    let (sdk, asked) = stores(|target, body| {
        if target == "secretsmanager.DescribeSecret" {
            return refused("ResourceNotFoundException");
        }
        both(target, body)
    })
    .await;
    let clock = Arc::new(TestClock::default());
    let secrets = Arc::new(ManagedSecrets::new(&sdk, "operon/s", clock.clone()));
    let arns = SecretArns::new(secrets);
    for _ in 0..3 {
        assert!(arns.arn("a.b", "UP").await.unwrap().starts_with("arn:"));
    }
    // Twice in `a.b`, where there is none, and twice in `a`.
    assert_eq!(asked.lock().unwrap().len(), 4);
    clock.advance(u64::try_from(crate::secrets::KEPT.as_millis()).unwrap());
    assert!(arns.arn("a.b", "UP").await.is_ok());
    assert_eq!(asked.lock().unwrap().len(), 8);
}
