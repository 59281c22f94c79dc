//! Tasks that hold or delay other tasks.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another shape is wrong, whichever shape that is"
)]

use serde_json::Value;

use super::super::catalogue::{PropType, Shape, TypeInfo};
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::limits::CASES_MAX;
use super::super::model::{
    Dynamic, GroupOrder, OnFailure, PauseBehavior, Span, Task, TaskKind, TaskList,
};
use super::Reader;
use super::convert::short;
use super::fields::Fields;
use super::tasks::Parent;

impl Reader<'_> {
    pub(super) fn control(
        &mut self,
        task: &mut Task,
        fields: &Fields<'_>,
        info: &'static TypeInfo,
        place: &Span,
        parent: Parent<'_>,
    ) {
        let mut ids = parent.ids.to_vec();
        ids.push(task.id.clone());
        let inside = Parent {
            ids: &ids,
            parallel: info.shape == Shape::Parallel,
            dag: info.shape == Shape::Dag,
            shared_directory: parent.shared_directory || info.name.ends_with(".WorkingDirectory"),
            ..parent
        };
        task.kind = match info.shape {
            Shape::If => self.if_task(fields, inside),
            Shape::Switch => self.switch_task(fields, inside),
            Shape::Loop => {
                if parent.shared_directory {
                    self.loop_in_directory(task, place);
                }
                let inside = Parent {
                    shared_directory: false,
                    ..inside
                };
                self.loop_task(task, fields, info, place, inside)
            }
            Shape::Pause => self.pause_task(fields),
            Shape::Sleep => {
                let duration = fields
                    .value("duration")
                    .and_then(|node| self.duration(node, true, "`duration`"))
                    .unwrap_or(Dynamic::Constant(0));
                TaskKind::Sleep { duration }
            }
            Shape::BuiltIn | Shape::Script | Shape::Sequential | Shape::Parallel | Shape::Dag => {
                self.group_task(task, fields, info, inside)
            }
        };
    }

    /// Iterations may run side by side, and not where the directory is, so none of them has it.
    fn loop_in_directory(&mut self, task: &Task, place: &Span) {
        self.push(
            Diagnostic::error(
                Rule::InvalidValue,
                place.clone(),
                format!(
                    "the loop `{}` is inside a `WorkingDirectory`, whose directory its iterations do not share",
                    short(&task.id)
                ),
            )
            .with_help(
                "repeat in the commands of one task, or put the `WorkingDirectory` among the `tasks` of the loop: each \
                 iteration has its own then",
            ),
        );
    }

    fn group_task(
        &mut self,
        task: &mut Task,
        fields: &Fields<'_>,
        info: &'static TypeInfo,
        inside: Parent<'_>,
    ) -> TaskKind {
        let working_directory = info.name.ends_with(".WorkingDirectory");
        task.allow_failure |= info.name.ends_with(".AllowFailure");
        for name in ["inputFiles", "namespaceFiles"] {
            if let Some(field) = fields.get(name)
                && let Some(value) = self.field(field)
            {
                task.props.insert(name.to_owned(), value);
            }
        }
        let tasks = self.children(fields, "tasks", inside);
        let (errors, finally) = self.local_handlers(fields, inside);
        TaskKind::Group {
            order: match info.shape {
                Shape::Parallel => GroupOrder::Parallel,
                Shape::Dag => GroupOrder::Dag,
                _ => GroupOrder::Sequential,
            },
            tasks,
            errors,
            finally,
            concurrent: u16::try_from(self.count(fields, "concurrent", 0)).unwrap_or(0),
            on_failure: self.on_failure(fields),
            working_directory,
        }
    }

    /// A list of children that must not be empty.
    pub(super) fn children(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        inside: Parent<'_>,
    ) -> TaskList {
        let Some(field) = fields.get(name) else {
            return TaskList::default();
        };
        let list = self.task_list(field.value, &format!("`{name}`"), inside);
        let none = field.value.is_null() || field.value.as_seq().is_some_and(<[_]>::is_empty);
        if none {
            self.push(
                Diagnostic::error(
                    Rule::EmptyTasks,
                    field.key.span.clone(),
                    format!("`{name}` holds no task"),
                )
                .with_help("add a task, or remove the one around"),
            );
        }
        list
    }

    pub(super) fn local_handlers(
        &mut self,
        fields: &Fields<'_>,
        inside: Parent<'_>,
    ) -> (TaskList, TaskList) {
        let handler = Parent {
            handler: true,
            parallel: false,
            dag: false,
            ..inside
        };
        let mut read = |name: &str| {
            fields.value(name).map_or_else(TaskList::default, |node| {
                self.task_list(node, &format!("`{name}`"), handler)
            })
        };
        (read("errors"), read("finally"))
    }

    fn if_task(&mut self, fields: &Fields<'_>, inside: Parent<'_>) -> TaskKind {
        let value = fields
            .value("condition")
            .and_then(|node| self.condition(node, "`condition`"))
            .unwrap_or_default();
        let mut branches = vec![("then".to_owned(), self.children(fields, "then", inside))];
        let default_branch = fields.value("else").is_some().then_some(1);
        if default_branch.is_some() {
            branches.push(("else".to_owned(), self.children(fields, "else", inside)));
        }
        let (errors, finally) = self.local_handlers(fields, inside);
        TaskKind::Choice {
            value,
            condition: true,
            branches,
            default_branch,
            errors,
            finally,
        }
    }

    fn switch_task(&mut self, fields: &Fields<'_>, inside: Parent<'_>) -> TaskKind {
        let value = fields
            .value("value")
            .and_then(|node| self.text(node, true, "`value`"))
            .unwrap_or_default();
        let mut branches = Vec::new();
        if let Some(node) = fields.value("cases") {
            match node.as_map() {
                Some(cases) if cases.len() > CASES_MAX => {
                    self.limit(node, &format!("there are {} cases", cases.len()), CASES_MAX);
                }
                Some(cases) => {
                    for (key, tasks) in cases {
                        let what = format!("case `{}`", short(&key.name));
                        branches.push((key.name.clone(), self.task_list(tasks, &what, inside)));
                    }
                }
                None => self.wrong_type(node, "`cases`", &PropType::Cases.describe()),
            }
        }
        let default_branch = match fields.get("defaults") {
            Some(_) => {
                let list = self.children(fields, "defaults", inside);
                branches.push(("defaults".to_owned(), list));
                u8::try_from(branches.len() - 1).ok()
            }
            None => None,
        };
        let (errors, finally) = self.local_handlers(fields, inside);
        TaskKind::Choice {
            value,
            condition: false,
            branches,
            default_branch,
            errors,
            finally,
        }
    }

    fn pause_task(&mut self, fields: &Fields<'_>) -> TaskKind {
        let mut duration = fields
            .value("pauseDuration")
            .and_then(|node| self.duration(node, true, "`pauseDuration`"));
        let mut behavior = match fields.get("behavior").and_then(|field| self.field(field)) {
            Some(Value::String(name)) => match name.as_str() {
                "WARN" => PauseBehavior::Warn,
                "CANCEL" => PauseBehavior::Cancel,
                "FAIL" => PauseBehavior::Fail,
                _ => PauseBehavior::Resume,
            },
            _ => PauseBehavior::Resume,
        };
        if let Some(field) = fields.get("timeout")
            && let Some(timeout) = self.duration(field.value, true, "`timeout`")
        {
            match (&duration, &timeout) {
                // It ends by itself before the timeout.
                (Some(Dynamic::Constant(ends)), Dynamic::Constant(fails)) if ends <= fails => {}
                (None, _) | (Some(Dynamic::Constant(_)), Dynamic::Constant(_)) => {
                    duration = Some(timeout);
                    behavior = PauseBehavior::Fail;
                }
                (Some(_), _) => self.push(
                    Diagnostic::error(
                        Rule::Exclusive,
                        field.key.span.clone(),
                        "`timeout` and `pauseDuration` cannot be compared before they are known",
                    )
                    .with_help("keep one: `pauseDuration` with `behavior: FAIL` is a timeout"),
                ),
            }
        }
        if let (None, Some(field)) = (&duration, fields.get("behavior")) {
            self.push(
                Diagnostic::error(
                    Rule::MissingProperty,
                    field.key.span.clone(),
                    "`behavior` says what happens when a time has passed, and there is none",
                )
                .with_help("add `pauseDuration`"),
            );
        }
        let on_resume = fields
            .value("onResume")
            .map(|node| self.inputs(node, "`onResume`", false))
            .unwrap_or_default();
        TaskKind::Pause {
            duration,
            behavior,
            on_resume,
        }
    }

    pub(super) fn count(&mut self, fields: &Fields<'_>, name: &str, default: u64) -> u64 {
        let value = fields.get(name).and_then(|field| self.field(field));
        value.and_then(|value| value.as_u64()).unwrap_or(default)
    }

    pub(super) fn on_failure(&mut self, fields: &Fields<'_>) -> OnFailure {
        match fields.get("onFailure").and_then(|field| self.field(field)) {
            Some(Value::String(name)) if name == "stop" => OnFailure::Stop,
            _ => OnFailure::Continue,
        }
    }
}
