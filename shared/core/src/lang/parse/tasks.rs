//! Task lists and what all tasks have in common (rules R2 and R3).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::amount::size_bytes;
use super::super::catalogue::{self, Shape, TASK, TypeInfo, elsewhere};
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::limits::{ID_CHARS_MAX, PLUGIN_DEPTH_MAX, TASK_DEPTH_MAX, TASKS_MAX};
use super::super::model::{Dynamic, Resources, Span, Task, TaskCache, TaskKind, TaskList};
use super::super::yaml::{Key, Node, Yaml};
use super::Reader;
use super::convert::short;
use super::fields::{Field, Fields, nearest};
use super::references::{After, Position};

/// Where a task list stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parent<'p> {
    /// Ids of the tasks around it, outermost first.
    pub(super) ids: &'p [String],
    /// A list of `errors`, `finally` or `afterExecution`.
    pub(super) handler: bool,
    /// The list runs all tasks together.
    pub(super) parallel: bool,
    /// The list belongs to a `dag`: `task:` wrappers are allowed, roots need no `dependsOn: []`.
    pub(super) dag: bool,
    /// Inside a `WorkingDirectory`.
    pub(super) shared_directory: bool,
}

impl Parent<'_> {
    /// The flow's own tasks.
    pub(super) const ROOT: Parent<'static> = Parent {
        ids: &[],
        handler: false,
        parallel: false,
        dag: false,
        shared_directory: false,
    };
    /// The flow's handlers.
    pub(super) const HANDLER: Parent<'static> = Parent {
        handler: true,
        ..Parent::ROOT
    };
}

/// Names a task cannot have, because commands and pages use them for something else.
pub(crate) const RESERVED_IDS: &[&str] = &["flow", "execution"];

/// Properties that mean something only for tasks that are launched.
const LAUNCHED_ONLY: &[&str] = &[
    "retry",
    "timeout",
    "taskCache",
    "idempotent",
    "quarantine",
    "resources",
];

impl Reader<'_> {
    /// Reads a list of tasks; `what` names it in messages.
    pub(super) fn task_list(&mut self, node: &Node, what: &str, parent: Parent<'_>) -> TaskList {
        let items = match &node.value {
            Yaml::Seq(items) => items.as_slice(),
            // `errors:` with nothing below it is an empty list.
            Yaml::Null => return TaskList::default(),
            Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_) | Yaml::String(_) | Yaml::Map(_) => {
                self.wrong_type(node, what, "a list of tasks");
                return TaskList::default();
            }
        };
        if parent.ids.len() >= TASK_DEPTH_MAX {
            self.limit(node, "tasks are nested too deeply", TASK_DEPTH_MAX);
            return TaskList::default();
        }
        let mut tasks = Vec::new();
        for item in items {
            if let Some(task) = self.task(item, parent) {
                tasks.push(task);
            }
        }
        let graph = self.graph(items, &tasks, parent);
        TaskList { tasks, graph }
    }

    /// Reads one task.
    pub(super) fn task(&mut self, item: &Node, parent: Parent<'_>) -> Option<Task> {
        let Some(entries) = item.as_map() else {
            self.wrong_type(item, "a task", "a mapping");
            return None;
        };
        let mut entries: Vec<(&Key, &Node)> = entries.iter().map(|(k, v)| (k, v)).collect();
        if let Some(inner) = item.get("task").filter(|_| item.get("type").is_none()) {
            entries = self.unwrap_dag(item, inner, parent)?;
        }
        let get = |name: &str| {
            entries
                .iter()
                .find(|(key, _)| key.name == name)
                .map(|(_, v)| *v)
        };
        let place = get("id").map_or_else(|| start_of(item), |id| id.span.clone());
        let id = get("id").and_then(|node| self.task_id(node));
        if self.task_ids.len() > TASKS_MAX {
            if !std::mem::replace(&mut self.too_many, true) {
                self.limit(item, "the flow has too many tasks", TASKS_MAX);
            }
            return None;
        }
        let before = self.here.clone();
        self.here.task.clone_from(&id);
        let task = self.typed_task(item, entries, id.unwrap_or_default(), &place, parent);
        self.here = before;
        task
    }

    /// Rule R3: `{task: {…}, dependsOn: […]}` is `{…, dependsOn: […]}`.
    fn unwrap_dag<'n>(
        &mut self,
        item: &'n Node,
        inner: &'n Node,
        parent: Parent<'_>,
    ) -> Option<Vec<(&'n Key, &'n Node)>> {
        if !parent.dag {
            self.push(
                Diagnostic::error(
                    Rule::UnknownKey,
                    item.entry("task")
                        .map_or_else(|| item.span.clone(), |(key, _)| key.span.clone()),
                    "`task:` around a task is known only in a `dag`",
                )
                .with_help("write the task itself; `dependsOn` may stand in it everywhere"),
            );
            return None;
        }
        let Some(inner_entries) = inner.as_map() else {
            self.wrong_type(inner, "`task`", "a mapping");
            return None;
        };
        let mut entries: Vec<(&Key, &Node)> = inner_entries.iter().map(|(k, v)| (k, v)).collect();
        for (key, value) in item.as_map().unwrap_or_default() {
            if key.name == "dependsOn" {
                entries.push((key, value));
            } else if key.name != "task" && !key.name.starts_with("x-") {
                self.push(
                    Diagnostic::error(
                        Rule::UnknownKey,
                        key.span.clone(),
                        format!("`{}` stands beside `task`", key.name),
                    )
                    .with_help("only `task` and `dependsOn` do; move it into the task"),
                );
            }
        }
        Some(entries)
    }

    /// Checks the id of a task and that no other has it.
    fn task_id(&mut self, node: &Node) -> Option<String> {
        let id = self.text(node, false, "`id`")?;
        self.check_id(node, &id, "the id");
        if RESERVED_IDS.contains(&id.as_str()) {
            self.push(
                Diagnostic::error(
                    Rule::ReservedName,
                    node.span.clone(),
                    format!("`{id}` cannot be the id of a task: it means the whole {id}"),
                )
                .with_help("choose another name"),
            );
        }
        if let Some(first) = self.task_ids.get(&id).cloned() {
            self.push(
                Diagnostic::error(
                    Rule::DuplicateId,
                    node.span.clone(),
                    format!("two tasks have the id `{id}`"),
                )
                .with_label(first, "the first is here")
                .with_help("ids are unique in the whole flow, loops and handlers included"),
            );
        } else {
            self.task_ids.insert(id.clone(), node.span.clone());
        }
        Some(id)
    }

    /// Checks that an id is well formed.
    pub(super) fn check_id(&mut self, node: &Node, id: &str, what: &str) {
        let good = id.starts_with(|c: char| c.is_ascii_alphanumeric())
            && id
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        self.check_name(
            node,
            id,
            good,
            ID_CHARS_MAX,
            what,
            "letters, digits, `_` and `-`",
        );
    }

    /// Finds the type and reads the rest of the task with it.
    fn typed_task(
        &mut self,
        item: &Node,
        entries: Vec<(&Key, &Node)>,
        id: String,
        place: &Span,
        parent: Parent<'_>,
    ) -> Option<Task> {
        let Some((_, type_node)) = entries.iter().find(|(key, _)| key.name == "type").copied()
        else {
            self.push(
                Diagnostic::error(
                    Rule::MissingProperty,
                    place.clone(),
                    format!("{} has no `type`", named(&id)),
                )
                .with_help("add a type, such as `type: shell`"),
            );
            return None;
        };
        let name = self.text(type_node, false, "`type`")?;
        let defaults = std::rc::Rc::clone(&self.defaults);
        let mut entries: Vec<(&Key, &Node)> = entries;
        if let Some(info) = catalogue::task_type(&name) {
            let launched = matches!(info.shape, Shape::BuiltIn | Shape::Script);
            let without: &[&str] = if launched { &[] } else { LAUNCHED_ONLY };
            defaults.merge(&mut entries, &name, info, without);
            return Some(self.known_task(item, &entries, info, id, place, parent));
        }
        if self.plugins.get(&name).is_some() {
            defaults.merge_named(&mut entries, &name);
            return self.plugin_task(&entries, type_node, &name, id, parent);
        }
        self.unknown_type(type_node, &name);
        None
    }

    fn unknown_type(&mut self, node: &Node, name: &str) {
        if catalogue::trigger_type(name).is_some() {
            self.push(
                Diagnostic::error(
                    Rule::UnknownType,
                    node.span.clone(),
                    format!("`{}` is a trigger, not a task", short(name)),
                )
                .with_help("write it under `triggers`"),
            );
            return;
        }
        let names = catalogue::task_types()
            .flat_map(|info| std::iter::once(info.name).chain(info.aliases.iter().copied()))
            .chain(self.plugins.names());
        let near = nearest(name, names);
        let known = elsewhere(name).filter(|known| near.is_none() || !known.prefix.ends_with('.'));
        if let Some(known) = known {
            self.push(
                Diagnostic::error(
                    Rule::NoRunner,
                    node.span.clone(),
                    format!("`{}` is a type of Kestra that cannot run here", short(name)),
                )
                .with_help(known.instead),
            );
            return;
        }
        let help = near.map_or_else(
            || "types are short names such as `shell`, Kestra's class names, or plugins; see `operon schema`".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        self.push(
            Diagnostic::error(
                Rule::UnknownType,
                node.span.clone(),
                format!("there is no task type `{}`", short(name)),
            )
            .with_help(help),
        );
    }

    /// Expands a plugin and reads what it became.
    fn plugin_task(
        &mut self,
        entries: &[(&Key, &Node)],
        type_node: &Node,
        name: &str,
        id: String,
        parent: Parent<'_>,
    ) -> Option<Task> {
        if self.expanding.len() >= PLUGIN_DEPTH_MAX {
            self.limit(
                type_node,
                "plugins expand to plugins too deeply",
                PLUGIN_DEPTH_MAX,
            );
            return None;
        }
        let plugins = self.plugins;
        let plugin = plugins.get(name)?;
        let expansion = match plugin.expand(entries, &type_node.span, &id) {
            Ok(node) => node,
            Err(found) => {
                for diagnostic in found {
                    self.push(diagnostic);
                }
                return None;
            }
        };
        self.expanding
            .push((name.to_owned(), type_node.span.clone()));
        let uses = self.uses.len();
        let entries: Vec<(&Key, &Node)> = expansion
            .as_map()
            .unwrap_or_default()
            .iter()
            .map(|(k, v)| (k, v))
            .collect();
        let task = self.typed_task(&expansion, entries, id, &type_node.span, parent);
        debug_assert!(self.uses.len() >= uses, "uses are only added");
        self.expanding.pop();
        task.map(|task| Task {
            plugin: Some(name.to_owned()),
            span: type_node.span.clone(),
            ..task
        })
    }

    fn known_task(
        &mut self,
        item: &Node,
        entries: &[(&Key, &Node)],
        info: &'static TypeInfo,
        id: String,
        place: &Span,
        parent: Parent<'_>,
    ) -> Task {
        let fields = self.fields_of(entries, &[info.props, TASK], &named(&id), place);
        let launched = matches!(info.shape, Shape::BuiltIn | Shape::Script);
        self.refuse_launched_only(&fields, info, launched);
        let depends_on = fields
            .value("dependsOn")
            .map(|node| self.names_in(node))
            .unwrap_or_default();
        let mut task = Task {
            id,
            task_type: info.name.to_owned(),
            plugin: None,
            span: item.span.clone(),
            description: self.description(&fields),
            depends_on,
            when: fields
                .value("when")
                .and_then(|node| self.condition(node, "`when`")),
            retry: None,
            timeout_ms: Dynamic::Constant(info.timeout_ms),
            allow_failure: self.flag(&fields, "allowFailure", false),
            allow_warning: self.flag(&fields, "allowWarning", false),
            disabled: self.flag(&fields, "disabled", false),
            task_cache: None,
            idempotent: true,
            quarantine_ms: 0,
            priority: self.priority(&fields),
            resources: Resources::default(),
            props: Map::new(),
            kind: TaskKind::Run,
        };
        if launched {
            self.launched(&mut task, &fields);
            if info.shape == Shape::Script {
                self.script(&mut task, &fields, info, place);
            } else {
                self.built_in(&mut task, &fields, info);
            }
        } else {
            self.control(&mut task, &fields, info, place, parent);
        }
        task
    }

    fn refuse_launched_only(&mut self, fields: &Fields<'_>, info: &TypeInfo, launched: bool) {
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
    fn launched(&mut self, task: &mut Task, fields: &Fields<'_>) {
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

    fn priority(&mut self, fields: &Fields<'_>) -> i32 {
        let value = fields.get("priority").and_then(|field| self.field(field));
        value
            .and_then(|value| value.as_i64())
            .and_then(|n| i32::try_from(n).ok())
            .unwrap_or(0)
    }

    /// Names in a list, or one name alone.
    fn names_in(&mut self, node: &Node) -> Vec<String> {
        let items = match &node.value {
            Yaml::Seq(items) => items.as_slice(),
            Yaml::Null => &[],
            Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_) | Yaml::String(_) | Yaml::Map(_) => {
                std::slice::from_ref(node)
            }
        };
        let mut seen = BTreeSet::new();
        let mut names = Vec::new();
        for item in items {
            if let Some(name) = self.text(item, false, "`dependsOn`")
                && seen.insert(name.clone())
            {
                names.push(name);
            }
        }
        names
    }

    /// Properties of a type that the engine executes itself.
    fn built_in(&mut self, task: &mut Task, fields: &Fields<'_>, info: &'static TypeInfo) {
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

    /// Notes where the tasks of a list stand, for the order of references.
    pub(super) fn note_order(&mut self, tasks: &[Task], graph: bool, parent: Parent<'_>) {
        for (index, task) in tasks.iter().enumerate() {
            let after = if graph {
                After::Named(task.depends_on.clone())
            } else if parent.parallel || parent.dag {
                After::Nothing
            } else {
                After::Earlier
            };
            let position = Position {
                parents: parent.ids.to_vec(),
                index,
                after,
                handler: parent.handler,
            };
            self.names.order.insert(task.id.clone(), position);
        }
    }
}

/// What a message calls a task.
pub(super) fn named(id: &str) -> String {
    if id.is_empty() {
        "the task".to_owned()
    } else {
        format!("task `{id}`")
    }
}

/// The first key of a mapping: a better place for what is missing than the whole.
pub(super) fn start_of(node: &Node) -> Span {
    node.as_map()
        .and_then(<[_]>::first)
        .map_or_else(|| node.span.clone(), |(key, _)| key.span.clone())
}
