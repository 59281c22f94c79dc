//! `dependsOn`: what must exist, and that nothing waits for itself (rule R2).

use std::collections::HashMap;

use super::super::diagnostic::{Diagnostic, Rule};
use super::super::limits::DEPENDS_ON_MAX;
use super::super::model::{Span, Task};
use super::super::yaml::Node;
use super::Reader;
use super::fields::nearest;
use super::tasks::{Parent, start_of};

impl Reader<'_> {
    /// Checks the dependencies of a list, notes its order, and says whether it is a graph.
    pub(super) fn graph(&mut self, items: &[Node], tasks: &[Task], parent: Parent<'_>) -> bool {
        let written: HashMap<String, &Node> = items
            .iter()
            .filter_map(|item| Some((id_of(item)?, item)))
            .collect();
        let any = written.values().any(|item| depends_node(item).is_some());
        // Plugins may bring their own, but then the list says so itself.
        let graph = any || tasks.iter().any(|task| !task.depends_on.is_empty());
        if !graph {
            self.note_order(tasks, false, parent);
            return false;
        }
        let index: HashMap<&str, usize> = tasks
            .iter()
            .enumerate()
            .map(|(at, task)| (task.id.as_str(), at))
            .collect();
        let mut edges = vec![Vec::new(); tasks.len()];
        for (at, task) in tasks.iter().enumerate() {
            let Some(item) = written.get(&task.id) else {
                continue;
            };
            let Some(node) = depends_node(item) else {
                if !parent.dag && !parent.parallel {
                    self.implicit_root(item, task);
                }
                continue;
            };
            if task.depends_on.len() > DEPENDS_ON_MAX {
                self.limit(
                    node,
                    &format!("`dependsOn` has {} names", task.depends_on.len()),
                    DEPENDS_ON_MAX,
                );
                continue;
            }
            for name in &task.depends_on {
                let place = place_of(node, name);
                if *name == task.id {
                    self.push(
                        Diagnostic::error(
                            Rule::Cycle,
                            place,
                            format!("task `{name}` depends on itself"),
                        )
                        .with_help("remove it from its own `dependsOn`"),
                    );
                } else if let Some(&before) = index.get(name.as_str()) {
                    edges[at].push(before);
                } else if !written.contains_key(name) {
                    self.unknown_dependency(place, name, &written);
                }
            }
        }
        if let Some(cycle) = find_cycle(&edges) {
            self.report_cycle(&cycle, tasks, &written);
        }
        self.note_order(tasks, true, parent);
        true
    }

    fn implicit_root(&mut self, item: &Node, task: &Task) {
        let place = item
            .get("id")
            .map_or_else(|| start_of(item), |id| id.span.clone());
        self.push(
            Diagnostic::warning(
                Rule::ImplicitRoot,
                place,
                format!("task `{}` has no `dependsOn` and starts at once, because another task here has one", task.id),
            )
            .with_help("write `dependsOn: []` if that is meant"),
        );
    }

    fn unknown_dependency(&mut self, place: Span, name: &str, siblings: &HashMap<String, &Node>) {
        let help = if self.task_ids.contains_key(name) {
            format!("`{name}` is in another list: depend on the task around it")
        } else {
            nearest(name, siblings.keys().map(String::as_str)).map_or_else(
                || "write the id of another task of the same list".to_owned(),
                |near| format!("did you mean `{near}`?"),
            )
        };
        self.push(
            Diagnostic::error(
                Rule::UnknownDependency,
                place,
                format!("`dependsOn` names `{name}`, which is not a task of this list"),
            )
            .with_help(help),
        );
    }

    fn report_cycle(&mut self, cycle: &[usize], tasks: &[Task], written: &HashMap<String, &Node>) {
        let ids: Vec<&str> = cycle
            .iter()
            .filter_map(|at| Some(tasks.get(*at)?.id.as_str()))
            .collect();
        let (Some(first), Some(next)) = (ids.first(), ids.get(1)) else {
            return;
        };
        let place = written
            .get(*first)
            .and_then(|item| depends_node(item))
            .map_or(0..0, |node| place_of(node, next));
        let path = ids.join(" -> ");
        self.push(
            Diagnostic::error(
                Rule::Cycle,
                place,
                format!("tasks wait for each other: {path}"),
            )
            .with_help("remove one of these dependencies"),
        );
    }
}

fn id_of(item: &Node) -> Option<String> {
    let task = item
        .get("task")
        .filter(|_| item.get("type").is_none())
        .unwrap_or(item);
    Some(task.get("id")?.as_str().map_or_else(
        || {
            task.get("id")
                .map(|id| id.to_json().to_string())
                .unwrap_or_default()
        },
        str::to_owned,
    ))
}

fn depends_node(item: &Node) -> Option<&Node> {
    item.get("dependsOn")
        .or_else(|| item.get("task")?.get("dependsOn"))
}

fn place_of(node: &Node, name: &str) -> Span {
    let items = node.as_seq().unwrap_or_default();
    items
        .iter()
        .find(|item| item.as_str() == Some(name))
        .map_or_else(|| node.span.clone(), |item| item.span.clone())
}

/// One cycle of the graph, its first member repeated at the end. Iterative: a chain may be long.
fn find_cycle(edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut state = vec![0_u8; edges.len()];
    for start in 0..edges.len() {
        let mut path: Vec<(usize, usize)> = Vec::new();
        if state[start] == 0 {
            state[start] = 1;
            path.push((start, 0));
        }
        while let Some((at, next)) = path.last_mut() {
            let Some(&to) = edges[*at].get(*next) else {
                state[*at] = 2;
                path.pop();
                continue;
            };
            *next += 1;
            match state[to] {
                0 => {
                    state[to] = 1;
                    path.push((to, 0));
                }
                1 => {
                    let begin = path.iter().position(|(node, _)| *node == to)?;
                    let mut cycle: Vec<usize> =
                        path[begin..].iter().map(|(node, _)| *node).collect();
                    cycle.push(to);
                    return Some(cycle);
                }
                _ => {}
            }
        }
    }
    None
}
