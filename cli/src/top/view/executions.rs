//! The list of executions.

use operon_api::dto::{ExecutionSummary, LastTask};
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row};

use super::lists::{
    Sheet, caption, columns, empty, filter_words, flow_name, right, rows_of, sheet,
};
use super::theme::sign;
use super::{Theme, ago, clean, offset, took};
use crate::top::model::Model;

/// From this width on there is room for more columns.
const WIDE: u16 = 110;
/// Columns of the last task on a wide terminal: as its heading, and at most.
const TASK_MIN: u16 = 9;
const TASK_MAX: u16 = 24;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let list = &model.executions;
    let more = if list.more { "more than " } else { "" };
    let marked = match model.marked.len() {
        0 => String::new(),
        count => format!(", {count} marked"),
    };
    let text = format!(
        "executions: {more}{}{}{marked}",
        list.rows.len(),
        filter_words(&list.needle)
    );
    let area = caption(frame, area, theme, &text);
    if list.rows.is_empty() {
        let nothing = if list.needle.is_empty() {
            "There are no executions yet. `2` shows the flows; `r` starts one."
        } else {
            "No execution matches the filter. Esc removes it."
        };
        empty(frame, area, theme, list.loaded, nothing);
        return;
    }
    let wide = area.width >= WIDE;
    let height = rows_of(area);
    let first = offset(list.at, height, list.rows.len());
    let names = list
        .rows
        .iter()
        .map(|row| (row.namespace.as_str(), row.flow.as_str()));
    let name = columns(area, if wide { 28 } else { 40 }, names);
    let task = task_columns(&list.rows);
    let shape = Shape { wide, name, task };
    let shown = list.rows.iter().skip(first).take(height);
    let rows = shown.map(|row| line(row, model, &shape, theme));
    let rows = rows.collect();
    let (head, widths) = layout(&shape);
    sheet(
        frame,
        area,
        theme,
        Sheet {
            head,
            widths,
            rows,
            at: list.at,
            first,
        },
    );
}

/// What the width allows.
struct Shape {
    wide: bool,
    /// Columns of the flow's name.
    name: u16,
    /// Columns of the last task.
    task: u16,
}

/// A row of the table.
fn line<'a>(row: &ExecutionSummary, model: &Model, shape: &Shape, theme: Theme) -> Row<'a> {
    let mark = if model.marked.contains(&row.id) {
        "▌"
    } else {
        " "
    };
    let state = Line::from(vec![
        Span::raw(mark),
        Span::styled(
            format!("{} {}", sign(&row.state), row.state),
            theme.state(&row.state),
        ),
    ]);
    let cause = row
        .trigger
        .as_ref()
        .map_or("by hand", |trigger| trigger.kind.as_str());
    let reason = row.reason.as_deref().map(clean);
    let flow = flow_name(&row.namespace, &row.flow, shape.name);
    let took = took(model.now_ms, row.started_ms, row.ended_ms);
    let age = ago(model.now_ms, row.created_ms);
    let reached = row.last_task.as_ref();
    let mut cells = vec![Cell::from(state), Cell::from(flow), right(age), right(took)];
    if shape.wide {
        cells.insert(1, Cell::from(row.id.clone()));
        cells.insert(3, right(row.revision.to_string()));
        cells.push(Cell::from(Line::from(
            reached.map_or_else(Vec::new, |last| last_task(last, Some(shape.task), theme)),
        )));
        cells.push(Cell::from(clean(cause)));
        cells.push(Cell::from(reason.unwrap_or_default()));
    } else {
        // One column for where it has come to and why it ended; what started it where there is neither.
        let mut words = reached.map_or_else(Vec::new, |last| last_task(last, None, theme));
        match (reason, words.is_empty()) {
            (Some(reason), true) => words.push(Span::raw(reason)),
            (Some(reason), false) => {
                words.push(Span::styled(format!(" {reason}"), theme.dim()));
            }
            (None, true) => words.push(Span::styled(clean(cause), theme.dim())),
            (None, false) => {}
        }
        cells.push(Cell::from(Line::from(words)));
    }
    Row::new(cells)
}

/// Where an execution has come to: the sign of that task's state, its name, its attempts if there were several. A name
/// that does not fit beside its attempts is cut at its end.
fn last_task<'a>(last: &LastTask, columns: Option<u16>, theme: Theme) -> Vec<Span<'a>> {
    let attempts = attempts(last);
    let name = clean(&last.task);
    let room =
        columns.map(|columns| usize::from(columns).saturating_sub(2 + attempts.chars().count()));
    let name = match room {
        Some(room) if name.chars().count() > room => {
            let kept = name.chars().take(room.saturating_sub(1));
            kept.chain(std::iter::once('…')).collect()
        }
        Some(_) | None => name,
    };
    vec![
        Span::styled(format!("{} ", sign(&last.state)), theme.state(&last.state)),
        Span::raw(name),
        Span::styled(attempts, theme.warn()),
    ]
}

fn attempts(last: &LastTask) -> String {
    if last.attempts > 1 {
        format!(" ×{}", last.attempts)
    } else {
        String::new()
    }
}

/// Columns for the last tasks: as many as the longest has, within limits.
fn task_columns(rows: &[ExecutionSummary]) -> u16 {
    let lasts = rows.iter().filter_map(|row| row.last_task.as_ref());
    let longest = lasts.map(|last| 2 + last.task.chars().count() + attempts(last).chars().count());
    let longest = u16::try_from(longest.max().unwrap_or_default()).unwrap_or(u16::MAX);
    longest.clamp(TASK_MIN, TASK_MAX)
}

/// Headings and widths of the columns.
fn layout(shape: &Shape) -> (Vec<&'static str>, Vec<Constraint>) {
    if shape.wide {
        (
            vec![
                "  state",
                "id",
                "flow",
                " rev",
                " age",
                "    took",
                "last task",
                "cause",
                "reason",
            ],
            vec![
                Constraint::Length(12),
                Constraint::Length(16),
                Constraint::Length(shape.name),
                Constraint::Length(4),
                Constraint::Length(4),
                Constraint::Length(8),
                Constraint::Length(shape.task),
                Constraint::Length(10),
                Constraint::Fill(1),
            ],
        )
    } else {
        (
            vec!["  state", "flow", " age", "    took", "last task, reason"],
            vec![
                Constraint::Length(12),
                Constraint::Length(shape.name),
                Constraint::Length(4),
                Constraint::Length(8),
                Constraint::Fill(1),
            ],
        )
    }
}
