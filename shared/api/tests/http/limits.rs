//! What is too large is refused, with a problem that says so.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use operon_api::BODY_BYTES_MAX;
use operon_testkit::memory::MemoryPorts;
use serde_json::{Value, json};

use crate::world::{Answered, TOKEN, application, call, local, request, send};

fn assert_problem(answer: &Answered, status: StatusCode, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text);
    assert_eq!(
        answer.headers.get("content-type").unwrap(),
        "application/problem+json",
        "{what}"
    );
    let problem = answer.json();
    assert_eq!(problem["status"], json!(status.as_u16()), "{what}");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{what}"
    );
}

#[tokio::test]
async fn bodies_have_limits() {
    let application = application(&MemoryPorts::default(), local());
    let bearer = format!("Bearer {TOKEN}");
    for (method, path, kind, size) in [
        (
            Method::POST,
            "/api/v1/executions",
            "application/json",
            BODY_BYTES_MAX + 1,
        ),
        (
            Method::POST,
            "/api/v1/flows/validate",
            "application/json",
            BODY_BYTES_MAX + 1,
        ),
        (
            Method::PUT,
            "/api/v1/flows/a/b",
            "application/yaml",
            BODY_BYTES_MAX + 1,
        ),
        (
            Method::POST,
            "/api/v1/artifacts?name=a",
            "application/octet-stream",
            100 * 1024 * 1024 + 1,
        ),
        (
            Method::POST,
            "/api/v1/files?name=a",
            "application/octet-stream",
            BODY_BYTES_MAX + 1,
        ),
        (
            Method::POST,
            "/api/v1/webhooks/a/b/c",
            "application/json",
            5 * 1024 * 1024 + 1,
        ),
    ] {
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        let body = Body::from(vec![b' '; size]);
        let answer = send(&application, request(&method, path, &headers, body)).await;
        assert_problem(&answer, StatusCode::PAYLOAD_TOO_LARGE, path);
    }
}

#[tokio::test]
async fn what_is_read_has_limits() {
    let application = application(&MemoryPorts::default(), local());
    let document = " ".repeat(operon_core::lang::yaml::DOCUMENT_BYTES_MAX + 1);
    let answer = call(
        &application,
        Method::POST,
        "/api/v1/flows/validate",
        &json!({"source": document}),
    )
    .await;
    assert_problem(&answer, StatusCode::PAYLOAD_TOO_LARGE, "a document");
    let ids: Vec<String> = (0..1001).map(|number| format!("e{number}")).collect();
    let bulk = json!({"action": "kill", "ids": ids});
    let answer = call(&application, Method::POST, "/api/v1/executions/bulk", &bulk).await;
    assert_problem(&answer, StatusCode::UNPROCESSABLE_ENTITY, "ids");
    let labels: Value = (0..65)
        .map(|n| (format!("k{n}"), json!("v")))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let start = json!({"namespace": "a", "flow": "b", "labels": labels});
    let answer = call(&application, Method::POST, "/api/v1/executions", &start).await;
    assert_problem(&answer, StatusCode::UNPROCESSABLE_ENTITY, "labels");
    for path in [
        "/api/v1/executions?limit=0".to_owned(),
        "/api/v1/executions?limit=1001".to_owned(),
        "/api/v1/executions?limit=many".to_owned(),
        "/api/v1/executions?cursor=none".to_owned(),
        format!("/api/v1/executions?cursor={}", "a".repeat(9000)),
        format!("/api/v1/executions?q={}", "a".repeat(1025)),
        format!("/api/v1/executions?q={}", "a".repeat(17_000)),
        format!(
            "/api/v1/executions?state={}",
            "A,".repeat(40).trim_end_matches(',').replace('A', "B1")
        ),
        "/api/v1/executions?label=novalue".to_owned(),
        "/api/v1/overview?hours=0".to_owned(),
    ] {
        let answer = call(&application, Method::GET, &path, &Value::Null).await;
        let shown: String = path.chars().take(60).collect();
        assert_problem(&answer, StatusCode::BAD_REQUEST, &shown);
    }
}
