//! Task lists and what all tasks have in common (rules R2 and R3).

use std::collections::BTreeSet;

use serde_json::Map;

use super::super::catalogue::{Shape, TASK, TypeInfo};
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::limits::{ID_CHARS_MAX, TASK_DEPTH_MAX, TASKS_MAX};
use super::super::model::{Dynamic, Resources, Span, Task, TaskKind, TaskList};
use super::super::yaml::{Key, Node, Yaml};
use super::Reader;
use super::fields::Fields;
use super::references::{After, Position};

/// Works on the directory of the `WorkingDirectory` around it.
const LOCAL_FILES: &str = "io.kestra.plugin.core.storage.LocalFiles";

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
pub(super) const LAUNCHED_ONLY: &[&str] = &[
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

    pub(super) fn known_task(
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
                if info.name == LOCAL_FILES {
                    self.local_files(&task, &fields, place, parent);
                }
            }
        } else {
            self.control(&mut task, &fields, info, place, parent);
        }
        task
    }

    /// `LocalFiles` is about a directory, so there must be one, and what it does there cannot be reused.
    fn local_files(&mut self, task: &Task, fields: &Fields<'_>, place: &Span, parent: Parent<'_>) {
        if !parent.shared_directory {
            self.push(
                Diagnostic::error(
                    Rule::InvalidValue,
                    place.clone(),
                    format!("{} is not inside a `WorkingDirectory`", named(&task.id)),
                )
                .with_help(
                    "put it among the `tasks` of a `WorkingDirectory` (a loop in between has no directory), or write \
                     `inputFiles` and `outputFiles` of the task that uses the files",
                ),
            );
        }
        if let Some(field) = fields.get("taskCache") {
            self.push(
                Diagnostic::error(
                    Rule::InvalidValue,
                    field.key.span.clone(),
                    "`taskCache` would leave the files of `LocalFiles` unwritten",
                )
                .with_help("remove it"),
            );
        }
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
