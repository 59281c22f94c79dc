//! Nodes before they have an index.
//!
//! Drafts refer to each other by their position in the scope's arena, which stays the same while hidden
//! groups are inserted above them. Until [`super::shards`] inserts some, parents and dependencies have
//! smaller positions than their children and dependents.

use crate::lang::model::Span;
use crate::plan::{Node, NodeKind, Phase, ScopeIndex};

/// Position of a draft in [`DraftScope::drafts`].
pub(super) type DraftId = usize;

/// A node and its place in the tree.
#[derive(Debug)]
pub(super) struct Draft {
    /// Everything but `parent`, `deps`, `children` and `dependents`, which are still empty.
    pub(super) node: Node,
    /// Where the task is written.
    pub(super) span: Span,
    /// See [`Node::parent`].
    pub(super) parent: Option<DraftId>,
    /// See [`Node::deps`].
    pub(super) deps: Vec<DraftId>,
    /// Body, errors, finally; each in an order in which dependencies precede dependents.
    pub(super) children: Vec<DraftId>,
    /// Begins a shard of its own instead of living with its parent.
    pub(super) apart: bool,
}

/// A scope before its nodes have indices.
#[derive(Debug, Default)]
pub(super) struct DraftScope {
    /// The scope and the draft of the loop whose body this is.
    pub(super) owner: Option<(ScopeIndex, DraftId)>,
    /// All drafts.
    pub(super) drafts: Vec<Draft>,
    /// Those without a parent, in order.
    pub(super) roots: Vec<DraftId>,
}

impl DraftScope {
    /// Adds a draft below `parent`, after its other children.
    pub(super) fn add(&mut self, node: Node, span: Span, parent: Option<DraftId>) -> DraftId {
        let id = self.drafts.len();
        self.drafts.push(Draft {
            node,
            span,
            parent,
            deps: Vec::new(),
            children: Vec::new(),
            apart: false,
        });
        match parent {
            Some(parent) => self.drafts[parent].children.push(id),
            None => self.roots.push(id),
        }
        id
    }
}

/// A node about which nothing is known but what it is.
pub(super) fn bare(id: String, phase: Phase, kind: NodeKind) -> Node {
    Node {
        id,
        parent: None,
        phase,
        branch: None,
        deps: Vec::new(),
        children: Vec::new(),
        dependents: Vec::new(),
        when: None,
        needs: Vec::new(),
        allow_failure: false,
        allow_warning: false,
        priority: 0,
        rank: 0,
        hidden: false,
        after: false,
        kind,
    }
}

/// A hidden group without limits.
pub(super) fn hidden_group(id: String, phase: Phase) -> Node {
    let kind = NodeKind::Group {
        concurrent: 0,
        on_failure: crate::lang::model::OnFailure::Continue,
        working_directory: false,
        props: serde_json::Map::new(),
    };
    Node {
        hidden: true,
        ..bare(id, phase, kind)
    }
}
