//! Downloads: streamed, or at the address that the store gives.

use axum::http::{Method, StatusCode};
use operon_engine::ports::ArtifactUri;
use operon_testkit::memory::MemoryPorts;
use serde_json::Value;

use crate::world::{application, call, local};

const PATH: &str = "/api/v1/artifacts/download?uri=operon:///executions/e/report.txt";

#[tokio::test]
async fn a_download_is_at_the_link_of_the_store_or_comes_through_the_server() {
    let memory = MemoryPorts::default();
    let application = application(&memory, local());
    let uri = ArtifactUri::new("executions/e/report.txt").unwrap();
    memory.artifacts.keep(&uri, "hello".into());
    let through = call(&application, Method::GET, PATH, &Value::Null).await;
    assert_eq!(
        (through.status, through.text.as_str()),
        (StatusCode::OK, "hello")
    );

    let base = "https://bucket.example/x?signed";
    *memory.artifacts.links.lock().unwrap() = Some(base.to_owned());
    let linked = call(&application, Method::GET, PATH, &Value::Null).await;
    assert_eq!(linked.status, StatusCode::TEMPORARY_REDIRECT);
    let there = linked.headers.get("location").unwrap().to_str().unwrap();
    assert_eq!(there, format!("{base}/executions/e/report.txt"));
    assert_eq!(linked.headers.get("cache-control").unwrap(), "no-store");
    assert_eq!(linked.text, "");

    // No link leads to what is not there, or is no artifact of an execution.
    for wrong in ["executions/e/other.txt", "flows/demo/hello.json"] {
        let path = format!("/api/v1/artifacts/download?uri=operon:///{wrong}");
        let answer = call(&application, Method::GET, &path, &Value::Null).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{wrong}");
    }
}
