//! What people ask of a deployment, for tests of it from outside (tests/aws): flows are deployed, executions shown and
//! killed by the same engine and the same ports that serve people, without the HTTP interface in between.
//!
//! Each line of standard input is a wish, each line of standard output its answer: `{"ok": …}` or `{"error": "…"}`. The
//! environment is that of a function (`operon_aws::config`, role `cli`).

use std::io::Write as _;
use std::path::PathBuf;

use operon_aws::Role;
use operon_aws::world::World;
use operon_engine::flows::{Deploy, Expected};
use operon_engine::operations::Operations;
use operon_engine::ports::{ExecutionFilter, ExecutionId};
use operon_engine::{dead_letters, files};
use serde::Deserialize;
use serde_json::{Value, json};

/// Rows that one answer holds at most.
const ROWS_MAX: u32 = 5000;

/// One line.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Wish {
    /// Deploys a flow, with the files of a directory if it has some.
    Deploy {
        source: String,
        directory: Option<PathBuf>,
    },
    /// Executions of a flow, newest first.
    Executions { namespace: String, flow: String },
    /// One execution with its attempts; null when there is none.
    Execution(ExecutionId),
    /// Kills an execution.
    Kill(ExecutionId),
    /// The messages that nobody could handle.
    DeadLetters {},
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let world = World::load(Role::Cli)?;
    let operations = world.operations();
    let mut out = std::io::stdout();
    // One wish at a time, so nothing else waits while a line is read.
    for line in std::io::stdin().lines() {
        let line = line?;
        let answer = match answer(&world, &operations, &line).await {
            Ok(value) => json!({ "ok": value }),
            Err(error) => json!({ "error": format!("{error:#}") }),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

async fn answer(world: &World, operations: &Operations, line: &str) -> anyhow::Result<Value> {
    let store = &*world.ports.store;
    match serde_json::from_str(line)? {
        Wish::Deploy { source, directory } => {
            let place = match directory {
                None => None,
                Some(root) => Some(
                    files::publish(&*world.ports.artifacts, &root)
                        .await
                        .map_err(anyhow::Error::msg)?
                        .to_string(),
                ),
            };
            let deploy = Deploy {
                source: &source,
                wanted: None,
                expected: Expected::Any,
                directory: place,
                by: "driver",
                message: None,
            };
            let deployed = operations.flows.deploy(deploy).await?;
            // As the HTTP interface does after a deployment.
            let triggers = world.triggers();
            let (namespace, flow) = (&deployed.flow.namespace, &deployed.flow.id);
            triggers.follow(namespace, flow).await?;
            Ok(serde_json::to_value(deployed.flow)?)
        }
        Wish::Executions { namespace, flow } => {
            let filter = ExecutionFilter {
                namespace: Some(namespace),
                flow: Some(flow),
                limit: ROWS_MAX,
                ..ExecutionFilter::default()
            };
            Ok(serde_json::to_value(store.executions(&filter).await?)?)
        }
        Wish::Execution(id) => {
            let Some(row) = store.execution(&id).await? else {
                return Ok(Value::Null);
            };
            let attempts = store.attempts_page(&id, None, ROWS_MAX).await?;
            Ok(json!({ "row": row, "attempts": attempts }))
        }
        Wish::Kill(id) => {
            operations.kill(&id).await?;
            Ok(Value::Null)
        }
        Wish::DeadLetters {} => {
            let letters = dead_letters::list(&world.ports, None, ROWS_MAX).await?;
            Ok(serde_json::to_value(letters)?)
        }
    }
}
