//! Fan-out: a loop is a chain of chunks, each a shard of iterations.
//!
//! A chunk tells the next one how many iterations up to its own end are not over (`ahead`). That one number
//! is the window (an iteration may begin while fewer than `window` before it are not over), the opening of
//! the next shard, and the barrier: when it reaches 0 at the last chunk, everything is over. It only falls
//! within a round, so a message that is lost, repeated or late does no harm; and it is rounded up to a
//! sixteenth of the window, so that a chunk sends a handful of messages however many iterations it holds.

use super::view::View;
use super::{Command, Counts, Event, Reason, Slot, State, Time};
use crate::lang::model::Until;
use crate::plan::{NodeIndex, NodeKind, Place, ShardId};

/// The window is told in steps of this fraction.
const WINDOW_STEPS: u32 = 16;

impl View<'_> {
    /// Takes in what lies before this chunk.
    pub(super) fn on_ahead(&mut self, event: &Event) {
        let Event::Ahead {
            round,
            generation,
            total,
            ahead,
            before,
            stop,
            kill,
            deadline,
            tolerated,
            again: _,
        } = event
        else {
            return;
        };
        let Place::Chunk {
            chunk,
            items_per_shard,
            ..
        } = self.layout.place
        else {
            return;
        };
        let ours = (self.shard.generation, self.shard.round);
        if (*generation, *round) < ours {
            return;
        }
        if *generation > self.shard.generation {
            self.reset(*round, *tolerated);
            for slot in self.slots() {
                self.renew(slot, true);
            }
            self.shard.generation = *generation;
        } else if *round > self.shard.round {
            self.reset(*round, *tolerated);
        }
        if self.shard.open {
            self.shard.ahead = self.shard.ahead.min(*ahead);
        } else {
            let first = chunk.saturating_mul(items_per_shard);
            let items = total.saturating_sub(first).min(items_per_shard);
            self.shard.open = true;
            self.shard.total = *total;
            self.shard.deadline = self.last_begin(*deadline);
            self.shard.ahead = *ahead;
            self.shard.items = u16::try_from(items).unwrap_or(u16::MAX);
            let slots = usize::from(self.shard.items) * self.layout.nodes.len();
            self.shard.slots.resize(slots, Slot::default());
        }
        if *ahead == 0 {
            self.shard.before = *before;
        }
        self.shard.stop |= *stop;
        self.shard.kill |= *kill;
        self.shard.kill_after |= *kill;
    }

    /// Begins iterations, opens the next chunk; whether anything changed.
    pub(super) fn step_chunk(&mut self) -> bool {
        let Place::Chunk {
            window,
            stop_on_failure,
            ..
        } = self.layout.place
        else {
            return false;
        };
        if !self.shard.open {
            return false;
        }
        let mut changed = false;
        let stops = stop_on_failure && self.own_counts().failed > 0 || self.checked_out();
        if stops && !self.shard.stop {
            self.shard.stop = true;
            changed = true;
        }
        if self.shard.stop || self.shard.kill {
            changed |= self.cancel_unstarted();
        } else {
            let unfinished = self.unfinished();
            // Counted, not inferred: of those not begun a former round may have finished some.
            let mut active = self.unfinished_in(0..self.shard.started);
            while self.shard.started < self.shard.items && self.shard.ahead + active < window {
                active += u32::from(self.iteration(self.shard.started).is_none());
                self.shard.started += 1;
                changed = true;
            }
            if !self.shard.next_open && self.has_next() && self.shard.ahead + unfinished < window {
                self.shard.next_open = true;
                changed = true;
            }
        }
        changed
    }

    /// What has not begun will not.
    fn cancel_unstarted(&mut self) -> bool {
        let nodes = u16::try_from(self.layout.nodes.len()).unwrap_or(u16::MAX);
        let mut changed = false;
        for slot in self.shard.started.saturating_mul(nodes)..self.slots().end {
            if !self.slot(slot).state.is_terminal() {
                let reason = if self.shard.kill {
                    Reason::Kill
                } else {
                    Reason::SiblingFailed
                };
                self.end(slot, State::Cancelled, reason);
                changed = true;
            }
        }
        changed
    }

    fn has_next(&self) -> bool {
        let Place::Chunk {
            chunk,
            items_per_shard,
            ..
        } = self.layout.place
        else {
            return false;
        };
        (chunk + 1).saturating_mul(items_per_shard) < self.shard.total
    }

    /// Iterations of this chunk that are not over.
    pub(super) fn unfinished(&self) -> u32 {
        self.unfinished_in(0..self.shard.items)
    }

    fn unfinished_in(&self, items: std::ops::Range<u16>) -> u32 {
        let open = items.filter(|&item| self.iteration(item).is_none()).count();
        u32::try_from(open).unwrap_or(u32::MAX)
    }

    fn own_counts(&self) -> Counts {
        let mut counts = Counts::default();
        for item in 0..self.shard.items {
            let Some((state, unknown)) = self.iteration(item) else {
                continue;
            };
            if item >= self.shard.started && self.check().is_some() {
                continue; // That a repeated loop ends before its maximum cancels nothing.
            }
            counts.unknown += u32::from(unknown);
            counts.tolerated |= state.lets_pass() && self.iteration_failed(item);
            match state {
                State::Warning => counts.warning += 1,
                State::Failed => counts.failed += 1,
                State::Killed => counts.killed += 1,
                State::Cancelled => counts.cancelled += 1,
                State::Waiting
                | State::Gate
                | State::Deciding
                | State::Launching
                | State::Running
                | State::RetryWait
                | State::Paused
                | State::Killing
                | State::Body
                | State::Errors
                | State::Finally
                | State::Success
                | State::Skipped
                | State::Omitted => counts.success += 1,
            }
        }
        counts
    }

    /// What this chunk has to say: to the next one if that is open, to the loop if this is the last.
    pub(super) fn chain(&self) -> Option<Command> {
        let Place::Chunk { window, .. } = self.layout.place else {
            return None;
        };
        if !self.shard.open {
            return None;
        }
        let left = self.shard.ahead + self.unfinished();
        let (round, generation) = (self.shard.round, self.shard.generation);
        let counts = || self.shard.before + self.own_counts();
        if self.shard.next_open {
            let step = (window / WINDOW_STEPS).max(1);
            let event = Event::Ahead {
                round,
                generation,
                total: self.shard.total,
                ahead: left.div_ceil(step).saturating_mul(step),
                before: if left == 0 {
                    counts()
                } else {
                    Counts::default()
                },
                stop: self.shard.stop,
                kill: self.shard.kill,
                deadline: self.until(),
                tolerated: self.shard.tolerated,
                again: false,
            };
            return Some(Command::Send {
                to: self.at.next_chunk()?,
                event,
            });
        }
        if left > 0 {
            return None;
        }
        let mut counts = counts();
        if self.check().is_none() {
            counts.cancelled += self.shard.total.saturating_sub(counts.total());
        }
        let (to, slot, _) = self.at.owner()?;
        Some(Command::Send {
            to,
            event: Event::LoopDone {
                round,
                generation,
                slot,
                counts,
                limit: self.limit_reached(),
            },
        })
    }

    /// For the loop, which asks whether it is over: passes the question on, up to the first chunk that is not over, and
    /// says once more what may have been lost on the way. Chunks that are over are due no more, so that nobody else
    /// would; one that is not over asks and tells by itself.
    pub(super) fn loop_asked(&self, by: &ShardId) -> Vec<Command> {
        if !self.shard.open || self.shard.ahead + self.unfinished() > 0 {
            return Vec::new();
        }
        let question = || {
            Some(Command::Send {
                to: self.at.next_chunk()?,
                event: Event::Asked { by: by.clone() },
            })
        };
        let next = self.shard.next_open.then(question).flatten();
        self.chain().into_iter().chain(next).collect()
    }

    /// The node of a repeated loop that says whether another iteration follows.
    fn check(&self) -> Option<NodeIndex> {
        match self.layout.place {
            Place::Chunk { check, .. } => check,
            Place::Static(_) => None,
        }
    }

    /// How the checks of the iterations that are over ended.
    fn checks(&self) -> impl Iterator<Item = Slot> + '_ {
        let check = self.check();
        let over = (0..self.shard.items).filter(|&item| self.iteration(item).is_some());
        over.filter_map(move |item| {
            let nodes = u16::try_from(self.layout.nodes.len()).ok()?;
            Some(*self.slot(item * nodes + check?))
        })
    }

    /// Whether an iteration of a repeated loop is the last: the condition holds, a maximum is reached, or the
    /// iteration did not come to its check.
    fn checked_out(&self) -> bool {
        let goes_on = |check: Slot| check.state == State::Skipped && check.reason() == Reason::None;
        self.checks().any(|check| !goes_on(check))
    }

    fn limit_reached(&self) -> bool {
        let mut checks = self.checks();
        checks.any(|check| check.reason() == Reason::LimitReached)
    }

    /// When the last iteration of a repeated loop may begin, in units of [`Slot::due`]: the first chunk reckons
    /// from its own opening, and tells the others.
    fn last_begin(&self, told: Option<Time>) -> u32 {
        let Place::Chunk { chunk, .. } = self.layout.place else {
            return 0;
        };
        let limit = self.check().and_then(|check| self.until_of(check));
        let Some(ms) = limit.and_then(|until| until.max_duration_ms) else {
            return 0;
        };
        let first = (chunk == 0).then(|| self.now.plus(ms));
        first.or(told).map_or(0, |time| self.shard.tick_of(time))
    }

    fn until(&self) -> Option<Time> {
        (self.shard.deadline != 0).then(|| self.shard.time_of(self.shard.deadline))
    }

    fn until_of(&self, check: NodeIndex) -> Option<&Until> {
        match &self.layout.nodes.get(usize::from(check))?.kind {
            NodeKind::Check(until) => Some(until),
            NodeKind::Task(_)
            | NodeKind::Group { .. }
            | NodeKind::Choice { .. }
            | NodeKind::Loop { .. }
            | NodeKind::Pause { .. }
            | NodeKind::Sleep { .. } => None,
        }
    }

    /// The condition of a repeated loop was evaluated after the iteration of `slot`.
    pub(super) fn checked(&mut self, slot: u16, holds: bool, until: &Until) {
        if holds {
            return self.end(slot, State::Success, Reason::None);
        }
        let next = self.now.plus(until.interval_ms);
        let iteration = self.layout.iteration_of(slot).unwrap_or_default();
        let spent = iteration.saturating_add(1) >= self.shard.total;
        let late = self.until().is_some_and(|until| next > until);
        if spent || late {
            self.end(slot, State::Skipped, Reason::LimitReached);
        } else if until.interval_ms == 0 {
            self.end(slot, State::Skipped, Reason::None);
        } else {
            self.pause(slot, Some(until.interval_ms));
        }
    }

    /// Whether this is a loop whose iterations go on, as far as is known here.
    pub(super) fn is_open_loop(&self, slot: u16) -> bool {
        self.slot(slot).state == State::Body
            && matches!(self.node(slot).kind, NodeKind::Loop { .. })
    }

    /// What a running loop has to say to its first chunk.
    pub(super) fn open_loop(&self, slot: u16) -> Option<Command> {
        if !self.is_open_loop(slot) {
            return None;
        }
        let task_run = self.slot(slot);
        let event = Event::Ahead {
            round: self.shard.round,
            generation: task_run.attempt,
            total: task_run.due,
            ahead: 0,
            before: Counts::default(),
            stop: false,
            kill: self.killed(slot),
            deadline: None,
            tolerated: self.shard.tolerated,
            again: false,
        };
        Some(Command::Send {
            to: self.at.of_loop(slot, 0),
            event,
        })
    }

    /// The shard that should have told this one what it does not know.
    pub(super) fn predecessor(&self) -> Option<ShardId> {
        let (parent, slot, chunk) = self.at.owner()?;
        Some(match chunk.checked_sub(1) {
            Some(before) => parent.of_loop(slot, before),
            None => parent,
        })
    }
}
