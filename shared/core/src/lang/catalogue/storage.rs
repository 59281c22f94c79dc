//! Tasks on artifacts.

use super::property::{PropInfo, PropType, prop};
use super::{Shape, TypeInfo};

/// A minute: no data is read.
const SHORT_MS: u64 = 60_000;
/// Fifteen minutes: a large file read and written once.
const STORAGE_MS: u64 = 900_000;

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

/// The storage tasks.
pub(super) const TYPES: &[TypeInfo] = &[
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
        aliases: &["size", "io.kestra.core.tasks.storages.Size"],
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
        aliases: &[
            "filter",
            "filter-items",
            "io.kestra.core.tasks.storages.FilterItems",
        ],
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
        aliases: &[
            "deduplicate",
            "deduplicate-items",
            "io.kestra.core.tasks.storages.DeduplicateItems",
        ],
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
        doc: "Puts files into the directory of the `WorkingDirectory` around it, then keeps those that `outputs` names. Returns `uris`, by name.",
        example: "id: files\ntype: local-files\ninputs:\n  config.txt: hello",
        props: &[
            prop(
                "inputs",
                PropType::Files,
                "Files put there: content, or the URI of an artifact.",
            )
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
