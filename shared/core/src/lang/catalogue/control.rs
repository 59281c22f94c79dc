//! Tasks that hold or delay other tasks.

use super::common::COUNT;
use super::property::{PropInfo, PropType, prop};
use super::{Shape, TypeInfo};

const ON_FAILURE: PropInfo = prop(
    "onFailure",
    PropType::Enum(&["continue", "stop"]),
    "What a failed child means for those not started: only its descendants stop, or all.",
)
.default("continue");
const ERRORS: PropInfo = prop(
    "errors",
    PropType::Tasks,
    "Run when a child failed, before this task ends.",
);
const FINALLY: PropInfo = prop(
    "finally",
    PropType::Tasks,
    "Run at the end, unless the execution is stopped.",
);
const TASKS: PropInfo = prop("tasks", PropType::Tasks, "The children.").required();
const CONCURRENT: PropInfo = prop(
    "concurrent",
    PropType::Int(0, 10_000),
    "Children at once; 0 means no limit.",
)
.alias(&["concurrencyLimit"])
.default("0")
.example("4");
const LIMIT: PropInfo = prop(
    "concurrencyLimit",
    PropType::Int(0, 10_000),
    "Iterations at once; 0 means the engine's window.",
)
.alias(&["concurrent", "window"])
.default("1")
.example("10");
const TRANSMIT: PropInfo = prop(
    "transmitFailed",
    PropType::Bool,
    "Whether a failed iteration or execution fails this task.",
)
.default("true");
const VALUES: PropType = PropType::Any;
const FORMAT: PropInfo = prop(
    "format",
    PropType::Enum(&["lines", "fasta"]),
    "What one record of `items` is.",
)
.default("lines");
const BATCH: PropInfo = prop(
    "batch",
    PropType::Object(&[
        prop("rows", COUNT, "Records per iteration.")
            .default("1")
            .example("100"),
        prop("bytes", PropType::Size, "Bytes per iteration.").example("10MB"),
        prop("partitions", COUNT, "Number of iterations.").example("8"),
        prop("separator", PropType::String, "Between records.").rejects(
            "records are lines or FASTA records",
            "write `format: lines` or `format: fasta`",
        ),
        prop("regexPattern", PropType::String, "Selects by a pattern.").rejects(
            "records are lines or FASTA records",
            "filter with `io.kestra.plugin.core.storage.FilterItems` first",
        ),
    ]),
    "How records are grouped.",
)
.example("{rows: 100}");

const LOOP_PROPS: &[PropInfo] = &[
    prop(
        "values",
        VALUES,
        "A list, a map, or a template that gives one; a JSON text; or the URI of an artifact with JSON, or with one value per line: JSON if every line is, else texts. One of `values` and `items`.",
    )
    .alias(&["value"])
    .dynamic()
    .example("[mpox, ebola]"),
    prop(
        "items",
        PropType::String,
        "URI of a file whose records are iterated over. The batch's file is `{{ item.value }}`.",
    )
    .dynamic(),
    FORMAT,
    BATCH,
    LIMIT,
    ON_FAILURE,
    TRANSMIT,
    TASKS,
    ERRORS,
    FINALLY,
    prop(
        "outputs",
        PropType::Any,
        "Kestra 2.0: what an iteration returns.",
    )
    .rejects(
        "the outputs of tasks inside a loop can be read directly",
        "remove it and read `outputs.<task>` of the iteration",
    ),
    prop(
        "fetchType",
        PropType::Enum(&["AUTO", "FETCH", "STORE"]),
        "Kestra 2.0: where outputs go.",
    )
    .warns("outputs over 4 KiB are stored as files by themselves"),
];

const UNTIL_PROPS: &[PropInfo] = &[
    prop(
        "condition",
        PropType::Condition,
        "Ends the loop when it holds.",
    )
    .required()
    .dynamic()
    .example("\"{{ inputs.go }}\""),
    prop(
        "checkFrequency",
        PropType::Object(&[
            prop(
                "interval",
                PropType::Duration,
                "Between the end of an iteration and the next one.",
            )
            .default("PT1S")
            .example("PT30S"),
            prop(
                "maxIterations",
                PropType::Int(1, 100_000),
                "Iterations at most.",
            )
            .default("100")
            .example("20"),
            prop(
                "maxDuration",
                PropType::Duration,
                "No further iteration begins this long after the first.",
            )
            .default("PT1H")
            .example("PT2H"),
        ]),
        "How often, and for how long.",
    )
    .example("{interval: PT30S, maxIterations: 20}"),
    prop(
        "failOnMaxReached",
        PropType::Bool,
        "Whether it fails when a maximum is reached before the condition holds.",
    )
    .default("false"),
    TASKS,
    ERRORS,
    FINALLY,
];

const SUBFLOW_PROPS: &[PropInfo] = &[
    prop(
        "namespace",
        PropType::String,
        "Of the flow that is started; this flow's own when absent.",
    )
    .dynamic()
    .example("genomics"),
    prop("flowId", PropType::String, "The flow that is started.")
        .required()
        .dynamic()
        .example("other"),
    prop(
        "revision",
        COUNT,
        "Its revision; the one that counts when absent. Files beside a flow have none.",
    ),
    prop(
        "inputs",
        PropType::Map(&PropType::Any),
        "Values for its inputs.",
    )
    .dynamic(),
    prop("labels", PropType::Labels, "Added to the execution.").dynamic(),
    prop(
        "inheritLabels",
        PropType::Bool,
        "Pass this execution's labels on.",
    )
    .default("false"),
    prop("wait", PropType::Bool, "Wait for its end.").default("true"),
    TRANSMIT,
    prop(
        "scheduleDate",
        PropType::String,
        "Kestra: start it then, not now.",
    )
    .alias(&["scheduleOn"])
    .rejects(
        "a flow is started when its turn comes",
        "put a `sleep` before it, or a `schedule` trigger into the flow that is started",
    )
    .example("\"2030-01-01T00:00:00Z\""),
    prop(
        "restartBehavior",
        PropType::Enum(&["RETRY_FAILED", "NEW_EXECUTION"]),
        "Kestra: what a restart of this execution does to a failed one below.",
    )
    .warns("a restart starts the flow anew; restart the failed execution below by itself to keep what succeeded in it"),
    prop(
        "outputs",
        PropType::Map(&PropType::Any),
        "Kestra 0.x: read outputs of the tasks below.",
    )
    .rejects(
        "a flow returns what it declares",
        "declare `outputs` in the flow that is started and read `outputs.<task>.outputs.<name>`",
    ),
];

const ITEM_PROPS: &[PropInfo] = &[
    prop(
        "items",
        PropType::String,
        "URI of the file whose records are batched.",
    )
    .required()
    .dynamic()
    .example("\"{{ inputs.file }}\""),
    FORMAT,
    BATCH,
    LIMIT,
    ON_FAILURE,
    SUBFLOW_PROPS[0],
    SUBFLOW_PROPS[1],
    SUBFLOW_PROPS[2],
    SUBFLOW_PROPS[3],
    SUBFLOW_PROPS[4],
    SUBFLOW_PROPS[5],
    SUBFLOW_PROPS[6],
    SUBFLOW_PROPS[7],
    SUBFLOW_PROPS[8],
    SUBFLOW_PROPS[9],
    ERRORS,
    FINALLY,
];

const PAUSE_PROPS: &[PropInfo] = &[
    prop(
        "pauseDuration",
        PropType::Duration,
        "Ends by itself after this time; waits for a person without it.",
    )
    .alias(&["delay", "duration"])
    .dynamic(),
    prop(
        "behavior",
        PropType::Enum(&["RESUME", "WARN", "CANCEL", "FAIL"]),
        "What it means when the time has passed.",
    )
    .default("RESUME"),
    prop(
        "onResume",
        PropType::Inputs,
        "Asked from the person; read as `outputs.<task>.onResume.<input>`.",
    ),
    prop(
        "onPause",
        PropType::Any,
        "Kestra: a task run when it pauses.",
    )
    .rejects(
        "a pause runs no task of its own",
        "put the task before the pause",
    ),
    prop("tasks", PropType::Tasks, "Kestra 0.x: what follows.")
        .rejects("a pause holds no tasks", "put the tasks after the pause"),
    prop("errors", PropType::Tasks, "Kestra 0.x.").rejects(
        "a pause holds no tasks",
        "surround the pause with a `sequential` that has `errors`",
    ),
];

/// The control tasks.
pub(super) const TYPES: &[TypeInfo] = &[
    TypeInfo {
        name: "io.kestra.plugin.core.flow.Sequential",
        aliases: &["sequential", "io.kestra.core.tasks.flows.Sequential"],
        doc: "Runs its children one after the other (or by `dependsOn`, if any child has it).",
        example: "id: prepare\ntype: sequential\ntasks:\n  - {id: a, type: log, message: one}\n  - {id: b, type: log, message: two}\nerrors:\n  - {id: alert, type: log, level: ERROR, message: failed}",
        props: &[TASKS, ERRORS, FINALLY, ON_FAILURE],
        timeout_ms: 0,
        shape: Shape::Sequential,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.flow.Parallel",
        aliases: &["parallel", "io.kestra.core.tasks.flows.Parallel"],
        doc: "Runs its children together.",
        example: "id: both\ntype: parallel\nconcurrent: 2\ntasks:\n  - {id: a, type: log, message: one}\n  - {id: b, type: log, message: two}",
        props: &[TASKS, CONCURRENT, ERRORS, FINALLY, ON_FAILURE],
        timeout_ms: 0,
        shape: Shape::Parallel,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.flow.Dag",
        aliases: &["dag", "io.kestra.core.tasks.flows.Dag"],
        doc: "Runs its children by `dependsOn`. Kestra's `task:` wrapper is accepted and not needed.",
        example: "id: graph\ntype: dag\ntasks:\n  - {id: a, type: log, message: one}\n  - {id: b, type: log, message: two, dependsOn: [a]}",
        props: &[TASKS, CONCURRENT, ERRORS, FINALLY, ON_FAILURE],
        timeout_ms: 0,
        shape: Shape::Dag,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.flow.If",
        aliases: &["if", "io.kestra.core.tasks.flows.If"],
        doc: "Runs `then` when the condition holds, `else` when it does not.",
        example: "id: choice\ntype: if\ncondition: \"{{ inputs.go }}\"\nthen:\n  - {id: a, type: log, message: going}\nelse:\n  - {id: b, type: log, message: staying}",
        props: &[
            prop("condition", PropType::Condition, "What decides.")
                .required()
                .dynamic(),
            prop("then", PropType::Tasks, "Run when it holds.").required(),
            prop("else", PropType::Tasks, "Run when it does not.")
                .example("[{id: other, type: log, message: hello}]"),
            ERRORS,
            FINALLY,
        ],
        timeout_ms: 0,
        shape: Shape::If,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.flow.Switch",
        aliases: &["switch", "io.kestra.core.tasks.flows.Switch"],
        doc: "Runs the case that equals the value, or `defaults`.",
        example: "id: route\ntype: switch\nvalue: \"{{ inputs.organism }}\"\ncases:\n  mpox:\n    - {id: a, type: log, message: mpox}\ndefaults:\n  - {id: b, type: log, message: something else}",
        props: &[
            prop("value", PropType::String, "What is compared.")
                .required()
                .dynamic(),
            prop("cases", PropType::Cases, "Tasks for each value."),
            prop(
                "defaults",
                PropType::Tasks,
                "Tasks when no case equals the value.",
            )
            .example("[{id: other, type: log, message: hello}]"),
            ERRORS,
            FINALLY,
        ],
        timeout_ms: 0,
        shape: Shape::Switch,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.flow.Loop",
        aliases: &["loop", "foreach", "each"],
        doc: "Runs its children once for each value or batch of records, a window of iterations at once. In an iteration `{{ item.value }}` and `{{ item.index }}` are known, over a map also `{{ item.key }}`. Outputs of a task inside are read from outside by the value, `outputs.<task>[value]`, in nested loops by all of them, `outputs.<task>[outer][inner]`; of iterations with equal values the last counts.",
        example: "id: organisms\ntype: foreach\nvalues: [mpox, ebola]\nconcurrencyLimit: 2\ntasks:\n  - {id: each, type: log, message: \"{{ item.value }}\"}",
        props: LOOP_PROPS,
        timeout_ms: 0,
        shape: Shape::Loop,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.flow.ForEach",
        aliases: &["for-each", "io.kestra.core.tasks.flows.ForEach"],
        doc: "Kestra 1.x; the same as `Loop`. `{{ taskrun.value }}` and `{{ taskrun.iteration }}` are known too.",
        example: "id: organisms\ntype: io.kestra.plugin.core.flow.ForEach\nvalues: [\"mpox\", \"ebola\"]\ntasks:\n  - {id: each, type: log, message: \"{{ taskrun.value }}\"}",
        props: LOOP_PROPS,
        timeout_ms: 0,
        shape: Shape::Loop,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.flow.EachSequential",
        aliases: &[
            "each-sequential",
            "io.kestra.core.tasks.flows.EachSequential",
        ],
        doc: "Kestra 0.x; `Loop` with `concurrencyLimit: 1`.",
        example: "id: organisms\ntype: io.kestra.core.tasks.flows.EachSequential\nvalue: '[\"mpox\", \"ebola\"]'\ntasks:\n  - {id: each, type: log, message: \"{{ taskrun.value }}\"}",
        props: LOOP_PROPS,
        timeout_ms: 0,
        shape: Shape::Loop,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.flow.EachParallel",
        aliases: &["each-parallel", "io.kestra.core.tasks.flows.EachParallel"],
        doc: "Kestra 0.x; `Loop` with `concurrencyLimit: 0`.",
        example: "id: organisms\ntype: io.kestra.core.tasks.flows.EachParallel\nvalue: '[\"mpox\", \"ebola\"]'\ntasks:\n  - {id: each, type: log, message: \"{{ taskrun.value }}\"}",
        props: LOOP_PROPS,
        timeout_ms: 0,
        shape: Shape::Loop,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.flow.ForEachItem",
        aliases: &["foreach-item", "io.kestra.core.tasks.flows.ForEachItem"],
        doc: "Kestra 1.x; a loop over batches of a file's records that starts a flow for each. The batch's file is `{{ taskrun.items }}` or `{{ item.value }}`. `outputs.<task>.subflowOutputs`, in Kestra `outputs.<task>_merge.subflowOutputs`, is a file with the outputs of the flows that succeeded, one JSON document per line in the order of the batches.",
        example: "id: batches\ntype: io.kestra.plugin.core.flow.ForEachItem\nitems: \"{{ inputs.file }}\"\nbatch: {rows: 100}\nflowId: other\ninputs:\n  records: \"{{ taskrun.items }}\"",
        props: ITEM_PROPS,
        timeout_ms: 0,
        shape: Shape::Loop,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.flow.LoopUntil",
        aliases: &[
            "loop-until",
            "io.kestra.plugin.core.flow.WaitFor",
            "io.kestra.core.tasks.flows.WaitFor",
        ],
        doc: "Repeats its children, one iteration after the other, until the condition holds; it is evaluated after each. `outputs.<task>.iterationCount` says how often they ran, `{{ item.index }}` counts from 0, and outputs of the children are those of the last iteration. Nothing runs between iterations.",
        example: "id: ready\ntype: loop-until\ncondition: \"{{ kv('release') == 'ready' }}\"\ncheckFrequency: {interval: PT30S, maxIterations: 20}\ntasks:\n  - {id: ask, type: shell, script: ./ask-for-the-release}",
        props: UNTIL_PROPS,
        timeout_ms: 0,
        shape: Shape::Loop,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.flow.Subflow",
        aliases: &[
            "subflow",
            "io.kestra.core.tasks.flows.Subflow",
            "io.kestra.core.tasks.flows.Flow",
        ],
        doc: "Starts another flow and, unless told otherwise, waits for its end.",
        example: "id: below\ntype: subflow\nflowId: other\ninputs:\n  organism: \"{{ inputs.organism }}\"",
        props: SUBFLOW_PROPS,
        timeout_ms: 86_400_000,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.flow.Pause",
        aliases: &[
            "pause",
            "approval",
            "io.kestra.core.tasks.flows.Pause",
            "io.kestra.plugin.core.flow.Approval",
        ],
        doc: "Waits for a person, or for a time. No compute is held. A `timeout` fails it.",
        example: "id: release\ntype: approval\ntimeout: P7D\nonResume:\n  - {id: comment, type: STRING, required: false}",
        props: PAUSE_PROPS,
        timeout_ms: 0,
        shape: Shape::Pause,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.flow.Sleep",
        aliases: &["sleep", "io.kestra.core.tasks.flows.Sleep"],
        doc: "Waits for a time. No compute is held.",
        example: "id: settle\ntype: sleep\nduration: 10m",
        props: &[prop("duration", PropType::Duration, "How long.")
            .required()
            .dynamic()],
        timeout_ms: 0,
        shape: Shape::Sleep,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.flow.WorkingDirectory",
        aliases: &[
            "working-directory",
            "io.kestra.core.tasks.flows.WorkingDirectory",
            "io.kestra.core.tasks.flows.Worker",
        ],
        doc: "Runs its children one after the other in one directory: each sees the files of those before it. `if`, `switch` and groups may be inside; a loop may not, because its iterations would not share the directory.",
        example: "id: shared\ntype: working-directory\ntasks:\n  - {id: make, type: shell, script: date > when.txt}\n  - {id: show, type: shell, script: cat when.txt}",
        props: &[
            TASKS,
            prop(
                "inputFiles",
                PropType::Files,
                "Files in the directory at the start.",
            )
            .dynamic()
            .example("{config.txt: hello}"),
            prop(
                "outputFiles",
                PropType::OneOrMany(&PropType::String),
                "Kestra: globs of files kept at the end.",
            )
            .rejects(
                "the task that makes a file keeps it",
                "write `outputFiles` at that task, or add a `LocalFiles` task with `outputs`",
            )
            .example("[\"*.txt\"]"),
            ERRORS,
            FINALLY,
            ON_FAILURE,
            super::scripts::NAMESPACE_FILES,
            prop(
                "cache",
                PropType::Object(&[
                    prop("patterns", PropType::List(&PropType::String), "Globs."),
                    prop("ttl", PropType::Duration, "How long."),
                ]),
                "Kestra: keep files between executions.",
            )
            .warns("files are not kept between executions; use `taskCache` for outputs")
            .example("{patterns: [\"node_modules/**\"], ttl: PT1H}"),
        ],
        timeout_ms: 0,
        shape: Shape::Sequential,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.flow.AllowFailure",
        aliases: &["allow-failure", "io.kestra.core.tasks.flows.AllowFailure"],
        doc: "Runs its children one after the other; a failure becomes `WARNING`.",
        example: "id: optional\ntype: allow-failure\ntasks:\n  - {id: a, type: fail}",
        props: &[TASKS, ERRORS, FINALLY, ON_FAILURE],
        timeout_ms: 0,
        shape: Shape::Sequential,
    },
];
