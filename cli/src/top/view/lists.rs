//! Flows, triggers and slots, and what all lists are drawn with.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell, Row, Table};

use super::theme::sign;
use super::{Theme, ago, clean, clock, offset};
use crate::top::model::{Model, SlotRow};

/// A table whose chosen row is visible; what is above it says how many there are.
pub(super) struct Sheet<'a> {
    pub(super) head: Vec<&'static str>,
    pub(super) widths: Vec<Constraint>,
    pub(super) rows: Vec<Row<'a>>,
    /// Number of the chosen row among all.
    pub(super) at: usize,
    /// Of the first of `rows`.
    pub(super) first: usize,
}

pub(super) fn sheet(frame: &mut Frame<'_>, area: Rect, theme: Theme, sheet: Sheet<'_>) {
    let head = Row::new(sheet.head).style(theme.dim());
    let rows = sheet.rows.into_iter().enumerate();
    let rows = rows.map(|(index, row)| {
        if sheet.first + index == sheet.at {
            row.style(Theme::CHOSEN)
        } else {
            row
        }
    });
    let table = Table::new(rows, sheet.widths)
        .header(head)
        .column_spacing(1);
    frame.render_widget(table, area);
}

/// A line above the table, and the rest for it.
pub(super) fn caption(frame: &mut Frame<'_>, area: Rect, theme: Theme, text: &str) -> Rect {
    let line = Rect { height: 1, ..area };
    frame.render_widget(Line::styled(format!(" {text}"), theme.dim()), line);
    Rect {
        y: area.y + 1,
        height: area.height.saturating_sub(1),
        ..area
    }
}

/// Says that there is nothing, or that it has not come yet.
pub(super) fn empty(frame: &mut Frame<'_>, area: Rect, theme: Theme, loaded: bool, text: &str) {
    let text = if loaded { text } else { "Loading…" };
    let area = Rect {
        x: area.x + 1,
        y: area.y,
        width: area.width.saturating_sub(1),
        ..area
    };
    frame.render_widget(Text::styled(text.to_owned(), theme.dim()), area);
}

pub(super) fn rows_of(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(1))
}

pub(super) fn filter_words(needle: &str) -> String {
    if needle.is_empty() {
        String::new()
    } else {
        format!(", filter `{}`", clean(needle))
    }
}

pub(super) fn right<'a>(text: String) -> Cell<'a> {
    Cell::from(Text::from(text).right_aligned())
}

/// Columns for names of flows: as many as the longest has, within the share of the width that they may have.
pub(super) fn columns<'a>(
    area: Rect,
    share: u16,
    names: impl Iterator<Item = (&'a str, &'a str)>,
) -> u16 {
    let longest = names
        .map(|(namespace, id)| namespace.chars().count() + id.chars().count() + 1)
        .max();
    let longest = u16::try_from(longest.unwrap_or_default()).unwrap_or(u16::MAX);
    longest.clamp(12, (area.width * share / 100).max(12))
}

/// A flow's name; of one that is too long the end, which tells flows of a namespace apart.
pub(super) fn flow_name(namespace: &str, id: &str, columns: u16) -> String {
    let name = format!("{}/{}", clean(namespace), clean(id));
    let (count, columns) = (name.chars().count(), usize::from(columns));
    if count <= columns {
        return name;
    }
    let kept = name.chars().skip(count + 1 - columns.max(1));
    std::iter::once('…').chain(kept).collect()
}

/// The numbers of the rows that fit, the place of the chosen one, and the first that is shown.
fn window(shown: &[usize], at: usize, height: usize) -> (Vec<usize>, usize, usize) {
    let place = shown
        .iter()
        .position(|index| *index == at)
        .unwrap_or_default();
    let first = offset(place, height, shown.len());
    let rows = shown.iter().skip(first).take(height).copied().collect();
    (rows, place, first)
}

pub(super) fn flows(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let list = &model.flows;
    let shown = model.shown();
    let text = format!("flows: {}{}", shown.len(), filter_words(&list.needle));
    let area = caption(frame, area, theme, &text);
    if shown.is_empty() {
        let text = "There are no flows. `operon flows deploy FILE` deploys one.";
        empty(frame, area, theme, list.loaded, text);
        return;
    }
    let (numbers, at, first) = window(&shown, list.at, rows_of(area));
    let names = list
        .rows
        .iter()
        .map(|row| (row.namespace.as_str(), row.id.as_str()));
    let name = columns(area, 44, names);
    let rows = numbers
        .into_iter()
        .filter_map(|index| list.rows.get(index))
        .map(|row| {
            // The newest is at the right, as in a chart.
            let latest = row.latest.iter().rev();
            let latest = latest.map(|one| Span::styled(sign(&one.state), theme.state(&one.state)));
            let newest = row
                .latest
                .first()
                .map_or_else(|| "-".to_owned(), |one| ago(model.now_ms, one.created_ms));
            let off = if row.disabled {
                Span::styled("disabled", theme.warn())
            } else {
                Span::raw("")
            };
            Row::new([
                Cell::from(format!(" {}", flow_name(&row.namespace, &row.id, name))),
                right(row.revision.to_string()),
                Cell::from(Line::from(latest.collect::<Vec<_>>()).right_aligned()),
                right(newest),
                Cell::from(off),
                Cell::from(clean(
                    row.description
                        .as_deref()
                        .and_then(|text| text.lines().next())
                        .unwrap_or_default(),
                )),
            ])
        });
    let rows = rows.collect();
    let widths = vec![
        Constraint::Length(name + 1),
        Constraint::Length(4),
        Constraint::Length(10),
        Constraint::Length(4),
        Constraint::Length(8),
        Constraint::Fill(1),
    ];
    let head = vec![" flow", " rev", "latest", "last", "", "description"];
    sheet(
        frame,
        area,
        theme,
        Sheet {
            head,
            widths,
            rows,
            at,
            first,
        },
    );
}

pub(super) fn triggers(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let list = &model.triggers;
    let shown = model.shown();
    let text = format!("triggers: {}{}", shown.len(), filter_words(&list.needle));
    let area = caption(frame, area, theme, &text);
    if shown.is_empty() {
        empty(frame, area, theme, list.loaded, "There are no triggers.");
        return;
    }
    let (numbers, at, first) = window(&shown, list.at, rows_of(area));
    let names = list
        .rows
        .iter()
        .map(|row| (row.namespace.as_str(), row.flow.as_str()));
    let name = columns(area, 38, names);
    let longest = list.rows.iter().map(|row| row.id.chars().count()).max();
    let longest = u16::try_from(longest.unwrap_or_default()).unwrap_or(u16::MAX);
    let rows = numbers
        .into_iter()
        .filter_map(|index| list.rows.get(index))
        .map(|row| {
            let (state, style) = if row.disabled {
                ("- off", theme.warn())
            } else if row.last_error.is_some() {
                ("✗ error", theme.bad())
            } else if row.late {
                ("! late", theme.warn())
            } else {
                ("✓ on", theme.good())
            };
            let said = row
                .last_error
                .as_deref()
                .or(row.detail.as_deref())
                .unwrap_or_default();
            Row::new([
                Cell::from(Span::styled(format!(" {state}"), style)),
                Cell::from(flow_name(&row.namespace, &row.flow, name)),
                Cell::from(clean(&row.id)),
                Cell::from(clean(&row.kind)),
                right(
                    row.last_ms
                        .map_or_else(|| "-".to_owned(), |ms| ago(model.now_ms, ms)),
                ),
                Cell::from(
                    row.next_ms
                        .map_or_else(|| "-".to_owned(), |ms| clock(model, ms)),
                ),
                Cell::from(clean(said)),
            ])
        });
    let rows = rows.collect();
    let widths = vec![
        Constraint::Length(8),
        Constraint::Length(name),
        Constraint::Length(longest.clamp(7, 16)),
        Constraint::Length(9),
        Constraint::Length(4),
        Constraint::Length(11),
        Constraint::Fill(1),
    ];
    let head = vec![
        " state", "flow", "trigger", "type", "last", "next", "detail",
    ];
    sheet(
        frame,
        area,
        theme,
        Sheet {
            head,
            widths,
            rows,
            at,
            first,
        },
    );
}

pub(super) fn slots(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let list = &model.slots;
    let shown = model.shown();
    let locks = list
        .rows
        .iter()
        .filter(|row| matches!(row, SlotRow::Lock { .. }))
        .count();
    let text = format!("locks: {locks}{}", filter_words(&list.needle));
    let area = caption(frame, area, theme, &text);
    if shown.is_empty() {
        empty(
            frame,
            area,
            theme,
            list.loaded,
            "No flow limits how many of its executions run at once.",
        );
        return;
    }
    let (numbers, at, first) = window(&shown, list.at, rows_of(area));
    let rows = numbers
        .into_iter()
        .filter_map(|index| list.rows.get(index))
        .map(|row| {
            let (what, style, said) = match row {
                SlotRow::Lock {
                    name,
                    limit,
                    taken,
                    waiting,
                } => {
                    let of = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
                    let full = limit.is_some_and(|limit| {
                        *taken >= usize::try_from(limit).unwrap_or(usize::MAX)
                    });
                    let style = if full { theme.warn() } else { Style::new() };
                    let said = format!("{taken}{of} taken, {waiting} waiting");
                    (format!(" {}", clean(name)), style.patch(Theme::BOLD), said)
                }
                SlotRow::Owner {
                    execution,
                    until_ms,
                    ..
                } => {
                    let said = until_ms.map_or_else(
                        || "holds a slot".to_owned(),
                        |ms| format!("kept until {}: outcome unknown", clock(model, ms)),
                    );
                    let style = if until_ms.is_some() {
                        theme.warn()
                    } else {
                        theme.good()
                    };
                    (format!("   ● {execution}"), style, said)
                }
                SlotRow::Waiting {
                    execution, place, ..
                } => (
                    format!("   ○ {execution}"),
                    theme.dim(),
                    format!("waits, place {place}"),
                ),
            };
            Row::new([Cell::from(Span::styled(what, style)), Cell::from(said)])
        });
    let rows = rows.collect();
    let names = list.rows.iter().map(|row| (row.lock(), ""));
    let widths = vec![
        Constraint::Length(columns(area, 50, names) + 1),
        Constraint::Fill(1),
    ];
    sheet(
        frame,
        area,
        theme,
        Sheet {
            head: vec![" lock", "slots"],
            widths,
            rows,
            at,
            first,
        },
    );
}
