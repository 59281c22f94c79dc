//! A shard: up to 128 task runs and what they need to know of the rest, in one item of at most 1 KiB.

use super::{Counts, Reason, Seen, Slot, State, Time};
use crate::plan::{Layout, Place, SHARD_BYTES, SHARD_SLOTS};

/// Version of the encoding. A release reads its predecessor's.
pub const SHARD_FORMAT: u8 = 1;

/// Milliseconds per unit of [`Slot::due`]: 32 bits then reach 497 days.
const TICK_MS: u64 = 10;

/// Where the execution as a whole is. Kept in the root shard only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RootPhase {
    /// Not started.
    #[default]
    New = 0,
    /// Waits for its lock.
    Queued = 1,
    /// The flow runs.
    Running = 2,
    /// The flow failed and is tried again when the deadline passes.
    Retrying = 3,
    /// The flow's state is final; `afterExecution` runs.
    Ended = 4,
    /// Nothing is left to do.
    Over = 5,
}

impl RootPhase {
    const ALL: [Self; 6] = [
        Self::New,
        Self::Queued,
        Self::Running,
        Self::Retrying,
        Self::Ended,
        Self::Over,
    ];
}

/// State of up to 128 task runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    /// Restarts of the execution so far.
    pub round: u8,
    /// How often the loop this shard belongs to began from scratch.
    pub generation: u8,
    /// It has been told to begin.
    pub open: bool,
    /// The flow is being killed.
    pub kill: bool,
    /// `afterExecution` is being killed too.
    pub kill_after: bool,
    /// Chunk: nothing new starts.
    pub stop: bool,
    /// Chunk: the next chunk has been opened.
    pub next_open: bool,
    /// The round retries failed items: also those that were tolerated begin again.
    pub tolerated: bool,
    /// Root shard only.
    pub phase: RootPhase,
    /// Root shard: why the flow is being killed.
    pub kill_reason: Reason,
    /// Root shard: the state a task chose for the execution when it ended it early.
    pub exit: Option<State>,
    /// Root shard: execution timeout or next try, in units of [`Slot::due`]; 0 means none. Chunk of a repeated
    /// loop: when its last iteration may begin; it is looked at when one ends, and wakes nobody.
    pub deadline: u32,
    /// Zero of all due times.
    pub epoch: Time,
    /// When the runtime and other shards are asked again, in units of [`Slot::due`]; 0 means never.
    pub probe: u32,
    /// Chunk: iterations here.
    pub items: u16,
    /// Chunk: iterations begun; they begin in order.
    pub started: u16,
    /// Chunk: iterations of the whole loop.
    pub total: u32,
    /// Chunk: iterations before this chunk that are not over, rounded up.
    pub ahead: u32,
    /// Chunk: final counts of everything before, once `ahead` is 0.
    pub before: Counts,
    /// Task runs.
    pub slots: Vec<Slot>,
    /// What is known of nodes elsewhere, in the order of the plan's mirrors.
    pub mirrors: Vec<Seen>,
}

/// Bytes that are not a shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// Written by a release this one does not know.
    #[error(
        "shard format {0}; this release reads format {SHARD_FORMAT}: use the release that wrote it, or a newer one"
    )]
    Format(u8),
    /// Cut or damaged.
    #[error("damaged shard: {0}")]
    Damaged(&'static str),
}

impl Shard {
    /// A shard nothing has happened to.
    #[must_use]
    pub fn fresh(layout: &Layout<'_>, now: Time) -> Self {
        let (slots, mirrors) = match layout.place {
            Place::Static(part) => (part.slots.len(), part.mirrors.len()),
            Place::Chunk { .. } => (0, 0),
        };
        Self {
            round: 0,
            generation: 0,
            open: false,
            kill: false,
            kill_after: false,
            stop: false,
            next_open: false,
            tolerated: false,
            phase: RootPhase::New,
            kill_reason: Reason::None,
            exit: None,
            deadline: 0,
            epoch: now,
            probe: 0,
            items: 0,
            started: 0,
            total: 0,
            ahead: 0,
            before: Counts::default(),
            slots: vec![Slot::default(); slots],
            mirrors: vec![Seen::default(); mirrors],
        }
    }

    /// `time` in units of [`Slot::due`], at least 1, rounded up.
    #[must_use]
    pub fn tick_of(&self, time: Time) -> u32 {
        let since = time.0.saturating_sub(self.epoch.0).div_ceil(TICK_MS).max(1);
        u32::try_from(since).unwrap_or(u32::MAX)
    }

    /// The time of a due value that is not 0.
    #[must_use]
    pub fn time_of(&self, tick: u32) -> Time {
        self.epoch.plus(u64::from(tick) * TICK_MS)
    }

    /// When somebody must look at this shard again; none when nothing here can change by itself.
    #[must_use]
    pub fn due(&self, layout: &Layout<'_>) -> Option<Time> {
        let mut earliest = u32::MAX;
        for (index, slot) in self.slots.iter().enumerate() {
            if slot.due != 0 && !self.is_loop_body(layout, index) && !slot.state.is_terminal() {
                earliest = earliest.min(slot.due);
            }
        }
        let deadline = match layout.place {
            Place::Static(_) => self.deadline,
            Place::Chunk { .. } => 0,
        };
        for tick in [deadline, self.probe] {
            if tick != 0 {
                earliest = earliest.min(tick);
            }
        }
        (earliest != u32::MAX).then(|| self.time_of(earliest))
    }

    /// Whether the slot is a loop that runs, whose `due` is not a time.
    pub(super) fn is_loop_body(&self, layout: &Layout<'_>, index: usize) -> bool {
        self.slots
            .get(index)
            .is_some_and(|slot| slot.state == State::Body)
            && u16::try_from(index)
                .ok()
                .and_then(|slot| layout.node_of(slot))
                .and_then(|node| layout.nodes.get(usize::from(node)))
                .is_some_and(|node| matches!(node.kind, crate::plan::NodeKind::Loop { .. }))
    }

    /// The item's bytes, at most [`SHARD_BYTES`] for every plan the compiler accepts.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SHARD_BYTES);
        let flags = u8::from(self.open)
            | u8::from(self.kill) << 1
            | u8::from(self.kill_after) << 2
            | u8::from(self.stop) << 3
            | u8::from(self.next_open) << 4
            | u8::from(self.tolerated) << 5
            | u8::from(self.before.tolerated) << 6;
        out.extend([
            SHARD_FORMAT,
            self.round,
            self.generation,
            flags,
            self.phase as u8,
            self.kill_reason as u8,
            // 0 is `Waiting`, which no execution ends in.
            self.exit.map_or(0, |state| state as u8),
        ]);
        out.extend(self.epoch.0.to_le_bytes());
        let slots = u16::try_from(self.slots.len()).unwrap_or(u16::MAX);
        let mirrors = u16::try_from(self.mirrors.len()).unwrap_or(u16::MAX);
        for word in [self.deadline, self.probe, self.total, self.ahead] {
            out.extend(word.to_le_bytes());
        }
        for half in [self.items, self.started, slots, mirrors] {
            out.extend(half.to_le_bytes());
        }
        // Only chunks after the first have something before them.
        let counts = [
            self.before.success,
            self.before.warning,
            self.before.failed,
            self.before.killed,
            self.before.cancelled,
            self.before.unknown,
        ];
        if self.total > 0 {
            for count in counts {
                out.extend(count.to_le_bytes());
            }
        }
        for slot in &self.slots {
            out.extend([slot.state as u8 | slot.free << 5, slot.attempt, slot.detail]);
            out.extend(slot.due.to_le_bytes());
        }
        for pair in self.mirrors.chunks(2) {
            let low = pair.first().map_or(0, |seen| *seen as u8);
            let high = pair.get(1).map_or(0, |seen| *seen as u8);
            out.push(low | high << 4);
        }
        out
    }

    /// Reads what [`Shard::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, ShardError> {
        let mut reader = Reader { rest: bytes };
        let format = reader.byte()?;
        if format != SHARD_FORMAT {
            return Err(ShardError::Format(format));
        }
        let round = reader.byte()?;
        let generation = reader.byte()?;
        let flags = reader.byte()?;
        let phase = reader.byte()?;
        let phase = RootPhase::ALL
            .get(usize::from(phase))
            .copied()
            .ok_or(ShardError::Damaged("unknown phase"))?;
        let kill_reason = Reason::of(reader.byte()?);
        let exit = match State::ALL.get(usize::from(reader.byte()?)) {
            Some(State::Waiting) => None,
            Some(state) => Some(*state),
            None => return Err(ShardError::Damaged("unknown state")),
        };
        let epoch = Time(u64::from_le_bytes(reader.take()?));
        let deadline = reader.word()?;
        let probe = reader.word()?;
        let total = reader.word()?;
        let ahead = reader.word()?;
        let items = reader.half()?;
        let started = reader.half()?;
        let slot_count = usize::from(reader.half()?);
        let mirror_count = usize::from(reader.half()?);
        if slot_count > SHARD_SLOTS || mirror_count > SHARD_BYTES * 2 {
            return Err(ShardError::Damaged("too many task runs"));
        }
        let mut before = if total > 0 {
            reader.counts()?
        } else {
            Counts::default()
        };
        before.tolerated = flags & 64 != 0;
        let mut slots = Vec::with_capacity(slot_count);
        for _ in 0..slot_count {
            slots.push(reader.slot()?);
        }
        let mut mirrors = Vec::with_capacity(mirror_count);
        while mirrors.len() < mirror_count {
            let pair = reader.byte()?;
            mirrors.push(seen(pair & 0x0f)?);
            if mirrors.len() < mirror_count {
                mirrors.push(seen(pair >> 4)?);
            }
        }
        if !reader.rest.is_empty() {
            return Err(ShardError::Damaged("bytes after the end"));
        }
        Ok(Self {
            round,
            generation,
            open: flags & 1 != 0,
            kill: flags & 2 != 0,
            kill_after: flags & 4 != 0,
            stop: flags & 8 != 0,
            next_open: flags & 16 != 0,
            tolerated: flags & 32 != 0,
            phase,
            kill_reason,
            exit,
            deadline,
            epoch,
            probe,
            items,
            started,
            total,
            ahead,
            before,
            slots,
            mirrors,
        })
    }
}

fn seen(number: u8) -> Result<Seen, ShardError> {
    Seen::ALL
        .get(usize::from(number))
        .copied()
        .ok_or(ShardError::Damaged("unknown mirror"))
}

struct Reader<'b> {
    rest: &'b [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], ShardError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(ShardError::Damaged("too short"))?;
        self.rest = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, ShardError> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn half(&mut self) -> Result<u16, ShardError> {
        self.take().map(u16::from_le_bytes)
    }

    fn word(&mut self) -> Result<u32, ShardError> {
        self.take().map(u32::from_le_bytes)
    }

    fn counts(&mut self) -> Result<Counts, ShardError> {
        Ok(Counts {
            success: self.word()?,
            warning: self.word()?,
            failed: self.word()?,
            killed: self.word()?,
            cancelled: self.word()?,
            unknown: self.word()?,
            tolerated: false,
        })
    }

    fn slot(&mut self) -> Result<Slot, ShardError> {
        let [packed, attempt, detail] = self.take::<3>()?;
        let state = State::ALL
            .get(usize::from(packed & 0x1f))
            .copied()
            .ok_or(ShardError::Damaged("unknown state"))?;
        Ok(Slot {
            state,
            attempt,
            free: packed >> 5,
            detail,
            due: self.word()?,
        })
    }
}
