//! An application over ports in memory.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use operon_api::auth::{Auth, LocalToken};
use operon_api::{Api, Console, Prices, Settings};
use operon_core::exec::Event;
use operon_core::lang::Plugins;
use operon_engine::evaluate::Evaluator;
use operon_engine::flows::Flows;
use operon_engine::operations::Operations;
use operon_engine::ports::{AttemptId, EventSink, LogLines, LogReader, ShardKey, StoreError};
use operon_testkit::memory::MemoryPorts;
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
    let ports = memory.ports();
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
