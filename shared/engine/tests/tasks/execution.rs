//! Fail, Exit, Assert, Labels.

use std::collections::BTreeMap;

use operon_core::exec::{Reason, State};
use operon_engine::tasks::execution::{LABEL_KEY_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX};
use serde_json::{Map, Value, json};

use crate::world::World;

#[tokio::test]
async fn fail_fails_when_its_condition_holds() {
    let world = World::new();
    let fail = "core.execution.Fail";
    let error = world
        .run(fail, json!({"errorMessage": "too many"}))
        .await
        .unwrap_err();
    assert_eq!(
        (error.reason, error.message.as_str()),
        (Reason::TaskFailed, "too many")
    );
    assert!(world.run(fail, json!({"condition": true})).await.is_err());
    assert!(world.run(fail, json!({"condition": "yes"})).await.is_err());
    for falsy in [
        json!(false),
        json!("false"),
        json!(""),
        json!(null),
        json!(0),
    ] {
        assert!(
            world.run(fail, json!({"condition": falsy})).await.is_ok(),
            "{falsy}"
        );
    }
}

#[tokio::test]
async fn exit_ends_the_execution() {
    let world = World::new();
    for (word, state) in [
        (json!(null), State::Success),
        (json!("WARNING"), State::Warning),
        (json!("failed"), State::Failed),
        (json!("KILLED"), State::Killed),
        (json!("CANCELED"), State::Cancelled),
    ] {
        let output = world
            .run("core.execution.Exit", json!({"state": word}))
            .await
            .unwrap();
        assert_eq!(output.exit, Some(state));
    }
    let error = world
        .run("core.execution.Exit", json!({"state": "RUNNING"}))
        .await;
    assert_eq!(error.unwrap_err().reason, Reason::InvalidInput);
}

#[tokio::test]
async fn assert_counts_and_names_what_does_not_hold() {
    let world = World::new();
    let task = "core.execution.Assert";
    let output = world
        .run(task, json!({"conditions": [true, "x", 1]}))
        .await
        .unwrap();
    assert_eq!(json!(output.outputs), json!({"passed": 3, "failed": 0}));
    assert_eq!(output.metrics[0].name, "success");
    let props = json!({"conditions": [true, "false", 0], "errorMessage": "bad data"});
    let error = world.run(task, props).await.unwrap_err();
    assert_eq!(
        error.message,
        "bad data: 2 of 3 conditions do not hold (number 2, 3)"
    );
    assert_eq!(json!(error.outputs), json!({"passed": 1, "failed": 2}));
    assert!(world.run(task, json!({})).await.is_err());
}

#[tokio::test]
async fn labels_come_as_map_or_list() {
    let world = World::new();
    let task = "core.execution.Labels";
    let expected = BTreeMap::from([
        ("a".to_owned(), "1".to_owned()),
        ("b".to_owned(), "x".to_owned()),
    ]);
    let output = world
        .run(task, json!({"labels": {"a": 1, "b": "x"}}))
        .await
        .unwrap();
    assert_eq!(output.labels, expected);
    let list = json!([{"key": "a", "value": 1}, {"key": "b", "value": "x"}]);
    let output = world.run(task, json!({"labels": list})).await.unwrap();
    assert_eq!(output.labels, expected);
    for wrong in [
        json!(null),
        json!([{"key": "a"}]),
        json!({"a": {}}),
        json!({"": "x"}),
        json!({"system.from": "x"}),
    ] {
        let error = world.run(task, json!({"labels": wrong})).await.unwrap_err();
        assert!(error.message.starts_with("`labels"), "{}", error.message);
    }
}

#[tokio::test]
async fn labels_have_limits() {
    let world = World::new();
    let many: Map<String, Value> = (0..=LABELS_MAX)
        .map(|n| (n.to_string(), json!("x")))
        .collect();
    let long_key = Map::from_iter([("k".repeat(LABEL_KEY_BYTES_MAX + 1), json!("x"))]);
    let long_value = json!({"k": "v".repeat(LABEL_VALUE_BYTES_MAX + 1)});
    for labels in [Value::Object(many), Value::Object(long_key), long_value] {
        let result = world
            .run("core.execution.Labels", json!({"labels": labels}))
            .await;
        assert_eq!(result.unwrap_err().reason, Reason::InvalidInput);
    }
}
