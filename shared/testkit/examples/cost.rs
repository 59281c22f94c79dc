//! What a task run costs without its container: requests and write units counted in the cloud in memory, times a table of
//! prices, beside AWS Step Functions. `make cost` prints it; `tests/cloud/requests.rs` of the engine holds the counts.
//!
//! Targets are about orchestration as aws.md 3.1 counts it: queues, functions, table, `RunTask` and logs, of tasks that end
//! before they are asked after. What comes on top is counted and shown too: the agent's manifest, and questions.
//!
//! Exits with 1 when a target is missed, or when a task run costs more than what `docs/operations.md` says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::ExitCode;

use operon_core::lang::parse;
use operon_core::lang::plugins::Plugins;
use operon_core::plan::{Plan, compile};
use operon_testkit::cloud::{CloudWorld, Fate};

/// us-east-1, $ per request, and what one of its kind is taken to use (aws.md 2 and 3.1).
const SQS: f64 = 0.40 / 1e6;
const S3_PUT: f64 = 5.0 / 1e6;
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

/// Write units, which are no requests: of shards' items, of their places in the due index, of writes that lost a race, of
/// detail items, of executions with their places in lists.
const UNITS: &str = "units";
/// What the agent stores for itself, so that its end is known when its message is lost.
const MANIFEST: (&str, &str) = ("S3", "put by agent");
const MINUTE_MS: u64 = 60_000;
/// An attempt that lasts so long is asked after.
const QUESTION_MS: u64 = operon_core::exec::PROBE_INTERVAL_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// What is priced.
struct Case {
    title: &'static str,
    /// Messages of one batch at most.
    batch: usize,
    runs_ms: u64,
    few: (u32, Plan),
    many: (u32, Plan),
    /// Of the functions' own logs.
    log_kb: f64,
    /// Dollars of orchestration per 1,000 task runs at most; none for tasks that are asked after.
    target: Option<f64>,
    /// Dollars of everything: what is documented, and must not grow.
    known: f64,
}

impl Case {
    fn chain(title: &'static str, runs_ms: u64, known: f64) -> Self {
        let plans = [10, 30].map(|length| (length, chain(length)));
        Self::new((title, known), runs_ms, plans, (1, 1.0, 0.0054))
    }

    fn fan(title: &'static str, runs_ms: u64, known: f64) -> Self {
        let plans = [100, 200].map(|count| (count, fan(count)));
        Self::new((title, known), runs_ms, plans, (10, 0.5, 0.0018))
    }

    fn new(
        (title, known): (&'static str, f64),
        runs_ms: u64,
        [few, many]: [(u32, Plan); 2],
        (batch, log_kb, target): (usize, f64, f64),
    ) -> Self {
        Self {
            title,
            batch,
            runs_ms,
            few,
            many,
            log_kb,
            target: (runs_ms < QUESTION_MS).then_some(target),
            known,
        }
    }
}

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

/// Requests and units of one further task run: the difference of two executions of different length.
async fn measured(case: &Case) -> Counts {
    let few = counted(case, &case.few.1).await;
    let many = counted(case, &case.many.1).await;
    let more = f64::from(case.many.0 - case.few.0);
    #[allow(clippy::cast_precision_loss, reason = "small counts")]
    let of = |counts: &BTreeMap<(&str, &str), u64>, key: &(&str, &str)| {
        counts.get(key).copied().unwrap_or(0) as f64
    };
    let keys: BTreeSet<_> = few.keys().chain(many.keys()).copied().collect();
    let each = |key| (key, (of(&many, &key) - of(&few, &key)) / more);
    keys.into_iter().map(each).collect()
}

async fn counted(case: &Case, plan: &Plan) -> BTreeMap<(&'static str, &'static str), u64> {
    let mut cloud = CloudWorld::default();
    cloud.batch = case.batch;
    // 100 at once are no more than the 20 a second that Fargate launches.
    cloud.ecs.start_after(3_000);
    let runs_ms = case.runs_ms;
    cloud.ecs.script(move |_| Fate {
        runs_ms,
        ..Fate::success()
    });
    let id = cloud.start(plan).await;
    cloud.faults.reset_counts();
    cloud.run(&id, 100 * HOUR_MS).await;
    let mut counts = cloud.faults.counts();
    let units = cloud.ports.store.write_units();
    counts.insert((UNITS, "shards"), units.sharded - units.due - units.refused);
    counts.insert((UNITS, "due index"), units.due);
    counts.insert((UNITS, "lost races"), units.refused);
    counts.insert((UNITS, "detail items"), units.attempts);
    counts.insert((UNITS, "executions"), units.executions);
    counts
}

fn price((service, what): (&str, &str)) -> f64 {
    match (service, what) {
        ("SQS", _) => SQS,
        ("Lambda", "launch") => LAUNCHER,
        ("Lambda", _) => PLANNER,
        (UNITS, _) => WRITE,
        // A write is a request; its units are counted beside it.
        ("DynamoDB", what) if what.starts_with("write") || what == "create" => 0.0,
        ("DynamoDB", _) => READ,
        ("S3", what) if what.starts_with("put") => S3_PUT,
        // RunTask itself costs nothing.
        _ => 0.0,
    }
}

/// Prints one case; dollars per 1,000 task runs, and of these those of the manifest.
fn table(case: &Case, counts: &Counts) -> std::io::Result<(f64, f64)> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", case.title)?;
    let mut total = case.log_kb * LOG_KB;
    let mut requests = 0.0;
    for (key, count) in counts.iter().filter(|(_, count)| count.abs() > 0.0005) {
        let each = price(*key);
        total += count * each;
        if key.0 != UNITS {
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
        "  {:<27} {:>7.3} KB x ${LOG_KB:<9.9} = ${:.7}",
        "own logs",
        case.log_kb,
        case.log_kb * LOG_KB
    )?;
    let manifest = counts
        .get(&MANIFEST)
        .map_or(0.0, |count| count * price(MANIFEST));
    writeln!(
        out,
        "  {requests:.2} requests, ${:.4} per 1,000 task runs\n",
        total * 1000.0
    )?;
    Ok((total * 1000.0, manifest * 1000.0))
}

fn cases() -> [Case; 4] {
    [
        Case::chain(
            "One after the other (nothing can be batched), tasks of 5 minutes",
            5 * MINUTE_MS,
            0.0178,
        ),
        Case::chain("One after the other, tasks of 3 seconds", 3_000, 0.0103),
        Case::fan(
            "Side by side, batches of 10, tasks of 5 minutes",
            5 * MINUTE_MS,
            0.0075,
        ),
        Case::fan(
            "Side by side, batches of 10, tasks of 3 seconds",
            3_000,
            0.0068,
        ),
    ]
}

/// Prints a case's line of the summary; whether it costs no more than it may.
fn verdict(case: &Case, (total, manifest): (f64, f64)) -> std::io::Result<bool> {
    // As exact as the targets are.
    let shown = |dollars: f64| (dollars * 1e4).round() / 1e4;
    let orchestration = total - manifest;
    let met = case
        .target
        .is_none_or(|target| shown(orchestration) <= target);
    let target = case.target.map_or_else(String::new, |target| {
        let word = if met { "met" } else { "MISSED" };
        format!(" (target ${target:.4}: {word})")
    });
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "  {}\n    ${orchestration:.4}{target}, and ${manifest:.4} for the agent's manifest: ${total:.4}",
        case.title,
    )?;
    let kept = shown(total) <= case.known;
    if !kept {
        writeln!(
            out,
            "    more than the ${:.4} that are documented",
            case.known
        )?;
    }
    Ok(met && kept)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<ExitCode> {
    let cases = cases();
    let mut dollars = Vec::new();
    for case in &cases {
        let counts = Box::pin(measured(case)).await;
        dollars.push(table(case, &counts)?);
    }
    let mut kept = true;
    say("Per 1,000 task runs, without the containers themselves:")?;
    for (case, dollars) in cases.iter().zip(dollars) {
        kept &= verdict(case, dollars)?;
    }
    for (transitions, what) in [
        (1.0, "bare chain: 1 transition x $0.000025"),
        (3.0, "item of a distributed map: 3 transitions"),
        (5.0, "with catch and status: 5 transitions"),
    ] {
        let each = transitions * TRANSITION * 1000.0;
        say(&format!("  Step Functions Standard ${each:.4}   {what}"))?;
    }
    Ok(if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn say(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")
}
