//! The rows that a turn makes for people and for expressions: of its execution and of its task runs.

use operon_core::exec::{Reason, Slot, State};
use operon_core::plan::{Layout, ShardId};

use super::{Planner, Turn, TurnError};
use crate::evaluate::Site;
use crate::operations::answered;
use crate::ports::{AttemptRow, ExecutionRow, StoreError};
use crate::{repeated, rows};

impl Planner {
    /// The execution's row on which a turn builds. Beside others it is read again when the turn changes what
    /// the row says: another planner may have written it since it was remembered.
    pub(super) async fn row_before(
        &self,
        turn: &Turn,
        layout: &Layout<'_>,
    ) -> Result<ExecutionRow, StoreError> {
        let row = turn.active.row();
        if self.sole || turn.key.shard != ShardId::ROOT {
            return Ok(row);
        }
        let before = turn.stored.shard.as_deref();
        let said = before.map(|shard| rows::execution_state(layout, shard));
        let says = rows::execution_state(layout, &turn.next);
        if said == Some(says) && row.state == says {
            return Ok(row);
        }
        let store = &*self.evaluator.ports.store;
        Ok(store.execution(&row.meta.id).await?.unwrap_or(row))
    }

    /// The detail items that a turn makes: attempts reported, and changes without an attempt.
    pub(super) async fn rows_of(
        &self,
        turn: &Turn,
        now_ms: u64,
    ) -> Result<Vec<AttemptRow>, TurnError> {
        let mut out = Vec::new();
        let site = |slot| Site {
            plan: &turn.active.plan,
            meta: &turn.active.meta,
            shard: &turn.key.shard,
            slot,
            attempt: 0,
        };
        let mut reported = Vec::new();
        for message in &turn.messages {
            let Some(mut row) = message.row.as_deref().cloned() else {
                continue;
            };
            if !self.is_news(turn, &row).await? {
                continue;
            }
            let slot = turn
                .next
                .slots
                .get(usize::from(row.task_run.slot))
                .copied()
                .unwrap_or_default();
            if slot.attempt == row.attempt && slot.state.is_terminal() {
                rows::state_name(slot.state).clone_into(&mut row.state);
                // `outcome unknown` says more than what the runner saw.
                if slot.reason() != Reason::None {
                    row.reason = rows::reason_words(slot.reason());
                }
            }
            reported.push(row.task_run.slot);
            out.push(row);
        }
        let before = turn.stored.shard.as_deref();
        for (slot, after) in (0_u16..).zip(&turn.next.slots) {
            let was = before.and_then(|shard| shard.slots.get(usize::from(slot)));
            if was == Some(after) || reported.contains(&slot) {
                continue;
            }
            let site = site(slot);
            out.extend(self.superseded(site, was, after, now_ms).await?);
            let lost = was.is_some_and(|was| was.state.is_live()) && after.state.is_terminal();
            let row = if lost && site.task().is_some() {
                // The attempt ended without a report: its row says what is known.
                rows::blank(site, after.attempt).map(|row| AttemptRow {
                    state: rows::state_name(after.state).to_owned(),
                    reason: rows::reason_words(after.reason()),
                    created_ms: now_ms,
                    ended_ms: Some(now_ms),
                    ..row
                })
            } else {
                rows::of_change(site, was, after, now_ms)
            };
            if let Some(mut row) = row {
                row.message = turn.failures.get(&slot).cloned();
                let stood = was.is_some_and(|was| rows::stands(was.state));
                if stood && after.state.is_terminal() && site.task().is_none() {
                    self.keep_beginning(&mut row).await?;
                }
                if after.state.is_terminal() {
                    let limit = after.reason() == Reason::LimitReached;
                    repeated::complete(&mut row, site, &turn.messages, limit);
                }
                if after.state.is_terminal() && site.is_pause() {
                    let run = site.task_run();
                    let ports = &self.evaluator.ports;
                    let answer = answered(ports, &turn.key.execution, &run, turn.next.round);
                    row.outputs = answer.await?.unwrap_or_default();
                }
                if turn.key.shard.path().is_empty() {
                    row.item = None;
                } else {
                    row.item = self.evaluator.item(site).await.unwrap_or_default();
                }
                out.push(row);
            }
        }
        Ok(out)
    }

    /// The row of an attempt that ended without a report and is followed by another one.
    async fn superseded(
        &self,
        site: Site<'_>,
        was: Option<&Slot>,
        after: &Slot,
        now_ms: u64,
    ) -> Result<Option<AttemptRow>, StoreError> {
        let ended = |was: &&Slot| {
            let goes_on = after.state.is_live() && after.attempt == was.attempt;
            was.state.is_live() && !after.state.is_terminal() && !goes_on
        };
        let Some(was) = was.filter(ended).filter(|_| site.task().is_some()) else {
            return Ok(None);
        };
        let Some(blank) = rows::blank(site, was.attempt) else {
            return Ok(None);
        };
        let reason = if was.state == State::Killing {
            Reason::Timeout
        } else {
            Reason::Lost
        };
        let mut row = AttemptRow {
            state: rows::state_name(State::Failed).to_owned(),
            reason: rows::reason_words(reason),
            created_ms: now_ms,
            ended_ms: Some(now_ms),
            ..blank
        };
        self.keep_beginning(&mut row).await?;
        row.item = self.evaluator.item(site).await.unwrap_or_default();
        Ok(Some(row))
    }

    /// What stood for a while before it ended has a row that says since when.
    async fn keep_beginning(&self, row: &mut AttemptRow) -> Result<(), StoreError> {
        let store = &*self.evaluator.ports.store;
        let rows = store.attempts(&row.execution, &row.task_run).await?;
        let mut there = rows
            .into_iter()
            .filter(|there| there.attempt == row.attempt);
        if let Some(there) = there.find(|there| there.ended_ms.is_none()) {
            (row.created_ms, row.started_ms) = (there.created_ms, there.started_ms);
        }
        Ok(())
    }

    /// Whether a reported row is to be written: that of the live attempt, and one that a crash left out. A later
    /// report about the same attempt, from whoever else saw it end, must not replace the one that was accepted.
    async fn is_news(&self, turn: &Turn, row: &AttemptRow) -> Result<bool, StoreError> {
        let before = turn.stored.shard.as_deref();
        let slot = before.and_then(|shard| shard.slots.get(usize::from(row.task_run.slot)));
        let live = slot.is_some_and(|slot| slot.state.is_live() && slot.attempt == row.attempt);
        if live || self.sole {
            return Ok(true);
        }
        let store = &*self.evaluator.ports.store;
        let rows = store.attempts(&row.execution, &row.task_run).await?;
        let mut of_attempt = rows.iter().filter(|there| there.attempt == row.attempt);
        Ok(!of_attempt.any(|there| there.ended_ms.is_some()))
    }
}
