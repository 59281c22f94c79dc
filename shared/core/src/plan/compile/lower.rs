//! From task lists to drafts of nodes.
//!
//! Invariant: a task's `when`, `allowFailure` and `allowWarning` are on the outermost node made for it,
//! and that node is the one other tasks depend on.

use std::collections::BTreeSet;

use super::draft::{Draft, DraftId, DraftScope, bare, hidden_group};
use super::needs::{self, Needs};
use super::{CompileError, SCOPE_NODES_MAX, order};
use crate::lang::model::{
    Flow, GroupOrder, LoopValues, OnFailure, SlaKind, Task, TaskKind, TaskList, Until,
};
use crate::plan::{Node, NodeKind, Phase, ScopeIndex, TaskNode};

/// Iterations of a loop at once when the flow sets no limit.
pub(super) const DEFAULT_WINDOW: u32 = 1000;
/// The task type that is a group whose failure is allowed.
const ALLOW_FAILURE: &str = "io.kestra.plugin.core.flow.AllowFailure";

/// Drafts of the static scope, then of every loop's body.
pub(super) fn lower(flow: &Flow) -> Result<Vec<DraftScope>, Vec<CompileError>> {
    let mut lowering = Lowering {
        needs: Needs::new(&flow.variables),
        scopes: vec![DraftScope::default()],
        errors: Vec::new(),
    };
    lowering.flow(flow);
    if lowering.errors.is_empty() {
        Ok(lowering.scopes)
    } else {
        Err(lowering.errors)
    }
}

/// Where a draft is put.
#[derive(Clone, Copy)]
struct At {
    scope: usize,
    parent: Option<DraftId>,
    phase: Phase,
    branch: Option<u8>,
    after: bool,
}

impl At {
    fn inside(self, parent: DraftId, phase: Phase) -> Self {
        Self {
            parent: Some(parent),
            phase,
            branch: None,
            ..self
        }
    }
}

struct Lowering {
    needs: Needs,
    scopes: Vec<DraftScope>,
    errors: Vec<CompileError>,
}

impl Lowering {
    fn flow(&mut self, flow: &Flow) {
        let top = At {
            scope: 0,
            parent: None,
            phase: Phase::Body,
            branch: None,
            after: false,
        };
        let mut node = hidden_group(".flow".into(), Phase::Body);
        let mut needs = BTreeSet::new();
        for output in &flow.outputs {
            self.needs.of_value(&output.value, &mut needs);
        }
        for sla in &flow.sla {
            if let SlaKind::ExecutionAssertion { assert } = &sla.kind {
                self.needs.of_condition(assert, &mut needs);
            }
        }
        node.needs = needs::simplified(needs);
        let root = self.scopes[0].add(node, 0..0, None);
        // Both roots before any child: their indices are fixed.
        let after = has_tasks(&flow.after_execution).then(|| {
            let mut node = hidden_group(".after".into(), Phase::Body);
            node.after = true;
            self.scopes[0].add(node, 0..0, None)
        });
        self.body(
            &flow.tasks,
            GroupOrder::Sequential,
            top.inside(root, Phase::Body),
        );
        self.handlers(&flow.errors, &flow.finally, top.inside(root, Phase::Body));
        if let Some(after) = after {
            let at = At {
                after: true,
                ..top.inside(after, Phase::Body)
            };
            self.body(&flow.after_execution, GroupOrder::Sequential, at);
        }
    }

    /// Lowers a list into the place.
    fn body(&mut self, list: &TaskList, follow: GroupOrder, at: At) {
        let placed = match order::arrange(list, follow) {
            Ok(placed) => placed,
            Err(errors) => return self.errors.extend(errors),
        };
        let mut made: Vec<Option<DraftId>> = vec![None; list.tasks.len()];
        for task in placed {
            let id = self.task(&list.tasks[task.task], at);
            made[task.task] = Some(id);
            self.draft(at.scope, id).deps = task.deps.iter().filter_map(|&dep| made[dep]).collect();
        }
    }

    /// Lowers handlers into the group `at` points into.
    fn handlers(&mut self, errors: &TaskList, finally: &TaskList, at: At) {
        for (list, phase) in [(errors, Phase::Errors), (finally, Phase::Finally)] {
            self.body(list, GroupOrder::Sequential, At { phase, ..at });
        }
    }

    fn draft(&mut self, scope: usize, id: DraftId) -> &mut Draft {
        &mut self.scopes[scope].drafts[id]
    }

    /// Lowers a task and returns the node that stands for it.
    fn task(&mut self, task: &Task, at: At) -> DraftId {
        match &task.kind {
            TaskKind::Run => {
                let kind = NodeKind::Task(Box::new(self.task_node(task)));
                self.outer(task, kind, at)
            }
            TaskKind::Pause {
                duration,
                behavior,
                on_resume,
            } => {
                let kind = NodeKind::Pause {
                    duration: duration.clone(),
                    behavior: *behavior,
                    on_resume: on_resume.clone(),
                };
                self.outer(task, kind, at)
            }
            TaskKind::Sleep { duration } => {
                let kind = NodeKind::Sleep {
                    duration: duration.clone(),
                };
                self.outer(task, kind, at)
            }
            TaskKind::Group { .. } => self.group(task, at),
            TaskKind::Choice {
                errors, finally, ..
            } => self.guarded(task, errors, finally, at, Self::choice),
            TaskKind::Loop {
                errors, finally, ..
            } => self.guarded(task, errors, finally, at, Self::iterate),
        }
    }

    fn group(&mut self, task: &Task, at: At) -> DraftId {
        let TaskKind::Group {
            order,
            tasks,
            errors,
            finally,
            concurrent,
            on_failure,
            working_directory,
        } = &task.kind
        else {
            return self.mismatch(task, at);
        };
        let kind = NodeKind::Group {
            concurrent: *concurrent,
            on_failure: *on_failure,
            working_directory: *working_directory,
            props: if *working_directory {
                task.props.clone()
            } else {
                serde_json::Map::new()
            },
        };
        let id = self.outer(task, kind, at);
        if task.task_type == ALLOW_FAILURE {
            self.draft(at.scope, id).node.allow_failure = true;
        }
        let inside = at.inside(id, Phase::Body);
        self.body(tasks, *order, inside);
        self.handlers(errors, finally, inside);
        id
    }

    /// Lowers a task by `make`, in a hidden group if it has handlers.
    fn guarded(
        &mut self,
        task: &Task,
        errors: &TaskList,
        finally: &TaskList,
        at: At,
        make: fn(&mut Self, &Task, At) -> DraftId,
    ) -> DraftId {
        if !has_tasks(errors) && !has_tasks(finally) {
            return make(self, task, at);
        }
        let group = hidden_group(format!(".guard.{}", task.id), at.phase);
        let outer = self.outer(task, group.kind, at);
        let node = &mut self.draft(at.scope, outer).node;
        node.id = group.id;
        node.hidden = true;
        let inside = at.inside(outer, Phase::Body);
        let inner = make(self, task, inside);
        let node = &mut self.scopes[at.scope].drafts[inner].node;
        node.when = None;
        node.needs = self.needs.of_decision(None, &node.kind);
        node.allow_failure = false;
        node.allow_warning = false;
        self.handlers(errors, finally, inside);
        outer
    }

    fn choice(&mut self, task: &Task, at: At) -> DraftId {
        let TaskKind::Choice {
            value,
            condition,
            branches,
            default_branch,
            ..
        } = &task.kind
        else {
            return self.mismatch(task, at);
        };
        let kind = NodeKind::Choice {
            value: value.clone(),
            condition: *condition,
            cases: branches.iter().map(|(name, _)| name.clone()).collect(),
            default_branch: *default_branch,
        };
        let id = self.outer(task, kind, at);
        for (number, (_, list)) in (0..=u8::MAX).zip(branches) {
            let branch = At {
                branch: Some(number),
                ..at.inside(id, Phase::Body)
            };
            self.body(list, GroupOrder::Sequential, branch);
        }
        id
    }

    fn iterate(&mut self, task: &Task, at: At) -> DraftId {
        let TaskKind::Loop {
            values,
            concurrency_limit,
            on_failure,
            transmit_failed,
            tasks,
            ..
        } = &task.kind
        else {
            return self.mismatch(task, at);
        };
        // `limits` bounds the number of tasks, and thereby of loops, far below the type's range.
        let scope = self.scopes.len();
        let mut kind = NodeKind::Loop {
            scope: ScopeIndex::try_from(scope).unwrap_or(ScopeIndex::MAX),
            values: values.clone(),
            window: match *concurrency_limit {
                0 => DEFAULT_WINDOW,
                limit => limit,
            },
            on_failure: *on_failure,
            transmit_failed: *transmit_failed,
        };
        if let NodeKind::Loop {
            values: LoopValues::Until(_),
            window,
            on_failure,
            transmit_failed,
            ..
        } = &mut kind
        {
            // Whether there is another iteration follows from the one before.
            (*window, *on_failure, *transmit_failed) = (1, OnFailure::Stop, true);
        }
        let id = self.outer(task, kind, at);
        self.scopes.push(DraftScope {
            owner: Some((
                ScopeIndex::try_from(at.scope).unwrap_or(ScopeIndex::MAX),
                id,
            )),
            ..DraftScope::default()
        });
        let body = At {
            scope,
            parent: None,
            phase: Phase::Body,
            branch: None,
            after: at.after,
        };
        self.body(tasks, GroupOrder::Sequential, body);
        if let LoopValues::Until(until) = values {
            self.check(task, until, body);
        }
        let count = self.scopes[scope].drafts.len();
        if count > SCOPE_NODES_MAX {
            self.errors.push(CompileError::at(
                task,
                format!(
                    "the loop's body has {count} tasks; at most {SCOPE_NODES_MAX} are possible"
                ),
                "Move the body into a subflow",
            ));
        }
        id
    }

    /// The end of an iteration: asks whether another one follows.
    fn check(&mut self, task: &Task, until: &Until, at: At) {
        let kind = NodeKind::Check(Box::new(until.clone()));
        let node = Node {
            needs: self.needs.of_decision(None, &kind),
            hidden: true,
            priority: task.priority,
            after: at.after,
            ..bare(format!(".until.{}", task.id), at.phase, kind)
        };
        let roots = self.scopes[at.scope].drafts.iter().enumerate();
        let deps: Vec<DraftId> = roots
            .filter(|(_, draft)| draft.parent.is_none())
            .map(|(id, _)| id)
            .collect();
        let id = self.scopes[at.scope].add(node, task.span.clone(), None);
        self.draft(at.scope, id).deps = deps;
    }

    /// Unreachable by construction: each function above is called for its own kind of task only.
    fn mismatch(&mut self, task: &Task, at: At) -> DraftId {
        self.errors.push(CompileError::at(
            task,
            "the task's kind is not what its type says",
            "This is a defect of the compiler; please report it with the flow",
        ));
        let group = hidden_group(task.id.clone(), at.phase);
        self.scopes[at.scope].add(group, task.span.clone(), at.parent)
    }

    /// Adds a node with all that a task of any kind has.
    fn outer(&mut self, task: &Task, kind: NodeKind, at: At) -> DraftId {
        let node = Node {
            branch: at.branch,
            when: task.when.clone(),
            needs: self.needs.of_decision(task.when.as_deref(), &kind),
            allow_failure: task.allow_failure,
            allow_warning: task.allow_warning,
            priority: task.priority,
            after: at.after,
            ..bare(task.id.clone(), at.phase, kind)
        };
        self.scopes[at.scope].add(node, task.span.clone(), at.parent)
    }

    fn task_node(&self, task: &Task) -> TaskNode {
        TaskNode {
            task_type: task.task_type.clone(),
            plugin: task.plugin.clone(),
            props: task.props.clone(),
            retry: task.retry.clone(),
            timeout_ms: task.timeout_ms.clone(),
            idempotent: task.idempotent,
            quarantine_ms: task.quarantine_ms,
            resources: task.resources,
            task_cache: task.task_cache.clone(),
            needs: self.needs.of_task(task),
        }
    }
}

fn has_tasks(list: &TaskList) -> bool {
    list.tasks.iter().any(|task| !task.disabled)
}
