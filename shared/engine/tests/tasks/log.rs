//! Tasks that show or return what they are given.

use serde_json::json;

use operon_engine::ports::{LogLevel, LogLine};

use crate::world::World;

#[tokio::test]
async fn messages_are_logged_line_by_line_without_secrets() {
    let world = World::new().with_secret("hunter22");
    world
        .run(
            "core.log.Log",
            json!({"message": ["first\nsecond", "key hunter22", {"a": 1}], "level": "warn"}),
        )
        .await
        .unwrap();
    let lines = world.lines();
    let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["first", "second", "key ******", "{\"a\":1}"]);
    assert!(lines.iter().all(|line| line.level == LogLevel::Warn));
    assert_eq!(
        lines.iter().map(|line| line.seq).collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    let error = world
        .run("core.log.Log", json!({"message": "x", "level": "loud"}))
        .await;
    assert!(
        error
            .unwrap_err()
            .message
            .starts_with("`level` must be one of")
    );
    assert!(world.run("core.log.Log", json!({})).await.is_err());
}

#[tokio::test]
async fn a_long_line_is_cut() {
    let world = World::new();
    let text = "ä".repeat(LogLine::TEXT_MAX);
    world
        .run("core.log.Log", json!({"message": text}))
        .await
        .unwrap();
    assert_eq!(world.lines()[0].text.len(), LogLine::TEXT_MAX);
}

#[tokio::test]
async fn values_are_returned_with_their_types() {
    let world = World::new();
    let output = world
        .run("core.debug.Return", json!({"format": {"n": [1, 2]}}))
        .await
        .unwrap();
    assert_eq!(json!(output.outputs), json!({"value": {"n": [1, 2]}}));
    let output = world
        .run("core.debug.Echo", json!({"format": "hi"}))
        .await
        .unwrap();
    assert_eq!(json!(output.outputs), json!({"value": "hi"}));
    assert_eq!(world.lines().last().unwrap().text, "hi");
    let output = world
        .run("core.output.OutputValues", json!({"values": {"day": 3}}))
        .await
        .unwrap();
    assert_eq!(json!(output.outputs), json!({"values": {"day": 3}}));
    let error = world
        .run("core.output.OutputValues", json!({"values": [1]}))
        .await;
    assert!(
        error
            .unwrap_err()
            .message
            .starts_with("`values` must be a map")
    );
}
