//! What is known of `execution`, `flow`, `task`, `taskrun`, `item` and `trigger` before anything runs: the names of
//! their members. And what Kestra calls the tasks that a `ForEachItem` consists of.
//!
//! Invariant: whoever fills a root fills exactly these, so that what is said to be missing is missing; the engine's
//! tests and those of the events compare.

/// Members of `execution`.
pub const EXECUTION: &[&str] = &["id", "startDate", "originalId", "state"];
/// Members of `flow`.
pub const FLOW: &[&str] = &["id", "namespace", "revision"];
/// Members of `task`.
pub const TASK: &[&str] = &["id", "type"];
/// Members of `taskrun`.
pub const TASK_RUN: &[&str] = &[
    "id",
    "startDate",
    "attemptsCount",
    "value",
    "items",
    "iteration",
];
/// Members of `taskrun` that are there in a loop only.
pub(super) const LOOP_ONLY: &[&str] = &["value", "items", "iteration"];
/// Members of `item`.
pub const ITEM: &[&str] = &["value", "index", "key", "parent", "parents"];

/// Members of `trigger` whatever started the execution; `payloadUri` where the event is a file, `backfill` where a
/// date was made up for, `depth` where executions start executions, the rest where events are gathered.
const ANY_TRIGGER: &[&str] = &[
    "id",
    "type",
    "event",
    "payloadUri",
    "backfill",
    "depth",
    "items",
    "count",
    "bytes",
    "group",
    "closedAt",
];
/// Members of `trigger` in an execution that a subflow task started.
pub const SUBFLOW: &[&str] = &["executionId", "flowId", "namespace", "flowRevision"];

/// Members of `trigger` by the short name of the type.
const TRIGGERS: &[(&str, &[&str])] = &[
    ("schedule", &["date", "next", "previous"]),
    ("dates", &["date", "next", "previous"]),
    (
        "flow",
        &[
            "executionId",
            "flowId",
            "namespace",
            "flowRevision",
            "state",
            "labels",
            "outputs",
            "endDate",
            "executions",
            "missed",
            "windowStart",
        ],
    ),
    ("webhook", &["body", "headers", "parameters", "method"]),
    ("s3", &["uri", "bucket", "key", "size", "etag", "versionId"]),
    ("sqs", &["body", "messageId", "attributes", "queueArn"]),
    (
        "sqs-realtime",
        &["body", "messageId", "attributes", "queueArn"],
    ),
    (
        "sns",
        &["message", "subject", "messageId", "topicArn", "attributes"],
    ),
    (
        "eventbridge",
        &[
            "detail",
            "source",
            "detailType",
            "time",
            "account",
            "region",
            "resources",
            "eventId",
        ],
    ),
    (
        "cloudwatch",
        &["alarmName", "state", "reason", "previousState", "time"],
    ),
    ("postgres", &["row"]),
    ("http", &["body", "headers", "statusCode", "etag", "uri"]),
];

/// Members of `trigger` in an execution that a trigger of this type started; none for a type that does not fix them.
#[must_use]
pub fn of_trigger(short_type: &str) -> Option<impl Iterator<Item = &'static str>> {
    let (_, own) = TRIGGERS.iter().find(|(name, _)| *name == short_type)?;
    Some(own.iter().chain(ANY_TRIGGER).copied())
}

/// What to use instead of members that Kestra has and Operon does not.
pub(super) const LEFT_OUT: &[(&str, &str, &str)] = &[
    ("flow", "tenantId", "there are no tenants"),
    ("execution", "tenantId", "there are no tenants"),
    (
        "execution",
        "outputs",
        "read the outputs of a task: `outputs.<task>`",
    ),
    ("execution", "flowId", "use `flow.id`"),
    ("execution", "namespace", "use `flow.namespace`"),
    ("execution", "labels", "use `labels`"),
    ("execution", "inputs", "use `inputs`"),
    ("taskrun", "parentId", "what encloses a task is `parent`"),
    ("taskrun", "state", "use `tasks.<id>.state`"),
    ("taskrun", "taskId", "use `task.id`"),
    (
        "taskrun",
        "attempt",
        "use `taskrun.attemptsCount`, which counts from 0",
    ),
    (
        "trigger",
        "objects",
        "each object is an event: `trigger.uri`; with `batch` they are `trigger.items`",
    ),
    (
        "trigger",
        "messages",
        "each message is an event: `trigger.body`; with `batch` they are `trigger.items`",
    ),
    (
        "trigger",
        "rows",
        "each row is an event: `trigger.row`; with `batch` they are `trigger.items`",
    ),
];

/// A `ForEachItem` is a loop around a task with this at the end of its id, which starts the flow.
pub const ITEM_SUBFLOW: &str = "-subflow";
/// Kestra's name of the task that gathers the outputs of those flows, at the end of the id.
pub const ITEM_MERGE: &str = "_merge";
/// The output that holds them: the address of a file with one JSON document per item.
pub const SUBFLOW_OUTPUTS: &str = "subflowOutputs";
