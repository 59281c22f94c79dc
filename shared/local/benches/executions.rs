//! What the first page of a list of executions costs when there are a million of them.
//!
//!     cargo bench -p operon-local --bench executions [-- NUMBER]
//!
//! A million executions of 50 flows in 10 namespaces are stored as the engine stores them, then each filter that the
//! console has is asked for 50 rows with the shards that say where each has come to, cold (the first time) and warm (the
//! median of 20). Exits with 1 if one takes
//! longer than 500 ms.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use operon_engine::ports::{
    ExecutionFilter, ExecutionMeta, ExecutionRow, ShardKey, ShardWrite, StateStore as _, Write,
};
use operon_local::store::SqliteStore;
use serde_json::{Map, Value};

const LIMIT: Duration = Duration::from_millis(500);
const PAGE: u32 = 50;

fn execution(number: u64) -> ExecutionRow {
    // One in a thousand failed, one in a hundred thousand was killed, the last hundred run.
    let state = match number {
        n if n % 100_000 == 7 => "KILLED",
        n if n % 1_000 == 3 => "FAILED",
        _ => "SUCCESS",
    };
    let created_ms = 1_700_000_000_000 + number * 1_000;
    let labels = BTreeMap::from([
        ("team".to_owned(), format!("team-{}", number % 5)),
        ("run".to_owned(), format!("run-{}", number / 100)),
    ]);
    ExecutionRow {
        meta: ExecutionMeta {
            id: format!("e{number:015}").parse().unwrap(),
            namespace: format!("genomics.n{}", number % 10),
            flow: format!("flow-{}", number % 50),
            revision: 1,
            plan_hash: "h".to_owned(),
            inputs: Map::from_iter([("organism".to_owned(), Value::from("mpox"))]),
            labels,
            trigger: Value::Null,
            created_ms,
            parent: None,
            replay_of: None,
            flow_dir: None,
            priority: 0,
        },
        state: state.to_owned(),
        reason: None,
        started_ms: Some(created_ms + 10),
        ended_ms: Some(created_ms + 500),
        outputs: Map::new(),
        labels: BTreeMap::new(),
    }
}

/// The root shard of an execution with ten task runs.
fn shard(row: &ExecutionRow) -> ShardWrite {
    ShardWrite {
        key: ShardKey::root(&row.meta.id),
        expected: 0,
        bytes: vec![7; 110],
        due_ms: None,
    }
}

#[allow(
    clippy::too_many_lines,
    reason = "one story from its beginning to its end"
)]
fn filters(number: u64) -> Vec<(&'static str, ExecutionFilter)> {
    let text = |text: &str| Some(text.to_owned());
    let label = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    let base = ExecutionFilter {
        limit: PAGE,
        ..ExecutionFilter::default()
    };
    let states = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let middle = 1_700_000_000_000 + number / 2 * 1_000;
    vec![
        ("everything", base.clone()),
        (
            "a namespace",
            ExecutionFilter {
                namespace: text("genomics.n3"),
                ..base.clone()
            },
        ),
        (
            "a flow",
            ExecutionFilter {
                namespace: text("genomics.n3"),
                flow: text("flow-3"),
                ..base.clone()
            },
        ),
        (
            "a flow alone",
            ExecutionFilter {
                flow: text("flow-3"),
                ..base.clone()
            },
        ),
        (
            "a common state",
            ExecutionFilter {
                states: states(&["SUCCESS"]),
                ..base.clone()
            },
        ),
        (
            "a rare state",
            ExecutionFilter {
                states: states(&["KILLED"]),
                ..base.clone()
            },
        ),
        (
            "no such state",
            ExecutionFilter {
                states: states(&["PAUSED"]),
                ..base.clone()
            },
        ),
        (
            "several states",
            ExecutionFilter {
                states: states(&["FAILED", "KILLED", "RUNNING"]),
                ..base.clone()
            },
        ),
        (
            "a namespace and a rare state",
            ExecutionFilter {
                namespace: text("genomics.n7"),
                states: states(&["KILLED"]),
                ..base.clone()
            },
        ),
        (
            "a flow and a state it is never in",
            ExecutionFilter {
                namespace: text("genomics.n4"),
                flow: text("flow-4"),
                states: states(&["FAILED"]),
                ..base.clone()
            },
        ),
        (
            "a common label",
            ExecutionFilter {
                labels: label("team", "team-2"),
                ..base.clone()
            },
        ),
        (
            "a rare label",
            ExecutionFilter {
                labels: label("run", "run-1234"),
                ..base.clone()
            },
        ),
        (
            "no such label",
            ExecutionFilter {
                labels: label("team", "none"),
                ..base.clone()
            },
        ),
        (
            "a common label and a rare state",
            ExecutionFilter {
                labels: label("team", "team-2"),
                states: states(&["KILLED"]),
                ..base.clone()
            },
        ),
        (
            "a common label and a common state",
            ExecutionFilter {
                labels: label("team", "team-3"),
                states: states(&["FAILED"]),
                ..base.clone()
            },
        ),
        (
            "two labels",
            ExecutionFilter {
                labels: [label("team", "team-4"), label("run", "run-1234")].concat(),
                ..base.clone()
            },
        ),
        (
            "a time long ago",
            ExecutionFilter {
                from_ms: Some(middle),
                to_ms: Some(middle + 3_600_000),
                ..base.clone()
            },
        ),
        (
            "a page in the middle",
            ExecutionFilter {
                before: Some((middle, "e0".parse().unwrap())),
                states: states(&["FAILED"]),
                ..base
            },
        ),
    ]
}

fn main() {
    let number = std::env::args()
        .find_map(|text| text.parse().ok())
        .unwrap_or(1_000_000_u64);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.sqlite");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let slow = runtime.block_on(async {
        let begun = Instant::now();
        {
            let store = SqliteStore::open(&file).unwrap();
            store.create(&execution(0), b"plan").await.unwrap();
            let mut next = 1;
            while next < number {
                let end = (next + 5_000).min(number);
                let executions: Vec<_> = (next..end).map(execution).collect();
                let shards = executions.iter().map(shard).collect();
                store
                    .write(Write {
                        shards,
                        executions,
                        ..Write::default()
                    })
                    .await
                    .unwrap();
                next = end;
            }
        }
        println!(
            "{number} executions stored in {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        let mut slow = 0;
        for (name, filter) in filters(number) {
            // A store of its own: nothing of former queries is in the caches of its connections.
            let store = SqliteStore::open(&file).unwrap();
            let mut times = Vec::new();
            let mut rows = 0;
            for _ in 0..21 {
                let begun = Instant::now();
                let found = store.executions(&filter).await.unwrap();
                let roots = found.iter().map(|row| ShardKey::root(&row.meta.id));
                let shards = store.shards_at(&roots.collect::<Vec<_>>()).await.unwrap();
                assert_eq!(shards.len(), found.len());
                rows = found.len();
                times.push(begun.elapsed());
            }
            let first = times.remove(0);
            times.sort();
            let median = times.get(times.len() / 2).copied().unwrap_or_default();
            slow += u32::from(first > LIMIT || median > LIMIT);
            println!(
                "{name:36} {rows:4} rows  first {:8.2} ms  median {:8.2} ms",
                first.as_secs_f64() * 1e3,
                median.as_secs_f64() * 1e3
            );
        }
        slow
    });
    if slow > 0 {
        println!("{slow} filters took longer than {} ms", LIMIT.as_millis());
        std::process::exit(1);
    }
}
