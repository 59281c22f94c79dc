//! What starts a flow because Operon looks for it: rows of a database, answers of an address.

use super::http::HTTP_TRIGGER_OPTIONS;
use super::property::{PropInfo, PropType, prop};
use super::triggers::{BATCH_PROP, COUNT, EACH, POLL};

/// Properties of the trigger for rows of a database.
pub(super) const POSTGRES: &[PropInfo] = &[
    prop(
        "url",
        PropType::String,
        "`postgresql://host:port/database` (`jdbc:` before it is ignored).",
    )
    .required()
    .dynamic()
    .example("\"postgresql://db.example.org:5432/loculus\""),
    prop("username", PropType::String, "User.").dynamic(),
    prop("password", PropType::String, "Password: a secret.")
        .dynamic()
        .example("\"{{ secret('DB_PASSWORD') }}\""),
    prop(
        "sql",
        PropType::String,
        "A query; each row is an event. `$1` is the cursor's last value.",
    )
    .required()
    .example("\"select id from outbox where id > $1 order by id limit 1000\""),
    prop(
        "cursor",
        PropType::String,
        "Column whose greatest value is remembered.",
    )
    .example("id"),
    prop(
        "initialCursor",
        PropType::Any,
        "Value before the first row.",
    )
    .example("0"),
    prop(
        "parameters",
        PropType::Map(&PropType::Any),
        "Kestra: named parameters.",
    )
    .rejects(
        "the query's only parameter is the cursor",
        "write constants into the query",
    ),
    prop(
        "fetchType",
        PropType::Enum(&["STORE", "FETCH", "FETCH_ONE", "NONE"]),
        "Kestra.",
    )
    .warns("each row is an event; `batch` groups them"),
    prop("fetch", PropType::Bool, "Kestra 0.x.").warns("each row is an event; `batch` groups them"),
    prop("store", PropType::Bool, "Kestra 0.x.").warns("each row is an event; `batch` groups them"),
    prop("fetchOne", PropType::Bool, "Kestra 0.x.")
        .warns("each row is an event; `batch` groups them"),
    prop("fetchSize", COUNT, "Kestra.").warns("write `limit` into the query"),
    prop(
        "afterSQL",
        PropType::String,
        "Kestra: a statement after the query.",
    )
    .rejects(
        "a trigger changes no data",
        "remember progress with `cursor`",
    ),
    prop("timeZoneId", PropType::String, "Kestra.")
        .warns("times are UTC")
        .example("UTC"),
    prop("ssl", PropType::Bool, "TLS.").default("true"),
    prop(
        "listen",
        PropType::String,
        "Channel whose `NOTIFY` makes the local server look at once.",
    )
    .example("outbox"),
    prop("sslMode", PropType::String, "Kestra.")
        .warns("TLS with a checked certificate is used unless `ssl: false`")
        .example("REQUIRE"),
    POLL,
    EACH,
    BATCH_PROP,
];

/// Properties of the trigger for an address that changes.
pub(super) const HTTP: &[PropInfo] = &[
    prop("uri", PropType::String, "Address that is looked at.")
        .alias(&["url"])
        .required()
        .dynamic()
        .example("https://data.example.org/version.json"),
    prop(
        "method",
        PropType::Enum(&["GET", "HEAD", "POST"]),
        "HTTP method.",
    )
    .default("GET"),
    prop(
        "headers",
        PropType::Map(&PropType::String),
        "Request headers.",
    )
    .dynamic()
    .example("{accept: application/json}"),
    prop("params", PropType::Map(&PropType::Any), "Query parameters.").dynamic(),
    prop("body", PropType::Any, "Request body.").dynamic(),
    prop("contentType", PropType::String, "Of the body.")
        .dynamic()
        .example("application/json"),
    prop(
        "responseCondition",
        PropType::Condition,
        "Fires when this holds over `response.statusCode`, `response.body`, `response.headers`.",
    )
    .dynamic()
    .example("\"{{ response.statusCode == 200 }}\""),
    prop(
        "onChange",
        PropType::Bool,
        "Fires only when the answer's ETag, or else its content, changed.",
    )
    .default("true"),
    prop(
        "cursor",
        PropType::String,
        "Template over `response.*`; fires when its value is a new one.",
    )
    .dynamic()
    .example("\"{{ response.body.version }}\""),
    prop(
        "headersOnly",
        PropType::Bool,
        "The body is not read: for large files whose `ETag` is enough.",
    )
    .default("false"),
    prop(
        "options",
        PropType::Object(HTTP_TRIGGER_OPTIONS),
        "Credentials and limits.",
    )
    .dynamic()
    .example("{followRedirects: false}"),
    prop("sslOptions", PropType::Any, "Kestra 0.x.").rejects(
        "certificates are always checked",
        "install the certificate authority where the engine is installed",
    ),
    prop("encryptBody", PropType::Bool, "Kestra.").rejects(
        "outputs are encrypted as a whole where they are stored",
        "remove it",
    ),
    POLL,
    EACH,
    BATCH_PROP,
];
