//! Locks: of a flow with one, of one with a key, and of all flows.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use operon_core::exec::{Lock, Time};
use operon_engine::ports::ExecutionId;
use operon_testkit::memory::MemoryPorts;
use serde_json::{Value, json};

use crate::world::{TOKEN, application, call, local, request, send};

fn flow(id: &str, key: &str) -> String {
    format!(
        "id: {id}\nnamespace: demo\ninputs:\n  - {{id: organism, type: STRING, defaults: mpox}}\n\
         concurrency: {{limit: 2{key}}}\ntasks:\n  - {{id: say, type: log, message: hi}}\n"
    )
}

#[tokio::test]
async fn every_key_in_use_has_its_slots() {
    let memory = MemoryPorts::default();
    let application = application(&memory, local());
    let bearer = format!("Bearer {TOKEN}");
    let own = ", key: \"{{ inputs.organism }}\"";
    let shared = ", key: \"shared:cluster\"";
    for (id, key) in [
        ("one", ""),
        ("keyed", own),
        ("a-user", shared),
        ("b-user", shared),
    ] {
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/yaml"),
            ("if-none-match", "*"),
        ];
        let path = format!("/api/v1/flows/demo/{id}");
        let put = request(&Method::PUT, &path, &headers, Body::from(flow(id, key)));
        let answer = send(&application, put).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    }
    let start = async |flow: &str, organism: &str| -> ExecutionId {
        memory.clock.advance(10);
        let wish = json!({"namespace": "demo", "flow": flow, "inputs": {"organism": organism}});
        let answer = call(&application, Method::POST, "/api/v1/executions", &wish).await;
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        id.parse().unwrap()
    };
    let first = start("keyed", "mpox").await;
    let second = start("keyed", "mpox").await;
    let other = start("keyed", "measles").await;
    start("keyed", "nobody").await;
    let a = start("a-user", "x").await;
    let b = start("b-user", "x").await;
    let store = memory.ports().store;
    for (name, holders) in [
        ("demo/keyed:mpox", vec![&first]),
        ("demo/keyed:measles", vec![&other]),
        ("demo/shared:cluster", vec![&a, &b]),
    ] {
        let mut lock = Lock::default();
        for holder in holders {
            assert!(lock.acquire(holder.as_str(), 2, Time(1)));
        }
        let bytes = serde_json::to_vec(&lock).unwrap();
        store.save_lock(name, 0, &bytes, None).await.unwrap();
    }
    store
        .set_queued("demo/keyed:mpox", &second, 0, true)
        .await
        .unwrap();

    let get = async |path: &str| call(&application, Method::GET, path, &Value::Null).await;
    let answer = get("/api/v1/flows/demo/keyed/concurrency").await.json();
    assert_eq!(answer["lock"], Value::Null);
    let told = |lock: &Value| {
        let owners = lock["owners"].as_array().unwrap().len();
        let queue = lock["queue"].as_array().unwrap().len();
        format!(
            "{} {} {owners}/{} {queue}",
            lock["name"], lock["key"], lock["limit"]
        )
    };
    let all = |answer: &Value, list: &str| -> Vec<String> {
        answer[list].as_array().unwrap().iter().map(told).collect()
    };
    let keyed = [
        r#""demo/keyed:measles" "measles" 1/2 0"#,
        r#""demo/keyed:mpox" "mpox" 1/2 1"#,
    ];
    assert_eq!(all(&answer, "locks"), keyed, "nothing of what nobody holds");
    assert_eq!(answer["locks"][1]["queue"], json!([second.as_str()]));
    let one = get("/api/v1/flows/demo/one/concurrency").await.json();
    assert_eq!(told(&one["lock"]), r#""demo/one" null 0/2 0"#);
    let answer = get("/api/v1/locks").await.json();
    let cluster = r#""demo/shared:cluster" "shared:cluster" 2/2 0"#;
    let expected = [cluster, keyed[0], keyed[1], r#""demo/one" null 0/2 0"#];
    assert_eq!(
        all(&answer, "items"),
        expected,
        "what flows share is there once"
    );
}
