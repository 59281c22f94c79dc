//! The order of the tasks of one list, and what each depends on.
//!
//! Invariant: dependencies precede dependents in the result, and disabled tasks are gone: who depended
//! on one depends on what it depended on.

use std::collections::{BTreeSet, HashMap};

use super::CompileError;
use crate::lang::model::{GroupOrder, TaskList};

/// A task of the list by its position, and the positions it depends on, ascending.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) task: usize,
    pub(super) deps: Vec<usize>,
}

/// Arranges a list. Written dependencies win over `follow`.
pub(super) fn arrange(
    list: &TaskList,
    follow: GroupOrder,
) -> Result<Vec<Placed>, Vec<CompileError>> {
    let active = || (0..list.tasks.len()).filter(|&at| !list.tasks[at].disabled);
    if list.graph || follow == GroupOrder::Dag {
        return graph(list);
    }
    Ok(match follow {
        GroupOrder::Sequential => {
            let mut previous = None;
            active()
                .map(|task| Placed {
                    task,
                    deps: previous.replace(task).into_iter().collect(),
                })
                .collect()
        }
        GroupOrder::Parallel | GroupOrder::Dag => active()
            .map(|task| Placed {
                task,
                deps: Vec::new(),
            })
            .collect(),
    })
}

fn graph(list: &TaskList) -> Result<Vec<Placed>, Vec<CompileError>> {
    let written = written_deps(list)?;
    let order = topological(&written);
    if order.len() < list.tasks.len() {
        return Err(vec![cycle(list, &written, &order)]);
    }
    // What a task depends on once disabled tasks are gone; filled in order, so it is known in time.
    let mut effective: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); list.tasks.len()];
    for &task in &order {
        let mut deps = BTreeSet::new();
        for &dep in &written[task] {
            if list.tasks[dep].disabled {
                deps.extend(&effective[dep]);
            } else {
                deps.insert(dep);
            }
        }
        effective[task] = deps;
    }
    Ok(order
        .into_iter()
        .filter(|&task| !list.tasks[task].disabled)
        .map(|task| Placed {
            task,
            deps: std::mem::take(&mut effective[task]).into_iter().collect(),
        })
        .collect())
}

/// `dependsOn` as positions.
fn written_deps(list: &TaskList) -> Result<Vec<Vec<usize>>, Vec<CompileError>> {
    let positions: HashMap<&str, usize> = list
        .tasks
        .iter()
        .enumerate()
        .map(|(at, task)| (task.id.as_str(), at))
        .collect();
    let mut errors = Vec::new();
    let written = list
        .tasks
        .iter()
        .map(|task| {
            let mut deps = Vec::with_capacity(task.depends_on.len());
            for id in &task.depends_on {
                match positions.get(id.as_str()) {
                    Some(&at) => deps.push(at),
                    None => errors.push(CompileError::at(
                        task,
                        format!("`dependsOn` names `{id}`, which is not in the same task list"),
                        "Name a task of the same list, or the group that holds it",
                    )),
                }
            }
            deps.sort_unstable();
            deps.dedup();
            deps
        })
        .collect();
    if errors.is_empty() {
        Ok(written)
    } else {
        Err(errors)
    }
}

/// Kahn's order that follows what has just become possible, so that chains stay together and few
/// dependencies cross from one shard to another. Tasks on a cycle are missing.
fn topological(deps: &[Vec<usize>]) -> Vec<usize> {
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); deps.len()];
    let mut missing: Vec<usize> = deps.iter().map(Vec::len).collect();
    for (task, deps) in deps.iter().enumerate() {
        for &dep in deps {
            dependents[dep].push(task);
        }
    }
    let mut ready: Vec<usize> = (0..deps.len()).rev().filter(|&t| missing[t] == 0).collect();
    let mut order = Vec::with_capacity(deps.len());
    while let Some(task) = ready.pop() {
        order.push(task);
        for &dependent in dependents[task].iter().rev() {
            missing[dependent] -= 1;
            if missing[dependent] == 0 {
                ready.push(dependent);
            }
        }
    }
    order
}

/// Names a cycle: from any task that could not be ordered, follow what it waits for until one repeats.
fn cycle(list: &TaskList, deps: &[Vec<usize>], order: &[usize]) -> CompileError {
    let done: BTreeSet<usize> = order.iter().copied().collect();
    let stuck = |at: &usize| !done.contains(at);
    let mut path: Vec<usize> = Vec::new();
    let mut next = (0..deps.len()).find(stuck);
    while let Some(at) = next {
        if let Some(start) = path.iter().position(|&seen| seen == at) {
            path.drain(..start);
            break;
        }
        path.push(at);
        next = deps[at].iter().copied().find(stuck);
    }
    path.reverse();
    let first = path.first().copied().unwrap_or(0);
    path.push(first);
    let names: Vec<String> = path
        .iter()
        .take(20)
        .map(|&at| format!("`{}`", list.tasks[at].id))
        .collect();
    CompileError::at(
        &list.tasks[first],
        format!("`dependsOn` goes in a circle: {}", names.join(" -> ")),
        "Remove one of these dependencies",
    )
}
