//! The flow document itself, its inputs, outputs and policies.

use super::common::RETRY;
use super::property::{PropInfo, PropType, prop};

/// Lock that every execution takes.
pub const CONCURRENCY: &[PropInfo] = &[
    prop("limit", PropType::Int(1, 10_000), "Executions at once.")
        .required()
        .example("4"),
    prop(
        "behavior",
        PropType::Enum(&["QUEUE", "CANCEL", "FAIL"]),
        "What happens to one too many.",
    )
    .default("QUEUE"),
    prop(
        "key",
        PropType::String,
        "A template whose value names the lock: one limit per organism, say. A key that begins with `shared:` is shared by all flows of the namespace.",
    )
    .dynamic()
    .example("\"shared:ingest/{{ inputs.organism }}\""),
];

/// Retry of an execution.
pub const FLOW_RETRY: &[PropInfo] = &[
    RETRY[0],
    RETRY[1],
    RETRY[2],
    RETRY[3],
    RETRY[4],
    RETRY[5],
    RETRY[6],
    RETRY[7],
    prop(
        "behavior",
        PropType::Enum(&["RETRY_FAILED_TASK", "CREATE_NEW_EXECUTION"]),
        "Go on with the failed tasks, or start again as a new execution.",
    )
    .default("RETRY_FAILED_TASK"),
];

/// A service level.
pub const SLA: &[PropInfo] = &[
    prop("id", PropType::String, "Unique in the flow.")
        .required()
        .example("soon"),
    prop(
        "type",
        PropType::Enum(&["MAX_DURATION", "EXECUTION_ASSERTION"]),
        "What is watched.",
    )
    .required(),
    prop(
        "duration",
        PropType::Duration,
        "Longest time (`MAX_DURATION`).",
    )
    .example("PT8H"),
    prop(
        "assert",
        PropType::Condition,
        "Must hold (`EXECUTION_ASSERTION`).",
    )
    .dynamic(),
    prop(
        "behavior",
        PropType::Enum(&["CANCEL", "FAIL", "NONE"]),
        "What a breach does.",
    )
    .required(),
    prop("labels", PropType::Labels, "Added on a breach.").example("{sla: missed}"),
];

/// A guard before an execution.
pub const CHECK: &[PropInfo] = &[
    prop("when", PropType::Condition, "Must hold.")
        .alias(&["condition"])
        .required()
        .dynamic(),
    prop("message", PropType::String, "Shown when it does not.")
        .required()
        .dynamic(),
    prop(
        "behavior",
        PropType::Enum(&["BLOCK_EXECUTION", "FAIL_EXECUTION", "CREATE_EXECUTION"]),
        "What happens when it does not.",
    )
    .default("BLOCK_EXECUTION"),
    prop("style", PropType::String, "Kestra: how the message looks.")
        .warns("a message looks the same everywhere")
        .example("ERROR"),
];

const NOTIFY_SLACK: &[PropInfo] = &[prop(
    "url",
    PropType::String,
    "The incoming webhook's address; a secret.",
)
.required()
.dynamic()
.example("\"{{ secret('SLACK_WEBHOOK') }}\"")];

const NOTIFY_EMAIL: &[PropInfo] = &[
    prop("to", PropType::OneOrMany(&PropType::String), "Addresses.")
        .required()
        .dynamic()
        .example("[ops@example.org]"),
    prop(
        "from",
        PropType::String,
        "Sender; else that of the installation.",
    )
    .dynamic()
    .example("operon@example.org"),
];

const NOTIFY_SNS: &[PropInfo] = &[prop("topicArn", PropType::String, "The topic.")
    .required()
    .dynamic()
    .example("arn:aws:sns:eu-central-1:123456789012:alerts")];

const NOTIFY_WEBHOOK: &[PropInfo] = &[
    prop("url", PropType::String, "Gets the alert as JSON by POST.")
        .required()
        .dynamic()
        .example("https://alerts.example.org/operon"),
    prop(
        "headers",
        PropType::Map(&PropType::String),
        "Request headers.",
    )
    .dynamic()
    .example("{authorization: \"Bearer {{ secret('ALERTS_TOKEN') }}\"}"),
];

const NOTIFY_PAGERDUTY: &[PropInfo] = &[
    prop(
        "routingKey",
        PropType::String,
        "Key of the integration (Events API v2); a secret.",
    )
    .required()
    .dynamic()
    .example("\"{{ secret('PAGERDUTY_KEY') }}\""),
    prop(
        "url",
        PropType::String,
        "Another service with the same interface.",
    )
    .default("https://events.pagerduty.com/v2/enqueue")
    .dynamic(),
];

/// Who is told about executions that end, and how.
pub const NOTIFY: &[PropInfo] = &[
    prop("id", PropType::String, "Unique in the flow.")
        .required()
        .example("ops"),
    prop(
        "states",
        PropType::OneOrMany(&PropType::Enum(&[
            "FAILED",
            "WARNING",
            "KILLED",
            "CANCELLED",
            "SUCCESS",
            "SLA",
        ])),
        "What is told: ends of executions, and `SLA` for a `MAX_DURATION` that is missed.",
    )
    .default("[FAILED]")
    .example("[FAILED, SLA]"),
    prop("slack", PropType::Object(NOTIFY_SLACK), "A Slack channel.")
        .dynamic()
        .example("{url: \"{{ secret('SLACK_WEBHOOK') }}\"}"),
    prop("email", PropType::Object(NOTIFY_EMAIL), "E-mail.")
        .dynamic()
        .example("{to: [ops@example.org]}"),
    prop(
        "sns",
        PropType::Object(NOTIFY_SNS),
        "A topic of Amazon SNS.",
    )
    .dynamic()
    .example("{topicArn: \"arn:aws:sns:eu-central-1:123456789012:alerts\"}"),
    prop(
        "webhook",
        PropType::Object(NOTIFY_WEBHOOK),
        "Any HTTP service.",
    )
    .dynamic()
    .example("{url: https://alerts.example.org/operon}"),
    prop(
        "pagerduty",
        PropType::Object(NOTIFY_PAGERDUTY),
        "PagerDuty, or a service like it.",
    )
    .dynamic()
    .example("{routingKey: \"{{ secret('PAGERDUTY_KEY') }}\"}"),
    prop(
        "groupWait",
        PropType::Duration,
        "After a message, further failures wait this long and come together.",
    )
    .default("PT5M"),
    prop(
        "recovery",
        PropType::Bool,
        "Say when the flow succeeds again.",
    )
    .default("true"),
];

/// When an input is asked for.
pub const INPUT_DEPENDS_ON: &[PropInfo] = &[
    prop(
        "inputs",
        PropType::List(&PropType::String),
        "Inputs that must be known first.",
    )
    .required()
    .example("[other]"),
    prop(
        "condition",
        PropType::Condition,
        "Asked only when this holds.",
    )
    .alias(&["when"])
    .dynamic(),
];

/// Names of input types, as written.
pub(crate) const INPUT_TYPES: &[&str] = &[
    "STRING",
    "INT",
    "FLOAT",
    "BOOLEAN",
    "BOOL",
    "DURATION",
    "DATE",
    "TIME",
    "DATETIME",
    "SELECT",
    "ENUM",
    "MULTISELECT",
    "FILE",
    "JSON",
    "ION",
    "YAML",
    "URI",
    "EMAIL",
    "SECRET",
    "ARRAY",
    "OBJECT",
    "TABLE",
];

/// A typed parameter.
pub const INPUT: &[PropInfo] = &[
    prop(
        "id",
        PropType::String,
        "Unique in the flow; dots nest: `ena.account` is read as `inputs.ena.account`.",
    )
    .alias(&["name"])
    .required()
    .example("organism"),
    prop("type", PropType::Enum(INPUT_TYPES), "Type of the value. `ION` is JSON here.").required(),
    prop("required", PropType::Bool, "Whether a value must be there.").default("true"),
    prop(
        "defaults",
        PropType::Any,
        "Taken when no value is given; may be a template over earlier inputs.",
    )
    .alias(&["default"])
    .dynamic(),
    prop(
        "prefill",
        PropType::Any,
        "Kestra 2.0: shown in the form, but not a default.",
    )
    .warns("the form shows `defaults`"),
    prop("displayName", PropType::String, "For people."),
    prop("description", PropType::String, "Markdown."),
    prop(
        "dependsOn",
        PropType::Object(INPUT_DEPENDS_ON),
        "Ask only when a condition over other inputs holds.",
    )
    .example("{inputs: [first], condition: \"{{ inputs.first == 'x' }}\"}"),
    prop("min", PropType::Any, "Least value (INT, FLOAT, DURATION).")
        .alias(&["after"])
        .example("1"),
    prop(
        "max",
        PropType::Any,
        "Largest value (INT, FLOAT, DURATION).",
    )
    .alias(&["before"])
    .example("10"),
    prop(
        "validator",
        PropType::String,
        "Regular expression the whole text must match (STRING, SECRET).",
    )
    .example("\"[a-z]+\""),
    prop(
        "values",
        PropType::List(&PropType::OneOf(&[
            PropType::String,
            PropType::Object(&[
                prop("value", PropType::String, "The value.").required(),
                prop("label", PropType::String, "For people."),
            ]),
        ])),
        "Choices (SELECT, MULTISELECT): texts, or `{value, label}`.",
    )
    .alias(&["options"])
    .example("[mpox, ebola]"),
    prop(
        "expression",
        PropType::String,
        "Template that gives the choices (SELECT, MULTISELECT).",
    )
    .dynamic()
    .example("\"{{ kv('organisms') }}\""),
    prop(
        "allowCustomValue",
        PropType::Bool,
        "Other values are allowed too (SELECT, MULTISELECT).",
    )
    .alias(&["allowCustomValues"])
    .default("false"),
    prop(
        "autoSelectFirst",
        PropType::Bool,
        "The first choice is the default (SELECT).",
    )
    .default("false"),
    prop("isRadio", PropType::Bool, "Kestra: radio buttons.")
        .warns("the form chooses how to show choices"),
    prop(
        "allowedFileExtensions",
        PropType::List(&PropType::String),
        "Such as `.fasta` (FILE).",
    )
    .alias(&["accept"])
    .example("[.fasta, .fa]"),
    prop(
        "extension",
        PropType::String,
        "Kestra 0.x: extension of the file.",
    )
    .warns("an artifact keeps the name of the file; write `allowedFileExtensions` to check it"),
    prop(
        "itemType",
        PropType::Enum(INPUT_TYPES),
        "Type of each item (ARRAY).",
    ),
    prop(
        "jsonSchema",
        PropType::Any,
        "JSON Schema the value must satisfy (JSON).",
    )
    .example("{type: object}"),
    prop(
        "properties",
        PropType::Inputs,
        "What an object has (OBJECT): inputs of their own, of types without parts (not FILE, SECRET, JSON, YAML, ARRAY, OBJECT, TABLE), and without `defaults`, `dependsOn`, `expression`.",
    )
    .example("[{id: country, type: STRING}, {id: year, type: INT, required: false}]"),
    prop(
        "columns",
        PropType::Inputs,
        "What each row of a table has (TABLE); as `properties`.",
    )
    .example("[{id: sample, type: STRING}, {id: length, type: INT, min: 1}]"),
    prop(
        "rows",
        PropType::Object(&[
            prop("min", PropType::Int(0, 1_000_000), "Rows at least."),
            prop("max", PropType::Int(1, 1_000_000), "Rows at most."),
        ]),
        "How many rows (TABLE).",
    )
    .example("{min: 1, max: 100}"),
];

/// A value the flow returns.
pub const OUTPUT: &[PropInfo] = &[
    prop("id", PropType::String, "Unique in the flow.")
        .required()
        .example("count"),
    prop("type", PropType::Enum(INPUT_TYPES), "Type of the value.").default("STRING"),
    prop(
        "value",
        PropType::Any,
        "A template, or a value holding templates.",
    )
    .required()
    .dynamic(),
    prop("required", PropType::Bool, "A missing value is an error.").default("true"),
    prop("description", PropType::String, "Markdown."),
    prop("displayName", PropType::String, "For people.")
        .warns("an output is shown with its id and description"),
];

const PLUGIN_DEFAULTS: &[PropInfo] = &[
    prop(
        "type",
        PropType::String,
        "A task or trigger type, or the beginning of its name.",
    )
    .required()
    .example("http"),
    prop(
        "values",
        PropType::Map(&PropType::Any),
        "Properties by name.",
    )
    .required()
    .dynamic()
    .example("{timeout: PT2M}"),
    prop("forced", PropType::Bool, "They win over what a task says.").default("false"),
];

/// The flow document.
pub const FLOW: &[PropInfo] = &[
    prop(
        "id",
        PropType::String,
        "Unique in its namespace: letters, digits, `.`, `-`, `_`; at most 100.",
    )
    .required()
    .example("processing"),
    prop(
        "namespace",
        PropType::String,
        "Lower-case letters, digits, `-`, `_`; dots make a hierarchy; at most 150.",
    )
    .required()
    .example("genomics"),
    prop("description", PropType::String, "Markdown."),
    prop(
        "labels",
        PropType::Labels,
        "Inherited by executions; found by search.",
    )
    .example("{team: ops}"),
    prop("inputs", PropType::Inputs, "Typed parameters."),
    prop(
        "variables",
        PropType::Map(&PropType::Any),
        "Read as `vars.*`. Templates in them are rendered by `{{ render(vars.name) }}`; `{{ vars.name }}` is the text as it stands.",
    )
    .alias(&["vars"])
    .dynamic()
    .example("{backend: https://backend.example.org}"),
    prop(
        "tasks",
        PropType::Tasks,
        "What the flow does: one after the other, or by `dependsOn` if any task has it.",
    )
    .required(),
    prop(
        "errors",
        PropType::Tasks,
        "Run when a task failed, before the execution ends.",
    ),
    prop(
        "finally",
        PropType::Tasks,
        "Run at the end, while the execution is still running; not when it is stopped: by a kill, an `Exit`, its `timeout` or a service level (`sla`).",
    ),
    prop(
        "afterExecution",
        PropType::Tasks,
        "Run after the state is final; sees `execution.state` and cannot change it.",
    ),
    prop(
        "outputs",
        PropType::List(&PropType::Object(OUTPUT)),
        "Returned to the caller.",
    )
    .example("[{id: answer, type: STRING, value: text}]"),
    prop(
        "triggers",
        PropType::List(&PropType::Any),
        "What starts the flow.",
    )
    .example("[{id: nightly, type: schedule, cron: \"0 2 * * *\"}]"),
    prop(
        "concurrency",
        PropType::Object(CONCURRENCY),
        "How many executions at once.",
    )
    .example("{limit: 4, behavior: QUEUE}"),
    prop(
        "retry",
        PropType::Object(FLOW_RETRY),
        "What happens to a failed execution.",
    )
    .example("{type: constant, interval: PT5M, maxAttempts: 2}"),
    prop(
        "timeout",
        PropType::Duration,
        "A running execution is killed after this time and ends `FAILED`.",
    )
    .example("PT8H"),
    prop(
        "sla",
        PropType::List(&PropType::Object(SLA)),
        "Service levels: a duration is watched while the execution runs, an assertion is looked at once, when its tasks are over.",
    )
    .example("[{id: soon, type: MAX_DURATION, duration: PT8H, behavior: FAIL}]"),
    prop(
        "checks",
        PropType::List(&PropType::Object(CHECK)),
        "Guards before an execution is created.",
    )
    .example("[{when: \"{{ inputs.go }}\", message: not today}]"),
    prop(
        "notify",
        PropType::List(&PropType::Object(NOTIFY)),
        "Who is told about executions that end: one message per incident.",
    )
    .example("[{id: ops, slack: {url: \"{{ secret('SLACK_WEBHOOK') }}\"}}]"),
    prop(
        "pluginDefaults",
        PropType::List(&PropType::Object(PLUGIN_DEFAULTS)),
        "Values for tasks and triggers by type.",
    )
    .alias(&["taskDefaults"])
    .example("[{type: http, values: {timeout: PT2M}}]"),
    prop(
        "disabled",
        PropType::Bool,
        "The flow is neither triggered nor started.",
    )
    .default("false"),
    prop(
        "revision",
        PropType::Int(1, i64::MAX),
        "Kestra: number of the revision.",
    )
    .warns("revisions are numbered when a flow is deployed"),
    prop("tenantId", PropType::String, "Kestra EE: tenant.")
        .warns("there are no tenants; a deployment is one"),
    prop("deleted", PropType::Bool, "Kestra: part of an export.")
        .warns("what is deployed exists; delete a flow with the command line")
        .example("false"),
    prop("draft", PropType::Bool, "Kestra 2.0: not published yet.").rejects(
        "a flow that is deployed is published",
        "write `disabled: true`, or deploy to another environment",
    ),
    prop("listeners", PropType::Any, "Kestra 0.x: tasks at the end.").rejects(
        "listeners were replaced in Kestra too",
        "write `afterExecution`, or another flow with a `flow` trigger",
    ),
    prop(
        "quotas",
        PropType::Any,
        "Kestra EE: executions in a time window.",
    )
    .rejects(
        "there are no quotas",
        "write `concurrency`, or `batch` on the trigger",
    ),
    prop("policyRefs", PropType::Any, "Kestra EE: named policies.").rejects(
        "there are no named policies",
        "write the values under `pluginDefaults` of this flow",
    ),
    prop("workerGroup", PropType::Any, "Kestra EE: which workers.")
        .warns("there are no workers to choose from; placement follows `resources`"),
    prop("workerSelector", PropType::Any, "Kestra EE: which workers.")
        .warns("there are no workers to choose from; placement follows `resources`"),
];
