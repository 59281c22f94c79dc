//! The registry of flows.

use std::sync::Arc;

use operon_core::lang::Plugins;
use operon_engine::flows::{Deploy, Deployed, Expected, FlowError, FlowHead, Flows};
use operon_engine::ports::RECORD_BYTES_MAX;
use operon_engine::subflow::FlowSource as _;
use operon_testkit::memory::MemoryPorts;

fn registry() -> (MemoryPorts, Flows) {
    let memory = MemoryPorts::default();
    let flows = Flows::new(&memory.ports(), Arc::new(Plugins::default()));
    (memory, flows)
}

fn source(message: &str) -> String {
    format!(
        "id: hello\nnamespace: demo\ntasks:\n  - id: say\n    type: io.kestra.plugin.core.log.Log\n    message: {message}\n"
    )
}

async fn deploy(flows: &Flows, source: &str, expected: Expected) -> Result<Deployed, FlowError> {
    flows
        .deploy(Deploy {
            source,
            wanted: None,
            expected,
            directory: None,
            by: "alice",
            message: None,
        })
        .await
}

#[tokio::test]
async fn deploying_twice_is_deploying_once_and_rolling_back_moves_the_pointer() {
    let (_memory, flows) = registry();
    let first = deploy(&flows, &source("a"), Expected::Absent)
        .await
        .unwrap();
    assert!(first.new && first.changed);
    let again = deploy(&flows, &source("a"), Expected::Revision(1)).await;
    assert!(matches!(
        again,
        Ok(Deployed {
            new: false,
            changed: false,
            ..
        })
    ));
    let second = deploy(&flows, &source("b"), Expected::Revision(1))
        .await
        .unwrap();
    assert_eq!(second.flow.revision, 2);
    let back = flows
        .rollback("demo", "hello", 1, Expected::Revision(2), "bob")
        .await
        .unwrap();
    assert_eq!((back.revision, back.updated_by.as_str()), (1, "bob"));
    let (_, current) = flows.current("demo", "hello").await.unwrap();
    assert_eq!(current.source, source("a"));
    let numbers: Vec<u32> = flows
        .revisions("demo", "hello", None, 10)
        .await
        .unwrap()
        .into_iter()
        .map(|head| head.revision)
        .collect();
    assert_eq!(numbers, [2, 1]);
}

#[tokio::test]
async fn a_source_that_compiles_to_the_same_plan_is_a_revision_of_its_own() {
    let (_memory, flows) = registry();
    deploy(&flows, &source("a"), Expected::Any).await.unwrap();
    let commented = format!("# a remark\n{}", source("a"));
    let second = deploy(&flows, &commented, Expected::Any).await.unwrap();
    assert!(second.new);
    assert_eq!(second.flow.revision, 2);
    let revision = flows.revision("demo", "hello", 2).await.unwrap();
    assert_eq!(revision.source, commented);
    let first = flows.revision("demo", "hello", 1).await.unwrap();
    assert_eq!(first.plan, revision.plan);
}

#[tokio::test]
async fn who_saw_another_revision_changes_nothing() {
    let (_memory, flows) = registry();
    deploy(&flows, &source("a"), Expected::Any).await.unwrap();
    for expected in [Expected::Absent, Expected::Revision(7)] {
        let refused = deploy(&flows, &source("b"), expected).await;
        assert!(matches!(
            refused,
            Err(FlowError::Conflict { current: Some(1) })
        ));
    }
    assert_eq!(
        flows
            .revisions("demo", "hello", None, 10)
            .await
            .unwrap()
            .len(),
        1
    );
    let refused = flows
        .rollback("demo", "hello", 9, Expected::Any, "bob")
        .await;
    assert!(matches!(
        refused,
        Err(FlowError::MissingRevision { revision: 9, .. })
    ));
}

#[tokio::test]
async fn what_is_wrong_is_not_deployed() {
    let (_memory, flows) = registry();
    let refused = deploy(&flows, "id: hello\nnamespace: demo\n", Expected::Any).await;
    let Err(FlowError::Invalid(checked)) = refused else {
        panic!("a flow without tasks is not valid");
    };
    assert!(checked.errors() > 0);
    let other = flows
        .deploy(Deploy {
            source: &source("a"),
            wanted: Some(("demo", "other")),
            expected: Expected::Any,
            directory: None,
            by: "alice",
            message: None,
        })
        .await;
    assert!(matches!(other, Err(FlowError::OtherFlow { .. })));
    assert!(flows.flows(None, None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_large_revision_is_kept_whole() {
    let (memory, flows) = registry();
    let comment = format!("# {}\n", "x".repeat(98));
    let large = source("hello") + &comment.repeat(RECORD_BYTES_MAX / 100 + 1);
    deploy(&flows, &large, Expected::Any).await.unwrap();
    assert_eq!(
        flows.revision("demo", "hello", 1).await.unwrap().source,
        large
    );
    // Also for who has not deployed it.
    let other = Flows::new(&memory.ports(), Arc::new(Plugins::default()));
    assert_eq!(
        other.revision("demo", "hello", 1).await.unwrap().source,
        large
    );
}

#[tokio::test]
async fn flows_are_listed_by_namespace_and_page_and_disabled_alone() {
    let (_memory, flows) = registry();
    for (namespace, id) in [("a", "x"), ("a", "y"), ("a.b", "z")] {
        let text = source("m")
            .replace("id: hello", &format!("id: {id}"))
            .replace("namespace: demo", &format!("namespace: {namespace}"));
        deploy(&flows, &text, Expected::Any).await.unwrap();
    }
    let names = |heads: Vec<FlowHead>| -> Vec<String> {
        let name = |head: FlowHead| format!("{}/{}", head.namespace, head.id);
        heads.into_iter().map(name).collect()
    };
    let all = flows.flows(None, None, 2).await.unwrap();
    assert_eq!(names(all), ["a.b/z", "a/x"]);
    let rest = flows.flows(None, Some(("a", "x")), 2).await.unwrap();
    assert_eq!(names(rest), ["a/y"]);
    let own = flows.flows(Some("a"), None, 10).await.unwrap();
    assert_eq!(names(own), ["a/x", "a/y"]);
    let off = flows.set_disabled("a", "x", true, "bob").await.unwrap();
    assert!(off.disabled);
    assert!(!flows.existing("a", "y").await.unwrap().disabled);
}

#[tokio::test]
async fn a_subflow_is_the_revision_it_asks_for_or_the_one_that_counts() {
    let (_memory, flows) = registry();
    for text in ["a", "b", "c"] {
        deploy(&flows, &source(text), Expected::Any).await.unwrap();
    }
    flows
        .rollback("demo", "hello", 2, Expected::Any, "bob")
        .await
        .unwrap();
    for (asked, counts) in [(None, 2), (Some(1), 1), (Some(3), 3)] {
        let plan = flows.plan("demo", "hello", asked).await.unwrap();
        let revision = flows.revision("demo", "hello", counts).await.unwrap();
        assert_eq!(plan, revision.plan, "{asked:?}");
    }
    let missing = flows.plan("demo", "hello", Some(4)).await.unwrap_err();
    assert!(missing.to_string().contains('4'), "{missing}");
}
