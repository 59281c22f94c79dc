//! The audit trail: no change without an entry, and every refusal told from a change.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, StatusCode};
use operon_testkit::memory::MemoryPorts;
use serde_json::{Value, json};

use crate::world::{Forgetful, TOKEN, application, call, local, request, send, with_records};

const FLOW: &str =
    "id: hello\nnamespace: demo\ntasks:\n  - id: say\n    type: log\n    message: hi\n";

async fn deploy(application: &Router, source: &'static str) -> StatusCode {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/yaml"),
        ("if-none-match", "*"),
    ];
    let path = "/api/v1/flows/demo/hello";
    let put = request(&Method::PUT, path, &headers, Body::from(source));
    send(application, put).await.status
}

async fn entries(application: &Router) -> Vec<(String, String)> {
    let audit = call(application, Method::GET, "/api/v1/audit", &Value::Null).await;
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    let mut entries: Vec<(String, String)> = audit.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (text(entry, "action"), text(entry, "outcome")))
        .collect();
    entries.sort();
    entries
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(action, outcome)| ((*action).to_owned(), (*outcome).to_owned()))
        .collect()
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_changed() {
    let memory = MemoryPorts::default();
    let records = Forgetful::over(&memory);
    let application = with_records(&memory, records.clone());
    assert_eq!(deploy(&application, FLOW).await, StatusCode::CREATED);
    let wish = json!({"namespace": "demo", "flow": "hello"});
    let made = call(&application, Method::POST, "/api/v1/executions", &wish).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();

    records.forget();
    let started = call(&application, Method::POST, "/api/v1/executions", &wish).await;
    assert!(started.status.is_server_error(), "{}", started.text);
    let labels = json!({"labels": {"seen": "yes"}});
    let path = format!("/api/v1/executions/{id}/labels");
    let labelled = call(&application, Method::POST, &path, &labels).await;
    assert!(labelled.status.is_server_error(), "{}", labelled.text);
    let bulk = json!({"action": "labels", "labels": {"seen": "yes"}, "query": {}});
    let bulk = call(&application, Method::POST, "/api/v1/executions/bulk", &bulk).await;
    assert!(bulk.status.is_server_error(), "{}", bulk.text);

    let list = call(
        &application,
        Method::GET,
        "/api/v1/executions",
        &Value::Null,
    )
    .await;
    let list = list.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["items"][0]["labels"]["seen"], Value::Null, "{list}");
}

#[tokio::test]
async fn a_change_that_is_refused_is_told_from_one_that_was_made() {
    let memory = MemoryPorts::default();
    let application = application(&memory, local());
    assert_eq!(deploy(&application, FLOW).await, StatusCode::CREATED);
    let made = pairs(&[("flow.deploy", "ASKED"), ("flow.deploy", "DONE")]);
    assert_eq!(entries(&application).await, made);
    // There is such a flow already.
    let again = deploy(&application, FLOW).await;
    assert_eq!(again, StatusCode::PRECONDITION_FAILED);
    let refused = pairs(&[
        ("flow.deploy", "ASKED"),
        ("flow.deploy", "ASKED"),
        ("flow.deploy", "DONE"),
        ("flow.deploy", "REFUSED"),
    ]);
    assert_eq!(entries(&application).await, refused);
}
