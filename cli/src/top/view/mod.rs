//! Drawing what is known. Pure: the same model, size and theme give the same picture.
//!
//! Without colours every difference is also a sign, a word or reverse video.

mod dialogs;
mod execution;
mod executions;
mod gantt;
mod lists;
mod theme;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::model::{Link, Model, PageName};
use crate::style;

pub(super) use theme::Theme;

/// The smallest terminal in which everything can be read.
pub(super) const COLUMNS_MIN: u16 = 60;
/// The same for rows.
pub(super) const ROWS_MIN: u16 = 16;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, theme: Theme) {
    let area = frame.area();
    if area.width < COLUMNS_MIN || area.height < ROWS_MIN {
        let text = format!(
            "This terminal has {}x{} characters; `operon top` needs {COLUMNS_MIN}x{ROWS_MIN}. Make it larger, or press q.",
            area.width, area.height
        );
        let text = Paragraph::new(text).wrap(ratatui::widgets::Wrap { trim: true });
        frame.render_widget(text, area);
        return;
    }
    let [head, tabs, body, status, hints] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(area);
    header(frame, head, model, theme);
    pages(frame, tabs, model, theme);
    match model.page {
        PageName::Executions => executions::draw(frame, body, model, theme),
        PageName::Execution => execution::draw(frame, body, model, theme),
        PageName::Flows => lists::flows(frame, body, model, theme),
        PageName::Triggers => lists::triggers(frame, body, model, theme),
        PageName::Slots => lists::slots(frame, body, model, theme),
    }
    status_line(frame, status, model, theme);
    let text = Line::styled(short(model), theme.dim());
    frame.render_widget(text, hints);
    dialogs::draw(frame, area, model, theme);
}

/// Who, where, and whether the connection works.
fn header(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let mut left = vec![
        Span::styled(" Operon ", Theme::HEAD),
        Span::raw(" "),
        Span::raw(clean(&model.server)),
    ];
    if let Some(who) = &model.who {
        left.push(Span::styled(
            format!("  {} ({})", clean(&who.subject), clean(&who.role)),
            theme.dim(),
        ));
    }
    let (text, style) = match &model.link {
        Link::Connecting => ("connecting…".to_owned(), theme.dim()),
        Link::Up | Link::Back { .. } => ("● live".to_owned(), theme.good()),
        Link::Lost { .. } => ("○ not connected".to_owned(), theme.bad()),
    };
    let right = Line::from(vec![
        Span::styled(text, style),
        Span::raw(format!("  {} ", clock(model, model.now_ms))),
    ])
    .right_aligned();
    let width = u16::try_from(right.width())
        .unwrap_or(area.width)
        .min(area.width);
    let [left_area, right_area] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(width)]).areas(area);
    frame.render_widget(Line::from(left), left_area);
    frame.render_widget(right, right_area);
}

fn pages(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let mut spans = Vec::new();
    let names = [
        (PageName::Executions, "1 Executions"),
        (PageName::Flows, "2 Flows"),
        (PageName::Triggers, "3 Triggers"),
        (PageName::Slots, "4 Slots"),
    ];
    let shown = if model.page == PageName::Execution {
        model.from
    } else {
        model.page
    };
    for (page, name) in names {
        let style = if page == shown {
            Theme::CHOSEN
        } else {
            theme.dim()
        };
        spans.push(Span::styled(format!(" {name} "), style));
        spans.push(Span::raw(" "));
    }
    if let Some(page) = model
        .execution
        .as_ref()
        .filter(|_| model.page == PageName::Execution)
    {
        spans.push(Span::raw(format!("› {}", page.id)));
    }
    frame.render_widget(Line::from(spans), area);
}

/// A lost connection first, then what was just said.
fn status_line(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let line = match (&model.link, &model.notice) {
        (Link::Lost { since_ms, why, .. }, _) => {
            let since = whole(model.now_ms.saturating_sub(*since_ms));
            let text = format!(" ○ No connection for {since}, trying again: {}", clean(why));
            Line::styled(text, theme.bad())
        }
        (Link::Connecting | Link::Up | Link::Back { .. }, Some(notice)) => {
            let style = if notice.bad {
                theme.bad()
            } else {
                theme.good()
            };
            let sign = if notice.bad { "✗" } else { "✓" };
            Line::styled(format!(" {sign} {}", clean(&notice.text)), style)
        }
        (Link::Back { after_ms, .. }, None) => {
            let after = whole(*after_ms);
            let text =
                format!(" ✓ Connected again after {after}: lists are read again, streams go on");
            Line::styled(text, theme.good())
        }
        (Link::Connecting | Link::Up, None) => Line::raw(""),
    };
    frame.render_widget(line, area);
}

/// The keys that are needed most.
fn short(model: &Model) -> &'static str {
    match model.page {
        PageName::Executions if model.marked.is_empty() => {
            " Enter open  / filter  Space mark  x kill  R restart  a resume  ? help  q quit"
        }
        PageName::Executions => {
            " x kill marked  R restart  t retry failed  a resume  u unmark  ? help"
        }
        PageName::Execution => {
            " l log  f failed  x kill  R restart  r replay  a answer  Esc back  ? help"
        }
        PageName::Flows => " Enter executions  r start  e enable/disable  / filter  ? help  q quit",
        PageName::Triggers => " Enter executions  e enable/disable  / filter  ? help  q quit",
        PageName::Slots => " Enter open execution  x kill  / filter  ? help  q quit",
    }
}

/// Text from elsewhere in one line: without control characters and what terminals are told with.
pub(super) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            // Colours and cursor movements of programs: ESC [ … letter.
            '\u{1b}' if characters.peek() == Some(&'[') => {
                characters.next();
                while characters
                    .next_if(|next| !('@'..='~').contains(next))
                    .is_some()
                {}
                characters.next();
            }
            '\t' => out.push_str("    "),
            other if other.is_control() => out.push(' '),
            // Marks that turn the direction of text could make it read otherwise than it is.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            other => out.push(other),
        }
    }
    out
}

/// A time of day, with the date if it is not today.
fn clock(model: &Model, ms: u64) -> String {
    let of = |ms: u64| {
        let time = i64::try_from(ms)
            .ok()
            .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        time.unwrap_or_default().to_zoned(model.zone.clone())
    };
    let (time, now) = (of(ms), of(model.now_ms));
    let clock = format!(
        "{:02}:{:02}:{:02}",
        time.hour(),
        time.minute(),
        time.second()
    );
    if time.date() == now.date() {
        clock
    } else {
        format!(
            "{:02}-{:02} {}",
            time.month(),
            time.day(),
            clock.get(..5).unwrap_or(&clock)
        )
    }
}

/// How long ago, in one unit: `12s`, `4m`, `3h`, `2d`.
fn ago(now_ms: u64, ms: u64) -> String {
    let seconds = now_ms.saturating_sub(ms) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// From its start, or what it waited for it, to its end or now.
fn took(now_ms: u64, started_ms: Option<u64>, ended_ms: Option<u64>) -> String {
    match (started_ms, ended_ms) {
        (Some(started), Some(ended)) => style::duration(ended.saturating_sub(started)),
        // Without the tenths that would never stand still.
        (Some(started), None) => whole(now_ms.saturating_sub(started)),
        (None, _) => "-".to_owned(),
    }
}

/// A duration in whole seconds.
fn whole(ms: u64) -> String {
    match ms / 1000 {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds => style::duration(seconds * 1000),
    }
}

/// Of a list of `count` rows the first that is shown, so that the chosen one is.
fn offset(at: usize, height: usize, count: usize) -> usize {
    let wanted = at.saturating_sub(height.saturating_mul(2) / 3);
    wanted.min(count.saturating_sub(height))
}
