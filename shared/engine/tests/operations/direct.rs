//! Wishes that are documents, and the files that are deployed beside a flow.

use std::sync::Arc;

use async_trait::async_trait;
use operon_core::exec::Event;
use operon_core::lang::Plugins;
use operon_engine::evaluate::Evaluator;
use operon_engine::files::{self, Beside};
use operon_engine::flows::{Deploy, Expected, Flows};
use operon_engine::operations::Operations;
use operon_engine::ports::{ArtifactUri, EventSink, ShardKey, StoreError};
use operon_testkit::memory::MemoryPorts;
use serde_json::{Value, json};

const FLOW: &str = "
id: direct
namespace: demo
inputs:
  - {id: name, type: STRING}
  - {id: data, type: FILE, defaults: data/a.txt}
tasks:
  - {id: say, type: log, message: \"{{ inputs.name }}: {{ read(inputs.data) }}\"}
";

struct Nobody;

#[async_trait]
impl EventSink for Nobody {
    async fn send(&self, _: &ShardKey, _: &Event) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A deployed flow with files beside it.
async fn world() -> (MemoryPorts, Operations, String) {
    let memory = MemoryPorts::default();
    let ports = memory.ports();
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("data/.git")).unwrap();
    std::fs::write(root.path().join("data/a.txt"), "acgt").unwrap();
    std::fs::write(root.path().join("data/.git/x"), "no").unwrap();
    std::fs::write(root.path().join("run.sh"), "echo").unwrap();
    let place = files::publish(&*ports.artifacts, root.path())
        .await
        .unwrap();
    let operations = Operations {
        evaluator: Evaluator {
            ports: ports.clone(),
            shards: Arc::default(),
            items: Arc::default(),
        },
        flows: Flows::new(&ports, Arc::new(Plugins::default())),
        sink: Arc::new(Nobody),
    };
    let deploy = Deploy {
        source: FLOW,
        wanted: None,
        expected: Expected::Any,
        directory: Some(place.to_string()),
        by: "alice",
        message: None,
    };
    operations.flows.deploy(deploy).await.unwrap();
    (memory, operations, place.to_string())
}

#[tokio::test]
async fn the_same_key_is_the_same_execution_and_what_is_wrong_is_said() {
    let (_memory, operations, _) = world().await;
    let ask = async |wish: Value| operations.direct(&wish).await.unwrap().unwrap();
    let wish = json!({
        "operon": "start", "namespace": "demo", "flow": "direct", "inputs": {"name": "x"}, "key": "k1",
    });
    let first = ask(wish.clone()).await;
    assert_eq!(
        (&first["created"], &first["state"]),
        (&json!(true), &json!("CREATED"))
    );
    let again = ask(wish).await;
    assert_eq!(
        (&again["id"], &again["created"]),
        (&first["id"], &json!(false))
    );
    for (wish, part) in [
        (
            json!({"operon": "start", "namespace": "demo", "flow": "direct"}),
            "name",
        ),
        (
            json!({"operon": "start", "namespace": "demo", "flow": "gone"}),
            "deploy it first",
        ),
        (
            json!({"operon": "start", "namespace": "demo", "flow": "direct", "key": ""}),
            "characters",
        ),
        (json!({"operon": "stop"}), "no wish"),
        (
            json!({"operon": "start", "namespace": "demo", "flow": "direct", "inputs": {"name": "x", "data": "/etc/passwd"}}),
            "artifact",
        ),
        (
            json!({"operon": "start", "namespace": "demo", "flow": "direct", "inputs": {"name": "x", "data": "data/../../x"}}),
            "artifact",
        ),
    ] {
        let answer = ask(wish).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains(part), "{answer} has no {part:?}");
    }
    assert!(operations.direct(&json!({"Records": []})).await.is_none());
}

#[tokio::test]
async fn a_flow_sees_the_files_that_were_deployed_with_it() {
    let (memory, operations, place) = world().await;
    let started = operations
        .direct(&json!({
            "operon": "start", "namespace": "demo", "flow": "direct", "inputs": {"name": "x"},
        }))
        .await
        .unwrap()
        .unwrap();
    let id = started["id"].as_str().unwrap().parse().unwrap();
    let ports = memory.ports();
    let row = ports.store.execution(&id).await.unwrap().unwrap();
    let uri: ArtifactUri = row.meta.inputs["data"].as_str().unwrap().parse().unwrap();
    assert_eq!(ports.artifacts.get(&uri, 9).await.unwrap(), "acgt");
    let beside = Beside::load(&*ports.artifacts, Some(&place)).await.unwrap();
    let Beside::Listing(files) = beside else {
        panic!("a listing");
    };
    assert_eq!(files.keys().collect::<Vec<_>>(), ["data/a.txt", "run.sh"]);
    let newer = ArtifactUri::new("files/newer.json").unwrap();
    let text = json!({"format": 2, "files": {}}).to_string();
    ports.artifacts.put(&newer, text.into()).await.unwrap();
    let refused = Beside::load(&*ports.artifacts, Some("operon:///files/newer.json")).await;
    assert!(refused.unwrap_err().to_string().contains("upgrade"));
}
