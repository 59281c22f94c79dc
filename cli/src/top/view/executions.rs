//! The list of executions.

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
    let name = columns(area, if wide { 35 } else { 42 }, names);
    let rows = list.rows.iter().skip(first).take(height).map(|row| {
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
        let flow = flow_name(&row.namespace, &row.flow, name);
        let took = took(model.now_ms, row.started_ms, row.ended_ms);
        let age = ago(model.now_ms, row.created_ms);
        let said = reason.clone().unwrap_or_else(|| clean(cause));
        let mut cells = vec![Cell::from(state), Cell::from(flow), right(age), right(took)];
        if wide {
            cells.insert(1, Cell::from(row.id.clone()));
            cells.insert(3, right(row.revision.to_string()));
            cells.push(Cell::from(clean(cause)));
            cells.push(Cell::from(reason.unwrap_or_default()));
        } else {
            cells.push(Cell::from(said));
        }
        Row::new(cells)
    });
    let rows = rows.collect();
    let (head, widths) = layout(wide, name);
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

/// Headings and widths of the columns.
fn layout(wide: bool, name: u16) -> (Vec<&'static str>, Vec<Constraint>) {
    if wide {
        (
            vec![
                "  state", "id", "flow", "rev", "age", "took", "cause", "reason",
            ],
            vec![
                Constraint::Length(12),
                Constraint::Length(16),
                Constraint::Length(name),
                Constraint::Length(4),
                Constraint::Length(4),
                Constraint::Length(8),
                Constraint::Length(10),
                Constraint::Fill(1),
            ],
        )
    } else {
        (
            vec!["  state", "flow", " age", "    took", "reason/cause"],
            vec![
                Constraint::Length(12),
                Constraint::Length(name),
                Constraint::Length(4),
                Constraint::Length(8),
                Constraint::Fill(1),
            ],
        )
    }
}
