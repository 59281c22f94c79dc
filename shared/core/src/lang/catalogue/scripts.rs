//! Tasks that run a script or command in a container or a process.

use super::property::{PropInfo, PropType, prop};
use super::{Shape, TypeInfo};

/// An hour: long enough for nearly every batch, short enough that a hung one is noticed.
const TIMEOUT_MS: u64 = 3_600_000;

const STRINGS: PropType = PropType::OneOrMany(&PropType::String);
const NO_HOST: &str = "containers run where the runner decides; there is no Docker host to address";

/// Size properties that Kestra's Docker runner nests.
const DOCKER_CPU: &[PropInfo] = &[prop("cpus", PropType::Cpu, "CPUs.").example("2")];
const DOCKER_MEMORY: &[PropInfo] = &[
    prop("memory", PropType::Size, "Memory.").example("4GB"),
    prop("memorySwap", PropType::Size, "Memory and swap.").warns("containers have no swap"),
    prop("memorySwappiness", PropType::Any, "Swappiness.").warns("containers have no swap"),
    prop("memoryReservation", PropType::Size, "Soft limit.")
        .warns("memory is one hard limit; write `memory`"),
    prop("kernelMemory", PropType::Size, "Kernel memory.")
        .warns("kernel memory has no limit of its own"),
    prop("oomKillDisable", PropType::Bool, "Never kill.")
        .warns("a container over its memory is always stopped"),
];

/// A login at a registry. What is secret in it must be an expression: see the parser.
const CREDENTIALS: &[PropInfo] = &[
    prop(
        "registry",
        PropType::String,
        "The registry it is for, and no other gets it; that of the image by default.",
    )
    .dynamic()
    .example("ghcr.io"),
    prop(
        "login",
        PropType::String,
        "A secret `{\"username\": \"…\", \"password\": \"…\"}`: the form that every runner takes. Not in Kestra.",
    )
    .dynamic()
    .example("\"{{ secret('GHCR') }}\""),
    prop("username", PropType::String, "Name, with `password` (local runner).")
        .dynamic()
        .example("robot"),
    prop("password", PropType::String, "Password, with `username` (local runner).")
        .dynamic()
        .example("\"{{ secret('GHCR_PASSWORD') }}\""),
    prop("auth", PropType::String, "base64 of `name:password` (local runner).")
        .dynamic()
        .example("\"{{ secret('GHCR_AUTH') }}\""),
    prop("registryToken", PropType::String, "A token of the registry (local runner).")
        .dynamic()
        .example("\"{{ secret('GHCR_TOKEN') }}\""),
    prop(
        "identityToken",
        PropType::String,
        "A token that gets tokens of the registry (local runner).",
    )
    .dynamic()
    .example("\"{{ secret('GHCR_TOKEN') }}\""),
];

/// Properties of `docker:` and of the Docker task runner.
pub(crate) const DOCKER: &[PropInfo] = &[
    prop("image", PropType::String, "The image; the same as `containerImage`.")
        .dynamic()
        .example("python:3.13-slim"),
    prop("user", PropType::String, "User in the container.")
        .dynamic()
        .example("\"1000\""),
    prop(
        "entryPoint",
        PropType::List(&PropType::String),
        "Replaces the image's entry point; without it the image's own is used.",
    )
    .alias(&["entrypoint"])
    .dynamic()
    .example("[/bin/sh, -c]"),
    prop(
        "pullPolicy",
        PropType::Enum(&["ALWAYS", "IF_NOT_PRESENT", "NEVER"]),
        "When the image is pulled (local runner).",
    )
    .default("IF_NOT_PRESENT"),
    prop("networkMode", PropType::String, "Docker network (local runner).")
        .dynamic()
        .example("host"),
    prop("extraHosts", PropType::List(&PropType::String), "Lines of `/etc/hosts` (local runner).")
        .dynamic()
        .example("[\"backend:10.0.0.7\"]"),
    prop("volumes", PropType::List(&PropType::String), "Host directories (local runner).")
        .rejects(
            "a host directory exists on one machine only, and the flow must run on any",
            "pass files with `inputFiles` and `outputFiles`",
        ),
    prop("portBindings", PropType::List(&PropType::String), "Published ports.").rejects(
        "a task run offers no port",
        "start the server and its client in one script, or run it outside as a service",
    ),
    prop("cpu", PropType::Object(DOCKER_CPU), "The same as `resources.cpu`.").example("{cpus: 2}"),
    prop("memory", PropType::Object(DOCKER_MEMORY), "The same as `resources.memory`.")
        .example("{memory: 4GB}"),
    prop("shmSize", PropType::Size, "Size of `/dev/shm`.").warns("`/dev/shm` has the runner's default size")
    .example("256MB"),
    prop("privileged", PropType::Bool, "All capabilities of the host.").rejects(
        "Fargate runs no privileged container, and neither should a laptop",
        "remove it",
    ),
    prop("deviceRequests", PropType::Any, "GPUs.").rejects("Fargate has no GPUs", "remove it"),
    prop("host", PropType::String, "Docker host.").warns(NO_HOST).example("tcp://docker:2375"),
    prop("config", PropType::Any, "Docker configuration.").warns(NO_HOST).example("{}"),
    prop(
        "credentials",
        PropType::Object(CREDENTIALS),
        "Login at the registry of the image, by secrets only. On AWS by `login`; images in ECR need none there.",
    )
    .example("{login: \"{{ secret('GHCR') }}\"}"),
    prop("wait", PropType::Bool, "Wait for the end.")
        .warns("a task run always waits for its container's end"),
    prop("killGracePeriod", PropType::Duration, "From SIGTERM to SIGKILL.")
        .warns("a stopped container has 30 seconds from SIGTERM to SIGKILL")
        .example("PT30S"),
    prop("resume", PropType::Bool, "Find the container again.")
        .warns("a container is always found again after a restart"),
    prop("delete", PropType::Bool, "Delete the container.")
        .warns("a container is always deleted when its outputs are stored"),
    prop(
        "fileHandlingStrategy",
        PropType::Enum(&["VOLUME", "MOUNT"]),
        "How files get in.",
    )
    .warns("files get in and out the same way on every runner"),
];

/// Spellings of the task runners that exist.
pub(crate) const RUNNER_PROCESS: &str = "io.kestra.plugin.core.runner.Process";
/// See [`RUNNER_PROCESS`].
pub(crate) const RUNNER_DOCKER: &str = "io.kestra.plugin.scripts.runner.docker.Docker";

const TASK_RUNNER: PropInfo = prop(
    "taskRunner",
    PropType::Any,
    "`{type: process}` or `{type: docker, …}` with the properties of `docker`. Without it the engine decides: a container if there is an image.",
)
.example("{type: io.kestra.plugin.core.runner.Process}");
const IMAGE: PropInfo = prop(
    "containerImage",
    PropType::String,
    "The image, with a tag or digest. `docker: {image}` and `docker.image` mean the same.",
)
.alias(&["docker.image", "image"])
.dynamic()
.example("python:3.13-slim");
const ENV: PropInfo = prop(
    "env",
    PropType::Map(&PropType::String),
    "Environment variables: the way for values into a script.",
)
.dynamic()
.example("{ORGANISM: mpox}");
const SECRETS: PropInfo = prop(
    "secrets",
    PropType::OneOf(&[
        PropType::Map(&PropType::String),
        PropType::List(&PropType::String),
    ]),
    "Environment variables from secrets: a map from variable to secret, or a list when they are named alike.",
)
.example("{SLACK_HOOK: SLACK_WEBHOOK}");
const INPUT_FILES: PropInfo = prop(
    "inputFiles",
    PropType::Files,
    "Files put into the working directory before the start: content, or the URI of an artifact.",
)
.dynamic()
.example("{in.fasta: \"{{ inputs.file }}\"}");
const OUTPUT_FILES: PropInfo = prop(
    "outputFiles",
    STRINGS,
    "Globs of files kept as artifacts, read as `outputs.<task>.outputFiles['name']`.",
)
.dynamic()
.example("[\"*.tsv\", out/**]");
/// Files that are deployed with the flows of a namespace.
pub(super) const NAMESPACE_FILES: PropInfo = prop(
    "namespaceFiles",
    PropType::Object(&[
        prop("enabled", PropType::Bool, "Off when false.").default("true"),
        prop(
            "include",
            STRINGS,
            "Globs of files that are put there; all when absent.",
        )
        .example("[\"scripts/**\"]"),
        prop("exclude", STRINGS, "Globs of files that are left out.").example("[\"data/**\"]"),
        prop(
            "namespaces",
            PropType::List(&PropType::String),
            "Kestra: other namespaces.",
        )
        .rejects(
            "a task sees the files of its own namespace",
            "deploy the files with this namespace too",
        ),
        prop(
            "ifExists",
            PropType::Enum(&["OVERWRITE", "FAIL", "WARN", "IGNORE"]),
            "Kestra: when a file exists.",
        )
        .warns("`inputFiles` win over files of the namespace"),
        prop(
            "folderPerNamespace",
            PropType::Bool,
            "Kestra: a directory for each namespace.",
        )
        .rejects(
            "a task sees the files of its own namespace only",
            "remove it",
        ),
    ]),
    "Put the files deployed with the flow's namespace into the working directory.",
)
.example("{enabled: true}");
const DOCKER_PROP: PropInfo = prop(
    "docker",
    PropType::Object(DOCKER),
    "Kestra 0.x: image and container options.",
)
.example("{image: python:3.13-slim}");
const RUNNER: PropInfo = prop(
    "runner",
    PropType::Enum(&["DOCKER", "PROCESS"]),
    "Kestra 0.x: `taskRunner` by name.",
);
const STDERR: PropInfo = prop(
    "warningOnStdErr",
    PropType::Bool,
    "Kestra: a line on stderr makes a warning.",
)
.warns("stderr is a log like any other; a non-zero exit code fails the task run");
const TARGET_OS: PropInfo = prop(
    "targetOS",
    PropType::Enum(&["LINUX", "WINDOWS", "AUTO"]),
    "Kestra: the operating system.",
)
.warns("tasks run on Linux");
const FAIL_FAST: PropInfo = prop(
    "failFast",
    PropType::Bool,
    "Stop at the first command that fails (`set -e`).",
)
.default("true");
const OUTPUT_DIRS: PropInfo = prop(
    "outputDirs",
    PropType::List(&PropType::String),
    "Kestra 0.x: directories that are kept.",
)
.rejects(
    "directories are kept by glob",
    "write `outputFiles: [\"dir/**\"]`",
);
const OUTPUTS_FILES: PropInfo = prop(
    "outputsFiles",
    PropType::List(&PropType::String),
    "Kestra 0.x: files that are kept.",
)
.rejects("the older name works no more", "write `outputFiles`");
const FILES_0X: PropInfo = prop("files", PropType::Any, "Kestra 0.x: files by name.")
    .rejects("the older name works no more", "write `inputFiles`");

const SCRIPT: &[PropInfo] = &[
    prop(
        "script",
        PropType::String,
        "The script. Values belong in `env` and `inputFiles`, not into its text.",
    )
    .example("echo hello"),
    prop(
        "commands",
        STRINGS,
        "Commands, one after the other. One of `script` and `commands`.",
    )
    .example("[echo hello]"),
    prop(
        "beforeCommands",
        STRINGS,
        "Commands before the script, such as installing packages.",
    )
    .example("[pip install pandas]"),
    prop("interpreter", STRINGS, "What runs `commands`.")
        .default("[/bin/sh, -c]")
        .example("[/bin/bash, -c]"),
    FAIL_FAST,
    IMAGE,
    ENV,
    SECRETS,
    INPUT_FILES,
    OUTPUT_FILES,
    TASK_RUNNER,
    DOCKER_PROP,
    RUNNER,
    NAMESPACE_FILES,
    STDERR,
    TARGET_OS,
    OUTPUT_DIRS,
    OUTPUTS_FILES,
    FILES_0X,
];

const PYTHON: &[PropInfo] = &[
    SCRIPT[0],
    SCRIPT[1],
    SCRIPT[2],
    SCRIPT[3],
    FAIL_FAST,
    IMAGE,
    ENV,
    SECRETS,
    INPUT_FILES,
    OUTPUT_FILES,
    TASK_RUNNER,
    DOCKER_PROP,
    RUNNER,
    NAMESPACE_FILES,
    STDERR,
    TARGET_OS,
    OUTPUT_DIRS,
    OUTPUTS_FILES,
    FILES_0X,
    prop(
        "dependencies",
        PropType::List(&PropType::String),
        "Kestra 1.x: Python packages.",
    )
    .rejects(
        "packages installed at every start make runs slow and not repeatable",
        "use an image that has them, or `beforeCommands: [pip install …]`",
    ),
    prop(
        "pythonVersion",
        PropType::String,
        "Kestra 1.x: Python version.",
    )
    .rejects(
        "the image decides the version",
        "write `containerImage: python:3.13-slim`",
    ),
    prop("dependencyCacheEnabled", PropType::Bool, "Kestra 1.x.")
        .warns("packages are part of the image"),
    prop("packageManager", PropType::String, "Kestra 1.x.")
        .warns("packages are part of the image")
        .example("UV"),
];

const CONTAINER: &[PropInfo] = &[
    prop(
        "containerImage",
        PropType::String,
        "The image, with a tag or digest.",
    )
    .alias(&["image", "docker.image"])
    .dynamic()
    .example("nextstrain/nextclade:3"),
    prop(
        "command",
        STRINGS,
        "Arguments for the image's entry point, or the image's own when absent.",
    )
    .alias(&["args"])
    .dynamic()
    .example("[nextclade, --version]"),
    prop(
        "entryPoint",
        STRINGS,
        "Replaces the image's entry point; without it the image's own is used.",
    )
    .alias(&["entrypoint"])
    .dynamic()
    .example("[/bin/sh, -c]"),
    SCRIPT[0],
    SCRIPT[1],
    SCRIPT[2],
    SCRIPT[3],
    FAIL_FAST,
    ENV,
    SECRETS,
    INPUT_FILES,
    OUTPUT_FILES,
    TASK_RUNNER,
    DOCKER_PROP,
    RUNNER,
    NAMESPACE_FILES,
    STDERR,
    TARGET_OS,
];

macro_rules! script_type {
    ($language:literal, $kind:literal, $aliases:expr, $doc:literal, $example:literal, $props:expr) => {
        TypeInfo {
            name: concat!("io.kestra.plugin.scripts.", $language, ".", $kind),
            aliases: $aliases,
            doc: $doc,
            example: $example,
            props: $props,
            timeout_ms: TIMEOUT_MS,
            shape: Shape::Script,
        }
    };
}

/// The script and container tasks.
pub(super) const TYPES: &[TypeInfo] = &[
    script_type!(
        "python",
        "Script",
        &["python"],
        "Runs a Python script. Values are returned by printing `::{\"outputs\": {…}}::`.",
        "id: count\ntype: python\ncontainerImage: python:3.13-slim\nenv:\n  ORGANISM: mpox\nscript: |\n  import os\n  print(os.environ[\"ORGANISM\"])",
        PYTHON
    ),
    script_type!(
        "python",
        "Commands",
        &["python-commands"],
        "Runs commands in an image with Python.",
        "id: report\ntype: io.kestra.plugin.scripts.python.Commands\ncontainerImage: python:3.13-slim\ninputFiles:\n  report.py: print(\"hello\")\ncommands:\n  - python report.py",
        PYTHON
    ),
    script_type!(
        "shell",
        "Script",
        &["shell", "bash"],
        "Runs a shell script.",
        "id: greet\ntype: shell\nscript: |\n  echo hello\n  date > when.txt\noutputFiles: [when.txt]",
        SCRIPT
    ),
    script_type!(
        "shell",
        "Commands",
        &[
            "shell-commands",
            "commands",
            "io.kestra.core.tasks.scripts.Bash"
        ],
        "Runs shell commands.",
        "id: align\ntype: io.kestra.plugin.scripts.shell.Commands\ncontainerImage: nextstrain/nextclade:3\ncommands:\n  - nextclade --version",
        SCRIPT
    ),
    script_type!(
        "node",
        "Script",
        &["node", "javascript"],
        "Runs a Node.js script.",
        "id: render\ntype: node\ncontainerImage: node:24-slim\nscript: console.log(\"hello\")",
        SCRIPT
    ),
    script_type!(
        "node",
        "Commands",
        &["node-commands"],
        "Runs commands in an image with Node.js.",
        "id: render\ntype: io.kestra.plugin.scripts.node.Commands\ncontainerImage: node:24-slim\ncommands:\n  - node --version",
        SCRIPT
    ),
    script_type!(
        "r",
        "Script",
        &["r"],
        "Runs an R script.",
        "id: plot\ntype: r\ncontainerImage: r-base:4.5.1\nscript: cat(\"hello\")",
        SCRIPT
    ),
    script_type!(
        "r",
        "Commands",
        &["r-commands"],
        "Runs commands in an image with R.",
        "id: plot\ntype: io.kestra.plugin.scripts.r.Commands\ncontainerImage: r-base:4.5.1\ncommands:\n  - Rscript --version",
        SCRIPT
    ),
    TypeInfo {
        name: "container",
        aliases: &["image", "io.kestra.plugin.docker.Run"],
        doc: "Runs an image as it is. `command` becomes the arguments of its entry point, which is never replaced unless `entryPoint` says so.",
        example: "id: qc\ntype: container\ncontainerImage: nextstrain/nextclade:3\ncommand: [nextclade, --version]\nresources: {cpu: 2, memory: 4Gi}",
        props: CONTAINER,
        timeout_ms: TIMEOUT_MS,
        shape: Shape::Script,
    },
];
