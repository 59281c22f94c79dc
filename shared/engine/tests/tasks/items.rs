//! Tasks that look at every item of a file.

use operon_core::exec::Reason;
use serde_json::{Value, json};

use crate::world::World;

const RECORDS: &str = "{\"id\": \"a\", \"length\": 5}\n{\"id\": \"b\", \"length\": 20}\n\n{\"id\": \"a\", \"length\": null}";

async fn outputs(
    world: &World,
    task: &str,
    from: &str,
    props: Value,
) -> Result<(String, Value), String> {
    let mut props = props;
    props["from"] = json!(from);
    let output = world.run(&format!("core.storage.{task}"), props).await;
    let mut outputs = output.map_err(|error| error.message)?.outputs;
    let uri = outputs.remove("uri").unwrap();
    Ok((world.read(&uri).await, json!(outputs)))
}

#[tokio::test]
async fn records_are_kept_by_a_condition() {
    let world = World::new();
    let from = world.put("in", RECORDS).await;
    let (text, counts) = outputs(
        &world,
        "FilterItems",
        &from,
        json!({"filterCondition": "{{ id == 'a' }}"}),
    )
    .await
    .unwrap();
    assert_eq!(
        text,
        "{\"id\": \"a\", \"length\": 5}\n{\"id\": \"a\", \"length\": null}\n"
    );
    assert_eq!(
        counts,
        json!({"processedItemsTotal": 3, "droppedItemsTotal": 1})
    );
    let props = json!({"filterCondition": "{{ item.id == 'a' }}", "filterType": "EXCLUDE"});
    let (text, _) = outputs(&world, "FilterItems", &from, props).await.unwrap();
    assert_eq!(text, "{\"id\": \"b\", \"length\": 20}\n");
}

#[tokio::test]
async fn a_condition_without_an_answer_fails_or_decides() {
    let world = World::new();
    let from = world.put("in", RECORDS).await;
    for condition in ["{{ length }}", "{{ item.length > 0 and item.none.x }}"] {
        let mut props = json!({"filterCondition": condition});
        let error = outputs(&world, "FilterItems", &from, props.clone())
            .await
            .unwrap_err();
        assert!(
            error.starts_with("`filterCondition` fails for line "),
            "{error}"
        );
        props["errorOrNullBehavior"] = json!("INCLUDE");
        let (text, _) = outputs(&world, "FilterItems", &from, props.clone())
            .await
            .unwrap();
        assert_eq!(text.lines().count(), 3);
        props["errorOrNullBehavior"] = json!("EXCLUDE");
        let (text, _) = outputs(&world, "FilterItems", &from, props).await.unwrap();
        assert!(text.lines().count() < 3);
    }
}

#[tokio::test]
async fn a_condition_sees_the_execution_and_looks_things_up() {
    let mut world = World::new();
    world.meta.inputs.insert("least".to_owned(), json!(10));
    let props = json!({"key": "wanted", "value": "b"});
    world.run("core.kv.Set", props).await.unwrap();
    let from = world.put("in", RECORDS).await;
    let props = json!({
        "filterCondition": "{{ id == kv('wanted') and length >= inputs.least and flow.id == 'processing' }}",
    });
    let (text, _) = outputs(&world, "FilterItems", &from, props).await.unwrap();
    assert_eq!(text, "{\"id\": \"b\", \"length\": 20}\n");
}

#[tokio::test]
async fn the_last_record_of_each_key_is_kept() {
    let world = World::new();
    let from = world.put("in", RECORDS).await;
    let (text, counts) = outputs(
        &world,
        "DeduplicateItems",
        &from,
        json!({"expr": "{{ id }}"}),
    )
    .await
    .unwrap();
    assert_eq!(
        text,
        "{\"id\": \"b\", \"length\": 20}\n{\"id\": \"a\", \"length\": null}\n"
    );
    assert_eq!(
        counts,
        json!({"numKeys": 2, "processedItemsTotal": 3, "droppedItemsTotal": 1})
    );
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_line() {
    let world = World::new();
    let from = world.put("in", "{}\nnot JSON\n").await;
    let props = json!({"filterCondition": "{{ true }}", "errorOrNullBehavior": "INCLUDE"});
    let error = outputs(&world, "FilterItems", &from, props)
        .await
        .unwrap_err();
    assert!(
        error.starts_with("line 2 of the file is not JSON"),
        "{error}"
    );
    let error = outputs(
        &world,
        "DeduplicateItems",
        &from,
        json!({"expr": "{{ absent }}"}),
    )
    .await
    .unwrap_err();
    assert!(error.starts_with("`expr` fails for line 1"), "{error}");
    let props = json!({"filterCondition": "{{ 1 +", "from": from});
    let error = world
        .run("core.storage.FilterItems", props)
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::InvalidInput);
    assert!(
        error
            .message
            .starts_with("`filterCondition` is not a template"),
        "{error}"
    );
}
