//! Events that the planner handles in a second on one core, over a store in memory.
//!
//!     cargo bench -p operon-engine --bench planner [-- [TASK_RUNS] [--json]]
//!
//! A loop of 100,000 containers over the lines of a file, 1,000 at once, in the cloud in memory, in batches of 10 messages
//! as SQS gives them. Only what the planner does with its batches is timed: decoding, reading, deciding, writing, sending
//! what follows. At least 2,000 events a second; beside it `DynamoDB`'s write units for each task run, as its rules count
//! them (`operon_testkit::memory::units`), at most 2.5, and the largest item, at most 64 KB.
//!
//! Exits with 1 when one of the three is missed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use operon_core::lang::parse;
use operon_core::lang::plugins::Plugins;
use operon_core::plan::compile;
use operon_engine::ports::{ArtifactStore as _, ArtifactUri, QueueName};
use operon_testkit::cloud::{CloudWorld, Fate};

const TASK_RUNS: u32 = 100_000;
/// Events a second at least.
const RATE_MIN: f64 = 2_000.0;
/// Write units for each task run at most.
const UNITS_MAX: f64 = 2.5;
/// Bytes of an item at most.
const ITEM_MAX: usize = 64 * 1024;
const ITEMS: &str = "bench/items.jsonl";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.iter().find_map(|argument| argument.parse().ok());
    let count = count.unwrap_or(TASK_RUNS);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let (events, took, cloud) = runtime.unwrap().block_on(planned(count));
    let rate = f64::from(u32::try_from(events).unwrap()) / took.as_secs_f64();
    let units = cloud.ports.store.write_units();
    let each = |units: u64| f64::from(u32::try_from(units).unwrap()) / f64::from(count);
    let all = each(units.total());
    let item = cloud.ports.store.largest_item();
    if arguments.iter().any(|argument| argument == "--json") {
        println!(
            r#"{{"task_runs":{count},"events_per_s":{rate},"units":{all},"item_bytes":{item}}}"#
        );
    } else {
        println!(
            "{count} task runs, {events} events in {took:.2?}: {rate:.0} events/s (at least {RATE_MIN:.0})"
        );
        println!(
            "{all:.3} write units each (at most {UNITS_MAX}): {:.3} of shards, of which {:.3} of the due index and {:.3} \
             refused; {:.3} of detail items, {:.3} of executions",
            each(units.sharded),
            each(units.due),
            each(units.refused),
            each(units.attempts),
            each(units.executions)
        );
        println!("largest item {item} bytes (at most {ITEM_MAX})");
    }
    let missed = [
        ("events a second", rate < RATE_MIN),
        ("write units for each task run", all > UNITS_MAX),
        ("bytes of the largest item", item > ITEM_MAX),
    ];
    for (what, _) in missed.iter().filter(|(_, missed)| *missed) {
        eprintln!("planner: the target of {what} is missed");
    }
    ExitCode::from(u8::from(missed.iter().any(|(_, missed)| *missed)))
}

/// How many messages the planner handled for a loop over so many items, the time it took for that, and what is there then.
async fn planned(count: u32) -> (usize, Duration, CloudWorld) {
    let text = format!(
        "id: bench\nnamespace: bench\ntasks:\n  - id: each\n    type: foreach\n    values: operon:///{ITEMS}\n    concurrencyLimit: 1000\n    tasks:\n      - {{id: align, type: container, containerImage: x}}\n"
    );
    let flow = parse(&text, &Plugins::default()).flow.expect("the flow");
    let plan = compile(&flow).expect("its plan");
    let mut cloud = CloudWorld::default();
    cloud.ecs.start_after(1_000);
    cloud.ecs.script(|_| Fate {
        runs_ms: 1_000,
        ..Fate::success()
    });
    let lines: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    let place = ArtifactUri::new(ITEMS).expect("an address");
    let stored = cloud
        .ports
        .artifacts
        .put(&place, lines.join("\n").into())
        .await;
    stored.expect("the items are stored");
    let id = cloud.start(&plan).await;
    let (mut events, mut took) = (0, Duration::ZERO);
    while cloud.row(&id).await.ended_ms.is_none() {
        cloud.tell_ends().await;
        cloud.ecs.forget_told();
        loop {
            let waiting = cloud.queues.visible(QueueName::Plan).min(cloud.batch);
            let begun = Instant::now();
            let planned = cloud.deliver(QueueName::Plan).await;
            took += begun.elapsed();
            events += waiting;
            let launched = cloud.deliver(QueueName::Launch).await;
            if !planned && !launched {
                break;
            }
        }
        cloud.pass(u64::MAX).await;
    }
    assert_eq!(cloud.row(&id).await.state, "SUCCESS");
    (events, took, cloud)
}
