//! What is drawn, whatever the format: boxes, clusters, and arrows between neighbours.
//!
//! Hidden nodes have no box. What waits for a hidden group waits for its last nodes, and the first nodes
//! of a hidden group wait for what the group waits for.

use std::collections::{BTreeSet, HashMap};

use super::notes::{clean, group_notes, loop_note, shorten, task_notes, timed};
use crate::plan::{Node, NodeIndex, NodeKind, Phase, Plan, ScopeIndex};

/// A plan to be drawn.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) title: String,
    /// The tasks of the flow, then its handlers.
    pub(super) parts: Vec<Part>,
}

/// Items that belong together inside a cluster or the flow.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) role: Role,
    pub(super) items: Vec<Item>,
    /// Indices of `items`: the second waits for the first. Sorted, no duplicates.
    pub(super) edges: Vec<(usize, usize)>,
}

/// What a part is to the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    Body,
    /// A case of a choice with its name.
    Branch(String),
    /// `errors`.
    Errors,
    /// `finally`.
    Finally,
    /// `afterExecution`.
    After,
}

impl Role {
    pub(super) fn label(&self) -> &str {
        match self {
            Self::Body => "",
            Self::Branch(name) => name,
            Self::Errors => "errors",
            Self::Finally => "finally",
            Self::After => "after execution",
        }
    }
}

/// A box, or a cluster when it has parts.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: String,
    /// What it is, and what is special about it.
    pub(super) detail: String,
    /// Whether it may be left out by a condition.
    pub(super) conditional: bool,
    pub(super) is_cluster: bool,
    pub(super) parts: Vec<Part>,
}

/// How the items of a part follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Each waits for the one before it.
    Chain,
    /// None waits.
    Parallel,
    Graph,
}

impl Part {
    pub(super) fn shape(&self) -> Shape {
        let chain = self.edges.len() + 1 == self.items.len()
            && self
                .edges
                .iter()
                .enumerate()
                .all(|(n, edge)| *edge == (n, n + 1));
        if chain || self.items.is_empty() {
            Shape::Chain
        } else if self.edges.is_empty() {
            Shape::Parallel
        } else {
            Shape::Graph
        }
    }
}

impl Picture {
    pub(super) fn of(plan: &Plan) -> Self {
        let mut parts = Vec::new();
        if let Some(scope) = plan.scopes.first() {
            let artist = Artist {
                plan,
                scope: 0,
                nodes: &scope.nodes,
            };
            for root in scope.nodes.iter().filter(|node| node.parent.is_none()) {
                let body = if root.after { Role::After } else { Role::Body };
                parts.extend(artist.phases(root, body));
            }
        }
        Self {
            title: clean(&format!("{} / {}", plan.namespace, plan.flow)),
            parts,
        }
    }
}

/// Draws the nodes of one scope.
struct Artist<'p> {
    plan: &'p Plan,
    scope: ScopeIndex,
    nodes: &'p [Node],
}

impl<'p> Artist<'p> {
    fn node(&self, index: NodeIndex) -> Option<&'p Node> {
        self.nodes.get(usize::from(index))
    }

    fn children(&self, of: &Node, phase: Phase) -> Vec<NodeIndex> {
        let is_phase = |at: &NodeIndex| self.node(*at).is_some_and(|n| n.phase == phase);
        of.children.iter().copied().filter(is_phase).collect()
    }

    /// The parts of a group that have tasks.
    fn phases(&self, group: &Node, body: Role) -> Vec<Part> {
        let phases = [
            (Phase::Body, body),
            (Phase::Errors, Role::Errors),
            (Phase::Finally, Role::Finally),
        ];
        phases
            .into_iter()
            .map(|(phase, role)| self.part(role, &self.children(group, phase)))
            .filter(|part| !part.items.is_empty())
            .collect()
    }

    fn part(&self, role: Role, members: &[NodeIndex]) -> Part {
        let mut shown = Vec::new();
        self.show(members, &mut shown);
        shown.sort_unstable();
        let position: HashMap<NodeIndex, usize> = shown
            .iter()
            .enumerate()
            .map(|(at, node)| (*node, at))
            .collect();
        let mut edges = BTreeSet::new();
        self.connect(members, &position, &mut edges);
        let items = shown
            .iter()
            .filter_map(|at| Some(self.item(self.node(*at)?)));
        Part {
            role,
            items: items.collect(),
            edges: edges.into_iter().collect(),
        }
    }

    /// A hidden group without handlers is nothing but its children.
    fn is_transparent(&self, node: &Node) -> bool {
        node.hidden
            && matches!(node.kind, NodeKind::Group { .. } | NodeKind::Check(_))
            && self.children(node, Phase::Body).len() == node.children.len()
    }

    /// The nodes that are drawn for `members`.
    fn show(&self, members: &[NodeIndex], shown: &mut Vec<NodeIndex>) {
        for &member in members {
            match self.node(member) {
                Some(node) if self.is_transparent(node) => self.show(&node.children, shown),
                _ => shown.push(member),
            }
        }
    }

    fn connect(
        &self,
        members: &[NodeIndex],
        position: &HashMap<NodeIndex, usize>,
        edges: &mut BTreeSet<(usize, usize)>,
    ) {
        for &member in members {
            let Some(node) = self.node(member) else {
                continue;
            };
            let mut ends = Vec::new();
            self.ends(member, End::First, &mut ends);
            for &dep in &node.deps {
                let mut starts = Vec::new();
                self.ends(dep, End::Last, &mut starts);
                for start in &starts {
                    for end in &ends {
                        if let (Some(from), Some(to)) = (position.get(start), position.get(end)) {
                            edges.insert((*from, *to));
                        }
                    }
                }
            }
            if self.is_transparent(node) {
                self.connect(&node.children, position, edges);
            }
        }
    }

    /// The drawn nodes at one end of a node: itself, or those of a hidden group.
    fn ends(&self, at: NodeIndex, end: End, found: &mut Vec<NodeIndex>) {
        let Some(node) = self.node(at) else { return };
        if !self.is_transparent(node) {
            found.push(at);
            return;
        }
        for &child in &node.children {
            let is_end = self.node(child).is_some_and(|child| match end {
                End::First => child.deps.is_empty(),
                End::Last => child.dependents.is_empty(),
            });
            if is_end {
                self.ends(child, end, found);
            }
        }
    }

    fn item(&self, node: &Node) -> Item {
        if node.hidden {
            return self.guard(node);
        }
        let mut item = Item {
            id: clean(&node.id),
            detail: String::new(),
            conditional: node.when.is_some(),
            is_cluster: false,
            parts: Vec::new(),
        };
        let mut notes = match &node.kind {
            NodeKind::Task(task) => task_notes(task),
            NodeKind::Group {
                concurrent,
                working_directory,
                ..
            } => {
                item.is_cluster = true;
                item.parts = self.phases(node, Role::Body);
                group_notes(&item.parts, *concurrent, *working_directory)
            }
            NodeKind::Choice {
                value,
                condition,
                cases,
                default_branch,
            } => {
                item.is_cluster = true;
                item.parts = self.branches(node, cases, *default_branch);
                let word = if *condition { "if" } else { "switch" };
                vec![format!("{word} {}", shorten(value))]
            }
            NodeKind::Loop {
                scope,
                window,
                values,
                ..
            } => {
                item.is_cluster = true;
                item.parts = self.body(*scope);
                vec![loop_note(values, *window)]
            }
            NodeKind::Pause { duration, .. } => vec![timed("pause", duration.as_ref())],
            NodeKind::Sleep { duration } => vec![timed("sleep", Some(duration))],
            NodeKind::Check(until) => vec![format!("until {}", shorten(&until.condition))],
        };
        if let Some(when) = &node.when {
            notes.push(format!("when {}", shorten(when)));
        }
        if node.allow_failure {
            notes.push("may fail".to_owned());
        }
        item.detail = clean(&notes.join(" · "));
        item
    }

    /// A hidden group with handlers: the cluster inside it, with the handlers as its own.
    fn guard(&self, node: &Node) -> Item {
        let mut parts = self.phases(node, Role::Body);
        let inner = match parts.first_mut() {
            Some(body) if body.role == Role::Body && body.items.len() == 1 => body.items.pop(),
            _ => None,
        };
        let Some(mut item) = inner else {
            return Item {
                id: String::new(),
                detail: String::new(),
                conditional: node.when.is_some(),
                is_cluster: true,
                parts,
            };
        };
        item.parts.extend(parts.drain(1..));
        item.is_cluster = true;
        item.conditional |= node.when.is_some();
        let when = node
            .when
            .iter()
            .map(|when| format!("when {}", shorten(when)));
        let may_fail = node.allow_failure.then(|| "may fail".to_owned());
        for note in when.chain(may_fail) {
            item.detail = clean(&format!("{} · {note}", item.detail));
        }
        item
    }

    fn branches(&self, node: &Node, cases: &[String], default: Option<u8>) -> Vec<Part> {
        let of_branch = |branch: u8| {
            let mut members = node.children.clone();
            members.retain(|at| self.node(*at).is_some_and(|n| n.branch == Some(branch)));
            members
        };
        (0..=u8::MAX)
            .zip(cases)
            .map(|(branch, case)| {
                let is_default = default == Some(branch) && cases.len() > 1 && case != "else";
                let suffix = if is_default && case != "defaults" {
                    " (default)"
                } else {
                    ""
                };
                let role = Role::Branch(clean(&format!("{case}{suffix}")));
                self.part(role, &of_branch(branch))
            })
            .filter(|part| !part.items.is_empty())
            .collect()
    }

    /// The body of a loop.
    fn body(&self, scope: ScopeIndex) -> Vec<Part> {
        // A body has a larger number than the scope of its loop, so that this ends.
        let inner = self
            .plan
            .scopes
            .get(usize::from(scope))
            .filter(|_| scope > self.scope);
        let Some(inner) = inner else {
            return Vec::new();
        };
        let artist = Artist {
            plan: self.plan,
            scope,
            nodes: &inner.nodes,
        };
        let roots: Vec<NodeIndex> = (0..NodeIndex::MAX)
            .zip(&inner.nodes)
            .filter(|(_, node)| node.parent.is_none())
            .map(|(at, _)| at)
            .collect();
        vec![artist.part(Role::Body, &roots)]
    }
}

#[derive(Clone, Copy)]
enum End {
    First,
    Last,
}
