//! What stands in front of a page: help, questions, forms, the filter.

use ratatui::Frame;
use ratatui::layout::{Alignment, Position, Rect};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use super::{Theme, clean};
use crate::top::actions::Action;
use crate::top::form::Form;
use crate::top::keys;
use crate::top::message::Preview;
use crate::top::model::{Dialog, Model};

/// Skipped executions that a question names.
const SKIPPED_SHOWN: usize = 4;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    match &model.dialog {
        None => {}
        Some(Dialog::Help) => help(frame, area, model),
        Some(Dialog::Confirm {
            action,
            preview,
            sent,
        }) => {
            confirm(frame, area, action, preview.as_ref(), *sent, theme);
        }
        Some(Dialog::Form(form)) => fields(frame, area, form, theme),
        Some(Dialog::Filter { text, .. }) => filter(frame, area, text, theme),
    }
}

/// A box in the middle, as large as its text.
fn framed(frame: &mut Frame<'_>, area: Rect, title: &str, lines: Vec<Line<'_>>) -> Rect {
    let width = area.width.saturating_sub(4).min(76);
    let inner = usize::from(width.saturating_sub(4)).max(1);
    let wrapped: usize = lines
        .iter()
        .map(|line| line.width().div_ceil(inner).max(1))
        .sum();
    let height = u16::try_from(wrapped + 2)
        .unwrap_or(u16::MAX)
        .min(area.height);
    let outer = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    frame.render_widget(Clear, outer);
    let block = Block::bordered()
        .title(Span::styled(format!(" {title} "), Theme::BOLD))
        .padding(ratatui::widgets::Padding::horizontal(1))
        .title_alignment(Alignment::Left);
    let inside = block.inner(outer);
    let text = Paragraph::new(Text::from(lines))
        .wrap(Wrap { trim: false })
        .block(block);
    frame.render_widget(text, outer);
    inside
}

fn help(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let keys = keys::help(model.page);
    let lines = keys.into_iter().map(|(key, what)| {
        Line::from(vec![
            Span::styled(format!("{key:<10}"), Theme::BOLD),
            Span::raw(what),
        ])
    });
    framed(frame, area, "Keys", lines.collect());
}

fn confirm(
    frame: &mut Frame<'_>,
    area: Rect,
    action: &Action,
    preview: Option<&Preview>,
    sent: bool,
    theme: Theme,
) {
    let mut lines = vec![Line::raw(action.consequence()), Line::raw("")];
    if matches!(action, Action::Many { .. }) {
        match preview {
            None => lines.push(Line::styled(
                "Asking the server what would be done…",
                theme.dim(),
            )),
            Some(report) => {
                let skipped = report.skipped.len();
                lines.push(Line::raw(format!(
                    "It would be done to {}; {skipped} would be skipped.",
                    report.done
                )));
                lines.extend(report.skipped.iter().take(SKIPPED_SHOWN).map(|one| {
                    Line::styled(
                        format!("  {}: {}", clean(&one.id), clean(&one.reason)),
                        theme.dim(),
                    )
                }));
                if skipped > SKIPPED_SHOWN {
                    lines.push(Line::styled(
                        format!("  and {} more", skipped - SKIPPED_SHOWN),
                        theme.dim(),
                    ));
                }
            }
        }
        lines.push(Line::raw(""));
    }
    lines.push(if sent {
        Line::styled("Asking the server…", theme.dim())
    } else {
        Line::from(vec![
            Span::styled("y", Theme::BOLD),
            Span::raw(" yes   "),
            Span::styled("n", Theme::BOLD),
            Span::raw(" no"),
        ])
    });
    framed(frame, area, &action.question(), lines);
}

fn fields(frame: &mut Frame<'_>, area: Rect, form: &Form, theme: Theme) {
    // Around the field that is typed into, as many as fit: two lines each.
    let room = usize::from(area.height.saturating_sub(10)) / 2;
    let first = super::offset(form.at, room.max(1), form.fields.len());
    let mut lines = Vec::new();
    let mut cursor = None;
    for (index, field) in form.fields.iter().enumerate().skip(first).take(room.max(1)) {
        let here = index == form.at;
        let needed = if field.required { "*" } else { "" };
        lines.push(Line::from(vec![
            Span::styled(format!("{}{needed}", clean(&field.key)), Theme::BOLD),
            Span::styled(format!("  {}", clean(&field.hint)), theme.dim()),
        ]));
        let choose = if here && !field.choices.is_empty() {
            "  ← →"
        } else {
            ""
        };
        let value = clean(&field.value);
        // The end of what is typed stays visible.
        let shown: String = value
            .chars()
            .rev()
            .take(60)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect();
        let style = if here {
            Theme::CHOSEN
        } else {
            ratatui::style::Style::new()
        };
        if here && field.choices.is_empty() {
            cursor = Some((lines.len(), Line::raw(shown.as_str()).width()));
        }
        lines.push(Line::from(vec![
            Span::raw(if here { "› " } else { "  " }),
            Span::styled(
                if shown.is_empty() {
                    " ".to_owned()
                } else {
                    shown
                },
                style,
            ),
            Span::styled(choose, theme.dim()),
        ]));
    }
    if form.fields.is_empty() {
        lines.push(Line::raw("It asks for nothing."));
    }
    let (shown, count) = (room.max(1).min(form.fields.len()), form.fields.len());
    if shown < count {
        lines.push(Line::styled(
            format!("{} of {count}; Tab goes on", form.at + 1),
            theme.dim(),
        ));
    }
    lines.push(Line::raw(""));
    if let Some(error) = &form.error {
        lines.extend(
            error
                .lines()
                .map(|line| Line::styled(clean(line), theme.bad())),
        );
        lines.push(Line::raw(""));
    }
    let what = match form.action() {
        Ok(action) => action.consequence(),
        Err(_) => "* must have a value.",
    };
    lines.push(Line::styled(what, theme.dim()));
    lines.push(if form.sent {
        Line::styled("Asking the server…", theme.dim())
    } else {
        Line::from(vec![
            Span::styled("Enter", Theme::BOLD),
            Span::raw(" do it   "),
            Span::styled("Tab", Theme::BOLD),
            Span::raw(" next field   "),
            Span::styled("Esc", Theme::BOLD),
            Span::raw(" leave it"),
        ])
    });
    let inside = framed(frame, area, &form.title(), lines);
    if let Some((line, column)) = cursor.filter(|_| !form.sent) {
        let (x, y) = (
            u16::try_from(column + 2).unwrap_or(0),
            u16::try_from(line).unwrap_or(0),
        );
        frame.set_cursor_position(Position {
            x: inside.x + x,
            y: inside.y + y,
        });
    }
}

/// The filter is typed in the last but one line.
fn filter(frame: &mut Frame<'_>, area: Rect, text: &str, theme: Theme) {
    let line = Rect {
        y: area.bottom().saturating_sub(2),
        height: 1,
        ..area
    };
    let hint = Rect {
        y: area.bottom().saturating_sub(1),
        height: 1,
        ..area
    };
    frame.render_widget(Clear, line);
    frame.render_widget(Clear, hint);
    let shown = clean(text);
    let width = u16::try_from(Line::raw(shown.as_str()).width()).unwrap_or(0);
    let content = Line::from(vec![Span::styled(" / ", Theme::BOLD), Span::raw(shown)]);
    frame.render_widget(content, line);
    let keys = Line::styled(
        " Enter apply  Ctrl-u clear  Esc leave it as it was",
        theme.dim(),
    );
    frame.render_widget(keys, hint);
    let x = (line.x + 3 + width).min(line.right().saturating_sub(1));
    frame.set_cursor_position(Position { x, y: line.y });
}
