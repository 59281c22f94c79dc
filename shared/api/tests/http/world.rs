//! An application over ports in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use operon_api::auth::{Auth, LocalToken};
use operon_api::{Api, Console, Prices, Settings};
use operon_core::exec::Event;
use operon_core::lang::Plugins;
use operon_engine::Ports;
use operon_engine::evaluate::Evaluator;
use operon_engine::flows::Flows;
use operon_engine::operations::Operations;
use operon_engine::ports::{
    AttemptId, EventSink, LogLines, LogReader, Record, RecordKey, RecordKind, RecordOutcome,
    RecordQuery, RecordWrite, Records, ShardKey, StoreError,
};
use operon_testkit::memory::{MemoryPorts, MemoryRecords};
use serde_json::Value;
use tower::ServiceExt as _;

pub(crate) const TOKEN: &str = "correct-horse";

/// Events go nowhere: what is asked for is not executed here.
struct Nowhere;

#[async_trait::async_trait]
impl EventSink for Nowhere {
    async fn send(&self, _: &ShardKey, _: &Event) -> Result<(), StoreError> {
        Ok(())
    }
}

struct NoLogs;

#[async_trait::async_trait]
impl LogReader for NoLogs {
    async fn read(&self, _: &AttemptId, _: u64, _: usize) -> Result<LogLines, StoreError> {
        Ok(LogLines::default())
    }

    async fn tail(&self, _: &AttemptId, _: Option<u64>, _: usize) -> Result<LogLines, StoreError> {
        Ok(LogLines::default())
    }
}

pub(crate) fn local() -> Auth {
    Auth::Local(Arc::new(LocalToken::new(TOKEN, "tester")))
}

/// The application with callers known in this way.
pub(crate) fn application(memory: &MemoryPorts, auth: Auth) -> Router {
    with_logs(memory, auth, Arc::new(NoLogs))
}

/// The application with these logs.
pub(crate) fn with_logs(memory: &MemoryPorts, auth: Auth, logs: Arc<dyn LogReader>) -> Router {
    over(memory, auth, logs, Arc::new(Nowhere))
}

/// Records of which the audit trail can be made to fail.
pub(crate) struct Forgetful {
    records: Arc<MemoryRecords>,
    forgets: AtomicBool,
}

impl Forgetful {
    pub(crate) fn over(memory: &MemoryPorts) -> Arc<Self> {
        Arc::new(Self {
            records: Arc::clone(&memory.records),
            forgets: AtomicBool::new(false),
        })
    }

    /// From now on no entry can be written.
    pub(crate) fn forget(&self) {
        self.forgets.store(true, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl Records for Forgetful {
    async fn record(&self, key: &RecordKey, now_ms: u64) -> Result<Option<Record>, StoreError> {
        self.records.record(key, now_ms).await
    }

    async fn save_record(&self, write: RecordWrite) -> Result<RecordOutcome, StoreError> {
        if write.key.kind == RecordKind::Audit && self.forgets.load(Ordering::SeqCst) {
            return Err(StoreError::Failed("the trail is full".to_owned()));
        }
        self.records.save_record(write).await
    }

    async fn delete_record(
        &self,
        key: &RecordKey,
        expected: u64,
    ) -> Result<RecordOutcome, StoreError> {
        self.records.delete_record(key, expected).await
    }

    async fn records(
        &self,
        kind: RecordKind,
        partition: &str,
        query: &RecordQuery,
    ) -> Result<Vec<Record>, StoreError> {
        self.records.records(kind, partition, query).await
    }

    async fn due_records(
        &self,
        kind: RecordKind,
        now_ms: u64,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        self.records.due_records(kind, now_ms, limit).await
    }
}

/// The application over these records.
pub(crate) fn with_records(memory: &MemoryPorts, records: Arc<dyn Records>) -> Router {
    let ports = Ports {
        records,
        ..memory.ports()
    };
    through(ports, local(), Arc::new(NoLogs), Arc::new(Nowhere))
}

/// Deploys a flow, `namespace/id`, that is not there yet.
pub(crate) async fn deployed(application: &Router, flow: &str, source: &str) {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/yaml"),
        ("if-none-match", "*"),
    ];
    let path = format!("/api/v1/flows/{flow}");
    let body = Body::from(source.to_owned());
    let answer = send(application, request(&Method::PUT, &path, &headers, body)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
}

/// Starts an execution; its id.
pub(crate) async fn started(application: &Router, namespace: &str, flow: &str) -> String {
    let wish = serde_json::json!({"namespace": namespace, "flow": flow});
    let made = call(application, Method::POST, "/api/v1/executions", &wish).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    made.json()["id"].as_str().unwrap().to_owned()
}

/// The application whose wishes go to whoever carries them out.
pub(crate) fn with_sink(memory: &MemoryPorts, sink: Arc<dyn EventSink>) -> Router {
    over(memory, local(), Arc::new(NoLogs), sink)
}

fn over(
    memory: &MemoryPorts,
    auth: Auth,
    logs: Arc<dyn LogReader>,
    sink: Arc<dyn EventSink>,
) -> Router {
    through(memory.ports(), auth, logs, sink)
}

fn through(ports: Ports, auth: Auth, logs: Arc<dyn LogReader>, sink: Arc<dyn EventSink>) -> Router {
    let operations = Operations {
        flows: Flows::new(&ports, Arc::new(Plugins::default())),
        evaluator: Evaluator {
            ports,
            shards: Arc::default(),
            items: Arc::default(),
        },
        sink,
    };
    operon_api::router(Api::new(Settings {
        operations,
        logs,
        auth,
        console: Console::default(),
        prices: Prices::FARGATE,
        stream_life: std::time::Duration::from_secs(5),
        webhooks: None,
        triggers: None,
        dead_letters: None,
    }))
}

/// An answer.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) text: String,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }
}

/// A request to this machine, with these headers.
pub(crate) fn request(
    method: &Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "127.0.0.1:8585");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

pub(crate) async fn send(application: &Router, request: Request<Body>) -> Answered {
    let response = application.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 16 << 20).await.unwrap();
    Answered {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// With the token and a JSON body.
pub(crate) async fn call(
    application: &Router,
    method: Method,
    path: &str,
    body: &Value,
) -> Answered {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let body = Body::from(body.to_string());
    send(application, request(&method, path, &headers, body)).await
}
