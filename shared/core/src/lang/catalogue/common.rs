//! Properties that every task has.

use super::property::{PropInfo, PropType, prop};

const POSITIVE: PropType = PropType::Int(1, i64::MAX);

/// Retry of a task (`constant`, `exponential`, `random`).
pub const RETRY: &[PropInfo] = &[
    prop(
        "type",
        PropType::Enum(&["constant", "exponential", "random"]),
        "How the wait between attempts grows.",
    )
    .default("constant"),
    prop(
        "interval",
        PropType::Duration,
        "Wait before the next attempt (`constant`), or before the second (`exponential`).",
    ),
    prop(
        "maxInterval",
        PropType::Duration,
        "Longest wait (`exponential`, `random`).",
    )
    .example("PT30M"),
    prop(
        "minInterval",
        PropType::Duration,
        "Shortest wait (`random`).",
    ),
    prop(
        "delayFactor",
        PropType::Float,
        "Factor from one wait to the next (`exponential`), at least 1.",
    )
    .default("2.0"),
    prop(
        "maxAttempts",
        PropType::Int(1, 100),
        "Attempts in all, the first included.",
    )
    .alias(&["maxAttempt"])
    .example("4"),
    prop(
        "maxDuration",
        PropType::Duration,
        "No further attempt starts this long after the first.",
    ),
    prop(
        "warningOnRetry",
        PropType::Bool,
        "A task run that needed a retry ends `WARNING`.",
    )
    .default("false"),
    prop(
        "reasons",
        PropType::OneOrMany(&PropType::Enum(&[
            "EXIT_CODE",
            "OUT_OF_MEMORY",
            "TIMEOUT",
            "SPOT_INTERRUPTION",
            "CANNOT_PULL",
            "NO_CAPACITY",
            "LOST",
            "TASK_FAILED",
            "OUTPUT",
            "CANNOT_START",
            "START_FAILED",
            "START_TIMEOUT",
        ])),
        "Only an attempt that failed for one of these is followed by another. Without it, any is.",
    )
    .example("[OUT_OF_MEMORY, TIMEOUT]"),
    prop(
        "behavior",
        PropType::Enum(&["RETRY_FAILED_TASK", "CREATE_NEW_EXECUTION"]),
        "Only in the flow's own `retry`.",
    )
    .rejects(
        "`behavior` belongs to the flow's `retry`, not to a task's",
        "move it to the top level, or remove it",
    ),
];

/// Reuse of outputs.
pub const TASK_CACHE: &[PropInfo] = &[
    prop("enabled", PropType::Bool, "Off when false.").default("true"),
    prop(
        "ttl",
        PropType::Duration,
        "How long an entry lives; without it, until it is deleted.",
    )
    .example("P7D"),
];

/// What one attempt may use.
pub const RESOURCES: &[PropInfo] = &[
    prop(
        "cpu",
        PropType::Cpu,
        "CPUs. On Fargate rounded up to a size that exists.",
    )
    .alias(&["cpus"])
    .default("100m")
    .example("2"),
    prop("memory", PropType::Size, "Memory; a plain number is MiB.").example("4Gi"),
    prop(
        "ephemeral",
        PropType::Size,
        "Scratch disk, rounded up to GiB; a plain number is GiB.",
    )
    .alias(&["ephemeralStorage", "disk"])
    .example("50Gi"),
    prop("gpu", PropType::Int(0, 16), "GPUs.").rejects(
        "Fargate has no GPUs",
        "remove `gpu`; a GPU task must run elsewhere, called with `http`",
    ),
];

const LEVELS: &[&str] = &["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "OFF"];

/// Properties of every task.
pub const TASK: &[PropInfo] = &[
    prop(
        "id",
        PropType::String,
        "Unique in the flow: letters, digits, `-` and `_`.",
    )
    .required()
    .example("align"),
    prop(
        "type",
        PropType::String,
        "A short name, a Kestra class name of any version, or a plugin.",
    )
    .required()
    .example("log"),
    prop("description", PropType::String, "Markdown."),
    prop(
        "dependsOn",
        PropType::OneOrMany(&PropType::String),
        "Siblings that must have succeeded. One `dependsOn` makes the whole list a graph.",
    )
    .example("[]"),
    prop(
        "when",
        PropType::Condition,
        "The task is `SKIPPED` unless this holds.",
    )
    .alias(&["runIf"])
    .dynamic(),
    prop(
        "retry",
        PropType::Object(RETRY),
        "What happens when an attempt fails. An interruption by the platform uses up no attempt.",
    )
    .example("{type: exponential, interval: PT30S, maxInterval: PT10M, maxAttempts: 4}"),
    prop(
        "timeout",
        PropType::Duration,
        "How long one attempt may take. There is always one: each type has a default.",
    )
    .dynamic(),
    prop(
        "allowFailure",
        PropType::Bool,
        "A failure becomes `WARNING`, and the flow goes on.",
    )
    .default("false"),
    prop(
        "allowWarning",
        PropType::Bool,
        "A warning becomes `SUCCESS`.",
    )
    .default("false"),
    prop("disabled", PropType::Bool, "No task run is created.").default("false"),
    prop(
        "taskCache",
        PropType::Object(TASK_CACHE),
        "Reuse the outputs of an identical earlier task run that used no secret.",
    )
    .alias(&["cacheOutputs"])
    .example("{enabled: true, ttl: P7D}"),
    prop(
        "idempotent",
        PropType::Bool,
        "`false`: launched at most once without a person. When its outcome is unknown it ends `FAILED`.",
    )
    .default("true"),
    prop(
        "quarantine",
        PropType::Duration,
        "How long the execution's lock stays held after an unknown outcome.",
    )
    .default("PT0S")
    .example("PT10M"),
    prop(
        "priority",
        PropType::Int(-1000, 1000),
        "Larger goes first when slots are scarce.",
    )
    .default("0")
    .example("10"),
    prop(
        "resources",
        PropType::Object(RESOURCES),
        "What one attempt may use.",
    )
    .example("{cpu: 2, memory: 4Gi}"),
    prop(
        "logLevel",
        PropType::Enum(LEVELS),
        "Least level that is stored.",
    )
    .warns("every log line is stored; filter when reading"),
    prop("logToFile", PropType::Bool, "Store the log as a file.")
        .warns("logs are always stored as files and can be downloaded"),
    prop("version", PropType::String, "Version of a Kestra plugin.")
        .warns("task types have no versions of their own; a flow revision is pinned as a whole")
        .example("1.0.0"),
    prop(
        "workerGroup",
        PropType::Object(&[
            prop("key", PropType::String, "Name."),
            prop("fallback", PropType::String, "What if there is none."),
        ]),
        "Kestra EE: which workers.",
    )
    .warns("there are no workers to choose from; placement follows `resources`")
    .example("{key: gpu}"),
    prop(
        "workerSelector",
        PropType::Map(&PropType::Any),
        "Kestra EE: which workers.",
    )
    .warns("there are no workers to choose from; placement follows `resources`"),
    prop(
        "pluginDefaultsRef",
        PropType::Any,
        "Kestra: a named set of defaults.",
    )
    .rejects(
        "named sets of defaults do not exist here",
        "write the values under `pluginDefaults` of this flow",
    ),
    prop("assets", PropType::Any, "Kestra EE: lineage of assets.")
        .warns("lineage is recorded from artifacts; `assets` adds nothing")
        .example("{}"),
    prop(
        "onFailure",
        PropType::Enum(&["continue", "stop"]),
        "Only on tasks that hold tasks.",
    )
    .rejects(
        "`onFailure` belongs to a task that holds tasks",
        "write it on the surrounding `sequential`, `parallel`, `dag` or `foreach`; for one task there are `allowFailure` and `retry`",
    ),
];

/// A count that is at least one.
pub(super) const COUNT: PropType = POSITIVE;
