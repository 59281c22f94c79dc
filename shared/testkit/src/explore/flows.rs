//! The configurations: the smallest flows in which each mechanism can go wrong.

use operon_core::exec::Verdict;
use operon_core::lang::model::{
    Concurrency, ConcurrencyBehavior, Dynamic, FlowRetry, FlowRetryBehavior, Retry, RetryInterval,
    TaskKind, Until,
};
use operon_core::plan::builder::FlowBuilder;
use operon_core::plan::{Plan, SHARD_SLOTS, ShardId, ShardPlan, compile};

use super::Setup;

#[allow(clippy::expect_used, reason = "the flows here are fixed and compile")]
fn compiled(flow: FlowBuilder) -> Plan {
    compile(&flow.build()).expect("the configuration compiles")
}

fn flow() -> FlowBuilder {
    FlowBuilder::new("explore", "explore")
}

fn policy(attempts: u8) -> Retry {
    Retry {
        interval: RetryInterval::Constant { interval_ms: 1000 },
        max_attempts: Some(attempts),
        max_duration_ms: None,
        warning_on_retry: false,
        reasons: Vec::new(),
    }
}

/// `a`, then `b`, each tried at most twice.
#[must_use]
pub fn chain() -> Setup {
    let plan = compiled(
        flow()
            .task("a")
            .retry(2, 1000)
            .task_after("b", &["a"])
            .retry(2, 1000),
    );
    Setup::new("chain", plan)
}

/// `a` and `b`, then `c`.
#[must_use]
pub fn diamond() -> Setup {
    let plan = compiled(flow().task("a").task("b").task_after("c", &["a", "b"]));
    Setup::new("diamond", plan)
}

/// One task, tried at most three times.
#[must_use]
pub fn retried() -> Setup {
    Setup {
        started: true,
        ..Setup::new("retried", compiled(flow().task("a").retry(3, 1000)))
    }
}

/// One task that must not be launched twice, with a retry policy that does not count.
#[must_use]
pub fn once() -> Setup {
    let plan = compiled(flow().task("a").retry(3, 1000).idempotent(false));
    Setup {
        started: true,
        ..Setup::new("not idempotent", plan)
    }
}

/// A sleep and nothing else: only a tick can end it.
#[must_use]
pub fn nap() -> Setup {
    let plan = compiled(flow().task("nap").with(|task| {
        task.kind = TaskKind::Sleep {
            duration: Dynamic::Constant(5000),
        };
    }));
    Setup::new("sleep", plan)
}

/// A failing task with an error handler and a clean-up.
#[must_use]
pub fn clean_up() -> Setup {
    let plan = compiled(
        flow()
            .task("a")
            .errors(|errors| errors.task("report"))
            .finally(|finally| finally.task("clean")),
    );
    Setup::new("errors, finally", plan)
}

/// `a`, then `b` under a condition that holds: evaluated in the turn in which `a` succeeds.
#[must_use]
pub fn guarded() -> Setup {
    let plan = compiled(flow().task("a").task_after("b", &["a"]).when("{{ true }}"));
    let mut setup = Setup::new("condition", plan);
    setup.gates.insert("b".to_owned(), Verdict::Gate(true));
    setup
}

/// One task in a flow that is tried twice.
#[must_use]
pub fn flow_retry() -> Setup {
    let mut plan = compiled(flow().task("a").task_after("b", &["a"]));
    plan.retry = Some(FlowRetry {
        retry: policy(2),
        behavior: FlowRetryBehavior::RetryFailedTask,
    });
    Setup::new("flow retry", plan)
}

/// Two executions of one task each, of which one may run at a time.
#[must_use]
pub fn lock() -> Setup {
    let mut plan = compiled(flow().task("a"));
    plan.concurrency = Some(Concurrency {
        limit: 1,
        key: None,
        behavior: ConcurrencyBehavior::Queue,
    });
    Setup {
        executions: 2,
        ..Setup::new("lock", plan)
    }
}

/// Two executions that only sleep, one at a time: the lock and nothing else, so that more can go wrong with it.
#[must_use]
pub fn turnstile() -> Setup {
    let mut plan = nap().plan;
    plan.concurrency = lock().plan.concurrency;
    Setup {
        executions: 2,
        ..Setup::new("lock, sleep", plan)
    }
}

/// The lock with a task that must not be launched twice: when its outcome is unknown, the lock is kept for its
/// quarantine.
#[must_use]
pub fn quarantine() -> Setup {
    let flow = flow().task("a").idempotent(false);
    let mut plan = compiled(flow.with(|task| task.quarantine_ms = 60_000));
    plan.concurrency = lock().plan.concurrency;
    Setup {
        executions: 2,
        ..Setup::new("lock, quarantine", plan)
    }
}

/// `a`, then `b`, cut by hand so that the flow and `a` live in one shard and `b` in another.
#[must_use]
pub fn two_parts() -> Setup {
    let mut plan = compiled(flow().task("a").task_after("b", &["a"]));
    let root = &mut plan.scopes[0];
    let find = |id: &str| {
        let found = root.nodes.iter().position(|node| node.id == id);
        u16::try_from(found.unwrap_or_default()).unwrap_or_default()
    };
    let (a, b) = (find("a"), find("b"));
    let first: Vec<u16> = (0..u16::try_from(root.nodes.len()).unwrap_or_default())
        .filter(|node| *node != b)
        .collect();
    root.shards = vec![
        ShardPlan {
            slots: first,
            mirrors: vec![b],
        },
        ShardPlan {
            slots: vec![b],
            mirrors: vec![0, a],
        },
    ];
    Setup {
        shards: vec![ShardId::of_part(0), ShardId::of_part(1)],
        ..Setup::new("two shards", plan)
    }
}

/// A loop of two iterations, each in its own shard, and a task behind the barrier.
#[must_use]
pub fn barrier() -> Setup {
    let plan = compiled(
        flow()
            .looped("each", 2, |body| {
                (0..FILLERS).fold(body.task("item"), filler)
            })
            .task_after("after", &["each"]),
    );
    let mut setup = Setup::new("barrier", plan);
    let slot = loop_slot(&setup.plan);
    setup.shards = vec![
        ShardId::ROOT,
        ShardId::ROOT.of_loop(slot, 0),
        ShardId::ROOT.of_loop(slot, 1),
    ];
    setup.verdicts.insert("each".to_owned(), Verdict::Count(2));
    for number in 0..FILLERS {
        setup
            .gates
            .insert(format!("filler-{number}"), Verdict::Gate(false));
    }
    setup
}

/// A loop that tolerates the failure of its two items, and a task behind it.
#[must_use]
pub fn tolerant() -> Setup {
    let plan = compiled(
        flow()
            .looped("each", 2, |body| body.task("item"))
            .with(|task| task.allow_failure = true)
            .task_after("after", &["each"]),
    );
    let mut setup = Setup {
        tolerated: true,
        ..Setup::new("tolerant", plan)
    };
    let slot = loop_slot(&setup.plan);
    setup.shards = vec![ShardId::ROOT, ShardId::ROOT.of_loop(slot, 0)];
    setup.verdicts.insert("each".to_owned(), Verdict::Count(2));
    setup
}

/// A loop that is repeated at most twice, whose condition never holds, and a task behind it.
#[must_use]
pub fn repeated() -> Setup {
    let until = Until {
        condition: "{{ false }}".to_owned(),
        interval_ms: 5000,
        max_iterations: 2,
        max_duration_ms: None,
        fail_on_max: false,
    };
    let plan = compiled(
        flow()
            .repeated("each", until, |body| body.task("item"))
            .task_after("after", &["each"]),
    );
    let mut setup = Setup::new("repeated", plan);
    let slot = loop_slot(&setup.plan);
    setup.shards = vec![ShardId::ROOT, ShardId::ROOT.of_loop(slot, 0)];
    setup.verdicts.insert("each".to_owned(), Verdict::Count(2));
    setup
        .verdicts
        .insert(".until.each".to_owned(), Verdict::Gate(false));
    setup
}

/// The same; its condition holds after the first iteration.
#[must_use]
pub fn repeated_once() -> Setup {
    let mut setup = Setup {
        name: "repeated, holds",
        ..repeated()
    };
    setup
        .verdicts
        .insert(".until.each".to_owned(), Verdict::Gate(true));
    setup
}

/// Tasks that are never taken, enough for one iteration to fill a shard.
const FILLERS: usize = SHARD_SLOTS / 2;

/// A task whose condition is false.
fn filler(body: FlowBuilder, number: usize) -> FlowBuilder {
    body.task(&format!("filler-{number}")).when("{{ false }}")
}

fn loop_slot(plan: &Plan) -> u16 {
    let found = plan.scopes[0]
        .nodes
        .iter()
        .position(|node| node.id == "each");
    u16::try_from(found.unwrap_or_default()).unwrap_or_default()
}
