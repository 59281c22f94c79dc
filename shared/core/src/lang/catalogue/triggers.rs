//! What starts a flow.

use super::property::{PropInfo, PropType, prop};
use super::triggers_polled::{HTTP, POSTGRES};
use super::{Shape, TypeInfo};

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
pub(super) const COUNT: PropType = PropType::Int(1, i64::MAX);

/// Grouping of events into one execution.
const BATCH: &[PropInfo] = &[
    prop(
        "maxItems",
        PropType::Int(1, 10_000),
        "Events in one execution at most.",
    )
    .default("100")
    .example("100"),
    prop(
        "maxWait",
        PropType::Duration,
        "An event waits this long for others at most.",
    )
    .default("PT30S")
    .example("PT30S"),
    prop(
        "maxBytes",
        PropType::Size,
        "Bytes of events in one execution at most.",
    )
    .example("1MB"),
    prop(
        "groupBy",
        PropType::String,
        "Template; events with equal values go together.",
    )
    .dynamic()
    .example("\"{{ trigger.event }}\""),
    prop(
        "target",
        PropType::Duration,
        "How long an execution should take: the size is chosen from what was measured, what waits and what is free, and `maxItems` is not used.",
    )
    .example("5m"),
    prop(
        "min",
        PropType::Int(1, 10_000),
        "With `target`: events in one execution at least, unless fewer come in `maxWait`.",
    )
    .default("1"),
    prop(
        "max",
        PropType::Int(1, 10_000),
        "With `target`: events in one execution at most.",
    )
    .default("10000"),
    prop(
        "task",
        PropType::String,
        "With `target`: the task that is measured; the execution as a whole when absent.",
    )
    .example("align"),
];

/// Kestra 1.x conditions that have an exact counterpart here; others are rejected with advice.
pub const CONDITIONS: &[&str] = &[
    "And",
    "DateTimeBetween",
    "DayWeek",
    "DayWeekInMonth",
    "ExecutionFlow",
    "ExecutionLabels",
    "ExecutionNamespace",
    "ExecutionOutputs",
    "ExecutionStatus",
    "Expression",
    "Multiple",
    "Not",
    "Or",
    "TimeBetween",
    "Weekend",
];

/// Properties of every trigger.
pub const TRIGGER: &[PropInfo] = &[
    prop("id", PropType::String, "Unique in the flow.").required().example("nightly"),
    prop("type", PropType::String, "A short name or a Kestra class name.").required().example("schedule"),
    prop("description", PropType::String, "Markdown."),
    prop("disabled", PropType::Bool, "Never fires.").default("false"),
    prop(
        "inputs",
        PropType::Map(&PropType::Any),
        "Values for the flow's inputs; templates see `trigger.*`.",
    )
    .dynamic()
    .example("{}"),
    prop("labels", PropType::Labels, "Added to the execution.").dynamic().example("{cause: upload}"),
    prop(
        "when",
        PropType::Condition,
        "The event is dropped unless this holds; templates see `trigger.*`.",
    )
    .dynamic()
    .example("\"{{ trigger is defined }}\""),
    prop(
        "conditions",
        PropType::List(&PropType::Any),
        "Kestra 1.x: all must hold. They become `when`, and what the `flow` trigger says of flows and states `dependsOn`; a few are rejected with advice.",
    )
    .example("[{type: io.kestra.plugin.core.condition.Expression, expression: \"{{ trigger is defined }}\"}]"),
    prop(
        "stopAfter",
        PropType::OneOrMany(&PropType::Enum(STATES)),
        "The trigger is disabled when one of its executions ends so.",
    )
    .example("[FAILED]"),
    prop(
        "allowConcurrent",
        PropType::Bool,
        "False: no new execution while one that this trigger started is active; events wait.",
    )
    .default("true"),
    prop(
        "idempotencyKey",
        PropType::String,
        "Template; a second event with the same value starts nothing. Without it the event's own identity.",
    )
    .dynamic()
    .example("\"{{ trigger.event }}\""),
    prop(
        "failOnTriggerError",
        PropType::Bool,
        "An event whose inputs cannot be rendered makes a `FAILED` execution.",
    )
    .default("true"),
    prop("logToFile", PropType::Bool, "Kestra.")
        .warns("logs are always stored as files and can be downloaded"),
    prop("logLevel", PropType::String, "Kestra.")
        .warns("every log line is stored; filter when reading")
        .example("INFO"),
    prop("workerGroup", PropType::Any, "Kestra EE.")
        .warns("there are no workers to choose from"),
    prop("workerSelector", PropType::Any, "Kestra EE.")
        .warns("there are no workers to choose from"),
    prop("version", PropType::String, "Kestra: version of the plugin.")
        .warns("trigger types have no versions of their own")
        .example("1.0.0"),
];

pub(super) const BATCH_PROP: PropInfo = prop(
    "batch",
    PropType::Object(BATCH),
    "Several events start one execution; read as `trigger.items`.",
)
.example("{maxItems: 100, maxWait: PT30S}");
pub(super) const EACH: PropInfo = prop(
    "each",
    PropType::Enum(&["object", "message", "row", "event", "call", "execution"]),
    "One execution for each: what holds without `batch`.",
);
pub(super) const POLL: PropInfo = prop("interval", PropType::Duration, "Time between two looks.")
    .default("PT1M")
    .example("PT1M");
const SCHEDULE: &[PropInfo] = &[
    prop(
        "cron",
        PropType::String,
        "Five fields (minute, hour, day, month, weekday), or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. `L` is the last day, `1#2` the second Monday of a month, `15W` the working day nearest to the 15th.",
    )
    .required()
    .example("\"0 2 * * *\""),
    prop("withSeconds", PropType::Bool, "The first of six fields is the second.")
        .default("false")
        .example("false"),
    prop("timezone", PropType::String, "Such as `Europe/Zurich`.")
        .default("Etc/UTC")
        .example("Europe/Zurich"),
    prop(
        "lateMaximumDelay",
        PropType::Duration,
        "A date missed by more than this is skipped.",
    )
    .example("PT1H"),
    prop(
        "recoverMissedSchedules",
        PropType::Enum(&["ALL", "LAST", "NONE"]),
        "Which missed dates are made up for.",
    )
    .default("LAST"),
    prop("backfill", PropType::Any, "Kestra 0.x: begin in the past.").rejects(
        "a backfill is an action, not a property",
        "run `operon triggers backfill` for the range",
    ),
    prop("scheduleConditions", PropType::Any, "Kestra 0.x: skip dates.").rejects(
        "dates are skipped with `when`",
        "write `when: \"{{ … trigger.date … }}\"`",
    ),
];

const DATES: &[PropInfo] = &[
    prop(
        "dates",
        PropType::List(&PropType::String),
        "ISO-8601 with offset, or local to `timezone`.",
    )
    .required()
    .example("[\"2030-01-01T00:00:00Z\"]"),
    SCHEDULE[2],
    SCHEDULE[3],
    SCHEDULE[4],
];

const FLOW_STATES: PropInfo = prop(
    "states",
    PropType::OneOrMany(&PropType::Enum(STATES)),
    "States that count.",
)
.default("[SUCCESS, WARNING]")
.example("[SUCCESS]");

const FLOW_DEPENDS_ON: &[PropInfo] = &[
    prop(
        "flowId",
        PropType::String,
        "The flow; every flow of the namespace when absent.",
    )
    .example("ingest"),
    prop(
        "namespace",
        PropType::String,
        "Its namespace; this flow's own when absent.",
    )
    .example("genomics"),
    FLOW_STATES,
    prop(
        "labels",
        PropType::Labels,
        "Labels the execution must have.",
    )
    .example("{organism: mpox}"),
    prop(
        "when",
        PropType::Condition,
        "Condition over `trigger.*` of that execution.",
    )
    .dynamic(),
    prop("id", PropType::String, "Kestra 1.x: name of the condition."),
];

const WINDOW: &[PropInfo] = &[
    prop("deadline", PropType::String, "All by this time of day.").example("\"09:00:00\""),
    prop("from", PropType::String, "All between this time of day …").example("\"02:00:00\""),
    prop("to", PropType::String, "… and this.").example("\"09:00:00\""),
    prop(
        "every",
        PropType::Duration,
        "All within a window of this length, aligned to the epoch.",
    )
    .example("P1D"),
    prop(
        "offset",
        PropType::Duration,
        "Shifts the alignment of `every`.",
    )
    .example("PT2H"),
    prop(
        "lookback",
        PropType::Duration,
        "All within this time before the last.",
    )
    .example("PT6H"),
    prop(
        "timezone",
        PropType::String,
        "In which times of day are meant.",
    )
    .default("Etc/UTC")
    .example("Europe/Zurich"),
    prop(
        "fireOnce",
        PropType::Bool,
        "At most one execution per window.",
    )
    .default("true"),
];

const FLOW_TRIGGER: &[PropInfo] = &[
    prop(
        "dependsOn",
        PropType::OneOrMany(&PropType::Object(FLOW_DEPENDS_ON)),
        "Executions that must have ended.",
    )
    .example("[{flowId: ingest, states: [SUCCESS]}]"),
    prop(
        "mode",
        PropType::Enum(&["ALL", "ANY", "AT_LEAST"]),
        "How many of `dependsOn`.",
    )
    .default("ALL"),
    prop("minSatisfied", COUNT, "Number for `AT_LEAST`."),
    prop(
        "window",
        PropType::Object(WINDOW),
        "Time in which they must all come.",
    )
    .example("{lookback: PT6H}"),
    prop(
        "onMiss",
        PropType::Object(&[
            prop(
                "behavior",
                PropType::Enum(&["FAIL"]),
                "Make a `FAILED` execution.",
            ),
            prop("labels", PropType::Labels, "Its labels."),
        ]),
        "When the window passed without all of them.",
    )
    .example("{behavior: FAIL}"),
    EACH,
    BATCH_PROP,
    FLOW_STATES,
    prop(
        "preconditions",
        PropType::Object(&[
            prop("id", PropType::String, "Name."),
            prop(
                "flows",
                PropType::List(&PropType::Object(FLOW_DEPENDS_ON)),
                "The same as `dependsOn`.",
            )
            .example("[{flowId: ingest}]"),
            prop(
                "timeWindow",
                PropType::Object(&[
                    prop(
                        "type",
                        PropType::Enum(&[
                            "DAILY_TIME_DEADLINE",
                            "DAILY_TIME_WINDOW",
                            "DURATION_WINDOW",
                            "SLIDING_WINDOW",
                        ]),
                        "Kind.",
                    ),
                    prop("deadline", PropType::String, "Time of day."),
                    prop("startTime", PropType::String, "Time of day."),
                    prop("endTime", PropType::String, "Time of day."),
                    prop("window", PropType::Duration, "Length."),
                    prop("windowAdvance", PropType::Duration, "Offset."),
                ]),
                "The same as `window`.",
            )
            .example("{type: SLIDING_WINDOW, window: PT6H}"),
            prop(
                "resetOnSuccess",
                PropType::Bool,
                "The same as `window.fireOnce`.",
            ),
            prop("where", PropType::Any, "Filters.")
                .rejects("filters are conditions", "write `when` in `dependsOn`"),
        ]),
        "Kestra 1.x: the same as `dependsOn` and `window`.",
    )
    .example("{id: all, flows: [{flowId: ingest}]}"),
];

const WEBHOOK: &[PropInfo] = &[
    prop(
        "key",
        PropType::String,
        "Secret part of the address; at least 16 characters. `{{ secret('NAME') }}` keeps it out of the flow.",
    )
    .required()
    .dynamic()
    .example("\"{{ secret('WEBHOOK_KEY') }}\""),
    prop(
        "signature",
        PropType::Object(&[
            prop("type", PropType::Enum(&["github", "slack", "generic"]), "Whose convention.")
                .required(),
            prop("secret", PropType::String, "Name of the secret.").required().example("HOOK"),
            prop(
                "header",
                PropType::String,
                "Header with the HMAC-SHA256, hexadecimal or Base64; that of the convention when absent.",
            )
            .example("x-signature"),
            prop("prefix", PropType::String, "What stands before it in that header.")
                .example("\"sha256=\""),
            prop(
                "timestampHeader",
                PropType::String,
                "Header with seconds since the epoch; `<timestamp>.<body>` is signed then (`generic`).",
            )
            .example("x-timestamp"),
            prop(
                "idHeader",
                PropType::String,
                "Header that names the delivery: a second call with the same value starts nothing.",
            )
            .example("x-delivery"),
            prop(
                "tolerance",
                PropType::Duration,
                "Oldest and most future timestamp that is accepted.",
            )
                .default("PT5M")
                .example("PT5M"),
        ]),
        "Every call must be signed; others get 401 and start nothing.",
    )
    .example("{type: github, secret: HOOK}"),
    prop("wait", PropType::Bool, "Answer when the execution has ended.").default("false"),
    prop("returnOutputs", PropType::Bool, "Answer with the flow's outputs; implies `wait`.")
        .default("false"),
    prop("responseContentType", PropType::String, "Content type of the answer.")
        .default("application/json")
        .example("application/json"),
    prop("responseCode", PropType::Int(200, 299), "Status of the answer.").example("202"),
    EACH,
    BATCH_PROP,
];

/// A trigger type: nothing is launched, so it has no timeout.
pub(super) const fn trigger(
    name: &'static str,
    aliases: &'static [&'static str],
    doc: &'static str,
    example: &'static str,
    props: &'static [PropInfo],
) -> TypeInfo {
    TypeInfo {
        name,
        aliases,
        doc,
        example,
        props,
        timeout_ms: 0,
        shape: Shape::BuiltIn,
    }
}

/// The trigger types.
pub(super) const TYPES: &[TypeInfo] = &[
    trigger(
        "io.kestra.plugin.core.trigger.Schedule",
        &[
            "schedule",
            "cron",
            "io.kestra.core.models.triggers.types.Schedule",
        ],
        "Fires at the dates of a cron expression. `trigger.date`, `trigger.next` and `trigger.previous` are known.",
        "id: nightly\ntype: schedule\ncron: \"0 2 * * *\"\ntimezone: Europe/Zurich",
        SCHEDULE,
    ),
    trigger(
        "io.kestra.plugin.core.trigger.ScheduleOnDates",
        &["schedule-on-dates", "dates"],
        "Fires at given dates.",
        "id: releases\ntype: dates\ndates: [\"2030-01-01T00:00:00Z\"]",
        DATES,
    ),
    trigger(
        "io.kestra.plugin.core.trigger.Flow",
        &["flow", "io.kestra.core.models.triggers.types.Flow"],
        "Fires when executions of other flows have ended. `trigger.executionId`, `trigger.flowId`, `trigger.namespace`, `trigger.state` and `trigger.outputs` are known.",
        "id: after-ingest\ntype: flow\ndependsOn:\n  - {flowId: ingest, states: [SUCCESS]}",
        FLOW_TRIGGER,
    ),
    trigger(
        "io.kestra.plugin.core.trigger.Webhook",
        &["webhook", "io.kestra.core.models.triggers.types.Webhook"],
        "Fires when its address is called. `trigger.body`, `trigger.headers` and `trigger.parameters` are known.",
        "id: push\ntype: webhook\nkey: \"{{ secret('WEBHOOK_KEY') }}\"\nsignature: {type: github, secret: HOOK}",
        WEBHOOK,
    ),
    trigger(
        "io.kestra.plugin.jdbc.postgresql.Trigger",
        &["postgres", "postgresql"],
        "Fires for each new row of a query. `trigger.row` is known. Each row is seen once.",
        "id: outbox\ntype: postgres\nurl: postgresql://db.example.org:5432/loculus\nusername: operon\npassword: \"{{ secret('DB_PASSWORD') }}\"\nsql: select id, kind from outbox where id > $1 order by id limit 1000\ncursor: id\ninitialCursor: 0",
        POSTGRES,
    ),
    trigger(
        "io.kestra.plugin.core.http.Trigger",
        &["http", "io.kestra.plugin.fs.http.Trigger"],
        "Fires when an address answers as expected. `trigger.body`, `trigger.headers` and `trigger.statusCode` are known.",
        "id: release\ntype: http\nuri: https://data.example.org/version.json\ninterval: 10m",
        HTTP,
    ),
];
