//! Key-value pairs.

use operon_core::exec::Reason;
use operon_engine::ports::{KvEntry, StateStore as _};
use operon_engine::tasks::kv::{KV_KEY_BYTES_MAX, KV_KEYS_MAX, KV_VALUE_BYTES_MAX};
use serde_json::{Value, json};

use crate::world::World;

async fn get(world: &World, key: &str) -> Value {
    let output = world.run("core.kv.Get", json!({"key": key})).await;
    output.unwrap().outputs["value"].clone()
}

#[tokio::test]
async fn a_value_is_set_read_listed_and_deleted() {
    let world = World::new();
    for key in ["last-b", "last-a", "other"] {
        let props = json!({"key": key, "value": {"n": 1}});
        world.run("core.kv.Set", props).await.unwrap();
    }
    assert_eq!(get(&world, "last-a").await, json!({"n": 1}));
    let output = world
        .run("core.kv.GetKeys", json!({"prefix": "last-"}))
        .await
        .unwrap();
    assert_eq!(json!(output.outputs), json!({"keys": ["last-a", "last-b"]}));
    let elsewhere = json!({"namespace": "elsewhere"});
    let output = world.run("core.kv.GetKeys", elsewhere).await.unwrap();
    assert_eq!(json!(output.outputs), json!({"keys": []}));
    for deleted in [true, false] {
        let output = world
            .run("core.kv.Delete", json!({"key": "other"}))
            .await
            .unwrap();
        assert_eq!(json!(output.outputs), json!({"deleted": deleted}));
    }
    for task in ["core.kv.Get", "core.kv.Delete"] {
        let props = json!({"key": "other", "errorOnMissing": true});
        let error = world.run(task, props).await.unwrap_err();
        assert_eq!(error.reason, Reason::TaskFailed);
        assert!(
            error
                .message
                .contains("no key `other` in namespace `genomics`")
        );
    }
    assert_eq!(get(&world, "other").await, Value::Null);
}

#[tokio::test]
async fn a_value_lives_for_its_time() {
    let world = World::new();
    let props = json!({"key": "k", "value": 1, "ttl": "PT1M"});
    world.run("core.kv.Set", props).await.unwrap();
    world.memory.clock.advance(59_999);
    assert_eq!(get(&world, "k").await, json!(1));
    let again = json!({"key": "k", "value": 2, "overwrite": false});
    let error = world.run("core.kv.Set", again.clone()).await.unwrap_err();
    assert!(error.message.contains("`overwrite` is `false`"), "{error}");
    world.memory.clock.advance(1);
    assert_eq!(get(&world, "k").await, Value::Null);
    world.run("core.kv.Set", again).await.unwrap();
    assert_eq!(get(&world, "k").await, json!(2));
}

#[tokio::test]
async fn a_value_has_the_type_it_says() {
    let world = World::new();
    for (kind, value, stored) in [
        ("NUMBER", json!("1.5"), json!(1.5)),
        ("NUMBER", json!(2), json!(2)),
        ("BOOLEAN", json!("True"), json!(true)),
        ("STRING", json!(12), json!("12")),
        ("JSON", json!("{\"a\": [1]}"), json!({"a": [1]})),
        ("JSON", json!({"a": 1}), json!({"a": 1})),
        ("DATE", json!("2030-02-28"), json!("2030-02-28")),
        (
            "DATETIME",
            json!("2030-01-01T00:00:00Z"),
            json!("2030-01-01T00:00:00Z"),
        ),
        ("DURATION", json!("PT5M"), json!("PT5M")),
    ] {
        let props = json!({"key": "k", "value": value, "kvType": kind});
        world.run("core.kv.Set", props).await.unwrap();
        assert_eq!(get(&world, "k").await, stored, "{kind}");
    }
    for (kind, value) in [
        ("NUMBER", json!("many")),
        ("NUMBER", json!("[1]")),
        ("BOOLEAN", json!("yes")),
        ("JSON", json!("{")),
        ("DATE", json!("2030-02-30")),
        ("DATETIME", json!("2030-01-01")),
        ("DURATION", json!(true)),
    ] {
        let props = json!({"key": "k", "value": value, "kvType": kind});
        let error = world.run("core.kv.Set", props).await.unwrap_err();
        let expected = format!("`value` is not of `kvType: {kind}`");
        assert!(error.message.starts_with(&expected), "{error}");
    }
}

#[tokio::test]
async fn keys_and_values_have_limits() {
    let world = World::new();
    let longest = "k".repeat(KV_KEY_BYTES_MAX);
    world
        .run("core.kv.Set", json!({"key": longest, "value": 1}))
        .await
        .unwrap();
    for key in [
        format!("{longest}k"),
        "-k".to_owned(),
        "a/b".to_owned(),
        String::new(),
    ] {
        let error = world
            .run("core.kv.Set", json!({"key": key, "value": 1}))
            .await
            .unwrap_err();
        assert!(error.message.starts_with("`key`"), "{error}");
    }
    // Two quotes are part of the JSON.
    let largest = "v".repeat(KV_VALUE_BYTES_MAX - 2);
    world
        .run("core.kv.Set", json!({"key": "k", "value": largest}))
        .await
        .unwrap();
    let larger = format!("{largest}v");
    let error = world
        .run("core.kv.Set", json!({"key": "k", "value": larger}))
        .await
        .unwrap_err();
    assert!(error.message.starts_with("`value` has"), "{error}");
}

#[tokio::test]
async fn a_list_of_keys_has_a_limit() {
    let world = World::new();
    for n in 0..=KV_KEYS_MAX {
        let entry = KvEntry {
            key: format!("k{n}"),
            value: json!(n),
            expires_ms: None,
        };
        world
            .memory
            .store
            .kv_set("genomics", &entry, true)
            .await
            .unwrap();
    }
    let error = world.run("core.kv.GetKeys", json!({})).await.unwrap_err();
    assert!(
        error.message.contains("at most 10000 can be listed"),
        "{error}"
    );
    assert!(
        world
            .run("core.kv.GetKeys", json!({"prefix": "k1"}))
            .await
            .is_ok()
    );
}
