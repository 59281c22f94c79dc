//! Assertions among the service levels, as tasks: they are evaluated last in the flow's clean-up, where
//! everything the flow did can be seen and the flow's state can still change.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::limits::lists_of;
use crate::lang::model::{
    Dynamic, Flow, Resources, Sla, SlaBehavior, SlaKind, Task, TaskKind, TaskList,
};

/// The flow with one `sla-<id>` choice per assertion at the end of `finally`: when the assertion does not
/// hold, its labels are added and its behaviour is carried out. Where the flow has tasks whose ids begin like that, these
/// begin with one more dash.
pub(super) fn with_assertions(flow: &Flow) -> Cow<'_, Flow> {
    let mut prefix = "sla-".to_owned();
    while taken(flow, &prefix) {
        prefix.push('-');
    }
    let assertions: Vec<Task> = flow
        .sla
        .iter()
        .filter_map(|sla| assertion(sla, &prefix))
        .collect();
    if assertions.is_empty() {
        return Cow::Borrowed(flow);
    }
    let mut flow = flow.clone();
    if flow.finally.graph {
        // In a graph they would begin at once: they come after everything that was written.
        let ids: Vec<String> = flow
            .finally
            .tasks
            .iter()
            .map(|task| task.id.clone())
            .collect();
        let after = |mut task: Task| {
            task.depends_on.clone_from(&ids);
            task
        };
        flow.finally.tasks.extend(assertions.into_iter().map(after));
    } else {
        flow.finally.tasks.extend(assertions);
    }
    Cow::Owned(flow)
}

fn taken(flow: &Flow, prefix: &str) -> bool {
    let mut open = vec![
        &flow.tasks,
        &flow.errors,
        &flow.finally,
        &flow.after_execution,
    ];
    while let Some(list) = open.pop() {
        for task in &list.tasks {
            if task.id.starts_with(prefix) {
                return true;
            }
            open.extend(lists_of(task).0.into_iter().map(|(list, _)| list));
        }
    }
    false
}

fn assertion(sla: &Sla, prefix: &str) -> Option<Task> {
    let SlaKind::ExecutionAssertion { assert } = &sla.kind else {
        return None;
    };
    let id = |part: &str| format!("{prefix}{}{part}", sla.id);
    let mut breached = Vec::new();
    if !sla.labels.is_empty() {
        breached.push(run(
            id("-labels"),
            "core.execution.Labels",
            json!({"labels": sla.labels}),
        ));
    }
    match sla.behavior {
        SlaBehavior::Fail => {
            let message = format!("service level `{}` is missed", sla.id);
            breached.push(run(
                id("-fail"),
                "core.execution.Fail",
                json!({"errorMessage": message}),
            ));
        }
        SlaBehavior::Cancel => {
            breached.push(run(
                id("-cancel"),
                "core.execution.Exit",
                json!({"state": "CANCELLED"}),
            ));
        }
        SlaBehavior::None => {}
    }
    let list = |tasks| TaskList {
        tasks,
        graph: false,
    };
    let kind = TaskKind::Choice {
        value: assert.clone(),
        condition: true,
        branches: vec![
            ("then".to_owned(), TaskList::default()),
            ("else".to_owned(), list(breached)),
        ],
        default_branch: None,
        errors: TaskList::default(),
        finally: TaskList::default(),
    };
    Some(task(id(""), "core.flow.If", Map::new(), kind))
}

fn run(id: String, class: &str, props: Value) -> Task {
    let props = if let Value::Object(props) = props {
        props
    } else {
        Map::new()
    };
    task(id, class, props, TaskKind::Run)
}

fn task(id: String, class: &str, props: Map<String, Value>, kind: TaskKind) -> Task {
    Task {
        id,
        task_type: format!("io.kestra.plugin.{class}"),
        plugin: None,
        span: 0..0,
        description: None,
        depends_on: Vec::new(),
        when: None,
        retry: None,
        timeout_ms: Dynamic::Constant(60_000),
        allow_failure: false,
        allow_warning: false,
        disabled: false,
        task_cache: None,
        idempotent: true,
        quarantine_ms: 0,
        priority: 0,
        resources: Resources::default(),
        props,
        kind,
    }
}
