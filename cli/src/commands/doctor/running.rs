//! What runs of a deployment: its functions, what calls them, and what they gave up.
//!
//! What AWS says is judged by functions that ask nobody. What it does not say is not known, which is no mistake of the
//! deployment.

use operon_aws::signed::{Service, ServiceName, SignedError};
use operon_aws::{Role, Sdk};
use reqwest::Method;
use serde_json::{Value, json};

use super::Finding;
use super::aws::{Findings, refused, service};

/// Functions that are called by people.
const CALLED: [&str; 2] = ["intake", "api"];
/// Queues, and the functions that read them.
const READ: [(&str, &str); 4] = [
    ("intake", "intake"),
    ("plan", "planner"),
    ("launch", "launcher"),
    ("work", "worker"),
];
/// Rules that call functions or send to a queue.
const RULES: [&str; 4] = ["reconcile", "stopped", "interrupted", "upload"];
/// Queues of what was given up.
const LETTERS: [&str; 5] = ["intake", "plan", "launch", "work", "events"];
/// How many messages a queue holds, as SQS calls it.
const DEPTH: &str = "ApproximateNumberOfMessages";

/// All of it.
pub(super) async fn findings(sdk: &Sdk, stage: &str) -> Findings {
    let lambda = service(sdk, ServiceName::Lambda);
    let events = service(sdk, ServiceName::Events);
    let mut found = Vec::new();
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Cli) {
        let name = format!("operon-{stage}-{role}");
        found.push(("function", function(&lambda, &name).await));
    }
    for name in CALLED {
        let name = format!("operon-{stage}-{name}");
        found.push(("call", call(&lambda, &name).await));
    }
    for (queue, function) in READ {
        let finding = reader(&lambda, stage, queue, function).await;
        found.push(("reader", finding));
    }
    for name in RULES {
        let name = format!("operon-{stage}-{name}");
        found.push(("rule", rule(&events, &name).await));
    }
    for queue in LETTERS {
        found.push(("letters", letters(sdk, stage, queue).await));
    }
    found
}

/// Whether the data bucket is there.
pub(super) async fn bucket(sdk: &Sdk, name: Option<&String>) -> Finding {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Finding::Missing(
            "which one it is, the launcher's environment does not say".to_owned(),
        );
    };
    let answer = sdk.s3().head_bucket().bucket(name).send().await;
    match answer {
        Ok(_) => Finding::Good(name.clone()),
        Err(error)
            if error
                .raw_response()
                .is_some_and(|raw| raw.status().as_u16() == 404) =>
        {
            Finding::Bad(format!(
                "{name}: there is none of that name; nothing that flows read or write is there"
            ))
        }
        Err(error) => unknown(name, &whole(error), "s3:ListBucket"),
    }
}

async fn function(lambda: &Service, name: &str) -> Finding {
    // Behind `live` is what is called.
    let path = format!("/2015-03-31/functions/{name}/configuration?Qualifier=live");
    match read(lambda, &path).await {
        Ok(configuration) => judge_function(name, &configuration),
        Err(error) => absent(name, &error, "lambda:GetFunctionConfiguration"),
    }
}

async fn call(lambda: &Service, name: &str) -> Finding {
    let path = format!("/2015-03-31/functions/{name}/invocations");
    // Lambda only says whether it would be called.
    let headers = [("x-amz-invocation-type", "DryRun")];
    match lambda.post(&path, &headers, b"{}".to_vec(), true).await {
        Ok(_) => Finding::Good(format!("{name} may be called")),
        Err(error) => refused(name, "lambda:InvokeFunction", &error),
    }
}

async fn reader(lambda: &Service, stage: &str, queue: &str, function: &str) -> Finding {
    let name = format!("operon-{stage}-{function}");
    let path = format!("/2015-03-31/event-source-mappings/?FunctionName={name}%3Alive");
    let queue = format!("operon-{stage}-{queue}");
    match read(lambda, &path).await {
        Ok(mappings) => judge_reader(&queue, &name, &mappings),
        Err(error) => absent(&name, &error, "lambda:ListEventSourceMappings"),
    }
}

async fn rule(events: &Service, name: &str) -> Finding {
    let wish = json!({"Name": name});
    match events.ask("AWSEvents.DescribeRule", "1.1", &wish).await {
        Ok(rule) => judge_rule(name, &rule),
        Err(error) => absent(name, &error, "events:DescribeRule"),
    }
}

async fn letters(sdk: &Sdk, stage: &str, queue: &str) -> Finding {
    let name = format!("operon-{stage}-{queue}-dlq");
    let sqs = sdk.sqs();
    let url = match sqs.get_queue_url().queue_name(&name).send().await {
        Ok(answer) => answer.queue_url,
        Err(error) => {
            let absent =
                matches!(error.as_service_error(), Some(error) if error.is_queue_does_not_exist());
            if absent {
                return Finding::Bad(format!(
                    "{name}: there is none of that name; what is given up is lost: deploy again"
                ));
            }
            return unknown(&name, &whole(error), "sqs:GetQueueUrl");
        }
    };
    let asked = sqs.get_queue_attributes().set_queue_url(url);
    match asked.attribute_names(DEPTH.into()).send().await {
        Ok(answer) => {
            let all = answer.attributes().into_iter().flatten();
            let mut depth = all.filter(|(name, _)| name.as_str() == DEPTH);
            let count = depth.next().and_then(|(_, value)| value.parse().ok());
            judge_letters(stage, &name, count)
        }
        Err(error) => unknown(&name, &whole(error), "sqs:GetQueueAttributes"),
    }
}

async fn read(lambda: &Service, path: &str) -> Result<Value, SignedError> {
    let answer = lambda.send((Method::GET, path, &[]), Vec::new(), true);
    Ok(serde_json::from_slice(&answer.await?.body).unwrap_or_default())
}

/// What is not there is wrong. Whether it is, credentials without the permission do not learn.
fn absent(name: &str, error: &SignedError, action: &str) -> Finding {
    if error.is("ResourceNotFoundException") {
        return Finding::Bad(format!(
            "{name}: there is none of that name; is the stage deployed in this region?"
        ));
    }
    unknown(name, error, action)
}

/// An error of the SDK with its causes: a service that is silent is told from credentials that are missing.
fn whole(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::new(error))
}

fn unknown(name: &str, error: &dyn std::fmt::Display, action: &str) -> Finding {
    Finding::Missing(format!(
        "{name} is not known: {error}; may these credentials {action}?"
    ))
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn judge_function(name: &str, configuration: &Value) -> Finding {
    let version = text(configuration, "Version").unwrap_or("?");
    let shown = format!("{name}, version {version}");
    let why = |field| text(configuration, field).unwrap_or("AWS does not say why");
    match text(configuration, "State") {
        Some("Failed") => Finding::Bad(format!(
            "{shown}, cannot run: {}; deploy again",
            why("StateReason")
        )),
        Some("Pending") => Finding::Missing(format!("{shown}, is being made; look again")),
        // Lambda puts away what nobody called for weeks; the next call brings it back.
        Some(_) | None => match text(configuration, "LastUpdateStatus") {
            Some("Failed") => Finding::Bad(format!(
                "{shown}, was not changed: {}; deploy again",
                why("LastUpdateStatusReason")
            )),
            Some(_) | None => Finding::Good(shown),
        },
    }
}

fn judge_reader(queue: &str, function: &str, mappings: &Value) -> Finding {
    let all = mappings
        .get("EventSourceMappings")
        .and_then(Value::as_array);
    let end = format!(":{queue}");
    let mapping = all.into_iter().flatten().find(|mapping| {
        let source = text(mapping, "EventSourceArn");
        source.is_some_and(|arn| arn.ends_with(&end))
    });
    let Some(mapping) = mapping else {
        return Finding::Bad(format!(
            "{function} does not read {queue}: there is no event source mapping; deploy again"
        ));
    };
    match text(mapping, "State") {
        Some("Enabled") => Finding::Good(format!("{function} reads {queue}")),
        Some(state @ ("Disabled" | "Disabling" | "Deleting")) => {
            let uuid = text(mapping, "UUID").unwrap_or_default();
            Finding::Bad(format!(
                "{function} does not read {queue} ({state}), and its messages wait: `aws lambda \
                 update-event-source-mapping --uuid {uuid} --enabled`"
            ))
        }
        Some(state) => Finding::Missing(format!(
            "{function} does not read {queue} yet ({state}); look again"
        )),
        None => Finding::Missing(format!(
            "whether {function} reads {queue} is not known: AWS tells no state"
        )),
    }
}

fn judge_rule(name: &str, rule: &Value) -> Finding {
    match text(rule, "State") {
        Some("DISABLED") => Finding::Bad(format!(
            "{name} is switched off, and what it tells nobody hears: `aws events enable-rule --name {name}`"
        )),
        Some(_) => Finding::Good(format!("{name} is on")),
        None => Finding::Missing(format!("{name} is not known: AWS tells no state")),
    }
}

fn judge_letters(stage: &str, queue: &str, count: Option<u64>) -> Finding {
    match count {
        Some(0) => Finding::Good(format!("{queue} is empty")),
        Some(count) => Finding::Warning(format!(
            "{queue} holds {count} that could not be handled; the reconciler takes them up within a minute, then \
             `operon redrive` lists them and puts them back; if they stay, /operon/{stage}/reconciler says why"
        )),
        None => Finding::Missing(format!(
            "what {queue} holds is not known: AWS tells no number"
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::shown;
    use super::*;

    #[test]
    fn a_function_that_cannot_run_is_wrong_and_one_that_sleeps_is_not() {
        for (configuration, expected, part) in [
            (
                json!({"State": "Active", "LastUpdateStatus": "Successful", "Version": "12"}),
                "good",
                "version 12",
            ),
            (json!({"State": "Inactive"}), "good", ""),
            // An emulator that says nothing of it.
            (json!({}), "good", ""),
            (json!({"State": "Pending"}), "missing", "look again"),
            (
                json!({"State": "Failed", "StateReason": "no role"}),
                "bad",
                "no role",
            ),
            (
                json!({"State": "Active", "LastUpdateStatus": "Failed"}),
                "bad",
                "deploy again",
            ),
        ] {
            let (kind, text) = shown(judge_function("operon-main-api", &configuration));
            assert_eq!(kind, expected, "{configuration}");
            assert!(
                text.contains("operon-main-api") && text.contains(part),
                "{text}"
            );
        }
    }

    #[test]
    fn a_queue_that_nobody_reads_is_wrong_and_comes_with_the_command_that_has_it_read() {
        let mappings = |state: &str| {
            json!({"EventSourceMappings": [
                {"UUID": "u1", "EventSourceArn": "arn:aws:sqs:r:1:others-operon-main-intake", "State": "Disabled"},
                {"UUID": "u2", "EventSourceArn": "arn:aws:sqs:r:1:operon-main-intake", "State": state},
            ]})
        };
        let judged = |mappings: &Value| {
            shown(judge_reader(
                "operon-main-intake",
                "operon-main-intake",
                mappings,
            ))
        };
        assert_eq!(judged(&mappings("Enabled")).0, "good");
        assert_eq!(judged(&mappings("Enabling")).0, "missing");
        let (kind, text) = judged(&mappings("Disabled"));
        assert_eq!(kind, "bad");
        assert!(text.contains("--uuid u2 --enabled"), "{text}");
        assert_eq!(judged(&json!({"EventSourceMappings": []})).0, "bad");
    }

    #[test]
    fn a_rule_that_is_off_is_wrong_and_comes_with_the_command_that_switches_it_on() {
        let name = "operon-main-reconcile";
        assert_eq!(
            shown(judge_rule(name, &json!({"State": "ENABLED"}))).0,
            "good"
        );
        let (kind, text) = shown(judge_rule(name, &json!({"State": "DISABLED"})));
        assert_eq!(kind, "bad");
        assert!(
            text.ends_with("`aws events enable-rule --name operon-main-reconcile`"),
            "{text}"
        );
        assert_eq!(shown(judge_rule(name, &json!({}))).0, "missing");
    }

    #[test]
    fn dead_letters_are_a_warning_that_says_what_to_do() {
        assert_eq!(shown(judge_letters("main", "q", Some(0))).0, "good");
        let (kind, text) = shown(judge_letters("main", "q", Some(3)));
        assert_eq!(kind, "warning");
        assert!(
            text.contains("`operon redrive`") && text.contains("/operon/main/reconciler"),
            "{text}"
        );
        assert_eq!(shown(judge_letters("main", "q", None)).0, "missing");
    }

    #[test]
    fn what_is_not_there_is_wrong_and_what_is_not_told_is_not_known() {
        let refused = |code: &str| SignedError::Refused {
            service: "lambda",
            status: 400,
            code: code.to_owned(),
            message: String::new(),
        };
        assert_eq!(
            shown(absent("f", &refused("ResourceNotFoundException"), "a:B")).0,
            "bad"
        );
        let (kind, text) = shown(absent("f", &refused("AccessDeniedException"), "a:B"));
        assert_eq!(kind, "missing");
        assert!(
            text.contains("f is not known") && text.contains("a:B"),
            "{text}"
        );
    }
}
