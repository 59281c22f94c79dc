//! Refuses a flow that is too large, before anything is built from it.
//!
//! Invariant: after [`check`] recursion over task lists is at most [`NESTING_MAX`] deep, and every count
//! of nodes and scopes fits its index type.

use std::collections::HashSet;

use super::{CompileError, NESTING_MAX, STATIC_TASKS_MAX, TASKS_MAX};
use crate::lang::model::{Flow, Task, TaskKind, TaskList};
use crate::plan::LOOP_DEPTH_MAX;

/// Most branches of a choice: their index is one byte.
const BRANCHES_MAX: usize = 255;

/// A task list still to be looked at.
struct Todo<'f> {
    list: &'f TaskList,
    nesting: usize,
    loops: usize,
}

/// Checks every limit that does not need the compiled form, and that ids are unique.
pub(super) fn check(flow: &Flow) -> Result<(), Vec<CompileError>> {
    let mut errors = Vec::new();
    let mut ids = HashSet::new();
    let (mut static_tasks, mut tasks) = (0_usize, 0_usize);
    let roots = [
        &flow.after_execution,
        &flow.finally,
        &flow.errors,
        &flow.tasks,
    ];
    let mut todo: Vec<Todo> = roots
        .into_iter()
        .map(|list| Todo {
            list,
            nesting: 1,
            loops: 0,
        })
        .collect();
    while let Some(Todo {
        list,
        nesting,
        loops,
    }) = todo.pop()
    {
        for task in list.tasks.iter().filter(|task| !task.disabled) {
            tasks += 1;
            static_tasks += usize::from(loops == 0);
            if !ids.insert(task.id.as_str()) {
                errors.push(CompileError::at(
                    task,
                    "another task has the same id",
                    "Give each task of the flow an id of its own",
                ));
            }
            let (lists, is_loop) = lists_of(task);
            if nesting >= NESTING_MAX && !lists.is_empty() {
                errors.push(CompileError::at(
                    task,
                    format!("tasks are nested more than {NESTING_MAX} deep"),
                    "Move the inner tasks into a subflow",
                ));
                continue;
            }
            let inner = loops + usize::from(is_loop);
            if inner > LOOP_DEPTH_MAX {
                errors.push(CompileError::at(
                    task,
                    format!("loops are nested more than {LOOP_DEPTH_MAX} deep"),
                    "Move the inner loop into a subflow",
                ));
                continue;
            }
            if let TaskKind::Choice { branches, .. } = &task.kind
                && branches.len() > BRANCHES_MAX
            {
                errors.push(CompileError::at(
                    task,
                    format!("{} cases are too many", branches.len()),
                    format!(
                        "Use at most {BRANCHES_MAX}, or start a subflow chosen by an expression"
                    ),
                ));
            }
            todo.extend(lists.into_iter().map(|(list, in_body)| Todo {
                list,
                nesting: nesting + 1,
                loops: if in_body { inner } else { loops },
            }));
        }
    }
    for (count, limit, place) in [
        (static_tasks, STATIC_TASKS_MAX, "outside loops"),
        (tasks, TASKS_MAX, "in all"),
    ] {
        if count > limit {
            errors.push(CompileError::flow(
                format!("the flow has {count} tasks {place}; at most {limit} are possible"),
                "Use a loop for tasks that are alike, or move some into a subflow",
            ));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// The task lists inside a task, whether each is a loop's body, and whether the task is a loop.
pub(super) fn lists_of(task: &Task) -> (Vec<(&TaskList, bool)>, bool) {
    match &task.kind {
        TaskKind::Run | TaskKind::Pause { .. } | TaskKind::Sleep { .. } => (Vec::new(), false),
        TaskKind::Group {
            tasks,
            errors,
            finally,
            ..
        } => (
            vec![(finally, false), (errors, false), (tasks, false)],
            false,
        ),
        TaskKind::Choice {
            branches,
            errors,
            finally,
            ..
        } => {
            let mut lists = vec![(finally, false), (errors, false)];
            lists.extend(branches.iter().rev().map(|(_, list)| (list, false)));
            (lists, false)
        }
        TaskKind::Loop {
            tasks,
            errors,
            finally,
            ..
        } => (vec![(finally, false), (errors, false), (tasks, true)], true),
    }
}
