//! Triggers whose events AWS pushes.

use super::TypeInfo;
use super::property::{PropInfo, PropType, prop};
use super::triggers::{BATCH_PROP, COUNT, EACH, trigger};

const PUSHED: PropInfo = prop(
    "interval",
    PropType::Duration,
    "Kestra: time between two looks.",
)
.warns("events are pushed: nothing is polled on AWS");

const MAX_POLLED: PropInfo = prop("maxRecords", COUNT, "Kestra: messages at once.")
    .warns("every message starts an execution; `batch` groups them");

const NO_CREDENTIALS: (&str, &str) = (
    "credentials in a flow are secrets in a flow",
    "remove it: the deployment's role has the permissions",
);

const REGION: PropInfo = prop("region", PropType::String, "Kestra: region of the service.")
    .warns("the deployment's own region counts");

const ACCESS_KEY: PropInfo =
    prop("accessKeyId", PropType::String, "Kestra.").rejects(NO_CREDENTIALS.0, NO_CREDENTIALS.1);

const SECRET_KEY: PropInfo =
    prop("secretKeyId", PropType::String, "Kestra.").rejects(NO_CREDENTIALS.0, NO_CREDENTIALS.1);

const SESSION: PropInfo =
    prop("sessionToken", PropType::String, "Kestra.").rejects(NO_CREDENTIALS.0, NO_CREDENTIALS.1);

const ROLE: PropInfo = prop("stsRoleArn", PropType::String, "Kestra.").rejects(
    "events come through the deployment's own subscription",
    "allow the deployment's role on the bucket or queue",
);

const ENDPOINT: PropInfo = prop("endpointOverride", PropType::String, "Kestra.").rejects(
    "the endpoint is a property of the installation",
    "configure it where the engine is installed",
);

const MOVE_TO: &[PropInfo] = &[
    prop(
        "bucket",
        PropType::String,
        "The bucket; the trigger's own when absent.",
    )
    .example("archive"),
    prop(
        "key",
        PropType::String,
        "A directory: the last part of the object's key is appended.",
    )
    .required()
    .dynamic()
    .example("done/"),
];

const S3: &[PropInfo] = &[
    prop("bucket", PropType::String, "The bucket.").required().example("submissions"),
    prop("prefix", PropType::String, "Keys that begin so.").example("incoming/"),
    prop("suffix", PropType::String, "Keys that end so.").example(".fasta"),
    prop("regexp", PropType::String, "Keys that match.")
        .alias(&["regex"])
        .example("\"incoming/.*[.]fasta\""),
    prop("minSize", PropType::Size, "Objects of this size at least.").example("1"),
    prop("maxSize", PropType::Size, "Objects of this size at most.").example("1GB"),
    prop(
        "action",
        PropType::Enum(&["NONE", "MOVE", "DELETE"]),
        "What becomes of the object once its execution is stored. With `MOVE` and `DELETE` `trigger.uri` is a copy that \
         Operon keeps; what was written again meanwhile, and what was rejected, stays.",
    )
    .default("NONE"),
    prop("moveTo", PropType::Object(MOVE_TO), "Where `MOVE` puts the object.")
        .example("{key: done/}"),
    EACH,
    BATCH_PROP,
    PUSHED,
    prop("maxKeys", COUNT, "Kestra: keys listed at once.")
        .warns("every object starts an execution; none is left out"),
    prop("maxFiles", COUNT, "Kestra: files at once.")
        .warns("every object starts an execution; none is left out"),
    prop("filter", PropType::Enum(&["FILES", "DIRECTORY", "BOTH"]), "Kestra.")
        .warns("only objects start executions, and names that end with `/` do not"),
    prop("on", PropType::Enum(&["CREATE", "UPDATE", "CREATE_OR_UPDATE"]), "Kestra: which writes.")
        .warns("every write starts an execution, the first of an object and later ones"),
    prop("delimiter", PropType::String, "Kestra.").rejects(
        "keys are matched, not listed",
        "write `prefix` or `regexp`",
    ),
    prop("marker", PropType::String, "Kestra.").rejects(
        "keys are matched, not listed",
        "write `prefix` or `regexp`",
    ),
    prop("expectedBucketOwner", PropType::String, "Kestra.")
        .warns("the bucket's own subscription decides")
        .example("\"123456789012\""),
    prop("requestPayer", PropType::String, "Kestra.").warns("objects are not listed").example("requester"),
    prop("forcePathStyle", PropType::Bool, "Kestra.").warns("objects are not listed"),
    prop("encodingType", PropType::String, "Kestra.").warns("objects are not listed").example("url"),
    prop("stateKey", PropType::String, "Kestra.").warns("an object version is its own state"),
    prop("stateTtl", PropType::Duration, "Kestra.").warns("an object version is its own state"),
    REGION,
    ACCESS_KEY,
    SECRET_KEY,
    SESSION,
    ROLE,
    ENDPOINT,
    prop("compatibilityMode", PropType::Bool, "Kestra.").warns("objects are not listed"),
];

const SQS: &[PropInfo] = &[
    prop(
        "queueUrl",
        PropType::String,
        "The queue. A message is deleted only when its execution is stored.",
    )
    .required()
    .example("https://sqs.eu-central-1.amazonaws.com/123456789012/events"),
    prop(
        "serdeType",
        PropType::Enum(&["STRING", "JSON"]),
        "What a message's body is.",
    )
    .default("STRING"),
    EACH,
    BATCH_PROP,
    PUSHED,
    MAX_POLLED,
    prop("maxDuration", PropType::Duration, "Kestra: longest look.")
        .warns("events are pushed: nothing is polled on AWS"),
    prop("waitTime", PropType::Duration, "Kestra.")
        .warns("events are pushed: nothing is polled on AWS"),
    prop("autoDelete", PropType::Bool, "Kestra.")
        .warns("a message is deleted when its execution is stored"),
    prop("visibilityTimeout", PropType::Any, "Kestra.")
        .warns("the queue's own setting holds")
        .example("30"),
    prop("maxNumberOfMessage", COUNT, "Kestra: messages at once.")
        .warns("every message starts an execution; `batch` groups them"),
    prop("clientRetryMaxAttempts", COUNT, "Kestra.")
        .warns("events are pushed: nothing is polled on AWS"),
    REGION,
    ACCESS_KEY,
    SECRET_KEY,
    SESSION,
    ROLE,
    ENDPOINT,
];

const SNS: &[PropInfo] = &[
    prop("topicArn", PropType::String, "The topic.")
        .alias(&["topic"])
        .required()
        .example("arn:aws:sns:eu-central-1:123456789012:releases"),
    prop(
        "filterPolicy",
        PropType::Map(&PropType::Any),
        "Which messages, as SNS has it.",
    )
    .example("{kind: [release]}"),
    EACH,
    BATCH_PROP,
];

const EVENT_BRIDGE: &[PropInfo] = &[
    prop(
        "eventPattern",
        PropType::Map(&PropType::Any),
        "Which events, as EventBridge has it.",
    )
    .alias(&["pattern"])
    .required()
    .example("{source: [aws.ecr]}"),
    prop("eventBus", PropType::String, "The bus.")
        .default("default")
        .example("default"),
    EACH,
    BATCH_PROP,
];

const CLOUD_WATCH: &[PropInfo] = &[
    prop("alarmName", PropType::String, "The alarm.")
        .alias(&["alarm"])
        .required()
        .example("backlog"),
    prop(
        "alarmStates",
        PropType::OneOrMany(&PropType::Enum(&["ALARM", "OK", "INSUFFICIENT_DATA"])),
        "States that fire.",
    )
    .default("[ALARM]")
    .example("[ALARM]"),
    EACH,
    BATCH_PROP,
    prop("namespace", PropType::String, "Kestra: metric.").rejects(
        "an alarm looks at metrics",
        "define an alarm and write `alarmName`",
    ),
    prop("metricName", PropType::String, "Kestra: metric.").rejects(
        "an alarm looks at metrics",
        "define an alarm and write `alarmName`",
    ),
    PUSHED,
    REGION,
];

/// The trigger types of AWS.
pub(super) const TYPES: &[TypeInfo] = &[
    trigger(
        "io.kestra.plugin.aws.s3.Trigger",
        &["s3"],
        "Fires when an object is written. `trigger.uri`, `trigger.bucket`, `trigger.key`, `trigger.size` and `trigger.etag` are known.",
        "id: upload\ntype: s3\nbucket: submissions\nprefix: incoming/",
        S3,
    ),
    trigger(
        "io.kestra.plugin.aws.sqs.Trigger",
        &["sqs"],
        "Fires for each message of a queue. `trigger.body`, `trigger.messageId` and `trigger.attributes` are known.",
        "id: events\ntype: sqs\nqueueUrl: https://sqs.eu-central-1.amazonaws.com/123456789012/events",
        SQS,
    ),
    trigger(
        "io.kestra.plugin.aws.sqs.RealtimeTrigger",
        &["sqs-realtime"],
        "The same as `sqs`: that is pushed already.",
        "id: events\ntype: io.kestra.plugin.aws.sqs.RealtimeTrigger\nqueueUrl: https://sqs.eu-central-1.amazonaws.com/123456789012/events",
        SQS,
    ),
    trigger(
        "sns",
        &["io.operon.aws.sns.Trigger"],
        "Fires for each message of a topic. `trigger.message`, `trigger.subject` and `trigger.messageId` are known.",
        "id: releases\ntype: sns\ntopicArn: arn:aws:sns:eu-central-1:123456789012:releases",
        SNS,
    ),
    trigger(
        "eventbridge",
        &["io.operon.aws.eventbridge.Trigger"],
        "Fires for each event that matches a pattern. `trigger.detail`, `trigger.source` and `trigger.detailType` are known.",
        "id: images\ntype: eventbridge\neventPattern: {source: [aws.ecr]}",
        EVENT_BRIDGE,
    ),
    trigger(
        "io.kestra.plugin.aws.cloudwatch.Trigger",
        &["cloudwatch", "alarm"],
        "Fires when an alarm changes its state. `trigger.alarmName`, `trigger.state` and `trigger.reason` are known.",
        "id: backlog\ntype: cloudwatch\nalarmName: backlog",
        CLOUD_WATCH,
    ),
];
