//! Where task runs live: shard ids, and which node a slot stands for.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::lang::model::{LoopValues, OnFailure};

use super::{Node, NodeIndex, NodeKind, Plan, ScopeIndex, ShardPlan};

/// Nested loops at most. The id of a shard stays short, and so does a person's patience.
pub const LOOP_DEPTH_MAX: usize = 8;

/// One shard of an execution: `0` and `3` are static; `0.12/5` is the sixth chunk of iterations of the
/// loop in slot 12 of shard 0, and so on for nested loops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShardId {
    part: u16,
    path: Vec<(u16, u32)>,
}

impl ShardId {
    /// The shard that holds the flow itself.
    pub const ROOT: Self = Self {
        part: 0,
        path: Vec::new(),
    };

    /// A shard of the static scope.
    #[must_use]
    pub const fn of_part(part: u16) -> Self {
        Self {
            part,
            path: Vec::new(),
        }
    }

    /// The `chunk`-th shard of the loop in `slot` of this shard.
    #[must_use]
    pub fn of_loop(&self, slot: u16, chunk: u32) -> Self {
        let mut path = Vec::with_capacity(self.path.len() + 1);
        path.extend_from_slice(&self.path);
        path.push((slot, chunk));
        Self {
            part: self.part,
            path,
        }
    }

    /// The shard that holds the loop this shard belongs to, the loop's slot, and this shard's chunk.
    #[must_use]
    pub fn owner(&self) -> Option<(Self, u16, u32)> {
        let (&(slot, chunk), rest) = self.path.split_last()?;
        Some((
            Self {
                part: self.part,
                path: rest.to_vec(),
            },
            slot,
            chunk,
        ))
    }

    /// The next chunk of the same loop.
    #[must_use]
    pub fn next_chunk(&self) -> Option<Self> {
        let (parent, slot, chunk) = self.owner()?;
        Some(parent.of_loop(slot, chunk.checked_add(1)?))
    }

    /// Number among the shards of the static scope.
    #[must_use]
    pub const fn part(&self) -> u16 {
        self.part
    }

    /// Loop slots and chunks from the outside in.
    #[must_use]
    pub fn path(&self) -> &[(u16, u32)] {
        &self.path
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.part)?;
        for (slot, chunk) in &self.path {
            write!(f, ".{slot}/{chunk}")?;
        }
        Ok(())
    }
}

/// Text that is not a shard id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a shard id; expected something like `0` or `0.12/5`")]
pub struct ShardIdError(String);

impl FromStr for ShardId {
    type Err = ShardIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ShardIdError(text.chars().take(80).collect());
        let mut segments = text.split('.');
        let part = segments
            .next()
            .and_then(|s| s.parse().ok())
            .ok_or_else(error)?;
        let mut path = Vec::new();
        for segment in segments {
            let (slot, chunk) = segment.split_once('/').ok_or_else(error)?;
            path.push((
                slot.parse().map_err(|_| error())?,
                chunk.parse().map_err(|_| error())?,
            ));
        }
        if path.len() > LOOP_DEPTH_MAX {
            return Err(error());
        }
        Ok(Self { part, path })
    }
}

impl TryFrom<String> for ShardId {
    type Error = ShardIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ShardId> for String {
    fn from(id: ShardId) -> Self {
        id.to_string()
    }
}

/// What a shard's slots stand for.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'p> {
    /// Scope of the nodes.
    pub scope: ScopeIndex,
    /// All nodes of the scope.
    pub nodes: &'p [Node],
    /// Slots and mirrors.
    pub place: Place<'p>,
}

/// How slots map to nodes.
#[derive(Debug, Clone, Copy)]
pub enum Place<'p> {
    /// A shard of the static scope: the slot is the position in `slots`.
    Static(&'p ShardPlan),
    /// A chunk of iterations: slot `i * nodes.len() + n` is node `n` of the chunk's `i`-th iteration.
    Chunk {
        /// Number of this chunk.
        chunk: u32,
        /// Iterations per chunk.
        items_per_shard: u32,
        /// The fan-out window.
        window: u32,
        /// Whether the first failed iteration stops new ones.
        stop_on_failure: bool,
        /// The node that says after each iteration whether another one follows, if the loop has one.
        check: Option<NodeIndex>,
    },
}

impl<'p> Layout<'p> {
    /// Looks up what the slots of `id` stand for; none if the plan has no such shard.
    #[must_use]
    pub fn of(plan: &'p Plan, id: &ShardId) -> Option<Self> {
        let root = plan.scopes.first()?;
        let part = root.shards.get(usize::from(id.part))?;
        let mut here = Self {
            scope: 0,
            nodes: &root.nodes,
            place: Place::Static(part),
        };
        for &(slot, chunk) in &id.path {
            let node = here.nodes.get(usize::from(here.node_of(slot)?))?;
            let NodeKind::Loop {
                scope,
                window,
                on_failure,
                values,
                ..
            } = &node.kind
            else {
                return None;
            };
            let body = plan.scopes.get(usize::from(*scope))?;
            let check = matches!(values, LoopValues::Until(_)).then(|| body.check());
            here = Self {
                scope: *scope,
                nodes: &body.nodes,
                place: Place::Chunk {
                    chunk,
                    items_per_shard: body.items_per_shard(),
                    window: (*window).max(1),
                    stop_on_failure: *on_failure == OnFailure::Stop,
                    check: check.flatten(),
                },
            };
        }
        Some(here)
    }

    /// The node in `slot`; none if out of range of the plan.
    #[must_use]
    pub fn node_of(&self, slot: u16) -> Option<NodeIndex> {
        match self.place {
            Place::Static(part) => part.slots.get(usize::from(slot)).copied(),
            Place::Chunk { .. } => {
                let count = u16::try_from(self.nodes.len()).ok().filter(|n| *n > 0)?;
                Some(slot % count)
            }
        }
    }

    /// The chunk's iteration that `slot` belongs to; 0 in the static scope.
    #[must_use]
    pub fn item_of(&self, slot: u16) -> u16 {
        match self.place {
            Place::Static(_) => 0,
            Place::Chunk { .. } => {
                slot / u16::try_from(self.nodes.len().max(1)).unwrap_or(u16::MAX)
            }
        }
    }

    /// The loop's iteration, counted from 0 over all chunks, that `slot` belongs to.
    #[must_use]
    pub fn iteration_of(&self, slot: u16) -> Option<u32> {
        match self.place {
            Place::Static(_) => None,
            Place::Chunk {
                chunk,
                items_per_shard,
                ..
            } => Some(chunk * items_per_shard + u32::from(self.item_of(slot))),
        }
    }
}

impl Plan {
    /// The name people use for a task run: `align`, or `align[12][3]` inside loops.
    #[must_use]
    pub fn task_run_name(&self, id: &ShardId, slot: u16) -> Option<String> {
        let layout = Layout::of(self, id)?;
        let node = layout.nodes.get(usize::from(layout.node_of(slot)?))?;
        let mut name = node.id.clone();
        for iteration in self.iterations(id, slot)? {
            // Writing to a string cannot fail.
            let _ = write!(name, "[{iteration}]");
        }
        Some(name)
    }

    /// Iteration numbers of the enclosing loops, outermost first.
    #[must_use]
    pub fn iterations(&self, id: &ShardId, slot: u16) -> Option<Vec<u32>> {
        let mut numbers = Vec::new();
        let (mut id, mut slot) = (id.clone(), slot);
        loop {
            if let Some(iteration) = Layout::of(self, &id)?.iteration_of(slot) {
                numbers.push(iteration);
            }
            match id.owner() {
                Some((parent, loop_slot, _)) => (id, slot) = (parent, loop_slot),
                None => break,
            }
        }
        numbers.reverse();
        Some(numbers)
    }

    /// Whether everything outside loops is in one shard.
    #[must_use]
    pub fn is_one_shard(&self) -> bool {
        self.scopes
            .first()
            .is_none_or(|scope| scope.shards.len() < 2)
    }

    /// Whether every task may be launched again without a person.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        let mut nodes = self.scopes.iter().flat_map(|scope| &scope.nodes);
        nodes.all(|node| !matches!(&node.kind, NodeKind::Task(task) if !task.idempotent))
    }

    /// Milliseconds for which the longest quarantine of any task holds the execution's lock.
    #[must_use]
    pub fn longest_quarantine_ms(&self) -> u64 {
        let tasks = self
            .scopes
            .iter()
            .flat_map(|scope| &scope.nodes)
            .filter_map(|node| {
                if let NodeKind::Task(task) = &node.kind {
                    Some(task.quarantine_ms)
                } else {
                    None
                }
            });
        tasks.max().unwrap_or(0)
    }

    /// The static shard and slot of a node of scope 0.
    #[must_use]
    pub fn home(&self, node: NodeIndex) -> Option<(u16, u16)> {
        let shards = &self.scopes.first()?.shards;
        shards.iter().enumerate().find_map(|(part, shard)| {
            let slot = shard.slots.binary_search(&node).ok()?;
            Some((u16::try_from(part).ok()?, u16::try_from(slot).ok()?))
        })
    }
}
