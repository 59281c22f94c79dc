//! Names in expressions: inputs, tasks and variables that must exist.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::super::diagnostic::{Diagnostic, Rule};
use super::super::members::{self, ITEM_MERGE, SUBFLOW_OUTPUTS};
use super::super::model::Span;
use super::fields::nearest;
use super::{Here, Reader};

/// One use of a name.
#[derive(Debug, Clone)]
pub(super) struct Use {
    pub(super) path: Vec<String>,
    pub(super) span: Span,
    pub(super) conditional: bool,
    pub(super) here: Here,
    pub(super) expanding: Option<(String, Span)>,
}

/// The names a flow defines.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// Ids of inputs, dots included.
    pub(super) inputs: BTreeSet<String>,
    /// Names of variables.
    pub(super) variables: BTreeSet<String>,
    /// For each task, which have surely ended when it starts; see `tasks`.
    pub(super) order: HashMap<String, Position>,
}

/// Where a task stands among others.
#[derive(Debug, Clone, Default)]
pub(super) struct Position {
    /// Tasks around it, outermost first.
    pub(super) parents: Vec<String>,
    /// Its place in its list.
    pub(super) index: usize,
    /// Which siblings come before it.
    pub(super) after: After,
    /// In `errors`, `finally` or `afterExecution`: whatever ran before may have been reached or not.
    pub(super) handler: bool,
}

/// Which siblings have surely ended when a task starts.
#[derive(Debug, Clone, Default)]
pub(super) enum After {
    /// All that are written before it.
    Earlier,
    /// Those it names, and those that they name.
    Named(Vec<String>),
    /// None.
    #[default]
    Nothing,
}

/// Tasks looked at in all searches through graphs together; beyond, an order is taken for granted.
const SEARCH_MAX: usize = 1_000_000;

/// Roots every expression of an execution may use.
pub(in super::super) const ROOTS: &[&str] = &[
    "flow",
    "execution",
    "inputs",
    "outputs",
    "vars",
    "trigger",
    "labels",
    "task",
    "taskrun",
    "tasks",
    "parent",
    "parents",
];
/// Roots inside a loop.
const LOOP_ROOTS: &[&str] = &["item"];

impl Reader<'_> {
    /// Checks every use collected while the document was read.
    pub(super) fn check_uses(&mut self) {
        if self.standalone {
            return;
        }
        let mut budget = SEARCH_MAX;
        for used in std::mem::take(&mut self.uses) {
            if let Some(diagnostic) = self.check_use(&used, &mut budget) {
                // As while it was read: a problem inside a plugin is said at the place of its use.
                self.expanding = used.expanding.into_iter().collect();
                self.push(diagnostic);
                self.expanding.clear();
            }
        }
    }

    fn check_use(&self, used: &Use, budget: &mut usize) -> Option<Diagnostic> {
        let root = used.path.first()?.as_str();
        if used.here.extra.contains(&root) {
            return None;
        }
        match root {
            "inputs" => self.check_input(used),
            "vars" => self.check_variable(used),
            "outputs" | "tasks" => self.check_task(used, root, budget),
            "item" if used.here.loops == 0 => (!used.conditional && !used.here.record).then(|| {
                Diagnostic::error(
                    Rule::UnknownRoot,
                    used.span.clone(),
                    "`item` is known only inside a loop",
                )
                .with_help("surround the task with `foreach`")
            }),
            _ if used.here.record => None,
            "envs" | "globals" => Some(empty_root(used, root)),
            _ if ROOTS.contains(&root) || LOOP_ROOTS.contains(&root) => {
                self.check_member(used, root)
            }
            _ if used.conditional => None,
            _ => Some(self.unknown_root(used, root)),
        }
    }

    fn unknown_root(&self, used: &Use, root: &str) -> Diagnostic {
        let diagnostic = Diagnostic::error(
            Rule::UnknownRoot,
            used.span.clone(),
            format!("`{root}` is not a name that expressions know"),
        );
        let help = match root {
            "workingDir" | "outputDir" => {
                "the working directory is the current one: use relative paths".to_owned()
            }
            "props" => "`props` is known only in a plugin's file".to_owned(),
            "env" => {
                "nothing outside the flow is read: use `vars`, `kv()`, `secret()` or the task's `env`"
                    .to_owned()
            }
            "error" => {
                "which tasks failed is in `tasks.<id>.state`; a message to people is a policy of `notify`"
                    .to_owned()
            }
            _ if self.names.inputs.contains(root) => format!("did you mean `inputs.{root}`?"),
            _ if self.names.variables.contains(root) => format!("did you mean `vars.{root}`?"),
            _ if self.task_ids.contains_key(root) => format!("did you mean `outputs.{root}`?"),
            _ => nearest(root, ROOTS.iter().chain(LOOP_ROOTS).copied()).map_or_else(
                || format!("known are {}", ROOTS.join(", ")),
                |near| format!("did you mean `{near}`?"),
            ),
        };
        diagnostic.with_help(help)
    }

    /// A member of a root that has the same members in every execution.
    fn check_member(&self, used: &Use, root: &str) -> Option<Diagnostic> {
        let name = used.path.get(1).filter(|_| !used.conditional)?;
        let known: Vec<&str> = match root {
            "execution" => members::EXECUTION.to_vec(),
            "flow" => members::FLOW.to_vec(),
            "task" => members::TASK.to_vec(),
            "taskrun" => members::TASK_RUN.to_vec(),
            "item" => members::ITEM.to_vec(),
            "trigger" => self.trigger_members(used)?,
            _ => return None,
        };
        let outside = root == "taskrun" && used.here.loops == 0 && !used.here.variable;
        if outside && members::LOOP_ONLY.contains(&name.as_str()) {
            let diagnostic = Diagnostic::error(
                Rule::UnknownMember,
                used.span.clone(),
                format!("`taskrun.{name}` is known only inside a loop"),
            );
            return Some(diagnostic.with_help("surround the task with `foreach`"));
        }
        if known.contains(&name.as_str()) {
            return None;
        }
        let left_out = members::LEFT_OUT
            .iter()
            .find(|(of, member, _)| *of == root && member == name);
        let help = match (left_out, nearest(name, known.iter().copied())) {
            (Some((.., advice)), _) => (*advice).to_owned(),
            (None, Some(near)) => format!("did you mean `{root}.{near}`?"),
            (None, None) => format!("there are `{}`", known.join("`, `")),
        };
        let message = format!("`{root}` has no member `{name}`");
        Some(Diagnostic::error(Rule::UnknownMember, used.span.clone(), message).with_help(help))
    }

    /// Members of `trigger`: of the trigger around, or of all of the flow. A flow without one may be started in ways
    /// that nobody has written down.
    fn trigger_members(&self, used: &Use) -> Option<Vec<&'static str>> {
        let types = match &used.here.trigger {
            Some(around) => std::slice::from_ref(around),
            None if self.trigger_types.is_empty() => return None,
            None => &self.trigger_types,
        };
        let mut known = Vec::new();
        for name in types {
            known.extend(members::of_trigger(name)?);
        }
        if used.here.trigger.is_none() {
            known.extend(members::SUBFLOW);
        }
        Some(known)
    }

    fn check_input(&self, used: &Use) -> Option<Diagnostic> {
        let name = used.path.get(1)?;
        let rest = used.path.get(1..)?;
        let inputs = &self.names.inputs;
        // `inputs.a.b` may be the input `a.b`, or a field of the value of `a`.
        let known = (1..=rest.len())
            .any(|n| rest.get(..n).is_some_and(|p| inputs.contains(&p.join("."))))
            || inputs
                .iter()
                .any(|id| id.starts_with(&format!("{}.", rest.join("."))));
        if known {
            return None;
        }
        let help = match nearest(name, inputs.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `inputs.{near}`?"),
            None if inputs.is_empty() => {
                "the flow declares no inputs; add it under `inputs`".to_owned()
            }
            None => format!("declared are {}", list(inputs)),
        };
        Some(
            Diagnostic::error(
                Rule::UnknownInput,
                used.span.clone(),
                format!("there is no input `{name}`"),
            )
            .with_help(help),
        )
    }

    fn check_variable(&self, used: &Use) -> Option<Diagnostic> {
        let name = used.path.get(1)?;
        let variables = &self.names.variables;
        if used.conditional || variables.contains(name) {
            return None;
        }
        let help = match nearest(name, variables.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `vars.{near}`?"),
            None if variables.is_empty() => {
                "the flow declares no variables; add it under `variables`".to_owned()
            }
            None => format!("declared are {}", list(variables)),
        };
        Some(
            Diagnostic::error(
                Rule::UnknownVariable,
                used.span.clone(),
                format!("there is no variable `{name}`"),
            )
            .with_help(help),
        )
    }

    fn check_task(&self, used: &Use, root: &str, budget: &mut usize) -> Option<Diagnostic> {
        let name = used.path.get(1)?.as_str();
        if used.here.before {
            return Some(
                Diagnostic::error(
                    Rule::UnknownTask,
                    used.span.clone(),
                    format!("`{root}.{name}` is not known before the execution has begun"),
                )
                .with_help("use `inputs`, `vars` or `trigger` here"),
            );
        }
        let merged = self.merged(root, name);
        if let Some(base) = merged {
            let member = used.path.get(2).filter(|member| *member != SUBFLOW_OUTPUTS);
            if let Some(member) = member.filter(|_| !used.conditional) {
                return Some(
                    Diagnostic::error(
                        Rule::UnknownMember,
                        used.span.clone(),
                        format!("`outputs.{name}` has no member `{member}`"),
                    )
                    .with_help(format!("did you mean `outputs.{base}.{SUBFLOW_OUTPUTS}`?")),
                );
            }
        }
        let name = merged.unwrap_or(name);
        if !self.task_ids.contains_key(name) {
            let help = nearest(name, self.task_ids.keys().map(String::as_str)).map_or_else(
                || "the first name after `outputs` is the id of a task".to_owned(),
                |near| format!("did you mean `{root}.{near}`?"),
            );
            return Some(
                Diagnostic::error(
                    Rule::UnknownTask,
                    used.span.clone(),
                    format!("there is no task `{name}`"),
                )
                .with_help(help),
            );
        }
        if root == "outputs" && !used.conditional {
            return self.check_order(used, name, budget);
        }
        None
    }

    /// The `ForEachItem` whose gathered outputs are read under the name that Kestra gives them.
    fn merged<'n>(&self, root: &str, name: &'n str) -> Option<&'n str> {
        let base = name
            .strip_suffix(ITEM_MERGE)
            .filter(|_| root == "outputs")?;
        (self.item_loops.contains(base) && !self.task_ids.contains_key(name)).then_some(base)
    }

    /// Warns when the task whose outputs are read has not surely ended.
    fn check_order(&self, used: &Use, name: &str, budget: &mut usize) -> Option<Diagnostic> {
        let reader = used.here.task.as_deref()?;
        let (from, to) = (self.names.order.get(name)?, self.names.order.get(reader)?);
        if to.handler && !from.handler {
            return None;
        }
        let mut chain: Vec<&str> = to.parents.iter().map(String::as_str).collect();
        chain.push(reader);
        let mut source: Vec<&str> = from.parents.iter().map(String::as_str).collect();
        source.push(name);
        let same = chain
            .iter()
            .zip(&source)
            .take_while(|(a, b)| a == b)
            .count();
        let (Some(reader_at), Some(source_at)) = (chain.get(same), source.get(same)) else {
            return (chain == source).then(|| {
                Diagnostic::error(
                    Rule::NotUpstream,
                    used.span.clone(),
                    format!("task `{name}` reads its own outputs, which do not exist yet"),
                )
            });
        };
        if self.comes_after(reader_at, source_at, budget) {
            return None;
        }
        Some(
            Diagnostic::warning(
                Rule::NotUpstream,
                used.span.clone(),
                format!("task `{name}` has not surely ended when `{reader}` starts"),
            )
            .with_help(format!(
                "add `dependsOn: [{source_at}]` to `{reader_at}`, or a fallback: `outputs.{name}.… ?? …`"
            )),
        )
    }
}

impl Reader<'_> {
    /// Whether one of two siblings surely starts after the other has ended.
    fn comes_after(&self, late: &str, early: &str, budget: &mut usize) -> bool {
        let order = &self.names.order;
        let (Some(late), Some(first)) = (order.get(late), order.get(early)) else {
            return true;
        };
        let mut open = match &late.after {
            _ if late.handler => return true,
            After::Earlier => return first.index < late.index,
            After::Nothing => return false,
            After::Named(names) => VecDeque::from_iter(names),
        };
        let mut seen = BTreeSet::new();
        while let Some(name) = open.pop_front() {
            *budget = budget.saturating_sub(1);
            if name == early || *budget == 0 {
                return true;
            }
            if seen.insert(name)
                && let Some(Position {
                    after: After::Named(names),
                    ..
                }) = order.get(name)
            {
                open.extend(names);
            }
        }
        false
    }
}

/// `envs` and `globals` of Kestra are the server's. A fallback makes of it what the author has foreseen.
fn empty_root(used: &Use, root: &str) -> Diagnostic {
    let make = if used.conditional {
        Diagnostic::warning
    } else {
        Diagnostic::error
    };
    make(
        Rule::UnknownRoot,
        used.span.clone(),
        format!("`{root}` holds nothing: a flow reads nothing of the machine it is started on"),
    )
    .with_help(
        "write the value under `variables` and use `vars`, or `kv('key')`, or `secret('NAME')`; \
         `env` of a task gives it variables of the environment",
    )
}

fn list(names: &BTreeSet<String>) -> String {
    let names: Vec<_> = names
        .iter()
        .take(20)
        .map(|name| format!("`{name}`"))
        .collect();
    names.join(", ")
}
