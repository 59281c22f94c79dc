//! Bars of task runs over time, in characters.
//!
//! Waiting is `┄`, provisioning `░`, running `█` (the second, fourth … attempt `▓`), and an attempt that failed ends
//! with `✗`. Whatever began has at least one character.

use operon_api::dto::TaskRun;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::Theme;
use crate::style;

/// The time that a chart covers, and its width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    from_ms: u64,
    to_ms: u64,
    width: usize,
}

impl Scale {
    /// From the first to the last moment of task runs; what goes on reaches to the present.
    pub(super) fn of(runs: &[&TaskRun], from_ms: Option<u64>, now_ms: u64, width: usize) -> Self {
        let first = runs
            .iter()
            .map(|run| run.created_ms)
            .filter(|ms| *ms > 0)
            .min();
        let from_ms = from_ms.or(first).unwrap_or(now_ms);
        let end = |run: &&&TaskRun| {
            run.ended_ms.unwrap_or(if over(&run.state) {
                run.created_ms
            } else {
                now_ms
            })
        };
        let last = runs.iter().map(|run| end(&run)).max();
        Self {
            from_ms,
            to_ms: last.unwrap_or(from_ms).max(from_ms + 1),
            width,
        }
    }

    fn place(self, ms: u64) -> usize {
        let span = u128::from(self.to_ms - self.from_ms);
        let at = u128::from(ms.saturating_sub(self.from_ms)) * self.width as u128 / span;
        usize::try_from(at).unwrap_or(usize::MAX)
    }

    /// Marks of time from the beginning on.
    pub(super) fn axis(self) -> String {
        const STEPS: [u64; 20] = [
            100,
            200,
            500,
            1_000,
            2_000,
            5_000,
            10_000,
            20_000,
            30_000,
            60_000,
            120_000,
            300_000,
            600_000,
            1_800_000,
            3_600_000,
            7_200_000,
            21_600_000,
            43_200_000,
            86_400_000,
            604_800_000,
        ];
        let span = self.to_ms - self.from_ms;
        // A mark needs some ten characters.
        let most = u64::try_from(self.width / 11).unwrap_or(1).max(1);
        let step = STEPS
            .into_iter()
            .find(|step| span / step <= most)
            .unwrap_or(span.max(1));
        let mut text = String::new();
        for mark in 0..=most {
            let place = self.place(self.from_ms + mark * step);
            let word = if mark == 0 {
                "0".to_owned()
            } else {
                short(mark * step)
            };
            if place + word.len() + 1 > self.width || (mark > 0 && place <= text.chars().count()) {
                break;
            }
            text.push_str(&" ".repeat(place - text.chars().count()));
            text.push('╷');
            text.push_str(&word);
        }
        text
    }

    /// The bar of a task run.
    pub(super) fn bar<'a>(self, run: &TaskRun, now_ms: u64, theme: Theme) -> Line<'a> {
        let mut bar = Bar {
            scale: self,
            cells: vec![(' ', Style::new()); self.width],
        };
        if run.attempts.is_empty() {
            if let Some(started) = run.started_ms {
                let end = run.ended_ms.unwrap_or(now_ms);
                bar.paint(started, end, '━', theme.state(&run.state));
            }
            return spans(&bar.cells);
        }
        let mut free = run.created_ms;
        for attempt in &run.attempts {
            if attempt.created_ms > free {
                bar.paint(free, attempt.created_ms, '┄', theme.dim());
            }
            let end = attempt.ended_ms.unwrap_or(now_ms);
            let started = attempt.started_ms.unwrap_or(end);
            if started > attempt.created_ms {
                bar.paint(attempt.created_ms, started, '░', theme.dim());
            }
            let sign = if attempt.attempt.is_multiple_of(2) {
                '▓'
            } else {
                '█'
            };
            if attempt.started_ms.is_some() {
                bar.paint(started, end, sign, theme.state(&attempt.state));
            }
            if attempt.state == "FAILED" {
                bar.end(started, end, theme.bad());
            }
            free = end;
        }
        if !over(&run.state)
            && run
                .attempts
                .last()
                .is_some_and(|last| last.ended_ms.is_some())
        {
            bar.paint(free, now_ms, '┄', theme.dim());
        }
        spans(&bar.cells)
    }
}

struct Bar {
    scale: Scale,
    cells: Vec<(char, Style)>,
}

impl Bar {
    fn last(&self) -> usize {
        self.cells.len().saturating_sub(1)
    }

    /// At least one character.
    fn paint(&mut self, from_ms: u64, to_ms: u64, sign: char, style: Style) {
        let begin = self.scale.place(from_ms).min(self.last());
        let end = self
            .scale
            .place(to_ms)
            .clamp(begin + 1, self.cells.len().max(begin + 1));
        for cell in self.cells.iter_mut().take(end).skip(begin) {
            *cell = (sign, style);
        }
    }

    /// The mark at the end of an attempt that failed.
    fn end(&mut self, from_ms: u64, to_ms: u64, style: Style) {
        let begin = self.scale.place(from_ms).min(self.last());
        let at = self
            .scale
            .place(to_ms)
            .saturating_sub(1)
            .clamp(begin, self.last().max(begin));
        if let Some(cell) = self.cells.get_mut(at) {
            *cell = ('✗', style);
        }
    }
}

/// Neighbours of one style are one span.
fn spans<'a>(cells: &[(char, Style)]) -> Line<'a> {
    let mut spans: Vec<Span<'a>> = Vec::new();
    for run in cells.chunk_by(|a, b| a.1 == b.1) {
        let text: String = run.iter().map(|(sign, _)| *sign).collect();
        spans.push(Span::styled(
            text,
            run.first().map_or_else(Style::new, |(_, style)| *style),
        ));
    }
    Line::from(spans)
}

fn over(state: &str) -> bool {
    matches!(
        state,
        "SUCCESS" | "WARNING" | "FAILED" | "KILLED" | "SKIPPED" | "OMITTED" | "CANCELLED"
    )
}

/// A duration in one unit where it is round.
fn short(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        _ if ms.is_multiple_of(86_400_000) => format!("{}d", ms / 86_400_000),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => style::duration(ms),
    }
}
