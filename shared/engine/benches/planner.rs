//! Events that the planner handles in a second on one core, over a store in memory.
//!
//!     cargo bench -p operon-engine --bench planner [-- TASK_RUNS]
//!
//! A loop of 10,000 containers over the lines of a file, 1,000 at once, in the cloud in memory, in batches of 10 messages
//! as SQS gives them. Only what the planner does with its batches is timed: decoding, reading, deciding, writing, sending
//! what follows. The target is 2,000 events a second. Beside it: DynamoDB's write units for each task run, at most 2.5,
//! and the largest item, at most 64 KB.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs
)]

use std::time::{Duration, Instant};

use operon_core::lang::parse;
use operon_core::lang::plugins::Plugins;
use operon_core::plan::compile;
use operon_engine::ports::{ArtifactStore as _, ArtifactUri, QueueName};
use operon_testkit::cloud::{CloudWorld, Fate};

const TARGET: f64 = 2_000.0;
const ITEMS: &str = "bench/items.jsonl";

fn main() {
    let count: u32 = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(10_000);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let (events, took, cloud) = runtime.unwrap().block_on(planned(count));
    let rate = f64::from(u32::try_from(events).unwrap()) / took.as_secs_f64();
    println!("{events} events in {took:.2?}: {rate:.0} events/s (target {TARGET:.0})");
    let units = cloud.ports.store.write_units();
    let each = f64::from(u32::try_from(units.sharded + units.attempts).unwrap()) / f64::from(count);
    let largest = cloud.ports.store.largest_item();
    println!(
        "{count} task runs: {each:.2} write units each (target 2.5), largest item {largest} bytes (target 65536)"
    );
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
