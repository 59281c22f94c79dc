//! Tasks that are launched: attempts, resources, and the types the engine executes itself.

use serde_json::Value;

use super::super::amount::size_bytes;
use super::super::catalogue::{self, Shape, TypeInfo};
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::model::{Dynamic, Resources, Task, TaskCache};
use super::super::yaml::Node;
use super::Reader;
use super::fields::{Field, Fields};
use super::tasks::LAUNCHED_ONLY;

impl Reader<'_> {
    pub(super) fn refuse_launched_only(
        &mut self,
        fields: &Fields<'_>,
        info: &TypeInfo,
        launched: bool,
    ) {
        if launched {
            return;
        }
        for field in &fields.all {
            let name = field.info.name;
            // A pause that takes too long fails; see `control`.
            if LAUNCHED_ONLY.contains(&name) && !(name == "timeout" && info.shape == Shape::Pause) {
                self.push(
                    Diagnostic::error(
                        Rule::NotLaunched,
                        field.key.span.clone(),
                        format!(
                            "`{name}` has no effect on `{}`, which runs nothing itself",
                            info.short_name()
                        ),
                    )
                    .with_help(match name {
                        "timeout" => "write it on the tasks inside, or on the flow",
                        _ => "write it on the tasks inside",
                    }),
                );
            }
        }
    }

    /// Properties of tasks that are launched.
    pub(super) fn launched(&mut self, task: &mut Task, fields: &Fields<'_>) {
        if let Some(node) = fields.value("timeout")
            && let Some(timeout) = self.duration(node, true, "`timeout`")
        {
            if timeout == Dynamic::Constant(0) {
                self.push(
                    Diagnostic::error(Rule::OutOfRange, node.span.clone(), "`timeout` is zero")
                        .with_help("write how long one attempt may take, such as `PT1H`"),
                );
            }
            task.timeout_ms = timeout;
        }
        task.retry = fields.value("retry").and_then(|node| self.task_retry(node));
        task.idempotent = self.flag(fields, "idempotent", true);
        if let Some(node) = fields.value("quarantine") {
            task.quarantine_ms = self.constant_duration(node, "`quarantine`").unwrap_or(0);
        }
        if let (false, Some(retry), Some(field)) =
            (task.idempotent, &task.retry, fields.get("retry"))
            && retry.max_attempts != Some(1)
        {
            self.push(
                Diagnostic::error(
                    Rule::RetryNotIdempotent,
                    field.key.span.clone(),
                    "`retry` contradicts `idempotent: false`: such a task is launched once",
                )
                .with_help("remove one of the two"),
            );
        }
        if let Some(node) = fields.value("taskCache") {
            task.task_cache = self.task_cache(node);
        }
        if let Some(node) = fields.value("resources") {
            self.resources(node, &mut task.resources);
        }
    }

    fn task_cache(&mut self, node: &Node) -> Option<TaskCache> {
        let fields = self.fields(node, &[catalogue::TASK_CACHE], "`taskCache`", &node.span)?;
        let ttl_ms = fields
            .value("ttl")
            .and_then(|node| self.constant_duration(node, "`ttl`"));
        Some(TaskCache {
            enabled: self.flag(&fields, "enabled", true),
            ttl_ms,
        })
    }

    pub(super) fn resources(&mut self, node: &Node, resources: &mut Resources) {
        let Some(fields) = self.fields(node, &[catalogue::RESOURCES], "`resources`", &node.span)
        else {
            return;
        };
        if let Some(node) = fields.value("cpu")
            && let Some(milli) = self.cpu(node, "`cpu`")
        {
            resources.cpu_milli = milli;
        }
        if let Some(node) = fields.value("memory")
            && let Some(mib) = self.mebibytes(node, "`memory`", 1 << 20)
        {
            resources.memory_mib = mib;
        }
        if let Some(node) = fields.value("ephemeral")
            && let Some(mib) = self.mebibytes(node, "`ephemeral`", 1 << 30)
        {
            resources.ephemeral_gib = mib.div_ceil(1024);
        }
    }

    /// A size, rounded up to MiB; a plain number counts `unit` bytes.
    pub(super) fn mebibytes(&mut self, node: &Node, what: &str, unit: u64) -> Option<u32> {
        let bytes = self.size(node, unit, what)?;
        let max = size_bytes("16Ti", 1).unwrap_or(u64::MAX);
        if bytes == 0 || bytes > max {
            self.push(
                Diagnostic::error(
                    Rule::OutOfRange,
                    node.span.clone(),
                    format!("{what} is {bytes} bytes"),
                )
                .with_help("write from 1 MiB to 16 TiB"),
            );
            return None;
        }
        u32::try_from(bytes.div_ceil(1 << 20)).ok()
    }

    /// Properties of a type that the engine executes itself.
    pub(super) fn built_in(
        &mut self,
        task: &mut Task,
        fields: &Fields<'_>,
        info: &'static TypeInfo,
    ) {
        let record =
            info.name.ends_with(".FilterItems") || info.name.ends_with(".DeduplicateItems");
        self.here.record = record;
        for &field in &fields.all {
            if info.prop(field.info.name).is_some()
                && let Some(value) = self.field(field)
            {
                task.props.insert(field.info.name.to_owned(), value);
            }
        }
        self.here.record = false;
        self.built_in_rules(task, fields, info);
    }

    fn built_in_rules(&mut self, task: &mut Task, fields: &Fields<'_>, info: &TypeInfo) {
        match info.name {
            "io.kestra.plugin.core.flow.Subflow" => {
                let own = Value::from(self.namespace.as_str());
                task.props.entry("namespace").or_insert(own);
            }
            "io.kestra.plugin.core.storage.Split" => {
                let ways = ["rows", "bytes", "partitions"];
                let given: Vec<Field<'_>> =
                    ways.iter().filter_map(|name| fields.get(name)).collect();
                if let Some(second) = given.get(1) {
                    self.push(
                        Diagnostic::error(
                            Rule::Exclusive,
                            second.key.span.clone(),
                            "only one of `rows`, `bytes` and `partitions` can be given",
                        )
                        .with_help("remove the others"),
                    );
                }
            }
            "io.kestra.plugin.core.execution.Exit"
                if task.props.get("state") == Some(&Value::from("CANCELED")) =>
            {
                task.props
                    .insert("state".to_owned(), Value::from("CANCELLED"));
            }
            "io.kestra.plugin.core.http.Request" | "io.kestra.plugin.core.http.Download" => {
                self.http_secrets(fields);
            }
            _ => {}
        }
    }
}
