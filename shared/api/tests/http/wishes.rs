//! Actions on many, the console's policy, and compression.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use operon_core::plan::ShardId;
use operon_engine::ports::{ExecutionFilter, ExecutionId, TaskRunKey};
use operon_testkit::memory::MemoryPorts;
use serde_json::{Value, json};

use crate::world::{TOKEN, application, call, local, request, send};

const FLOW: &str =
    "id: hello\nnamespace: demo\ntasks:\n  - id: say\n    type: log\n    message: hi\n";
const BULK: &str = "/api/v1/executions/bulk";

async fn deployed(memory: &MemoryPorts, executions: u64) -> axum::Router {
    let application = application(memory, local());
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/yaml"),
        ("if-none-match", "*"),
    ];
    let put = request(
        &Method::PUT,
        "/api/v1/flows/demo/hello",
        &headers,
        Body::from(FLOW),
    );
    let answer = send(&application, put).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    for _ in 0..executions {
        memory.clock.advance(10);
        let wish = json!({"namespace": "demo", "flow": "hello"});
        let answer = call(&application, Method::POST, "/api/v1/executions", &wish).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    }
    application
}

#[tokio::test]
async fn an_action_on_many_goes_on_page_by_page_and_meets_each_once() {
    let memory = MemoryPorts::default();
    let application = deployed(&memory, 5).await;
    let mut cursor = Value::Null;
    let mut done = Vec::new();
    loop {
        let wish = json!({
            "action": "labels", "labels": {"seen": "yes"}, "limit": 2, "cursor": cursor,
            "query": {"flow": "hello", "namespace": "demo"},
        });
        let report = call(&application, Method::POST, BULK, &wish).await;
        assert_eq!(report.status, StatusCode::OK, "{}", report.text);
        let report = report.json();
        done.push(report["done"].as_u64().unwrap());
        assert_eq!(report["more"], json!(!report["next"].is_null()));
        cursor = report["next"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(done.iter().sum::<u64>(), 5, "{done:?}");
    assert_eq!(done[..2], [2, 2]);
    let list = "/api/v1/executions?label=seen:yes";
    let list = call(&application, Method::GET, list, &Value::Null).await;
    assert_eq!(list.json()["items"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn an_overview_says_when_it_counts_less_than_there_is() {
    let memory = MemoryPorts::default();
    let application = deployed(&memory, 50).await;
    let overview = async || {
        let path = "/api/v1/overview";
        let answer = call(&application, Method::GET, path, &Value::Null).await;
        answer.json()
    };
    let few = overview().await;
    assert_eq!(few["inProgress"], json!(50));
    for flag in ["truncated", "inProgressTruncated", "throughputTruncated"] {
        assert_eq!(few[flag], json!(false), "{flag}");
    }
    // One more than the throughput is made of.
    memory.clock.advance(10);
    let wish = json!({"namespace": "demo", "flow": "hello"});
    call(&application, Method::POST, "/api/v1/executions", &wish).await;
    let more = overview().await;
    assert_eq!(more["truncated"], json!(false));
    assert_eq!(more["throughputTruncated"], json!(true));
    // As many as are counted, which may not be all.
    let store = memory.ports().store;
    let first = store
        .executions(&ExecutionFilter {
            limit: 1,
            ..ExecutionFilter::default()
        })
        .await
        .unwrap()
        .remove(0);
    for number in 0..949 {
        let mut row = first.clone();
        row.meta.id = format!("many{number}").parse().unwrap();
        store.create(&row, b"").await.unwrap();
    }
    let most = overview().await;
    assert_eq!(most["inProgress"], json!(1000));
    assert_eq!(most["inProgressTruncated"], json!(true));
}

#[tokio::test]
async fn executions_that_started_each_other_have_the_id_of_the_first_in_common() {
    let memory = MemoryPorts::default();
    let application = deployed(&memory, 1).await;
    let store = memory.ports().store;
    let first = store
        .executions(&ExecutionFilter {
            limit: 1,
            ..ExecutionFilter::default()
        })
        .await
        .unwrap()
        .remove(0);
    let mut above = first.meta.id.clone();
    let told = async |id: &ExecutionId| {
        let path = format!("/api/v1/executions/{id}");
        let shown = call(&application, Method::GET, &path, &Value::Null)
            .await
            .json();
        shown["correlationId"].as_str().unwrap().to_owned()
    };
    assert_eq!(told(&above).await, first.meta.id.as_str());
    for name in ["child", "grandchild"] {
        let mut row = first.clone();
        row.meta.id = name.parse().unwrap();
        let run = TaskRunKey {
            shard: ShardId::ROOT,
            slot: 1,
        };
        row.meta.parent = Some((above, run, 1));
        store.create(&row, b"").await.unwrap();
        above = row.meta.id;
        assert_eq!(told(&above).await, first.meta.id.as_str(), "{name}");
    }
}

#[tokio::test]
async fn a_replay_of_many_says_what_it_would_skip_and_needs_a_task() {
    let memory = MemoryPorts::default();
    let application = deployed(&memory, 2).await;
    let wish = |more: Value| {
        let mut wish = json!({"action": "replay", "query": {}, "dryRun": true});
        wish.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        wish
    };
    let report = call(
        &application,
        Method::POST,
        BULK,
        &wish(json!({"from": "say"})),
    )
    .await;
    let report = report.json();
    assert_eq!(
        (&report["done"], &report["matched"]),
        (&json!(0), &json!(2))
    );
    let reason = report["skipped"][0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("only what is over can be replayed"),
        "{reason}"
    );
    for wrong in [
        json!({}),
        json!({"from": "say", "cursor": "x", "query": null, "ids": []}),
        json!({"from": "say", "limit": 1001}),
        json!({"action": "kill", "from": "say"}),
        json!({"action": "kill", "revision": 1}),
    ] {
        let answer = call(&application, Method::POST, BULK, &wish(wrong.clone())).await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_REQUEST,
            "{wrong}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn pages_may_hold_no_script_no_style_and_nothing_from_elsewhere() {
    let application = application(&MemoryPorts::default(), local());
    let answer = send(&application, request(&Method::GET, "/", &[], Body::empty())).await;
    let policy = answer.headers.get("content-security-policy").unwrap();
    let policy = policy.to_str().unwrap();
    for forbidden in ["unsafe", "data:", "blob:", "http", "*"] {
        assert!(!policy.contains(forbidden), "{forbidden} in {policy}");
    }
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
}

#[tokio::test]
async fn large_answers_are_compressed_and_streams_are_not() {
    let memory = MemoryPorts::default();
    let application = deployed(&memory, 1).await;
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("accept-encoding", "gzip"),
    ];
    let encoding = async |path: &str, headers: &[(&str, &str)]| {
        let request = request(&Method::GET, path, headers, Body::empty());
        let response = tower::ServiceExt::oneshot(application.clone(), request)
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let found = response.headers().get("content-encoding");
        let found = found.map(|value| value.to_str().unwrap().to_owned());
        if !path.contains("stream") && !path.contains("events") {
            // To its end: a body that must not be asked again after it would be asked here.
            let whole = axum::body::to_bytes(response.into_body(), usize::MAX).await;
            assert!(whole.is_ok(), "{path}");
        }
        found
    };
    let gzip = Some("gzip".to_owned());
    assert_eq!(encoding("/api/v1/openapi.json", &headers).await, gzip);
    assert_eq!(encoding("/api/v1/openapi.json", &headers[..1]).await, None);
    assert_eq!(encoding("/api/v1/me", &headers).await, None, "it is small");
    let list = call(
        &application,
        Method::GET,
        "/api/v1/executions",
        &Value::Null,
    )
    .await;
    let id = list.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let download = format!("/api/v1/executions/{id}/logs/download");
    assert_eq!(
        encoding(&download, &headers).await,
        gzip,
        "its size is not known"
    );
    for stream in ["events", "logs/stream"] {
        let path = format!("/api/v1/executions/{id}/{stream}");
        assert_eq!(encoding(&path, &headers).await, None, "{stream}");
    }
}

#[tokio::test]
async fn files_beside_a_flow_are_kept_listed_and_named() {
    let memory = MemoryPorts::default();
    let application = application(&memory, local());
    let bearer = format!("Bearer {TOKEN}");
    let post = |path: &'static str, body: &'static str| {
        let headers = [("authorization", bearer.as_str())];
        send(
            &application,
            request(&Method::POST, path, &headers, Body::from(body)),
        )
    };
    let kept = post("/api/v1/files?name=a.py", "print(1)").await;
    assert_eq!(kept.status, StatusCode::CREATED, "{}", kept.text);
    let sha256 = kept.json()["sha256"].clone();
    let listings = "/api/v1/files/listings";
    let list = |files: Value| {
        let wish = json!({ "files": files });
        let application = &application;
        async move { call(application, Method::POST, listings, &wish).await }
    };
    // What is not there is named, and the same content by another name is not there.
    let other = "0".repeat(64);
    let files = json!({"scripts/a.py": sha256, "b.py": sha256, "c.txt": other});
    let answer = list(files).await.json();
    assert_eq!(answer, json!({"uri": null, "missing": ["b.py", "c.txt"]}));
    let answer = list(json!({"scripts/a.py": sha256})).await.json();
    assert_eq!(answer["missing"], json!([]));
    let uri = answer["uri"].as_str().unwrap().to_owned();
    for wrong in [
        json!({"../a.py": sha256}),
        json!({"/a.py": sha256}),
        json!({"": sha256}),
        json!({"a.py": "latest"}),
        json!({"a.py": sha256.as_str().unwrap().to_uppercase()}),
    ] {
        let answer = list(wrong.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let many: serde_json::Map<_, _> = (0..1001)
        .map(|n| (format!("f{n}"), sha256.clone()))
        .collect();
    let answer = list(Value::Object(many)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    // A deployment names a listing that is there, and nothing else.
    let deploy = |place: String| {
        let bearer = bearer.clone();
        let application = &application;
        async move {
            let headers = [
                ("authorization", bearer.as_str()),
                ("x-operon-files", place.as_str()),
            ];
            let put = request(
                &Method::PUT,
                "/api/v1/flows/demo/hello",
                &headers,
                Body::from(FLOW),
            );
            send(application, put).await.status
        }
    };
    let absent = format!("operon:///files/{other}.json");
    assert_eq!(deploy(absent).await, StatusCode::NOT_FOUND);
    assert_eq!(deploy("/etc".to_owned()).await, StatusCode::BAD_REQUEST);
    let elsewhere = "operon:///executions/x/a.json".to_owned();
    assert_eq!(deploy(elsewhere).await, StatusCode::BAD_REQUEST);
    assert_eq!(deploy(uri).await, StatusCode::CREATED);
}
