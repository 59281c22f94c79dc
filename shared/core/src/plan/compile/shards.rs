//! Cutting the static scope into shards.
//!
//! A node lives with its parent unless it is `apart`. Where a group's children do not fit, hidden groups
//! `.part-N` are put between it and runs of its children, each `apart` with a shard of its own. Parts
//! have no dependencies; their children keep theirs, which then cross shards through mirrors.
//!
//! A group that must stay with its children instead lets single children live apart, each in a hidden
//! group that takes over the child's dependencies and dependents.
//!
//! Invariant: a group whose state its children read in more detail than a mirror holds (a choice, a
//! limit of children at once, a shared directory, `onFailure: stop`) lives with all its direct children.

use super::CompileError;
use super::draft::{Draft, DraftId, DraftScope, hidden_group};
use super::weight::{AFTER, FLOW, Run, SUBTREE, UNCUT, Weight};
use crate::lang::model::OnFailure;
use crate::plan::{NodeKind, Phase, SHARD_SLOTS};

/// Marks what lives apart and inserts hidden groups until every shard fits.
pub(super) fn split(scope: &mut DraftScope) -> Result<(), Vec<CompileError>> {
    if scope.drafts.len() <= SHARD_SLOTS {
        return Ok(());
    }
    let mut splitter = Splitter {
        weights: vec![Weight::default(); scope.drafts.len()],
        outside: vec![0; scope.drafts.len()],
        scope,
        parts: 0,
        errors: Vec::new(),
    };
    for (root, limit) in splitter.scope.roots.clone().into_iter().zip([FLOW, AFTER]) {
        splitter.fit(root, limit);
        splitter.bring_home(root, limit);
    }
    if splitter.errors.is_empty() {
        Ok(())
    } else {
        Err(splitter.errors)
    }
}

struct Splitter<'s> {
    scope: &'s mut DraftScope,
    /// Of the subtree below each draft, itself included, without what lives apart.
    weights: Vec<Weight>,
    /// Of each part, how many nodes beyond it its children depend on: mirrors where it lives.
    outside: Vec<usize>,
    parts: usize,
    errors: Vec<CompileError>,
}

impl Splitter<'_> {
    fn draft(&self, id: DraftId) -> &Draft {
        &self.scope.drafts[id]
    }

    /// What a child takes of its parent's shard.
    fn share(&self, child: DraftId) -> Weight {
        if self.draft(child).apart {
            Weight { slots: 0, away: 1 }
        } else {
            self.weights[child]
        }
    }

    fn weigh(&mut self, id: DraftId) -> Weight {
        let own = Weight {
            slots: 1,
            away: self.outside[id],
        };
        let children = &self.draft(id).children;
        let weight = children.iter().fold(own, |sum, &c| sum.plus(self.share(c)));
        self.weights[id] = weight;
        weight
    }

    /// Makes the subtree fit the limit, from the bottom.
    fn fit(&mut self, id: DraftId, limit: Weight) {
        for child in self.draft(id).children.clone() {
            self.fit(child, SUBTREE);
        }
        self.fit_alone(id, limit);
    }

    /// Makes the subtree fit the limit when the subtrees below already fit.
    fn fit_alone(&mut self, id: DraftId, limit: Weight) {
        if self.weigh(id).within(limit) {
            return;
        }
        if is_uncut(self.draft(id)) {
            self.fit_uncut(id);
            return;
        }
        while !self.weights[id].within(limit) {
            let Some(phase) = self.heaviest_phase(id) else {
                return self.too_large(id);
            };
            self.cut(id, phase);
            self.weigh(id);
        }
    }

    /// Lets the last parts live with the group after all, as far as there is room: fewer shards.
    fn bring_home(&mut self, id: DraftId, limit: Weight) {
        for part in self.draft(id).children.clone().into_iter().rev() {
            if self.draft(part).apart && self.weights[id].plus(self.weights[part]).within(limit) {
                self.scope.drafts[part].apart = false;
                self.weigh(id);
            }
        }
    }

    /// Makes a group that keeps its children fit: the heaviest children go apart.
    fn fit_uncut(&mut self, id: DraftId) {
        if matches!(self.draft(id).node.kind, NodeKind::Choice { .. }) {
            self.wrap_branches(id);
        }
        let mut children = self.draft(id).children.clone();
        if children.len() >= UNCUT.slots {
            return self.too_large(id);
        }
        children.sort_by_key(|&child| self.weights[child].cost());
        while !self.weigh(id).within(UNCUT) {
            let Some(child) = children.pop() else {
                return self.too_large(id);
            };
            self.enclose(child);
        }
    }

    /// Puts a hidden group into the place of a node, which then lives apart from its siblings.
    fn enclose(&mut self, id: DraftId) -> DraftId {
        let draft = &mut self.scope.drafts[id];
        let Some(parent) = draft.parent else {
            return id;
        };
        let (phase, branch) = (draft.node.phase, draft.node.branch);
        let deps = std::mem::take(&mut draft.deps);
        draft.apart = true;
        let group = self.hidden(parent, phase, vec![id]);
        self.scope.drafts[group].node.branch = branch;
        self.scope.drafts[group].deps = deps;
        let mut siblings = std::mem::take(&mut self.scope.drafts[parent].children);
        for sibling in &mut siblings {
            if *sibling == id {
                *sibling = group;
            }
            let deps = &mut self.scope.drafts[*sibling].deps;
            deps.iter_mut()
                .filter(|dep| **dep == id)
                .for_each(|dep| *dep = group);
        }
        self.scope.drafts[parent].children = siblings;
        group
    }

    /// The phase whose cutting frees most; none if nothing is left to cut.
    fn heaviest_phase(&self, id: DraftId) -> Option<Phase> {
        [Phase::Body, Phase::Errors, Phase::Finally]
            .into_iter()
            .map(|phase| {
                let children = self.children_in(id, phase);
                let all = children.iter().map(|&c| self.share(c));
                let weight = all.fold(Weight::default(), Weight::plus);
                (weight.cost(), phase)
            })
            // A single part cannot become fewer.
            .filter(|&(weight, _)| weight > 1)
            .max_by_key(|&(weight, _)| weight)
            .map(|(_, phase)| phase)
    }

    fn children_in(&self, id: DraftId, phase: Phase) -> Vec<DraftId> {
        let children = self.draft(id).children.iter().copied();
        children
            .filter(|&c| self.draft(c).node.phase == phase)
            .collect()
    }

    /// Puts the children of a phase into parts, each as large as a shard allows. Children that are
    /// parts themselves are gathered into parts of parts.
    fn cut(&mut self, id: DraftId, phase: Phase) {
        let mut run = Run::default();
        let mut parts = Vec::new();
        for mut child in self.children_in(id, phase) {
            if !run.takes(self.share(child), &self.draft(child).deps) {
                if !run.members.is_empty() {
                    parts.push(self.part(id, phase, std::mem::take(&mut run)));
                }
                child = self.lighten(child);
            }
            let (share, deps) = (self.share(child), &self.scope.drafts[child].deps);
            run.push(child, share, deps);
        }
        if !run.members.is_empty() {
            parts.push(self.part(id, phase, run));
        }
        self.replace(id, phase, parts);
    }

    /// A child that does not fit a shard even alone leaves a hidden group in its place, or is refused.
    fn lighten(&mut self, child: DraftId) -> DraftId {
        let alone = |this: &Self, id| {
            let draft = this.draft(id);
            draft.apart || Run::default().takes(this.share(id), &draft.deps)
        };
        if alone(self, child) {
            return child;
        }
        let child = if self.weights[child].slots > 1 {
            self.enclose(child)
        } else {
            child
        };
        if !alone(self, child) {
            let deps = self.draft(child).deps.len();
            let what = format!("the task depends on {deps} others, which is too many");
            let fix = "Gather these into groups and depend on the groups";
            self.error(child, what, fix);
        }
        child
    }

    /// Replaces the children of a phase by groups that now hold them.
    fn replace(&mut self, id: DraftId, phase: Phase, groups: Vec<DraftId>) {
        let mut children = Vec::new();
        let mut groups = Some(groups);
        for each in [Phase::Body, Phase::Errors, Phase::Finally] {
            if each == phase {
                children.extend(groups.take().into_iter().flatten());
            } else {
                let rest = self.children_in(id, each);
                // Those just moved into a group are still in the list.
                children.extend(
                    rest.into_iter()
                        .filter(|&c| self.draft(c).parent == Some(id)),
                );
            }
        }
        self.scope.drafts[id].children = children;
    }

    /// A hidden group of a run's members, in a shard of its own.
    fn part(&mut self, parent: DraftId, phase: Phase, run: Run) -> DraftId {
        let outside = run.outside.len();
        let part = self.hidden(parent, phase, run.members);
        self.scope.drafts[part].apart = true;
        self.outside[part] = outside;
        self.weigh(part);
        part
    }

    /// A hidden group between a parent and some of its children, not yet among the parent's children.
    fn hidden(&mut self, parent: DraftId, phase: Phase, members: Vec<DraftId>) -> DraftId {
        self.parts += 1;
        let part = self.scope.drafts.len();
        let mut node = hidden_group(format!(".part-{}", self.parts), phase);
        let (span, after) = (
            self.draft(parent).span.clone(),
            self.draft(parent).node.after,
        );
        node.after = after;
        for &member in &members {
            let draft = &mut self.scope.drafts[member];
            node.rank = node.rank.max(draft.node.rank);
            draft.node.phase = Phase::Body;
            draft.node.branch = None;
            draft.parent = Some(part);
        }
        self.scope.drafts.push(Draft {
            node,
            span,
            parent: Some(parent),
            deps: Vec::new(),
            children: members,
            apart: false,
        });
        self.weights.push(Weight::default());
        self.outside.push(0);
        self.weigh(part);
        part
    }

    /// Gives each branch of a choice a hidden group, which may then be cut.
    fn wrap_branches(&mut self, id: DraftId) {
        let children = self.draft(id).children.clone();
        let mut groups = Vec::new();
        for of_branch in
            children.chunk_by(|&a, &b| self.draft(a).node.branch == self.draft(b).node.branch)
        {
            groups.push(of_branch.to_vec());
        }
        let mut wrapped = Vec::new();
        for members in groups {
            let branch = members.first().and_then(|&m| self.draft(m).node.branch);
            let group = self.hidden(id, Phase::Body, members);
            self.scope.drafts[group].node.branch = branch;
            wrapped.push(group);
        }
        self.scope.drafts[id].children.clone_from(&wrapped);
        for group in wrapped {
            self.fit_alone(group, SUBTREE);
        }
    }

    fn too_large(&mut self, id: DraftId) {
        let what = format!(
            "the group and its {} direct tasks must stay together, and at most {} tasks can",
            self.draft(id).children.len(),
            UNCUT.slots - 1,
        );
        let fix = "Remove its limit of tasks at once, its working directory or its `onFailure: stop`, \
                   use a loop, or move tasks into a subflow";
        self.error(id, what, fix);
    }

    fn error(&mut self, id: DraftId, what: String, fix: &str) {
        let draft = self.draft(id);
        self.errors.push(CompileError {
            task: Some(draft.node.id.clone()),
            span: draft.span.clone(),
            what,
            fix: fix.into(),
        });
    }
}

/// Whether the node must live with all its direct children.
fn is_uncut(draft: &Draft) -> bool {
    match &draft.node.kind {
        NodeKind::Choice { .. } => true,
        NodeKind::Group {
            concurrent,
            on_failure,
            working_directory,
            ..
        } => *concurrent > 0 || *working_directory || *on_failure == OnFailure::Stop,
        NodeKind::Task(_)
        | NodeKind::Loop { .. }
        | NodeKind::Pause { .. }
        | NodeKind::Sleep { .. }
        | NodeKind::Check(_) => false,
    }
}
