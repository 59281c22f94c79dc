//! How many tasks follow: among task runs that may start, those with the longer way to go start first.

use super::draft::DraftScope;
use crate::plan::{NodeKind, Phase};

/// Fills in [`crate::plan::Node::rank`]. A group counts the longest path through its body, a choice its
/// longest branch, a loop one iteration; handlers count nothing.
///
/// Relies on drafts being in the order in which they were lowered (see [`super::draft`]), and on a loop's
/// body being a later scope than the loop.
pub(super) fn rank(scopes: &mut [DraftScope]) {
    let mut lengths = vec![0_u32; scopes.len()];
    let mut measured = Vec::with_capacity(scopes.len());
    for (index, scope) in scopes.iter().enumerate().rev() {
        let measure = Measure::of(scope, &lengths);
        lengths[index] = measure.length;
        measured.push(measure);
    }
    measured.reverse();
    // What follows each draft, by scope; a body is followed by what follows its loop.
    let mut tails: Vec<Vec<u32>> = Vec::with_capacity(scopes.len());
    for (scope, measure) in scopes.iter_mut().zip(&measured) {
        let behind = scope
            .owner
            .map_or(0, |(owner, draft)| tails[usize::from(owner)][draft]);
        let mut tail = vec![0_u32; scope.drafts.len()];
        for id in 0..scope.drafts.len() {
            let draft = &mut scope.drafts[id];
            let above = draft.parent.map_or(behind, |parent| tail[parent]);
            draft.node.rank = measure.path[id] + above;
            tail[id] = draft.node.rank - measure.own[id];
        }
        tails.push(tail);
    }
}

/// Lengths within one scope, in tasks.
struct Measure {
    /// Of each draft itself.
    own: Vec<u32>,
    /// From each draft, itself included, through its siblings.
    path: Vec<u32>,
    /// Of the scope.
    length: u32,
}

impl Measure {
    fn of(scope: &DraftScope, lengths: &[u32]) -> Self {
        let count = scope.drafts.len();
        let (mut own, mut path) = (vec![0_u32; count], vec![0_u32; count]);
        let (mut body, mut behind) = (vec![0_u32; count], vec![0_u32; count]);
        let mut length = 0;
        for (id, draft) in scope.drafts.iter().enumerate().rev() {
            own[id] = match &draft.node.kind {
                NodeKind::Task(_) | NodeKind::Pause { .. } | NodeKind::Sleep { .. } => 1,
                NodeKind::Check(_) => 0,
                NodeKind::Group { .. } | NodeKind::Choice { .. } => body[id],
                NodeKind::Loop { scope, .. } => lengths[usize::from(*scope)],
            };
            path[id] = own[id] + behind[id];
            for &dep in &draft.deps {
                behind[dep] = behind[dep].max(path[id]);
            }
            match draft.parent {
                Some(parent) if draft.node.phase == Phase::Body => {
                    body[parent] = body[parent].max(path[id]);
                }
                Some(_) => {}
                None => length = length.max(path[id]),
            }
        }
        Self { own, path, length }
    }
}
