//! Tasks the engine executes itself: no image, no container.

use super::property::{PropInfo, PropType, prop};
use super::{Shape, TypeInfo};

/// A minute: these tasks touch one service and no data of size.
const SHORT_MS: u64 = 60_000;

const LEVELS: &[&str] = &["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];
const STATES: &[&str] = &[
    "CREATED",
    "RUNNING",
    "PAUSED",
    "QUEUED",
    "RETRYING",
    "RETRIED",
    "SUCCESS",
    "WARNING",
    "FAILED",
    "KILLING",
    "KILLED",
    "CANCELLED",
    "SKIPPED",
];

const LEVEL: PropInfo = prop("level", PropType::Enum(LEVELS), "Level of the line.").default("INFO");
const NAMESPACE: PropInfo = prop(
    "namespace",
    PropType::String,
    "Of the values; the flow's own when absent.",
)
.dynamic()
.example("genomics");
const KEY: PropInfo = prop("key", PropType::String, "Name of the value.")
    .required()
    .dynamic()
    .example("last-release");
/// The built-in tasks.
pub(super) const TYPES: &[TypeInfo] = &[
    TypeInfo {
        name: "io.kestra.plugin.core.log.Log",
        aliases: &["log", "io.kestra.core.tasks.log.Log"],
        doc: "Writes a line, or several, to the log.",
        example: "id: note\ntype: log\nmessage: \"started by {{ execution.id }}\"",
        props: &[
            prop(
                "message",
                PropType::OneOrMany(&PropType::String),
                "What is logged.",
            )
            .required()
            .dynamic()
            .example("hello"),
            LEVEL,
        ],
        timeout_ms: SHORT_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.debug.Return",
        aliases: &["return", "io.kestra.core.tasks.debugs.Return"],
        doc: "Renders a text and returns it as `outputs.<task>.value`.",
        example: "id: name\ntype: return\nformat: \"{{ flow.id }}-{{ execution.id }}\"",
        props: &[prop("format", PropType::String, "What is rendered.")
            .dynamic()
            .example("\"{{ flow.id }}\"")],
        timeout_ms: SHORT_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.debug.Echo",
        aliases: &["echo", "io.kestra.core.tasks.debugs.Echo"],
        doc: "Kestra 0.x; the same as `Log`.",
        example: "id: note\ntype: echo\nformat: hello",
        props: &[
            prop("format", PropType::String, "What is logged.")
                .required()
                .dynamic(),
            LEVEL,
        ],
        timeout_ms: SHORT_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.output.OutputValues",
        aliases: &[
            "outputs",
            "output-values",
            "values",
            "io.kestra.core.tasks.outputs.OutputValues",
        ],
        doc: "Renders values and returns them as `outputs.<task>.values.<name>`.",
        example: "id: facts\ntype: outputs\nvalues:\n  day: \"{{ execution.startDate }}\"",
        props: &[
            prop("values", PropType::Map(&PropType::Any), "What is returned.")
                .required()
                .dynamic()
                .example("{day: \"{{ execution.startDate }}\"}"),
        ],
        timeout_ms: SHORT_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.execution.Fail",
        aliases: &["fail", "io.kestra.core.tasks.executions.Fail"],
        doc: "Fails, always or when a condition holds.",
        example: "id: refuse\ntype: fail\ncondition: \"{{ inputs.count > 100 }}\"\nerrorMessage: too many",
        props: &[
            prop(
                "condition",
                PropType::Condition,
                "Fails only when this holds.",
            )
            .dynamic(),
            prop("errorMessage", PropType::String, "The reason.")
                .alias(&["message"])
                .dynamic(),
        ],
        timeout_ms: SHORT_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.execution.Exit",
        aliases: &["exit"],
        doc: "Ends the execution in a given state; nothing further starts.",
        example: "id: nothing-to-do\ntype: exit\nstate: SUCCESS",
        props: &[prop(
            "state",
            PropType::Enum(&[
                "SUCCESS",
                "WARNING",
                "FAILED",
                "KILLED",
                "CANCELLED",
                "CANCELED",
            ]),
            "State of the execution.",
        )
        .default("SUCCESS")],
        timeout_ms: SHORT_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.execution.Assert",
        aliases: &["assert"],
        doc: "Fails unless every condition holds.",
        example: "id: sane\ntype: assert\nconditions:\n  - \"{{ inputs.count > 0 }}\"\nerrorMessage: nothing to do",
        props: &[
            prop(
                "conditions",
                PropType::List(&PropType::Condition),
                "All must hold.",
            )
            .required()
            .dynamic()
            .example("[\"{{ inputs.go }}\"]"),
            prop("errorMessage", PropType::String, "The reason.").dynamic(),
        ],
        timeout_ms: SHORT_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.execution.Labels",
        aliases: &["labels", "io.kestra.core.tasks.executions.Labels"],
        doc: "Adds labels to the execution.",
        example: "id: mark\ntype: labels\nlabels:\n  organism: \"{{ inputs.organism }}\"",
        props: &[prop("labels", PropType::Labels, "What is added.")
            .required()
            .dynamic()
            .example("{organism: mpox}")],
        timeout_ms: SHORT_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.execution.Count",
        aliases: &[
            "count",
            "io.kestra.plugin.core.execution.Counts",
            "io.kestra.core.tasks.executions.Counts",
        ],
        doc: "Counts executions of flows.",
        example: "id: failures\ntype: count\nexecutions:\n  - {namespace: genomics, flowId: processing}\nstates: [FAILED]",
        props: &[
            prop(
                "executions",
                PropType::List(&PropType::Object(&[
                    prop("namespace", PropType::String, "Of the flow.").dynamic(),
                    prop("flowId", PropType::String, "The flow.").dynamic(),
                ])),
                "Which flows; this one when absent.",
            )
            .alias(&["flows"])
            .example("[{namespace: genomics, flowId: processing}]"),
            prop(
                "namespaces",
                PropType::List(&PropType::String),
                "Or all flows of these.",
            )
            .dynamic()
            .example("[genomics]"),
            prop(
                "states",
                PropType::List(&PropType::Enum(STATES)),
                "Only executions in these states.",
            )
            .example("[FAILED]"),
            prop(
                "labels",
                PropType::Map(&PropType::String),
                "Only executions with all of these labels.",
            )
            .dynamic()
            .example("{organism: mpox}"),
            prop(
                "startDate",
                PropType::String,
                "Only those begun after (ISO-8601).",
            )
            .dynamic()
            .example("\"2030-01-01T00:00:00Z\""),
            prop(
                "endDate",
                PropType::String,
                "Only those begun before (ISO-8601).",
            )
            .dynamic()
            .example("\"2030-01-01T00:00:00Z\""),
            prop(
                "expression",
                PropType::Condition,
                "Kestra: filter of the result.",
            )
            .rejects(
                "the count is returned as it is",
                "use `when: \"{{ outputs.<task>.total > 0 }}\"` on what follows",
            ),
        ],
        timeout_ms: SHORT_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.kv.Set",
        aliases: &["kv-set"],
        doc: "Stores a value under a key of the namespace.",
        example: "id: remember\ntype: kv-set\nkey: last-release\nvalue: \"{{ execution.startDate }}\"",
        props: &[
            KEY,
            prop("value", PropType::Any, "What is stored.")
                .required()
                .dynamic(),
            NAMESPACE,
            prop(
                "overwrite",
                PropType::Bool,
                "False: an existing key fails the task.",
            )
            .default("true"),
            prop("ttl", PropType::Duration, "How long it lives.")
                .dynamic()
                .example("P7D"),
            prop(
                "kvType",
                PropType::Enum(&[
                    "STRING", "NUMBER", "BOOLEAN", "DATETIME", "DATE", "DURATION", "JSON",
                ]),
                "Type the value is checked against.",
            ),
            prop("kvDescription", PropType::String, "Kestra: for people.")
                .warns("a key has no description; a comment in the flow says what it is for"),
        ],
        timeout_ms: SHORT_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.kv.Get",
        aliases: &["kv-get"],
        doc: "Reads a value. Returns `value`.",
        example: "id: recall\ntype: kv-get\nkey: last-release",
        props: &[
            KEY,
            NAMESPACE,
            prop(
                "errorOnMissing",
                PropType::Bool,
                "A missing key fails the task.",
            )
            .default("false"),
        ],
        timeout_ms: SHORT_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.kv.GetKeys",
        aliases: &["kv-keys", "kv-get-keys"],
        doc: "Lists keys. Returns `keys`.",
        example: "id: keys\ntype: kv-keys\nprefix: last-",
        props: &[
            prop("prefix", PropType::String, "Only keys that begin so.").dynamic(),
            NAMESPACE,
        ],
        timeout_ms: SHORT_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.kv.Delete",
        aliases: &["kv-delete"],
        doc: "Deletes a key. Returns `deleted`.",
        example: "id: forget\ntype: kv-delete\nkey: last-release",
        props: &[
            KEY,
            NAMESPACE,
            prop(
                "errorOnMissing",
                PropType::Bool,
                "A missing key fails the task.",
            )
            .default("false"),
        ],
        timeout_ms: SHORT_MS,
        shape: Shape::BuiltIn,
    },
];
