//! The steps of the functions over a cloud in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod claims;
mod evidence;
mod late;
mod life;
mod policies;
mod polls;
mod requests;
mod steered;
mod sweep;
mod told;

use async_trait::async_trait;
use operon_core::lang::parse;
use operon_core::lang::plugins::Plugins;
use operon_core::plan::{Plan, compile};
use operon_engine::ports::{SecretError, SecretNames};

/// Compiles a flow written as YAML without id and namespace.
fn plan(text: &str) -> Plan {
    plan_of("qc", text)
}

fn plan_of(id: &str, text: &str) -> Plan {
    let source = format!("id: {id}\nnamespace: genomics\n{text}");
    let parsed = parse(&source, &Plugins::default());
    let flow = parsed
        .flow
        .unwrap_or_else(|| panic!("{:?}", parsed.diagnostics));
    compile(&flow).unwrap()
}

/// A chain of containers, one after the other.
fn chain(length: usize) -> Plan {
    let tasks = (0..length)
        .map(|n| format!("  - {{id: t{n}, type: container, containerImage: nextclade:3}}\n"));
    plan(&format!("tasks:\n{}", tasks.collect::<String>()))
}

const MINUTE: u64 = 60 * 1000;
const HOUR: u64 = 60 * MINUTE;

/// A store of secrets whose ARNs are their names.
struct NoNames;

#[async_trait]
impl SecretNames for NoNames {
    async fn arn(&self, _: &str, name: &str) -> Result<String, SecretError> {
        Ok(name.to_owned())
    }
}
