//! Random flows with everything the language has that decides about control flow.

use operon_core::lang::model::{
    Concurrency, ConcurrencyBehavior, Dynamic, Flow, FlowRetry, FlowRetryBehavior, GroupOrder,
    LoopValues, OnFailure, PauseBehavior, Retry, RetryInterval, Task, TaskKind, TaskList, Until,
};
use operon_core::plan::builder::{FlowBuilder, task};
use rand::Rng;
use rand::rngs::SmallRng;
use serde_json::Value;

/// Milliseconds an attempt may take in a simulation: far more than all faults together can delay one, so
/// that only an attempt that hangs is ever stopped for it.
const TIMEOUT_MS: u64 = 3 * 60 * 60 * 1000;
/// Lists inside lists.
const DEPTH_MAX: usize = 4;

/// Tasks of the outermost list at most: with what is inside of them, a flow may have 10,000 outside of loops.
const LIST_MAX: usize = 3_000;

/// What a flow may have.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Task runs at most, iterations multiplied.
    pub task_runs: usize,
    /// Tasks of a list at most; of the outermost sometimes more.
    pub list: usize,
    /// Pauses and sleeps, locks, retries of the flow.
    pub waits: bool,
}

impl Shape {
    /// As large as flows with many tasks are. Of what a flow may become, much is never executed (branches that are
    /// not taken, loops that end early), so that this is needed for some to really have 10,000 task runs.
    pub const LARGE: Self = Self {
        task_runs: 24_000,
        list: 16,
        waits: true,
    };
}

/// Makes flows.
pub(super) struct Maker<'r> {
    rng: &'r mut SmallRng,
    shape: Shape,
    left: usize,
    named: u32,
}

impl<'r> Maker<'r> {
    pub(super) fn new(rng: &'r mut SmallRng, shape: Shape) -> Self {
        Self {
            rng,
            shape,
            left: shape.task_runs,
            named: 0,
        }
    }

    pub(super) fn flow(&mut self) -> Flow {
        let mut flow = FlowBuilder::new("test", "random").build();
        if self.one_in(4) {
            flow.errors = self.list(0, 3, 1, DEPTH_MAX - 1);
        }
        if self.one_in(4) {
            flow.finally = self.list(0, 3, 1, DEPTH_MAX - 1);
        }
        if self.one_in(6) {
            flow.after_execution = self.list(0, 3, 1, DEPTH_MAX - 1);
        }
        let count = if self.one_in(3) {
            self.shape.task_runs.min(LIST_MAX)
        } else {
            self.shape.list.min(self.shape.task_runs)
        };
        flow.tasks = self.list(count.div_ceil(2).max(1), count.max(1) + 1, 1, 0);
        if self.shape.waits && self.one_in(3) {
            flow.concurrency = Some(Concurrency {
                limit: self.rng.random_range(1..3),
                behavior: if self.one_in(5) {
                    ConcurrencyBehavior::Cancel
                } else {
                    ConcurrencyBehavior::Queue
                },
                key: None,
            });
        }
        if self.shape.waits && self.one_in(4) {
            let mut retry = self.retry();
            retry.max_attempts = Some(self.rng.random_range(2..4));
            flow.retry = Some(FlowRetry {
                retry,
                behavior: FlowRetryBehavior::RetryFailedTask,
            });
        }
        flow
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.rng.random_range(0..count) == 0
    }

    /// A list of `min` to `limit - 1` tasks, each of which becomes `times` task runs.
    fn list(&mut self, min: usize, limit: usize, times: usize, depth: usize) -> TaskList {
        let count = self.rng.random_range(min..limit.max(min + 1));
        let graph = self.one_in(2);
        let mut tasks: Vec<Task> = Vec::new();
        for at in 0..count {
            if self.left < times {
                break;
            }
            self.left -= times;
            let mut made = self.task(times, depth);
            if graph && at > 0 {
                for _ in 0..self.rng.random_range(0..4) {
                    let before = self.rng.random_range(at.saturating_sub(30)..at);
                    if let Some(dep) = tasks.get(before)
                        && !made.depends_on.contains(&dep.id)
                    {
                        made.depends_on.push(dep.id.clone());
                    }
                }
            }
            tasks.push(made);
        }
        TaskList { tasks, graph }
    }

    fn task(&mut self, times: usize, depth: usize) -> Task {
        self.named += 1;
        let mut made = task(&format!("t{}", self.named));
        made.kind = self.kind(times, depth);
        made.timeout_ms = Dynamic::Constant(TIMEOUT_MS);
        made.disabled = self.one_in(25);
        made.allow_failure = self.one_in(10);
        made.allow_warning = self.one_in(12);
        if self.one_in(8) {
            made.when = Some("{{ inputs.x }}".to_owned());
        }
        if made.kind == TaskKind::Run {
            if self.one_in(2) {
                made.retry = Some(self.retry());
            }
            if self.one_in(8) {
                made.idempotent = false;
                made.quarantine_ms = self.rng.random_range(0..4) * 600_000;
            }
        }
        made
    }

    fn retry(&mut self) -> Retry {
        let interval = match self.rng.random_range(0..3) {
            0 => RetryInterval::Constant {
                interval_ms: self.rng.random_range(0..90_000),
            },
            1 => RetryInterval::Exponential {
                interval_ms: self.rng.random_range(1..30_000),
                max_interval_ms: 600_000,
                delay_factor: 2.0,
            },
            _ => RetryInterval::Random {
                min_interval_ms: 1_000,
                max_interval_ms: self.rng.random_range(1_000..60_000),
            },
        };
        Retry {
            interval,
            max_attempts: Some(self.rng.random_range(1..5)),
            max_duration_ms: None,
            warning_on_retry: self.one_in(6),
            reasons: Vec::new(),
        }
    }

    fn inner(&mut self, limit: usize, times: usize, depth: usize) -> TaskList {
        self.list(0, limit, times, depth + 1)
    }

    fn handler(&mut self, times: usize, depth: usize) -> TaskList {
        if self.one_in(4) {
            self.list(1, 3, times, depth + 1)
        } else {
            TaskList::default()
        }
    }

    fn on_failure(&mut self) -> OnFailure {
        if self.one_in(4) {
            OnFailure::Stop
        } else {
            OnFailure::Continue
        }
    }

    fn kind(&mut self, times: usize, depth: usize) -> TaskKind {
        let limit = (self.shape.list >> depth).max(3);
        match self.rng.random_range(0..30) {
            0..4 if depth < DEPTH_MAX => self.group(limit, times, depth),
            4..6 if depth < DEPTH_MAX => TaskKind::Choice {
                value: "{{ inputs.x }}".to_owned(),
                condition: true,
                branches: (0..2)
                    .map(|branch| (format!("b{branch}"), self.inner(limit, times, depth)))
                    .collect(),
                default_branch: Some(1),
                errors: self.handler(times, depth),
                finally: self.handler(times, depth),
            },
            6..9 if depth < DEPTH_MAX => self.iterate(times, depth),
            9 if self.shape.waits => {
                let duration = self
                    .one_in(2)
                    .then(|| Dynamic::Constant(self.rng.random_range(0..1_200_000)));
                TaskKind::Pause {
                    duration,
                    behavior: [
                        PauseBehavior::Resume,
                        PauseBehavior::Warn,
                        PauseBehavior::Fail,
                        PauseBehavior::Cancel,
                    ][self.rng.random_range(0..4)],
                    on_resume: Vec::new(),
                }
            }
            10 if self.shape.waits => TaskKind::Sleep {
                duration: Dynamic::Constant(self.rng.random_range(0..3_600_000)),
            },
            _ => TaskKind::Run,
        }
    }

    fn group(&mut self, limit: usize, times: usize, depth: usize) -> TaskKind {
        let on_failure = self.on_failure();
        let concurrent = if self.one_in(4) {
            self.rng.random_range(1..4)
        } else {
            0
        };
        // More children could not stay together.
        let limit = limit.min(90);
        TaskKind::Group {
            order: [
                GroupOrder::Sequential,
                GroupOrder::Parallel,
                GroupOrder::Dag,
            ][self.rng.random_range(0..3)],
            tasks: self.inner(limit, times, depth),
            errors: self.handler(times, depth),
            finally: self.handler(times, depth),
            concurrent,
            on_failure,
            working_directory: false,
        }
    }

    fn iterate(&mut self, times: usize, depth: usize) -> TaskKind {
        let most = (self.left / times / 3).clamp(1, 4 * self.shape.list);
        let count = self.rng.random_range(0..=most);
        let body = (self.left / (times * count.max(1))).clamp(1, 5);
        // Drawn from what is drawn anyway, so that seeds keep what they are.
        let values = if self.named % 4 == 3 {
            LoopValues::Until(Box::new(Until {
                condition: "{{ inputs.x }}".to_owned(),
                interval_ms: 45_000 * u64::from(self.named % 3),
                max_iterations: u32::try_from(count.max(1)).unwrap_or(1),
                max_duration_ms: None,
                fail_on_max: self.named % 8 == 3,
            }))
        } else {
            LoopValues::Values(Value::from(count))
        };
        TaskKind::Loop {
            values,
            concurrency_limit: [0, 1, 2, 5, 40][self.rng.random_range(0..5)],
            on_failure: self.on_failure(),
            transmit_failed: !self.one_in(4),
            tasks: self.list(1, body + 1, times * count.max(1), depth.max(1) + 1),
            errors: self.handler(times, depth),
            finally: self.handler(times, depth),
        }
    }
}
