//! Well-known Kestra types without a runner here, with what to use instead.

/// A Kestra class, or all classes with a prefix, that cannot run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere {
    /// Class name, or a prefix that ends with `.`.
    pub prefix: &'static str,
    /// What to write instead.
    pub instead: &'static str,
}

const fn at(prefix: &'static str, instead: &'static str) -> Elsewhere {
    Elsewhere { prefix, instead }
}

const NOTIFY: &str =
    "use `slack`, `email` or `pagerduty`, or `http` with the webhook's address and a JSON `body`";
const CLOUD: &str = "use `container` with an image that has the provider's command-line tool";
const GO: &str =
    "use `container` or `shell` with an image that has Go, and `commands: [\"go run main.go\"]`";
const SQL: &str = "use `sql` for PostgreSQL, else `container` or `python` with a database client, and `secrets` for the password";

/// First match wins, so the exact names come before the prefixes that hold them.
const TABLE: &[Elsewhere] = &[
    at("io.kestra.plugin.core.flow.Template", "use `subflow`"),
    at("io.kestra.core.tasks.flows.Template", "use `subflow`"),
    at(
        "io.kestra.plugin.core.execution.Resume",
        "use `pause` with `pauseDuration`, or resume through the API",
    ),
    at(
        "io.kestra.plugin.core.execution.PurgeExecutions",
        "remove it: executions expire by themselves",
    ),
    at(
        "io.kestra.plugin.core.execution.Purge",
        "remove it: executions expire by themselves",
    ),
    at(
        "io.kestra.plugin.core.storage.PurgeCurrentExecutionFiles",
        "remove it: artifacts expire by themselves",
    ),
    at(
        "io.kestra.plugin.core.storage.Purge",
        "remove it: artifacts expire by themselves",
    ),
    at(
        "io.kestra.core.tasks.storages.Purge",
        "remove it: artifacts expire by themselves",
    ),
    at(
        "io.kestra.core.tasks.storages.PurgeExecution",
        "remove it: artifacts expire by themselves",
    ),
    at(
        "io.kestra.plugin.core.log.Purge",
        "remove it: logs expire by themselves",
    ),
    at(
        "io.kestra.plugin.core.log.PurgeLogs",
        "remove it: logs expire by themselves",
    ),
    at(
        "io.kestra.core.tasks.executions.Resume",
        "use `pause` with `pauseDuration`, or resume through the API",
    ),
    at(
        "io.kestra.plugin.core.execution.SetVariables",
        "return values with `outputs` and read `outputs.<task>.values.<name>`, or keep them with `kv-set`",
    ),
    at(
        "io.kestra.plugin.core.execution.UnsetVariables",
        "remove it: `vars` do not change while a flow runs",
    ),
    at(
        "io.kestra.plugin.core.execution.Kill",
        "end this execution with `exit` and `state: KILLED`; kill another one with the command line or the API",
    ),
    at(
        "io.kestra.plugin.core.templating.TemplatedTask",
        "write the task itself: its properties may be templates, and `if` or `switch` choose among tasks",
    ),
    at("io.kestra.plugin.scripts.go.Script", GO),
    at("io.kestra.plugin.scripts.go.Commands", GO),
    at(
        "io.kestra.plugin.core.log.Fetch",
        "read logs with the command line or the API",
    ),
    at(
        "io.kestra.plugin.core.trigger.Toggle",
        "set `disabled` on the trigger and deploy the flow",
    ),
    at(
        "io.kestra.plugin.core.kv.",
        "use `kv-set`, `kv-get`, `kv-keys` or `kv-delete`",
    ),
    at(
        "io.kestra.plugin.core.namespace.",
        "put the files in the image, or name them under `inputFiles`",
    ),
    at("io.kestra.plugin.core.http.", "use `http` or `download`"),
    at("io.kestra.plugin.core.dashboard.", "use the console"),
    at("io.kestra.plugin.core.state.", "use `kv-set` and `kv-get`"),
    at("io.kestra.core.tasks.states.", "use `kv-set` and `kv-get`"),
    at(
        "io.kestra.core.tasks.scripts.Python",
        "use `python-commands` (`io.kestra.plugin.scripts.python.Commands`)",
    ),
    at(
        "io.kestra.core.tasks.scripts.Node",
        "use `io.kestra.plugin.scripts.node.Commands`",
    ),
    at(
        "io.kestra.core.tasks.trigger.Toggle",
        "set `disabled` on the trigger and deploy the flow",
    ),
    at(
        "io.kestra.plugin.core.templating.",
        "use `return` or `write`",
    ),
    at("io.kestra.plugin.slack.", NOTIFY),
    at("io.kestra.plugin.notifications.", NOTIFY),
    at("io.kestra.plugin.microsoft365.", NOTIFY),
    at("io.kestra.plugin.teams.", NOTIFY),
    at("io.kestra.plugin.discord.", NOTIFY),
    at("io.kestra.plugin.email.", NOTIFY),
    at("io.kestra.plugin.pagerduty.", NOTIFY),
    at("io.kestra.plugin.opsgenie.", NOTIFY),
    at("io.kestra.plugin.jdbc.", SQL),
    at("io.kestra.plugin.mongodb.", SQL),
    at("io.kestra.plugin.redis.", SQL),
    at("io.kestra.plugin.elasticsearch.", "use `http`"),
    at("io.kestra.plugin.aws.", CLOUD),
    at("io.kestra.plugin.gcp.", CLOUD),
    at("io.kestra.plugin.azure.", CLOUD),
    at("io.kestra.plugin.minio.", CLOUD),
    at("io.kestra.plugin.kubernetes.", "use `container`"),
    at("io.kestra.plugin.docker.", "use `container`"),
    at(
        "io.kestra.plugin.git.",
        "use `shell` with an image that has git",
    ),
    at("io.kestra.plugin.github.", "use `http` with GitHub's API"),
    at("io.kestra.plugin.gitlab.", "use `http` with GitLab's API"),
    at(
        "io.kestra.plugin.dbt.",
        "use `container` with an image that has dbt",
    ),
    at("io.kestra.plugin.airbyte.", "use `http`"),
    at("io.kestra.plugin.fivetran.", "use `http`"),
    at("io.kestra.plugin.databricks.", "use `http`"),
    at("io.kestra.plugin.spark.", "use `container`"),
    at(
        "io.kestra.plugin.terraform.",
        "use `container` with an image that has Terraform",
    ),
    at(
        "io.kestra.plugin.ansible.",
        "use `container` with an image that has Ansible",
    ),
    at(
        "io.kestra.plugin.kafka.",
        "use `container` or `python` with a client",
    ),
    at(
        "io.kestra.plugin.mqtt.",
        "use `container` or `python` with a client",
    ),
    at(
        "io.kestra.plugin.amqp.",
        "use `container` or `python` with a client",
    ),
    at(
        "io.kestra.plugin.nats.",
        "use `container` or `python` with a client",
    ),
    at(
        "io.kestra.plugin.pulsar.",
        "use `container` or `python` with a client",
    ),
    at("io.kestra.plugin.debezium.", "use the `postgres` trigger"),
    at(
        "io.kestra.plugin.fs.ssh.",
        "use `shell` with an image that has ssh",
    ),
    at(
        "io.kestra.plugin.fs.",
        "use `download`, or `shell` with an image that has the client",
    ),
    at(
        "io.kestra.plugin.serdes.",
        "use `python` with a library for the format",
    ),
    at(
        "io.kestra.plugin.transform.",
        "use `python`, or the `jq` filter in an expression",
    ),
    at(
        "io.kestra.plugin.compress.",
        "use `shell` with tar, gzip or zstd",
    ),
    at(
        "io.kestra.plugin.crypto.",
        "use `shell` with an image that has the tool",
    ),
    at("io.kestra.plugin.openai.", "use `http`"),
    at("io.kestra.plugin.ai.", "use `http`"),
    at("io.kestra.plugin.googleworkspace.", "use `http`"),
    at("io.kestra.plugin.singer.", "use `container`"),
    at("io.kestra.plugin.soda.", "use `container`"),
    at("io.kestra.plugin.modal.", "use `python`"),
    at("io.kestra.plugin.dataform.", "use `container`"),
    at("io.kestra.plugin.sqlmesh.", "use `container`"),
    at("io.kestra.plugin.cloudquery.", "use `container`"),
    at("io.kestra.plugin.malloy.", "use `container`"),
    at(
        "io.kestra.plugin.scripts.",
        "use `container` with an image that has the interpreter, and `commands`",
    ),
    at(
        "io.kestra.plugin.ee.",
        "this is part of Kestra's Enterprise Edition; use `container` or `http`",
    ),
    at(
        "io.kestra.plugin.core.trigger.",
        "write it under `triggers`",
    ),
];

/// What to use instead of a well-known Kestra type that has no runner here.
#[must_use]
pub fn elsewhere(name: &str) -> Option<Elsewhere> {
    TABLE.iter().copied().find(|entry| {
        if entry.prefix.ends_with('.') {
            name.starts_with(entry.prefix)
        } else {
            name == entry.prefix
        }
    })
}
