//! What a task run costs in the control plane: requests counted in the cloud in memory, times a table of prices,
//! beside AWS Step Functions. `make cost` prints it; `tests/cloud/requests.rs` of the engine holds the counts.

use std::collections::BTreeMap;
use std::io::Write as _;

use operon_core::lang::parse;
use operon_core::lang::plugins::Plugins;
use operon_core::plan::{Plan, compile};
use operon_testkit::cloud::{CloudWorld, Fate};

/// us-east-1, $ per request, and what one of its kind is taken to use (aws.md 2 and 3.1).
const SQS: f64 = 0.40 / 1e6;
const WRITE: f64 = 0.625 / 1e6;
const READ: f64 = 0.125 / 1e6;
const LAMBDA: f64 = 0.20 / 1e6;
/// arm64, $ per GB-second.
const GB_SECOND: f64 = 0.000_013_333_4;
/// 30 ms of 256 MB.
const PLANNER: f64 = LAMBDA + 0.030 * 0.25 * GB_SECOND;
/// 300 ms of 128 MB: it waits for `RunTask`.
const LAUNCHER: f64 = LAMBDA + 0.300 * 0.125 * GB_SECOND;
/// 1 KB of the functions' own logs; half of it in batches.
const LOG_KB: f64 = 0.50 / 1e6;
/// Step Functions Standard, per transition; a task with its catch and its status takes one to five.
const TRANSITION: f64 = 0.025 / 1e3;

/// Write units of detail items, which are no requests.
const UNITS: (&str, &str) = ("DynamoDB", "write units");

type Counts = BTreeMap<(&'static str, &'static str), f64>;

#[allow(clippy::panic, reason = "a tool of the repository")]
fn plan(text: &str) -> Plan {
    let parsed = parse(
        &format!("id: cost\nnamespace: cost\n{text}"),
        &Plugins::default(),
    );
    let Some(flow) = parsed.flow else {
        panic!("{:?}", parsed.diagnostics);
    };
    match compile(&flow) {
        Ok(plan) => plan,
        Err(error) => panic!("{error:?}"),
    }
}

fn chain(length: u32) -> Plan {
    let task = |n| format!("  - {{id: t{n}, type: container, containerImage: x}}\n");
    plan(&format!(
        "tasks:\n{}",
        (0..length).map(task).collect::<String>()
    ))
}

fn fan(count: u32) -> Plan {
    plan(&format!(
        "tasks:\n  - id: each\n    type: foreach\n    values: \"{{{{ range(0, {}) }}}}\"\n    \
         concurrencyLimit: 100\n    tasks:\n      - {{id: a, type: container, containerImage: x}}\n",
        count - 1
    ))
}

/// Requests of one further task run: the difference of two executions of different length.
async fn measured(batch: usize, few: (u32, Plan), many: (u32, Plan)) -> Counts {
    let mut found: Vec<BTreeMap<_, u64>> = Vec::new();
    for plan in [&few.1, &many.1] {
        let mut cloud = CloudWorld::default();
        cloud.batch = batch;
        // Quick, so that nothing is asked about: that costs by the five minutes, not by the task run. And 100 at
        // once are no more than the 20 a second that Fargate launches.
        cloud.ecs.start_after(3_000);
        cloud.ecs.script(|_| Fate {
            runs_ms: 3_000,
            ..Fate::success()
        });
        let id = cloud.start(plan).await;
        cloud.faults.reset_counts();
        cloud.run(&id, 100 * 60 * 60 * 1000).await;
        let mut counts = cloud.faults.counts();
        counts.insert(UNITS, cloud.ports.store.write_units().attempts);
        found.push(counts);
    }
    let more = f64::from(many.0 - few.0);
    #[allow(clippy::cast_precision_loss, reason = "small counts")]
    let of = |index: usize, key: &(&'static str, &'static str)| {
        let counts = found.get(index);
        counts
            .and_then(|counts| counts.get(key))
            .copied()
            .unwrap_or(0) as f64
    };
    let keys = found.iter().flat_map(BTreeMap::keys);
    let keys: std::collections::BTreeSet<_> = keys.copied().collect();
    keys.into_iter()
        .map(|key| (key, (of(1, &key) - of(0, &key)) / more))
        .collect()
}

fn price((service, what): (&str, &str)) -> f64 {
    match (service, what) {
        ("SQS", _) => SQS,
        ("Lambda", "launch") => LAUNCHER,
        ("Lambda", _) => PLANNER,
        // A request; the unit of each item is counted beside it.
        ("DynamoDB", "write attempt" | "write attempts") => 0.0,
        ("DynamoDB", what) if what.starts_with("write") || what == "create" => WRITE,
        ("DynamoDB", _) => READ,
        // RunTask itself costs nothing.
        _ => 0.0,
    }
}

fn table(title: &str, counts: &Counts, log_kb: f64) -> std::io::Result<f64> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{title}")?;
    let mut total = log_kb * LOG_KB;
    let mut requests = 0.0;
    for (key, count) in counts.iter().filter(|(_, count)| **count > 0.0005) {
        let each = price(*key);
        total += count * each;
        if *key != UNITS {
            requests += count;
        }
        writeln!(
            out,
            "  {:<10} {:<16} {count:>7.3} x ${:<12.9} = ${:.7}",
            key.0,
            key.1,
            each,
            count * each
        )?;
    }
    writeln!(
        out,
        "  {:<27} {log_kb:>7.3} KB x ${LOG_KB:<9.9} = ${:.7}",
        "own logs",
        log_kb * LOG_KB
    )?;
    writeln!(
        out,
        "  {requests:.2} requests, ${:.4} per 1,000 task runs\n",
        total * 1000.0
    )?;
    Ok(total * 1000.0)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let alone = Box::pin(measured(1, (10, chain(10)), (30, chain(30)))).await;
    let together = Box::pin(measured(10, (100, fan(100)), (200, fan(200)))).await;
    let alone = table("One after the other (nothing can be batched)", &alone, 1.0)?;
    let together = table("Side by side, batches of 10", &together, 0.5)?;
    let mut out = std::io::stdout().lock();
    let per = |transitions: f64| transitions * TRANSITION * 1000.0;
    writeln!(
        out,
        "Per 1,000 task runs, without the containers themselves:"
    )?;
    writeln!(
        out,
        "  Operon, batched          ${together:.4}   (target 0.0018)"
    )?;
    writeln!(
        out,
        "  Operon, unbatched        ${alone:.4}   (target 0.0054)"
    )?;
    writeln!(
        out,
        "  Step Functions Standard  ${:.4}   bare chain: 1 transition x $0.000025",
        per(1.0)
    )?;
    writeln!(
        out,
        "                           ${:.4}   item of a distributed map: 3 transitions",
        per(3.0)
    )?;
    writeln!(
        out,
        "                           ${:.4}   with catch and status: 5 transitions",
        per(5.0)
    )?;
    Ok(())
}
