//! Tasks the engine executes itself: no image, no container.

use super::property::{PropInfo, PropType, prop};
use super::{Shape, TypeInfo};

/// A minute: these tasks touch one service and no data of size.
const SHORT_MS: u64 = 60_000;
/// Five minutes: a slow service and a large body.
const HTTP_MS: u64 = 300_000;
/// Fifteen minutes: a large file read and written once.
const STORAGE_MS: u64 = 900_000;

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
const FROM: PropInfo = prop("from", PropType::String, "URI of the file.")
    .alias(&["uri"])
    .required()
    .dynamic()
    .example("\"{{ inputs.file }}\"");
const URI: PropInfo = prop("uri", PropType::String, "URI of the file.")
    .alias(&["from"])
    .required()
    .dynamic()
    .example("\"{{ inputs.file }}\"");

const HTTP_AUTH: &[PropInfo] = &[
    prop("type", PropType::Enum(&["BASIC", "BEARER"]), "How.").default("BASIC"),
    prop("username", PropType::String, "For `BASIC`.").dynamic(),
    prop("password", PropType::String, "For `BASIC`.")
        .dynamic()
        .example("\"{{ secret('PASSWORD') }}\""),
    prop("token", PropType::String, "For `BEARER`.")
        .dynamic()
        .example("\"{{ secret('TOKEN') }}\""),
];

const HTTP_OPTIONS: &[PropInfo] = &[
    prop("auth", PropType::Object(HTTP_AUTH), "Credentials.")
        .example("{type: BEARER, token: \"{{ secret('TOKEN') }}\"}"),
    prop("allowFailed", PropType::Bool, "Any status is a success.").default("false"),
    prop(
        "allowedResponseCodes",
        PropType::List(&PropType::Int(100, 599)),
        "Further statuses that are a success.",
    )
    .example("[404]"),
    prop("followRedirects", PropType::Bool, "Follow redirects.").default("true"),
    prop(
        "timeout",
        PropType::Object(&[
            prop("connectTimeout", PropType::Duration, "To connect."),
            prop("readIdleTimeout", PropType::Duration, "Between two reads."),
        ]),
        "Limits within the task's own `timeout`.",
    )
    .example("{connectTimeout: PT10S}"),
    prop("connectTimeout", PropType::Duration, "To connect.")
        .default("PT10S")
        .example("PT10S"),
    prop("readTimeout", PropType::Duration, "Between two reads.")
        .default("PT30S")
        .example("PT30S"),
    prop("defaultCharset", PropType::String, "Of the answer.")
        .warns("text is UTF-8 unless the answer says otherwise")
        .example("UTF-8"),
    prop("ssl", PropType::Any, "TLS options.").rejects(
        "certificates are always checked",
        "install the certificate authority where the runner is installed",
    ),
    prop("proxy", PropType::Any, "A proxy.").rejects(
        "a proxy is a property of the installation",
        "configure it where the runner is installed",
    ),
    prop("logs", PropType::Any, "What is logged.")
        .warns("status, address and duration are logged; bodies and headers are not")
        .example("[REQUEST_HEADERS]"),
    prop(
        "maxContentLength",
        PropType::Int(1, i64::MAX),
        "Largest answer.",
    )
    .warns("an answer may have 10 MiB; larger ones need `download`"),
    prop("basicAuthUser", PropType::String, "Kestra 0.x.").rejects(
        "the older name works no more",
        "write `auth: {type: BASIC, username: …}`",
    ),
    prop("basicAuthPassword", PropType::String, "Kestra 0.x.").rejects(
        "the older name works no more",
        "write `auth: {type: BASIC, password: …}`",
    ),
    prop("readIdleTimeout", PropType::Duration, "Kestra 0.x.")
        .warns("the task's `timeout` bounds the whole call"),
    prop(
        "connectionPoolIdleTimeout",
        PropType::Duration,
        "Kestra 0.x.",
    )
    .warns("connections are not shared between task runs"),
    prop("logLevel", PropType::String, "Kestra 0.x.")
        .warns("status, address and duration are logged; bodies and headers are not"),
];

const HTTP_URI: PropInfo = prop("uri", PropType::String, "Address.")
    .alias(&["url"])
    .required()
    .dynamic()
    .example("https://backend.example.org/status");
const HTTP_METHOD: PropInfo = prop(
    "method",
    PropType::Enum(&["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
    "HTTP method.",
)
.default("GET");
const HTTP_HEADERS: PropInfo = prop(
    "headers",
    PropType::Map(&PropType::String),
    "Request headers.",
)
.dynamic()
.example("{accept: application/json}");
const HTTP_PARAMS: PropInfo = prop(
    "params",
    PropType::Map(&PropType::Any),
    "Query parameters, quoted as needed.",
)
.dynamic()
.example("{limit: \"10\"}");
const HTTP_BODY: PropInfo = prop(
    "body",
    PropType::Any,
    "Request body: text, or a map or list that is sent as JSON.",
)
.dynamic()
.example("{scope: ALL}");
const HTTP_FORM: PropInfo = prop(
    "formData",
    PropType::Map(&PropType::Any),
    "Form fields; a URI of a file sends the file (multipart).",
)
.dynamic()
.example("{groupId: \"1\"}");
const HTTP_CONTENT_TYPE: PropInfo = prop("contentType", PropType::String, "Of the body.")
    .dynamic()
    .example("application/json");
const HTTP_OPTIONS_PROP: PropInfo = prop(
    "options",
    PropType::Object(HTTP_OPTIONS),
    "Credentials, statuses, limits.",
)
.dynamic()
.example("{allowedResponseCodes: [404]}");
const SSL_OPTIONS: PropInfo = prop("sslOptions", PropType::Any, "Kestra 0.x: TLS options.")
    .rejects(
        "certificates are always checked",
        "install the certificate authority where the runner is installed",
    );

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
        aliases: &["outputs", "output-values", "values"],
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
        aliases: &["count", "io.kestra.core.tasks.executions.Counts"],
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
        name: "io.kestra.plugin.core.http.Request",
        aliases: &[
            "http",
            "request",
            "io.kestra.plugin.fs.http.Request",
            "io.kestra.core.tasks.http.Request",
        ],
        doc: "Calls an HTTP service. Returns `code`, `headers`, `body` and `uri`.",
        example: "id: approve\ntype: http\nuri: https://backend.example.org/mpox/approve-processed-data\nmethod: POST\ncontentType: application/json\nbody: {scope: ALL}\noptions:\n  auth: {type: BEARER, token: \"{{ secret('TOKEN') }}\"}",
        props: &[
            HTTP_URI,
            HTTP_METHOD,
            HTTP_HEADERS,
            HTTP_PARAMS,
            HTTP_BODY,
            HTTP_FORM,
            HTTP_CONTENT_TYPE,
            HTTP_OPTIONS_PROP,
            prop(
                "encryptBody",
                PropType::Bool,
                "Kestra: encrypt the answer in the outputs.",
            )
            .rejects(
                "outputs are encrypted as a whole where they are stored",
                "do not return secrets; read them with `secret()`",
            ),
            SSL_OPTIONS,
        ],
        timeout_ms: HTTP_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.http.Download",
        aliases: &[
            "download",
            "io.kestra.plugin.fs.http.Download",
            "io.kestra.core.tasks.http.Download",
        ],
        doc: "Stores the answer of an HTTP service as an artifact. Returns `uri`, `code`, `length` and `headers`.",
        example: "id: fetch\ntype: download\nuri: https://data.example.org/mpox.fasta",
        props: &[
            HTTP_URI,
            HTTP_METHOD,
            HTTP_HEADERS,
            HTTP_PARAMS,
            HTTP_BODY,
            HTTP_FORM,
            HTTP_CONTENT_TYPE,
            HTTP_OPTIONS_PROP,
            prop(
                "failOnEmptyResponse",
                PropType::Bool,
                "An empty answer fails.",
            )
            .default("true"),
            prop("saveAs", PropType::String, "Name of the artifact.")
                .dynamic()
                .example("mpox.fasta"),
            SSL_OPTIONS,
        ],
        timeout_ms: STORAGE_MS,
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
            prop("kvDescription", PropType::String, "For people.").dynamic(),
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
    TypeInfo {
        name: "io.kestra.plugin.core.storage.Write",
        aliases: &["write", "storage-write"],
        doc: "Stores text as an artifact. Returns `uri`.",
        example: "id: config\ntype: write\nextension: .json\ncontent: |\n  {\"organism\": \"{{ inputs.organism }}\"}",
        props: &[
            prop("content", PropType::String, "What is stored.")
                .required()
                .dynamic(),
            prop("extension", PropType::String, "Such as `.json`.")
                .dynamic()
                .example(".json"),
        ],
        timeout_ms: STORAGE_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.storage.Split",
        aliases: &["split", "io.kestra.core.tasks.storages.Split"],
        doc: "Cuts a file into several. Returns `uris`. One of `rows`, `bytes` and `partitions`.",
        example: "id: cut\ntype: split\nfrom: \"{{ inputs.file }}\"\nrows: 1000",
        props: &[
            FROM,
            prop("rows", super::common::COUNT, "Records per part.").example("1000"),
            prop("bytes", PropType::Size, "Bytes per part.").example("10MB"),
            prop("partitions", super::common::COUNT, "Number of parts.").example("8"),
            prop("separator", PropType::String, "Between records.")
                .default("\"\\n\"")
                .example("\"\\n\""),
            prop(
                "regexPattern",
                PropType::String,
                "Kestra: parts by a pattern.",
            )
            .rejects("files are cut by count or size", "use a script"),
        ],
        timeout_ms: STORAGE_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.storage.Concat",
        aliases: &["concat", "io.kestra.core.tasks.storages.Concat"],
        doc: "Joins files. Returns `uri`.",
        example: "id: join\ntype: concat\nfiles:\n  - \"{{ inputs.file }}\"\n  - \"{{ inputs.file }}\"",
        props: &[
            prop(
                "files",
                PropType::OneOrMany(&PropType::String),
                "URIs, in order.",
            )
            .required()
            .dynamic()
            .example("[\"{{ inputs.file }}\"]"),
            prop("separator", PropType::String, "Between files.")
                .dynamic()
                .example("\"\\n\""),
            prop("extension", PropType::String, "Such as `.fasta`.")
                .dynamic()
                .default(".tmp")
                .example(".fasta"),
        ],
        timeout_ms: STORAGE_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.storage.Size",
        aliases: &["size"],
        doc: "Size of a file in bytes. Returns `size`.",
        example: "id: how-big\ntype: size\nuri: \"{{ inputs.file }}\"",
        props: &[URI],
        timeout_ms: SHORT_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.storage.Reverse",
        aliases: &["reverse", "io.kestra.core.tasks.storages.Reverse"],
        doc: "Turns the order of a file's records round. Returns `uri`.",
        example: "id: backwards\ntype: reverse\nfrom: \"{{ inputs.file }}\"",
        props: &[
            FROM,
            prop("separator", PropType::String, "Between records.")
                .default("\"\\n\"")
                .example("\"\\n\""),
            prop("charset", PropType::String, "Kestra: encoding.")
                .warns("files are treated as bytes")
                .example("UTF-8"),
        ],
        timeout_ms: STORAGE_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.storage.FilterItems",
        aliases: &["filter", "filter-items"],
        doc: "Keeps the JSON lines of a file for which a condition holds. Returns `uri`, `processedItemsTotal` and `droppedItemsTotal`.",
        example: "id: recent\ntype: filter\nfrom: \"{{ inputs.file }}\"\nfilterCondition: \"{{ length > 1000 }}\"",
        props: &[
            FROM,
            prop(
                "filterCondition",
                PropType::String,
                "Condition over one record, whose fields are names.",
            )
            .alias(&["condition"])
            .required()
            .dynamic()
            .example("\"{{ length > 1000 }}\""),
            prop(
                "filterType",
                PropType::Enum(&["INCLUDE", "EXCLUDE"]),
                "Whether matching records are kept or dropped.",
            )
            .default("INCLUDE"),
            prop(
                "errorOrNullBehavior",
                PropType::Enum(&["FAIL", "INCLUDE", "EXCLUDE"]),
                "When the condition gives no answer.",
            )
            .default("FAIL"),
        ],
        timeout_ms: STORAGE_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.storage.DeduplicateItems",
        aliases: &["deduplicate", "deduplicate-items"],
        doc: "Keeps the last JSON line of a file for each key. Returns `uri`, `processedItemsTotal`, `droppedItemsTotal` and `numKeys`.",
        example: "id: once\ntype: deduplicate\nfrom: \"{{ inputs.file }}\"\nexpr: \"{{ accession }}\"",
        props: &[
            FROM,
            prop(
                "expr",
                PropType::String,
                "Key of one record, whose fields are names.",
            )
            .required()
            .dynamic()
            .example("\"{{ accession }}\""),
        ],
        timeout_ms: STORAGE_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.storage.Delete",
        aliases: &[
            "delete",
            "storage-delete",
            "io.kestra.core.tasks.storages.Delete",
        ],
        doc: "Deletes an artifact. Returns `deleted`.",
        example: "id: clean\ntype: delete\nuri: \"{{ inputs.file }}\"",
        props: &[
            URI,
            prop(
                "errorOnMissing",
                PropType::Bool,
                "A missing file fails the task.",
            )
            .default("false"),
        ],
        timeout_ms: SHORT_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.core.storage.LocalFiles",
        aliases: &["local-files", "io.kestra.core.tasks.storages.LocalFiles"],
        doc: "Puts files into the directory of a surrounding `WorkingDirectory`, or keeps some of it.",
        example: "id: files\ntype: local-files\ninputs:\n  config.txt: hello",
        props: &[
            prop("inputs", PropType::Files, "Files put there.")
                .dynamic()
                .example("{config.txt: hello}"),
            prop(
                "outputs",
                PropType::OneOrMany(&PropType::String),
                "Globs of files kept.",
            )
            .dynamic()
            .example("[\"*.txt\"]"),
        ],
        timeout_ms: STORAGE_MS,
        shape: Shape::BuiltIn,
    },
];
