//! Tasks on whole files.

use operon_core::exec::Reason;
use operon_engine::tasks::storage::{
    CONCAT_FILES_MAX, EXTENSION_BYTES_MAX, SEPARATOR_BYTES_MAX, SPLIT_PARTS_MAX, WRITE_BYTES_MAX,
};
use serde_json::{Value, json};

use crate::world::World;

async fn output(world: &World, task: &str, props: Value, name: &str) -> Value {
    let output = world.run(&format!("core.storage.{task}"), props).await;
    output.unwrap().outputs[name].clone()
}

async fn refused(world: &World, task: &str, props: Value, begin: &str) {
    let error = world
        .run(&format!("core.storage.{task}"), props)
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::InvalidInput);
    assert!(error.message.starts_with(begin), "{}", error.message);
}

#[tokio::test]
async fn a_text_becomes_an_artifact() {
    let world = World::new();
    for (props, key, content) in [
        (
            json!({"content": "hello", "extension": ".txt"}),
            "content.txt",
            "hello",
        ),
        (
            json!({"content": {"a": 1}, "extension": "json"}),
            "content.json",
            "{\"a\":1}",
        ),
        (json!({"content": ""}), "content", ""),
    ] {
        let uri = output(&world, "Write", props, "uri").await;
        assert_eq!(uri, json!(format!("operon:///executions/e1/r-3/1/{key}")));
        assert_eq!(world.read(&uri).await, content);
    }
    refused(&world, "Write", json!({}), "`content` is required").await;
    refused(
        &world,
        "Write",
        json!({"content": "x", "extension": "/../x"}),
        "`extension`",
    )
    .await;
    let long = "x".repeat(EXTENSION_BYTES_MAX + 1);
    refused(
        &world,
        "Write",
        json!({"content": "x", "extension": long}),
        "`extension`",
    )
    .await;
    let large = "x".repeat(WRITE_BYTES_MAX + 1);
    refused(&world, "Write", json!({"content": large}), "`content` has").await;
}

#[tokio::test]
async fn files_are_joined_in_order() {
    let world = World::new();
    let (a, b) = (world.put("a", "one").await, world.put("b", "two").await);
    let uri = output(&world, "Concat", json!({"files": [a, b]}), "uri").await;
    assert!(uri.as_str().unwrap().ends_with("/joined.tmp"));
    assert_eq!(world.read(&uri).await, "onetwo");
    let text = format!("[\"{b}\", \"{a}\"]");
    let props = json!({"files": text, "separator": "\n", "extension": ".txt"});
    let uri = output(&world, "Concat", props, "uri").await;
    assert_eq!(world.read(&uri).await, "two\none\n");
    refused(
        &world,
        "Concat",
        json!({"files": "/etc/passwd"}),
        "`/etc/passwd` is not an artifact",
    )
    .await;
    let many = vec!["operon:///a"; CONCAT_FILES_MAX + 1];
    refused(&world, "Concat", json!({"files": many}), "`files` names").await;
    let missing = world
        .run("core.storage.Concat", json!({"files": ["operon:///none"]}))
        .await;
    assert_eq!(missing.unwrap_err().reason, Reason::Output);
}

#[tokio::test]
async fn parts_joined_are_the_file() {
    let world = World::new();
    let text = ">a\nACGT\n>b\nAC\n>c\nA";
    let from = world.put("in/genomes.fasta", text).await;
    for cut in [
        json!({"rows": 2}),
        json!({"bytes": "5B"}),
        json!({"partitions": "4"}),
    ] {
        for separator in ["\n", "\n>"] {
            let mut props = cut.clone();
            props["from"] = json!(from);
            props["separator"] = json!(separator);
            let uris = output(&world, "Split", props, "uris").await;
            let uris = uris.as_array().unwrap();
            assert!(uris.len() > 1, "{cut} {separator:?}");
            assert!(uris[1].as_str().unwrap().ends_with("part-00001.fasta"));
            let joined = output(&world, "Concat", json!({"files": uris}), "uri").await;
            assert_eq!(world.read(&joined).await, text);
        }
    }
    refused(&world, "Split", json!({"from": from}), "exactly one").await;
    refused(
        &world,
        "Split",
        json!({"from": from, "rows": 1, "bytes": 1}),
        "exactly one",
    )
    .await;
    refused(&world, "Split", json!({"from": from, "rows": 0}), "`rows`").await;
    let many = SPLIT_PARTS_MAX + 1;
    refused(
        &world,
        "Split",
        json!({"from": from, "partitions": many}),
        "`partitions`",
    )
    .await;
    let long = "-".repeat(SEPARATOR_BYTES_MAX + 1);
    let props = json!({"from": from, "rows": 1, "separator": long});
    refused(&world, "Split", props, "`separator`").await;
}

#[tokio::test]
async fn records_are_turned_round() {
    let world = World::new();
    let from = world.put("in", "a\nb\nc").await;
    let uri = output(&world, "Reverse", json!({"from": from}), "uri").await;
    assert_eq!(world.read(&uri).await, "c\nb\na\n");
    let from = world.put("empty", "").await;
    let uri = output(&world, "Reverse", json!({"from": from}), "uri").await;
    assert_eq!(world.read(&uri).await, "");
}

#[tokio::test]
async fn files_are_measured_and_deleted() {
    let world = World::new();
    let uri = world.put("in", "12345").await;
    assert_eq!(
        output(&world, "Size", json!({"uri": uri}), "size").await,
        json!(5)
    );
    for deleted in [true, false] {
        assert_eq!(
            output(&world, "Delete", json!({"uri": uri}), "deleted").await,
            json!(deleted)
        );
    }
    let props = json!({"uri": uri, "errorOnMissing": true});
    let error = world.run("core.storage.Delete", props).await.unwrap_err();
    assert!(error.message.contains("there is no artifact"), "{error}");
    let error = world
        .run("core.storage.Size", json!({"uri": uri}))
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::Output);
}

#[tokio::test]
async fn nothing_but_the_results_is_left() {
    let world = World::new();
    let from = world.put("in", "a\nb\n").await;
    output(&world, "Split", json!({"from": from, "rows": 1}), "uris").await;
    let keys = world.memory.artifacts.keys();
    assert_eq!(keys.len(), 3, "{keys:?}");
}
