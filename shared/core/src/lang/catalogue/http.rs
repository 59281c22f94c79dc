//! Calls of HTTP services.

use super::property::{PropInfo, PropType, prop};
use super::{Shape, TypeInfo};

/// Five minutes: a slow service and a large body.
const HTTP_MS: u64 = 300_000;
/// Fifteen minutes: a large file.
const STORAGE_MS: u64 = 900_000;

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

const AUTH: PropInfo = prop("auth", PropType::Object(HTTP_AUTH), "Credentials.")
    .example("{type: BEARER, token: \"{{ secret('TOKEN') }}\"}");
const ALLOW_FAILED: PropInfo =
    prop("allowFailed", PropType::Bool, "Any status is a success.").default("false");
const ALLOWED_CODES: PropInfo = prop(
    "allowedResponseCodes",
    PropType::List(&PropType::Int(100, 599)),
    "Further statuses that are a success.",
)
.example("[404]");
const FOLLOW_REDIRECTS: PropInfo =
    prop("followRedirects", PropType::Bool, "Follow redirects.").default("true");
const ALLOW_LINK_LOCAL: PropInfo = prop(
    "allowLinkLocal",
    PropType::Bool,
    "Allow link-local addresses, where clouds serve credentials.",
)
.default("false");
const TIMEOUT: PropInfo = prop(
    "timeout",
    PropType::Object(&[
        prop("connectTimeout", PropType::Duration, "To connect."),
        prop("readIdleTimeout", PropType::Duration, "Between two reads."),
    ]),
    "Limits within the task's own `timeout`.",
)
.example("{connectTimeout: PT10S}");
const CONNECT_TIMEOUT: PropInfo = prop("connectTimeout", PropType::Duration, "To connect.")
    .default("PT10S")
    .example("PT10S");
const READ_TIMEOUT: PropInfo = prop("readTimeout", PropType::Duration, "Between two reads.")
    .default("PT30S")
    .example("PT30S");
const CHARSET: PropInfo = prop("defaultCharset", PropType::String, "Of the answer.")
    .warns("text is UTF-8 unless the answer says otherwise")
    .example("UTF-8");
const SSL: PropInfo = prop("ssl", PropType::Any, "TLS options.").rejects(
    "certificates are always checked",
    "install the certificate authority where the runner is installed",
);
const PROXY: PropInfo = prop("proxy", PropType::Any, "A proxy.").rejects(
    "a proxy is a property of the installation",
    "configure it where the runner is installed",
);
const LOGS: PropInfo = prop("logs", PropType::Any, "What is logged.").example("[REQUEST_HEADERS]");
const CONTENT_MAX: PropInfo = prop(
    "maxContentLength",
    PropType::Int(1, i64::MAX),
    "Largest answer.",
);
const OLD_USER: PropInfo = prop("basicAuthUser", PropType::String, "Kestra 0.x.").rejects(
    "the older name works no more",
    "write `auth: {type: BASIC, username: …}`",
);
const OLD_PASSWORD: PropInfo = prop("basicAuthPassword", PropType::String, "Kestra 0.x.").rejects(
    "the older name works no more",
    "write `auth: {type: BASIC, password: …}`",
);
const READ_IDLE: PropInfo = prop("readIdleTimeout", PropType::Duration, "Kestra 0.x.");
const POOL_IDLE: PropInfo = prop(
    "connectionPoolIdleTimeout",
    PropType::Duration,
    "Kestra 0.x.",
);
const LOG_LEVEL: PropInfo = prop("logLevel", PropType::String, "Kestra 0.x.");
const LOGGED: &str = "status, address and duration are logged; bodies and headers are not";

const HTTP_OPTIONS: &[PropInfo] = &[
    AUTH,
    ALLOW_FAILED,
    ALLOWED_CODES,
    FOLLOW_REDIRECTS,
    ALLOW_LINK_LOCAL,
    TIMEOUT,
    CONNECT_TIMEOUT,
    READ_TIMEOUT,
    CHARSET,
    SSL,
    PROXY,
    LOGS.warns(LOGGED),
    CONTENT_MAX.warns("an answer may have 10 MiB; larger ones need `download`"),
    OLD_USER,
    OLD_PASSWORD,
    READ_IDLE.warns("the task's `timeout` bounds the whole call"),
    POOL_IDLE.warns("connections are not shared between task runs"),
    LOG_LEVEL.warns(LOGGED),
];

const FIRES: &str =
    "`responseCondition` says which answers fire; without one those with a status of 200 to 299";
const TROUBLE: &str = "what is wrong with a look is shown with the trigger";

/// The same for the `http` trigger: its condition decides over an answer there, and a look is bounded as a whole.
pub(super) const HTTP_TRIGGER_OPTIONS: &[PropInfo] = &[
    AUTH,
    ALLOW_FAILED.warns(FIRES),
    ALLOWED_CODES.warns(FIRES),
    FOLLOW_REDIRECTS,
    ALLOW_LINK_LOCAL,
    PropInfo {
        doc: "Limits within the minute that a look has.",
        ..TIMEOUT
    },
    CONNECT_TIMEOUT,
    READ_TIMEOUT,
    CHARSET,
    SSL,
    PROXY,
    LOGS.warns(TROUBLE),
    CONTENT_MAX.warns("an answer may have 1 MiB; larger ones need `headersOnly`"),
    OLD_USER,
    OLD_PASSWORD,
    READ_IDLE.warns("a look has a minute as a whole"),
    POOL_IDLE.warns("how long connections are kept is not a property of a trigger"),
    LOG_LEVEL.warns(TROUBLE),
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

/// The HTTP tasks.
pub(super) const TYPES: &[TypeInfo] = &[
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
];
