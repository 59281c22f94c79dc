//! Alerts: who is told, how often, and what.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../tasks/server.rs"]
mod server;
mod smtp;
mod tasks;
mod world;

use operon_engine::notify::{self, Phase, PolicyError};
use serde_json::Value;
use server::{Server, answer};
use world::{NAMESPACE, SECRET_PATH, World};

const SLACK: &str = "notify: [{id: ops, slack: {url: \"{{ secret('HOOK') }}\"}}]\n";

async fn told(rest: &str) -> (Server, World) {
    let server = Server::start(|_| answer("200 OK", "", b"ok")).await;
    let world = World::new(rest, &format!("{}{SECRET_PATH}", server.base));
    (server, world)
}

fn bodies(server: &Server) -> Vec<Value> {
    let asked = server.asked();
    asked
        .iter()
        .map(|asked| serde_json::from_str(&asked.body).unwrap())
        .collect()
}

fn valid(schema: &str, message: &Value) {
    let path = format!(
        "{}/../../tests/fixtures/messages/{schema}.schema.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(message)
        .map(|error| error.to_string())
        .collect();
    assert_eq!(errors, Vec::<String>::new(), "{message:#}");
}

#[tokio::test]
async fn a_failure_is_told_once_with_everything_that_helps() {
    let (server, world) = told(SLACK).await;
    let row = world.execution("e1", "FAILED").await;
    for _ in 0..3 {
        world.ended(&row).await;
        world.deliver().await;
    }
    let [message] = bodies(&server).try_into().unwrap();
    valid("slack", &message);
    assert!(message["blocks"].is_array() && message.get("channel").is_none());
    let text = message.to_string();
    for part in [
        "genomics/processing (mpox) failed",
        "qc[3]",
        "out of memory",
        "used more than 2 GB",
        "line 29 &lt;b&gt;",
        "https://operon.example.org/executions/e1",
        "restart or replay it",
    ] {
        assert!(text.contains(part), "`{part}` is not told: {text}");
    }
    assert!(!text.contains("line 9 "), "only the last 20 lines are told");
}

#[tokio::test]
async fn a_hundred_failures_are_two_messages_and_their_end_a_third() {
    let (server, world) = told(SLACK).await;
    for number in 0..100 {
        world.end(&format!("e{number}"), "FAILED").await;
        world.memory.clock.advance(2_900);
    }
    assert_eq!(server.asked().len(), 1);
    world.memory.clock.advance(60_000);
    world.deliver().await;
    let messages = bodies(&server);
    assert_eq!(messages.len(), 2);
    valid("slack", &messages[1]);
    assert_eq!(messages[1]["text"], "99 failures of genomics/processing");
    world.end("good", "SUCCESS").await;
    world.end("better", "SUCCESS").await;
    let messages = bodies(&server);
    assert_eq!(messages.len(), 3);
    assert_eq!(
        messages[2]["text"],
        "genomics/processing recovered after 100 failures"
    );
    assert_eq!(world.incidents().await[0].phase, Phase::Closed);
}

#[tokio::test]
async fn what_was_told_before_is_told_again_after_it_recovered() {
    let (server, world) = told(SLACK).await;
    for (id, state) in [("a", "FAILED"), ("b", "SUCCESS"), ("c", "FAILED")] {
        world.end(id, state).await;
        world.memory.clock.advance(1000);
    }
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn an_alert_nobody_took_is_visible_and_tried_again() {
    let server = Server::start(|_| answer("503 Busy", "", b"later")).await;
    let world = World::new(SLACK, &format!("{}{SECRET_PATH}", server.base));
    world.end("e1", "FAILED").await;
    let [incident] = world.incidents().await.try_into().unwrap();
    assert_eq!((incident.untold, incident.delivery.failed), (1, 1));
    let error = incident.delivery.error.unwrap();
    assert!(error.contains("503") && error.contains("later"), "{error}");
    assert!(
        !error.contains("T0SECRET"),
        "an address that is a secret is never shown: {error}"
    );
    assert_eq!(world.deliver().await.failed, 0, "not before its time");
    world.memory.clock.advance(30_000);
    assert_eq!(world.deliver().await.failed, 1);
}

#[tokio::test]
async fn no_record_holds_a_secret() {
    let (_server, world) = told(SLACK).await;
    world.end("e1", "FAILED").await;
    let incidents = format!("{:?}", world.incidents().await);
    assert!(!incidents.contains("T0SECRET"));
    assert!(incidents.contains("secret('HOOK')"));
}

#[tokio::test]
async fn a_missed_service_level_is_told_while_the_execution_runs() {
    let rest = "sla: [{id: soon, type: MAX_DURATION, duration: PT1M, behavior: NONE}]\n\
                notify: [{id: ops, states: [SLA], slack: {url: \"{{ secret('HOOK') }}\"}}]\n";
    let (server, world) = told(rest).await;
    let runs = world.execution("runs", "RUNNING").await;
    let done = world.execution("done", "RUNNING").await;
    for row in [&runs, &done, &runs] {
        world.started(row).await;
    }
    let mut row = done.clone();
    row.state = "SUCCESS".to_owned();
    row.ended_ms = Some(1_030_000);
    let write = operon_engine::ports::Write {
        executions: vec![row],
        ..Default::default()
    };
    world.memory.ports().store.write(write).await.unwrap();
    world.memory.clock.advance(59_000);
    assert_eq!(world.deliver().await.sent, 0);
    world.memory.clock.advance(1_000);
    assert_eq!(world.deliver().await.sent, 1);
    let [message] = bodies(&server).try_into().unwrap();
    assert_eq!(
        message["text"],
        "genomics/processing (mpox) misses its service level"
    );
    world.memory.clock.advance(3_600_000);
    assert_eq!(world.deliver().await.sent, 0);
}

#[tokio::test]
async fn a_namespace_tells_of_missed_service_levels() {
    let (server, world) =
        told("sla: [{id: soon, type: MAX_DURATION, duration: PT1M, behavior: NONE}]\n").await;
    let policy = "notify:\n  - {id: all, states: [SLA], slack: {url: \"{{ secret('HOOK') }}\"}}\n";
    notify::set_policies(&world.memory.ports(), NAMESPACE, policy, "tester", Some(0))
        .await
        .unwrap();
    let runs = world.execution("runs", "RUNNING").await;
    world.started(&runs).await;
    world.memory.clock.advance(60_000);
    assert_eq!(world.deliver().await.sent, 1);
    let [message] = bodies(&server).try_into().unwrap();
    assert_eq!(
        message["text"],
        "genomics/processing (mpox) misses its service level"
    );
}

#[tokio::test]
async fn a_namespace_tells_for_all_its_flows() {
    let (server, world) = told("").await;
    let policy = "notify:\n  - {id: all, webhook: {url: \"{{ secret('HOOK') }}\", headers: {x-team: ops}}}\n";
    let ports = world.memory.ports();
    let saved = notify::set_policies(&ports, NAMESPACE, policy, "tester", Some(0))
        .await
        .unwrap();
    world.end("e1", "FAILED").await;
    let [asked] = server.asked().try_into().unwrap();
    assert!(asked.head.contains("x-team: ops"));
    let message: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(message["status"], "failing");
    assert_eq!(message["failures"][0]["task"], "qc[3]");

    let late = notify::set_policies(&ports, NAMESPACE, policy, "tester", Some(0)).await;
    assert!(matches!(late, Err(PolicyError::Changed(version)) if version == saved.version));
    let removed = notify::remove_policies(&ports, NAMESPACE, Some(saved.version)).await;
    assert_eq!(removed.unwrap().unwrap().source, policy);
    world.end("e2", "FAILED").await;
    assert_eq!(server.asked().len(), 1, "nobody is told any more");
}

#[tokio::test]
async fn a_namespace_tells_nothing_that_is_not_valid() {
    let world = World::new("", "https://hooks.example.org");
    let ports = world.memory.ports();
    let set =
        async |source: &str| notify::set_policies(&ports, NAMESPACE, source, "tester", None).await;
    for (source, line) in [
        ("id: other\nnotify: []\n", 1),
        ("notify:\n  - {id: a, slack: {url: x}}\ntasks: []\n", 3),
        ("", 1),
    ] {
        let error = set(source).await.unwrap_err();
        assert!(
            matches!(error, PolicyError::Other(at) if at == line),
            "{source}: {error}"
        );
    }
    let Err(PolicyError::Invalid(found)) = set("notify:\n  - {id: a}\n").await else {
        panic!("a notification without a channel");
    };
    assert!(
        found[0].message.contains("does not say where to"),
        "{found:?}"
    );
    let long = format!("notify: []\n# {}", "x".repeat(64 * 1024));
    assert!(matches!(set(&long).await, Err(PolicyError::TooLarge(_))));
    assert_eq!(notify::policies(&ports, NAMESPACE).await.unwrap(), None);
}

#[tokio::test]
async fn pagerduty_gets_events_it_understands() {
    let server = Server::start(|_| answer("202 Accepted", "", b"{}")).await;
    let rest = format!(
        "notify: [{{id: ops, pagerduty: {{routingKey: \"{{{{ secret('HOOK') }}}}\", url: \"{}/v2\"}}}}]\n",
        server.base
    );
    let world = World::new(&rest, "R0UTING");
    world.end("e1", "FAILED").await;
    world.end("e2", "SUCCESS").await;
    let messages = bodies(&server);
    for message in &messages {
        valid("pagerduty", message);
        assert_eq!(message["routing_key"], "R0UTING");
    }
    assert_eq!(messages[0]["event_action"], "trigger");
    assert_eq!(messages[1]["event_action"], "resolve");
    assert_eq!(messages[0]["dedup_key"], messages[1]["dedup_key"]);
}
