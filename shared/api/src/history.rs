//! The states an execution has been in, with the time at which each began.
//!
//! An execution's row says when it was created, began and ended; that it stood still in a pause follows from its task
//! runs: it was `PAUSED` while a pause waited and nothing else was under way.

use operon_engine::ports::{AttemptRow, ExecutionRow};

use crate::dto::StateAt;

/// Changes told at most: what happened before the last of them is left out.
const CHANGES_MAX: usize = 200;

/// Times at which the number of pauses that wait, or of attempts under way, changes.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    /// Time, change of the waiting pauses, change of what is under way.
    edges: Vec<(u64, i32, i32)>,
}

impl Spans {
    /// Takes in a row of a task run; `is_pause` says what its node is.
    pub(crate) fn take(&mut self, row: &AttemptRow, is_pause: bool) {
        let reused = row.reason.as_deref() == Some(operon_engine::replay::REUSED);
        // Rows of control belong to no attempt: a group is under way while it waits for a pause inside it.
        if reused || (row.attempt == 0 && !is_pause) {
            return;
        }
        let change = if is_pause { (1, 0) } else { (0, 1) };
        self.edges.push((row.created_ms, change.0, change.1));
        if let Some(ended) = row.ended_ms {
            self.edges.push((ended, -change.0, -change.1));
        }
    }

    /// The states, the oldest first.
    pub(crate) fn history(mut self, row: &ExecutionRow) -> Vec<StateAt> {
        let mut history = vec![at("CREATED", row.meta.created_ms)];
        if row.state == "QUEUED" {
            history.push(at("QUEUED", row.meta.created_ms));
        }
        if let Some(started) = row.started_ms {
            history.push(at("RUNNING", started));
        }
        self.edges.sort_unstable();
        let (mut waiting, mut busy) = (0, 0);
        for (index, (time, pauses, attempts)) in self.edges.iter().enumerate() {
            (waiting, busy) = (waiting + pauses, busy + attempts);
            // What changes at one moment is looked at together.
            if self
                .edges
                .get(index + 1)
                .is_some_and(|(next, ..)| next == time)
            {
                continue;
            }
            if row.ended_ms.is_some_and(|ended| *time >= ended) {
                break;
            }
            let state = if waiting > 0 && busy == 0 {
                "PAUSED"
            } else {
                "RUNNING"
            };
            let begun = row.started_ms.is_some() || state == "PAUSED";
            if begun && history.last().is_some_and(|last| last.state != state) {
                history.push(at(state, *time));
            }
        }
        if let Some(ended) = row.ended_ms {
            history.push(at(&row.state, ended));
        }
        let left_out = history.len().saturating_sub(CHANGES_MAX);
        history.drain(1..=left_out);
        history
    }
}

fn at(state: &str, at_ms: u64) -> StateAt {
    StateAt {
        state: state.to_owned(),
        at_ms,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Edges of a pause or an attempt, as `take` makes them.
    fn spans(of: &[(bool, u64, Option<u64>)]) -> Spans {
        let mut spans = Spans::default();
        for (is_pause, from, to) in of {
            let change = if *is_pause { (1, 0) } else { (0, 1) };
            spans.edges.push((*from, change.0, change.1));
            spans.edges.extend(to.map(|to| (to, -change.0, -change.1)));
        }
        spans
    }

    fn told(state: &str, ended: Option<u64>, of: &[(bool, u64, Option<u64>)]) -> String {
        let mut row = operon_testkit::contract::rows::execution("e", 10);
        row.meta.created_ms = 10;
        row.started_ms = Some(20);
        row.ended_ms = ended;
        state.clone_into(&mut row.state);
        let history = spans(of).history(&row);
        let words = history
            .iter()
            .map(|entry| format!("{} {}", entry.state, entry.at_ms));
        words.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn it_is_paused_while_a_pause_waits_and_nothing_else_is_under_way() {
        let attempt = |from, to| (false, from, Some(to));
        let pause = |from, to| (true, from, Some(to));
        assert_eq!(
            told(
                "SUCCESS",
                Some(90),
                &[attempt(20, 30), pause(30, 70), attempt(70, 90)]
            ),
            "CREATED 10, RUNNING 20, PAUSED 30, RUNNING 70, SUCCESS 90"
        );
        assert_eq!(
            told(
                "SUCCESS",
                Some(90),
                &[attempt(20, 50), pause(30, 70), attempt(60, 90)]
            ),
            "CREATED 10, RUNNING 20, PAUSED 50, RUNNING 60, SUCCESS 90"
        );
        assert_eq!(
            told("PAUSED", None, &[attempt(20, 50), (true, 30, None)]),
            "CREATED 10, RUNNING 20, PAUSED 50"
        );
        assert_eq!(
            told("KILLED", Some(80), &[attempt(20, 30), pause(30, 80)]),
            "CREATED 10, RUNNING 20, PAUSED 30, KILLED 80"
        );
        let many: Vec<_> = (0..300).map(|n| pause(30 + 4 * n, 32 + 4 * n)).collect();
        let long = told("SUCCESS", Some(9_000), &many);
        assert_eq!(long.matches(',').count() + 1, CHANGES_MAX);
        assert!(
            long.starts_with("CREATED 10, ") && long.ends_with(", SUCCESS 9000"),
            "{long}"
        );
    }
}
