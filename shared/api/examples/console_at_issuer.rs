//! The console of a deployment at whose issuer one signs in, over ports in memory: for `tests/browser/issuer.test.mjs`.
//! What is started stays as it is, because no engine is there.
//!
//!     OPERON_OIDC_ISSUER=http://127.0.0.1:9000 OPERON_OIDC_AUDIENCE=operon \
//!         cargo run -p operon-api --example console_at_issuer
#![allow(clippy::print_stdout, reason = "tells its address")]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use operon_api::auth::{Auth, Oidc, OidcSettings};
use operon_api::{Api, Console, Prices, Settings};
use operon_core::exec::Event;
use operon_core::lang::Plugins;
use operon_engine::Ports;
use operon_engine::evaluate::Evaluator;
use operon_engine::flows::Flows;
use operon_engine::operations::Operations;
use operon_engine::ports::{
    AttemptId, Clock, EventSink, LogLines, LogReader, ShardKey, StoreError,
};
use operon_testkit::memory::MemoryPorts;

struct Now;

impl Clock for Now {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
    }
}

struct Nowhere;

#[async_trait]
impl EventSink for Nowhere {
    async fn send(&self, _: &ShardKey, _: &Event) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl LogReader for Nowhere {
    async fn read(&self, _: &AttemptId, _: u64, _: usize) -> Result<LogLines, StoreError> {
        Ok(LogLines::default())
    }

    async fn tail(&self, _: &AttemptId, _: Option<u64>, _: usize) -> Result<LogLines, StoreError> {
        Ok(LogLines::default())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let issuer = std::env::var("OPERON_OIDC_ISSUER")?;
    let oidc = Oidc::new(OidcSettings {
        keys_url: format!("{issuer}/.well-known/jwks.json"),
        issuer,
        audience: std::env::var("OPERON_OIDC_AUDIENCE")?,
        role_claim: "groups".to_owned(),
        groups: Vec::new(),
        console: None,
    })?;
    let ports = Ports {
        clock: Arc::new(Now),
        ..MemoryPorts::default().ports()
    };
    let operations = Operations {
        flows: Flows::new(&ports, Arc::new(Plugins::default())),
        evaluator: Evaluator {
            ports,
            shards: Arc::default(),
            items: Arc::default(),
        },
        sink: Arc::new(Nowhere),
    };
    let application = operon_api::router(Api::new(Settings {
        operations,
        logs: Arc::new(Nowhere),
        auth: Auth::Oidc(Arc::new(oidc)),
        console: Console::embedded(),
        prices: Prices::FARGATE,
        stream_life: Duration::from_secs(5),
        webhooks: None,
        triggers: None,
        dead_letters: None,
    }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, application).await?;
    Ok(())
}
