//! Tasks that ask a service: `PostgreSQL`, S3, Lambda.

use super::property::{PropInfo, PropType, prop};
use super::{Shape, TypeInfo};

/// Five minutes: what a function of the cloud has.
const SERVICE_MS: u64 = 300_000;

const BUCKET: PropInfo = prop("bucket", PropType::String, "Name of the bucket.")
    .required()
    .dynamic()
    .example("submissions");
const KEY: PropInfo = prop("key", PropType::String, "Name of the object.")
    .required()
    .dynamic()
    .example("incoming/a.fasta");
const VERSION: PropInfo = prop(
    "versionId",
    PropType::String,
    "One version of the object; the newest without it.",
)
.dynamic()
.example("3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY");
const FROM: &[PropInfo] = &[BUCKET, KEY, VERSION];
const TO: &[PropInfo] = &[
    prop(
        "bucket",
        PropType::String,
        "Name of the bucket; that of `from` without it.",
    )
    .dynamic()
    .example("archive"),
    prop(
        "key",
        PropType::String,
        "Name of the object; that of `from` without it.",
    )
    .dynamic()
    .example("2026/a.fasta"),
];
const KESTRA_LOGIN: &str = "the role of the deployment asks, and no keys are written into a flow";
const REGION: PropInfo = prop("region", PropType::String, "Kestra: region of the service.")
    .warns("the deployment's own region is asked")
    .example("eu-central-1");
const ACCESS_KEY: PropInfo = prop("accessKeyId", PropType::String, "Kestra: a key.")
    .warns(KESTRA_LOGIN)
    .example("\"{{ secret('KEY_ID') }}\"");
const SECRET_KEY: PropInfo = prop("secretKeyId", PropType::String, "Kestra: its secret.")
    .warns(KESTRA_LOGIN)
    .example("\"{{ secret('KEY') }}\"");

/// The tasks that ask services.
pub(super) const TYPES: &[TypeInfo] = &[
    TypeInfo {
        name: "io.kestra.plugin.jdbc.postgresql.Query",
        aliases: &["sql", "postgres-query"],
        doc: "Executes one statement in a PostgreSQL, over TLS. Returns `size` (rows), and by `fetchType` `rows`, `row` or \
              `uri`, a file with one JSON object per line.",
        example: "id: pending\ntype: sql\nurl: jdbc:postgresql://db.example.org:5432/loculus\nusername: reader\npassword: \"{{ secret('DB_PASSWORD') }}\"\nsql: select accession from entries where organism = :organism\nparameters: {organism: \"{{ inputs.organism }}\"}\nfetchType: FETCH",
        props: &[
            prop(
                "url",
                PropType::String,
                "`jdbc:postgresql://host:5432/database`, or without `jdbc:`.",
            )
            .required()
            .dynamic()
            .example("jdbc:postgresql://db.example.org:5432/loculus"),
            prop("username", PropType::String, "Who connects.")
                .dynamic()
                .example("reader"),
            prop("password", PropType::String, "Their password.")
                .dynamic()
                .example("\"{{ secret('DB_PASSWORD') }}\""),
            prop(
                "sql",
                PropType::String,
                "The statement; `:name` is a parameter. At most 256 KiB.",
            )
            .required()
            .dynamic()
            .example("select * from entries where id = :id"),
            prop(
                "parameters",
                PropType::Map(&PropType::Any),
                "Values of the parameters: never part of the statement's text.",
            )
            .dynamic()
            .example("{id: \"{{ inputs.count }}\"}"),
            prop(
                "fetchType",
                PropType::Enum(&["FETCH", "FETCH_ONE", "STORE", "NONE"]),
                "What becomes of rows: outputs (1 MiB at most), one of them, a file (256 MiB at most), nothing.",
            )
            .default("NONE"),
            prop(
                "ssl",
                PropType::Bool,
                "Encrypt, and check the server's certificate.",
            )
            .default("true"),
            prop(
                "sslRootCert",
                PropType::String,
                "Further authorities that are believed, in PEM form.",
            )
            .dynamic()
            .example("\"{{ secret('DB_AUTHORITY') }}\""),
            prop("timeZoneId", PropType::String, "Kestra: time zone of times.")
                .warns("times come with their offset")
                .example("Europe/Zurich"),
            prop(
                "fetchSize",
                PropType::Int(1, 1_000_000),
                "Kestra: rows read at once.",
            )
            .warns("rows are read as they come")
            .example("1000"),
        ],
        timeout_ms: SERVICE_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.aws.s3.Copy",
        aliases: &["s3-copy"],
        doc: "Copies an object of S3, 5 GB at most, without reading it. Returns `bucket`, `key` and `eTag`. On a laptop a \
              bucket is a directory. In the data bucket of a deployment only names below `uploads/` can be written.",
        example: "id: archive\ntype: s3-copy\nfrom: {bucket: submissions, key: \"{{ trigger.key }}\"}\nto: {bucket: archive}",
        props: &[
            prop("from", PropType::Object(FROM), "What is copied.")
                .required()
                .example("{bucket: submissions, key: a.fasta}"),
            prop("to", PropType::Object(TO), "Where to.")
                .required()
                .example("{bucket: archive}"),
            prop(
                "delete",
                PropType::Bool,
                "Delete the object afterwards; the task fails if it was written meanwhile.",
            )
            .default("false"),
            REGION,
            ACCESS_KEY,
            SECRET_KEY,
        ],
        timeout_ms: SERVICE_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.aws.s3.List",
        aliases: &["s3-list"],
        doc: "Lists objects of S3 in the order of their names. Returns `objects` with `key`, `size`, `lastModified`, `etag` and \
              `uri`.",
        example: "id: incoming\ntype: s3-list\nbucket: submissions\nprefix: incoming/",
        props: &[
            BUCKET,
            prop("prefix", PropType::String, "How names begin.")
                .dynamic()
                .example("incoming/"),
            prop(
                "marker",
                PropType::String,
                "Only names after this one.",
            )
            .dynamic()
            .example("incoming/b"),
            prop("regexp", PropType::String, "Only names that match wholly.")
                .dynamic()
                .example("'.*\\.fasta'"),
            prop(
                "maxKeys",
                PropType::Int(1, 10_000),
                "Objects at most.",
            )
            .default("1000"),
            REGION,
            ACCESS_KEY,
            SECRET_KEY,
        ],
        timeout_ms: SERVICE_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.aws.s3.Delete",
        aliases: &["s3-delete"],
        doc: "Deletes an object of S3. Deleting what is not there is no failure. In the data bucket of a deployment only names \
              below `uploads/` can be deleted.",
        example: "id: clean\ntype: s3-delete\nbucket: submissions\nkey: \"{{ trigger.key }}\"",
        props: &[BUCKET, KEY, VERSION, REGION, ACCESS_KEY, SECRET_KEY],
        timeout_ms: SERVICE_MS,
        shape: Shape::BuiltIn,
    },
    TypeInfo {
        name: "io.kestra.plugin.aws.lambda.Invoke",
        aliases: &["lambda"],
        doc: "Calls a Lambda function and waits for its answer, 6 MB at most. Returns `uri`, a file with the answer, `contentLength`, \
              and `body` where that is JSON of 64 KiB at most. An error of the function fails the task.",
        example: "id: convert\ntype: lambda\nfunctionArn: arn:aws:lambda:eu-central-1:123456789012:function:convert\nfunctionPayload: {accession: \"{{ inputs.first }}\"}",
        props: &[
            prop("functionArn", PropType::String, "The function.")
                .required()
                .dynamic()
                .example("arn:aws:lambda:eu-central-1:123456789012:function:convert"),
            prop(
                "functionPayload",
                PropType::Any,
                "What it is given, as JSON; 6 MB at most.",
            )
            .dynamic()
            .example("{accession: PP_1}"),
            REGION,
            ACCESS_KEY,
            SECRET_KEY,
        ],
        timeout_ms: SERVICE_MS,
        shape: Shape::BuiltIn,
    },
];
