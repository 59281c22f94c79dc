//! Flows for tests, without YAML: tasks that return something, in lists, graphs, groups and loops.
//!
//! ```
//! use operon_core::plan::builder::FlowBuilder;
//!
//! let flow = FlowBuilder::new("genomics", "qc")
//!     .task("fetch")
//!     .with(|fetch| fetch.timeout_ms = operon_core::lang::model::Dynamic::Constant(5_000))
//!     .task_after("align", &["fetch"])
//!     .looped("per-sample", 10, |body| body.task("count"))
//!     .build();
//! let plan = operon_core::plan::compile(&flow).unwrap();
//! assert_eq!(plan.scopes.len(), 2);
//! ```

use serde_json::{Map, Value};

use crate::lang::model::{
    Dynamic, Flow, GroupOrder, LoopValues, OnFailure, Resources, Retry, RetryInterval, Task,
    TaskKind, TaskList, Until,
};

/// Type of the tasks that are built.
pub const TASK_TYPE: &str = "io.kestra.plugin.core.debug.Return";
/// Timeout of the tasks that are built, in milliseconds.
pub const TIMEOUT_MS: u64 = 60_000;

/// Builds a [`Flow`], or inside a group or loop its list of tasks. Not validated; that is the
/// compiler's part.
#[derive(Debug, Clone, Default)]
pub struct FlowBuilder {
    flow: Flow,
}

impl FlowBuilder {
    /// A flow without tasks.
    #[must_use]
    pub fn new(namespace: &str, id: &str) -> Self {
        let flow = Flow {
            namespace: namespace.to_owned(),
            id: id.to_owned(),
            ..Flow::default()
        };
        Self { flow }
    }

    /// Adds any task.
    #[must_use]
    pub fn push(mut self, task: Task) -> Self {
        self.flow.tasks.graph |= !task.depends_on.is_empty();
        self.flow.tasks.tasks.push(task);
        self
    }

    /// Adds a task that returns its own id.
    #[must_use]
    pub fn task(self, id: &str) -> Self {
        self.push(task(id))
    }

    /// Adds a task with `dependsOn`, which makes the list a graph.
    #[must_use]
    pub fn task_after(self, id: &str, deps: &[&str]) -> Self {
        let mut flow = self.task(id).after(deps);
        flow.flow.tasks.graph = true;
        flow
    }

    /// Changes the task added last.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Task)) -> Self {
        if let Some(task) = self.flow.tasks.tasks.last_mut() {
            change(task);
        }
        self
    }

    /// Gives the task added last its `dependsOn`.
    #[must_use]
    pub fn after(mut self, deps: &[&str]) -> Self {
        self.flow.tasks.graph |= !deps.is_empty();
        self.with(|task| task.depends_on = deps.iter().map(ToString::to_string).collect())
    }

    /// Retries the task added last: attempts in all, with a constant wait in milliseconds.
    #[must_use]
    pub fn retry(self, max_attempts: u8, interval_ms: u64) -> Self {
        self.with(|task| {
            task.retry = Some(Retry {
                interval: RetryInterval::Constant { interval_ms },
                max_attempts: Some(max_attempts),
                max_duration_ms: None,
                warning_on_retry: false,
                reasons: Vec::new(),
            });
        })
    }

    /// Sets whether the task added last may be launched again.
    #[must_use]
    pub fn idempotent(self, idempotent: bool) -> Self {
        self.with(|task| task.idempotent = idempotent)
    }

    /// Limits an attempt of the task added last, in milliseconds.
    #[must_use]
    pub fn timeout_ms(self, timeout_ms: u64) -> Self {
        self.with(|task| task.timeout_ms = Dynamic::Constant(timeout_ms))
    }

    /// Allows the task added last to fail.
    #[must_use]
    pub fn allow_failure(self) -> Self {
        self.with(|task| task.allow_failure = true)
    }

    /// Gives the task added last a condition.
    #[must_use]
    pub fn when(self, condition: &str) -> Self {
        self.with(|task| task.when = Some(condition.to_owned()))
    }

    /// Adds a group; `build` adds its tasks, errors and finally.
    #[must_use]
    pub fn group(self, id: &str, order: GroupOrder, build: impl FnOnce(Self) -> Self) -> Self {
        let inner = build(Self::default()).flow;
        self.push(Task {
            task_type: "io.kestra.plugin.core.flow.Sequential".into(),
            kind: TaskKind::Group {
                order,
                tasks: inner.tasks,
                errors: inner.errors,
                finally: inner.finally,
                concurrent: 0,
                on_failure: OnFailure::Continue,
                working_directory: false,
            },
            ..task(id)
        })
    }

    /// Adds a group whose tasks start together, at most `concurrent` at once; 0 means no limit.
    #[must_use]
    pub fn parallel(self, id: &str, concurrent: u16, build: impl FnOnce(Self) -> Self) -> Self {
        self.group(id, GroupOrder::Parallel, build).with(|task| {
            if let TaskKind::Group {
                concurrent: limit, ..
            } = &mut task.kind
            {
                *limit = concurrent;
            }
        })
    }

    /// Adds an `If`: `then` when the condition holds, else `otherwise`.
    #[must_use]
    pub fn choice(
        self,
        id: &str,
        condition: &str,
        then: impl FnOnce(Self) -> Self,
        otherwise: impl FnOnce(Self) -> Self,
    ) -> Self {
        let (then, otherwise) = (then(Self::default()).flow, otherwise(Self::default()).flow);
        self.push(Task {
            task_type: "io.kestra.plugin.core.flow.If".into(),
            kind: TaskKind::Choice {
                value: condition.to_owned(),
                condition: true,
                branches: vec![
                    ("then".into(), then.tasks),
                    ("else".into(), otherwise.tasks),
                ],
                default_branch: Some(1),
                errors: TaskList::default(),
                finally: TaskList::default(),
            },
            ..task(id)
        })
    }

    /// Adds a loop over the numbers below `count`, all at once as far as the engine's window allows.
    #[must_use]
    pub fn looped(self, id: &str, count: u32, build: impl FnOnce(Self) -> Self) -> Self {
        let values = Value::Array((0..count).map(Value::from).collect());
        self.looped_over(id, values, build)
    }

    /// Adds a loop over a value or template.
    #[must_use]
    pub fn looped_over(self, id: &str, values: Value, build: impl FnOnce(Self) -> Self) -> Self {
        let inner = build(Self::default()).flow;
        self.push(Task {
            task_type: "io.kestra.plugin.core.flow.Loop".into(),
            kind: TaskKind::Loop {
                values: LoopValues::Values(values),
                concurrency_limit: 0,
                on_failure: OnFailure::Continue,
                transmit_failed: true,
                tasks: inner.tasks,
                errors: inner.errors,
                finally: inner.finally,
            },
            ..task(id)
        })
    }

    /// Adds a loop that is repeated until a condition holds.
    #[must_use]
    pub fn repeated(self, id: &str, until: Until, build: impl FnOnce(Self) -> Self) -> Self {
        self.looped(id, 0, build).with(|task| {
            if let TaskKind::Loop { values, .. } = &mut task.kind {
                *values = LoopValues::Until(Box::new(until));
            }
        })
    }

    /// Limits the iterations at once of the loop added last.
    #[must_use]
    pub fn window(self, limit: u32) -> Self {
        self.with(|task| {
            if let TaskKind::Loop {
                concurrency_limit, ..
            } = &mut task.kind
            {
                *concurrency_limit = limit;
            }
        })
    }

    /// Lets the first failure stop what has not started, in the group or loop added last.
    #[must_use]
    pub fn stop_on_failure(self) -> Self {
        self.with(|task| match &mut task.kind {
            TaskKind::Group { on_failure, .. } | TaskKind::Loop { on_failure, .. } => {
                *on_failure = OnFailure::Stop;
            }
            TaskKind::Run
            | TaskKind::Choice { .. }
            | TaskKind::Pause { .. }
            | TaskKind::Sleep { .. } => {}
        })
    }

    /// Adds error handlers; only the tasks that `build` adds count.
    #[must_use]
    pub fn errors(mut self, build: impl FnOnce(Self) -> Self) -> Self {
        self.flow.errors = build(Self::default()).flow.tasks;
        self
    }

    /// Adds clean-up; only the tasks that `build` adds count.
    #[must_use]
    pub fn finally(mut self, build: impl FnOnce(Self) -> Self) -> Self {
        self.flow.finally = build(Self::default()).flow.tasks;
        self
    }

    /// Adds what runs after the execution; only the tasks that `build` adds count.
    #[must_use]
    pub fn after_execution(mut self, build: impl FnOnce(Self) -> Self) -> Self {
        self.flow.after_execution = build(Self::default()).flow.tasks;
        self
    }

    /// The flow.
    #[must_use]
    pub fn build(self) -> Flow {
        self.flow
    }
}

/// A task that returns its own id, with every property at its default.
#[must_use]
pub fn task(id: &str) -> Task {
    Task {
        id: id.to_owned(),
        task_type: TASK_TYPE.to_owned(),
        plugin: None,
        span: 0..0,
        description: None,
        depends_on: Vec::new(),
        when: None,
        retry: None,
        timeout_ms: Dynamic::Constant(TIMEOUT_MS),
        allow_failure: false,
        allow_warning: false,
        disabled: false,
        task_cache: None,
        idempotent: true,
        quarantine_ms: 0,
        priority: 0,
        resources: Resources::default(),
        props: Map::from_iter([("format".to_owned(), Value::from(id))]),
        kind: TaskKind::Run,
    }
}
