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

use operon_core::lang::parse;
use operon_core::lang::plugins::Plugins;
use operon_core::plan::{Plan, compile};

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

const HOUR: u64 = 60 * 60 * 1000;
