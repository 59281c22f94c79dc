//! How much of a shard something takes, and how much it may.

use std::collections::HashSet;

use super::draft::DraftId;
use crate::plan::{SLOT_BYTES, shard_fits};

/// What of a shard a subtree takes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weight {
    /// Nodes that live there.
    pub(super) slots: usize,
    /// Children that live elsewhere, mirrored.
    pub(super) away: usize,
}

impl Weight {
    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            slots: self.slots + other.slots,
            away: self.away + other.away,
        }
    }

    /// In half bytes: a slot takes 14, a mirror one.
    pub(super) fn cost(self) -> usize {
        self.slots * 2 * SLOT_BYTES + self.away
    }

    /// Whether neither slots nor mirrors exceed the limit.
    pub(super) fn within(self, limit: Self) -> bool {
        self.slots <= limit.slots && self.away <= limit.away
    }
}

/// A subtree at most; leaves room for the mirrors of what it depends on.
pub(super) const SUBTREE: Weight = Weight {
    slots: 100,
    away: 200,
};
/// A group that cannot be cut at most, each child either a task or a hidden group with one mirror.
pub(super) const UNCUT: Weight = Weight {
    slots: 110,
    away: 110,
};
/// The flow and its `afterExecution` share a shard: 110 slots and 210 mirrors fit.
pub(super) const FLOW: Weight = Weight {
    slots: 90,
    away: 150,
};
/// See [`FLOW`].
pub(super) const AFTER: Weight = Weight {
    slots: 20,
    away: 60,
};
const _: () = assert!(shard_fits(FLOW.slots + AFTER.slots, FLOW.away + AFTER.away));
const _: () = assert!(shard_fits(1 + UNCUT.slots, 1 + UNCUT.away));

/// Consecutive children that will share a shard.
#[derive(Default)]
pub(super) struct Run {
    /// In order.
    pub(super) members: Vec<DraftId>,
    /// Of all members.
    weight: Weight,
    /// The members again, to look them up.
    inside: HashSet<DraftId>,
    /// Dependencies outside, mirrored.
    pub(super) outside: HashSet<DraftId>,
}

impl Run {
    /// Whether a further member fits beside the part itself, its parent's mirror, and what is there.
    pub(super) fn takes(&self, share: Weight, deps: &[DraftId]) -> bool {
        let new = deps
            .iter()
            .filter(|d| !self.inside.contains(d) && !self.outside.contains(d));
        let weight = self.weight.plus(share);
        let mirrors = weight.away + self.outside.len() + new.count() + 1;
        let comfortable = self.members.is_empty() || weight.within(SUBTREE);
        comfortable && shard_fits(1 + weight.slots, mirrors)
    }

    /// Adds a member that [`Run::takes`] has accepted.
    pub(super) fn push(&mut self, member: DraftId, share: Weight, deps: &[DraftId]) {
        self.outside
            .extend(deps.iter().filter(|d| !self.inside.contains(d)));
        self.inside.insert(member);
        self.members.push(member);
        self.weight = self.weight.plus(share);
    }
}
