//! The flow document: its top level.

use serde_json::Map;

use super::super::catalogue::FLOW;
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::limits::{
    DESCRIPTION_BYTES_MAX, FLOW_ID_CHARS_MAX, NAMESPACE_CHARS_MAX, VARIABLES_MAX,
};
use super::super::model::{Flow, TaskList};
use super::super::yaml::{Node, Yaml};
use super::convert::short;
use super::fields::Fields;
use super::tasks::Parent;
use super::{Here, Reader};

impl Reader<'_> {
    pub(super) fn document(&mut self, root: &Node) -> Option<Flow> {
        let Some(entries) = root.as_map() else {
            self.push(
                Diagnostic::error(
                    Rule::WrongType,
                    root.span.clone(),
                    format!("the document is {}, not a flow", root.kind_name()),
                )
                .with_help("write `id`, `namespace` and `tasks`"),
            );
            return None;
        };
        let start = entries.first().map_or(0..0, |(key, _)| key.span.clone());
        let fields = self.fields(root, &[FLOW], "the flow", &start)?;
        self.defaults(&fields);
        let mut flow = Flow {
            id: self.flow_id(&fields),
            namespace: self.flow_namespace(&fields),
            description: self.description(&fields),
            ..Flow::default()
        };
        self.namespace.clone_from(&flow.namespace);
        self.names(&mut flow, &fields);
        self.handlers(&mut flow, &fields);
        self.policies(&mut flow, &fields);
        if let Some(node) = fields.value("outputs") {
            flow.outputs = self.flow_outputs(node);
        }
        self.here = Here::default();
        if let Some(node) = fields.value("triggers") {
            flow.triggers = self.triggers(node, &flow.inputs);
        }
        flow.disabled = self.flag(&fields, "disabled", false);
        self.check_uses();
        Some(flow)
    }

    /// Labels, inputs and variables: what tasks refer to.
    fn names(&mut self, flow: &mut Flow, fields: &Fields<'_>) {
        if let Some(node) = fields.value("labels") {
            flow.labels = self.labels(node, false, "`labels`").unwrap_or_default();
        }
        self.here = Here {
            before: true,
            ..Here::default()
        };
        if let Some(node) = fields.value("inputs") {
            flow.inputs = self.inputs(node, "`inputs`", true);
        }
        if let Some(field) = fields.get("variables") {
            // They are rendered where they are used, so they may name any task.
            self.here = Here {
                extra: &["item", "outputs", "tasks"],
                variable: true,
                ..Here::default()
            };
            let count = field.value.as_map().map_or(0, <[_]>::len);
            if count > VARIABLES_MAX {
                self.limit(
                    field.value,
                    &format!("there are {count} variables"),
                    VARIABLES_MAX,
                );
            } else if let Some(serde_json::Value::Object(map)) = self.field(field) {
                flow.variables = map;
            }
            self.names.variables = keys(&flow.variables);
        }
        self.here = Here::default();
    }

    fn handlers(&mut self, flow: &mut Flow, fields: &Fields<'_>) {
        if let Some(field) = fields.get("tasks") {
            flow.tasks = self.task_list(field.value, "`tasks`", Parent::ROOT);
            let empty = field.value.as_seq().is_some_and(<[_]>::is_empty);
            if empty || field.value.is_null() {
                self.push(
                    Diagnostic::error(
                        Rule::EmptyTasks,
                        field.key.span.clone(),
                        "the flow has no task",
                    )
                    .with_help("add a task, such as `{id: hello, type: log, message: hello}`"),
                );
            }
        }
        let mut handler = |name: &str| -> TaskList {
            fields.value(name).map_or_else(TaskList::default, |node| {
                self.task_list(node, &format!("`{name}`"), Parent::HANDLER)
            })
        };
        flow.errors = handler("errors");
        flow.finally = handler("finally");
        flow.after_execution = handler("afterExecution");
    }

    fn flow_id(&mut self, fields: &Fields<'_>) -> String {
        let Some(node) = fields.value("id") else {
            return String::new();
        };
        let Some(id) = self.text(node, false, "`id`") else {
            return String::new();
        };
        let good = id.starts_with(|c: char| c.is_ascii_alphanumeric())
            && id
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        self.check_name(
            node,
            &id,
            good,
            FLOW_ID_CHARS_MAX,
            "the flow's id",
            "letters, digits, `.`, `_` and `-`",
        );
        id
    }

    fn flow_namespace(&mut self, fields: &Fields<'_>) -> String {
        let Some(node) = fields.value("namespace") else {
            return String::new();
        };
        let Some(name) = self.text(node, false, "`namespace`") else {
            return String::new();
        };
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let good = name.starts_with(lower)
            && !name.ends_with('.')
            && !name.contains("..")
            && name
                .chars()
                .all(|c| lower(c) || matches!(c, '.' | '_' | '-'));
        self.check_name(
            node,
            &name,
            good,
            NAMESPACE_CHARS_MAX,
            "the namespace",
            "lower-case letters, digits, `_` and `-`, with dots between its parts",
        );
        name
    }

    /// Says what is wrong with a name, if anything.
    pub(super) fn check_name(
        &mut self,
        node: &Node,
        name: &str,
        good: bool,
        max: usize,
        what: &str,
        allowed: &str,
    ) {
        let message = if name.is_empty() {
            format!("{what} is empty")
        } else if name.chars().count() > max {
            format!(
                "{what} has {} characters; at most {max}",
                name.chars().count()
            )
        } else if good {
            return;
        } else {
            format!("{what} `{}` is not well formed", short(name))
        };
        self.push(
            Diagnostic::error(Rule::InvalidId, node.span.clone(), message)
                .with_help(format!("use {allowed}, beginning with a letter or digit")),
        );
    }

    pub(super) fn description(&mut self, fields: &Fields<'_>) -> Option<String> {
        let node = fields.value("description")?;
        let Yaml::String(text) = &node.value else {
            return self.text(node, false, "`description`");
        };
        if text.len() > DESCRIPTION_BYTES_MAX {
            self.limit(
                node,
                &format!("`description` has {} bytes", text.len()),
                DESCRIPTION_BYTES_MAX,
            );
        }
        Some(text.clone())
    }

    /// A yes-or-no property.
    pub(super) fn flag(&mut self, fields: &Fields<'_>, name: &str, default: bool) -> bool {
        let Some(field) = fields.get(name) else {
            return default;
        };
        match self.field(field) {
            Some(serde_json::Value::Bool(value)) => value,
            _ => default,
        }
    }
}

fn keys(map: &Map<String, serde_json::Value>) -> std::collections::BTreeSet<String> {
    map.keys().cloned().collect()
}
