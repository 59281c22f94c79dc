//! One execution: what it is, its task runs over time, and the log of the chosen one.

use std::fmt::Write as _;

use operon_api::dto::{ExecutionDetail, ExecutionSummary, TaskRun};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::gantt::Scale;
use super::theme::sign;
use super::{Theme, clean, clock, offset, took};
use crate::style;
use crate::top::execution::{ExecutionPage, RUNS_MAX};
use crate::top::model::Model;

/// Columns of a duration.
const TOOK: usize = 8;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let Some(page) = &model.execution else {
        return;
    };
    let facts = facts(model, page, theme);
    let head = u16::try_from(facts.len()).unwrap_or(3);
    let [head, rest] = Layout::vertical([Constraint::Length(head), Constraint::Min(0)]).areas(area);
    frame.render_widget(ratatui::text::Text::from(facts), head);
    if page.log_large {
        log(frame, rest, model, page, theme);
        return;
    }
    // The chart takes what it needs, and at least half is left for the log.
    let wanted = u16::try_from(page.shown().len() + 1).unwrap_or(u16::MAX);
    let chart = wanted.clamp(3, (rest.height / 2).max(3));
    let [chart, lines] =
        Layout::vertical([Constraint::Length(chart), Constraint::Min(0)]).areas(rest);
    runs(frame, chart, model, page, theme);
    log(frame, lines, model, page, theme);
}

/// What is known of the execution: two lines, and a third when somebody must read it.
fn facts<'a>(model: &Model, page: &ExecutionPage, theme: Theme) -> Vec<Line<'a>> {
    let Some(summary) = &page.summary else {
        return vec![Line::styled(" Loading…", theme.dim())];
    };
    let took = took(model.now_ms, summary.started_ms, summary.ended_ms);
    let first = Line::from(vec![
        Span::styled(
            format!(" {} {}", sign(&summary.state), summary.state),
            theme.state(&summary.state),
        ),
        Span::styled(
            format!("  {}/{}", clean(&summary.namespace), clean(&summary.flow)),
            Theme::BOLD,
        ),
        Span::raw(format!("  revision {}  {took}", summary.revision)),
    ]);
    let mut lines = vec![
        first,
        Line::from(second(model, summary, page.detail.as_ref(), theme)),
    ];
    if let Some(reason) = &summary.reason {
        lines.push(Line::styled(
            format!(" {}", clean(reason)),
            theme.state(&summary.state),
        ));
    }
    if let Some(detail) = &page.detail {
        let names: Vec<String> = detail
            .pauses
            .iter()
            .take(3)
            .map(|pause| clean(&pause.name))
            .collect();
        if !names.is_empty() {
            let text = format!(" ‖ {} waits for a person: a answers it", names.join(", "));
            lines.push(Line::styled(text, theme.warn()));
        }
        if detail.failed_items > 0 {
            let text = format!(
                " Failed items: {}; f shows them, t retries them",
                detail.failed_items
            );
            lines.push(Line::styled(text, theme.warn()));
        }
    }
    lines
}

/// When and why it began, and how its task runs are.
fn second<'a>(
    model: &Model,
    summary: &ExecutionSummary,
    detail: Option<&ExecutionDetail>,
    theme: Theme,
) -> Vec<Span<'a>> {
    let cause = match &summary.trigger {
        None => "by hand".to_owned(),
        Some(trigger) => {
            let id = trigger
                .id
                .as_deref()
                .map_or_else(String::new, |id| format!(" {}", clean(id)));
            format!("by {}{id}", clean(&trigger.kind))
        }
    };
    let mut spans = vec![Span::styled(
        format!(" started {} {cause}", clock(model, summary.created_ms)),
        theme.dim(),
    )];
    if let Some(of) = &summary.replay_of {
        spans.push(Span::styled(format!(", replay of {of}"), theme.dim()));
    }
    for (state, count) in detail.iter().flat_map(|detail| &detail.counts) {
        spans.push(Span::styled(
            format!("  {} {count} {state}", sign(state)),
            theme.state(state),
        ));
    }
    spans
}

fn runs(frame: &mut Frame<'_>, area: Rect, model: &Model, page: &ExecutionPage, theme: Theme) {
    let shown = page.shown();
    let width = usize::from(area.width);
    let longest = shown
        .iter()
        .map(|run| run.name.chars().count())
        .max()
        .unwrap_or(0);
    let name = longest.clamp(8, width / 4);
    // Sign and spaces.
    let bar = width.saturating_sub(name + TOOK + 5);
    let from = page.summary.as_ref().map(|summary| summary.created_ms);
    let scale = Scale::of(
        &shown,
        from.filter(|_| page.needle.is_empty()),
        model.now_ms,
        bar,
    );
    let what = match (page.failed_only, page.more) {
        (true, _) => "failed".to_owned(),
        (false, true) => format!("first {RUNS_MAX}"),
        (false, false) => "task run".to_owned(),
    };
    let head = format!(" {:<width$} {}", what, scale.axis(), width = name + 2);
    let mut lines = vec![Line::styled(head, theme.dim())];
    if shown.is_empty() {
        let text = match (page.loaded, page.failed_only || !page.needle.is_empty()) {
            (false, _) => " Loading…",
            (true, true) => " No task run is like this.",
            (true, false) => " No task run has begun.",
        };
        lines.push(Line::styled(text, theme.dim()));
    }
    let height = usize::from(area.height).saturating_sub(1);
    let first = offset(page.at, height, shown.len());
    for (index, run) in shown.iter().enumerate().skip(first).take(height) {
        lines.push(row(run, index == page.at, name, scale, model.now_ms, theme));
    }
    frame.render_widget(ratatui::text::Text::from(lines), area);
}

fn row<'a>(
    run: &TaskRun,
    chosen: bool,
    name: usize,
    scale: Scale,
    now_ms: u64,
    theme: Theme,
) -> Line<'a> {
    let style = if chosen { Theme::CHOSEN } else { Style::new() };
    let text = style::one_line(&clean(&run.name), name);
    let mut spans = vec![
        Span::styled(format!(" {} ", sign(&run.state)), theme.state(&run.state)),
        Span::styled(format!("{text:<name$}"), style),
        Span::raw(" "),
    ];
    spans.extend(scale.bar(run, now_ms, theme).spans);
    let ended = run.ended_ms;
    let took = if run.cached {
        "cached".to_owned()
    } else if run.reused_from.is_some() {
        "reused".to_owned()
    } else {
        took(now_ms, run.started_ms, ended)
    };
    spans.push(Span::raw(format!(" {took:>TOOK$}")));
    Line::from(spans)
}

fn log(frame: &mut Frame<'_>, area: Rect, model: &Model, page: &ExecutionPage, theme: Theme) {
    if area.height < 2 {
        return;
    }
    let run = page.current();
    let log = &page.log;
    let mut head = run.map_or_else(
        || "log".to_owned(),
        |run| format!("log of {}", clean(&run.name)),
    );
    if let (Some(run), Some(source)) = (run, &log.source)
        && run.attempts.len() > 1
    {
        // Writing to a string cannot fail.
        let _ = write!(
            head,
            ", attempt {} of {}",
            source.attempt,
            run.attempts.len()
        );
    }
    head.push_str(match (log.back > 0, log.ended, log.source.is_some()) {
        (true, _, _) => " (scrolled: End follows it)",
        (false, false, true) => " (following)",
        (false, true, _) | (false, false, false) => "",
    });
    let dashes = usize::from(area.width).saturating_sub(head.chars().count() + 5);
    let mut lines = vec![Line::styled(
        format!("── {head} {}", "─".repeat(dashes)),
        theme.dim(),
    )];
    let height = usize::from(area.height).saturating_sub(1);
    // The error stands under the log, where the eye ends.
    let said = run.and_then(|run| {
        run.message
            .as_deref()
            .map(|message| (message, run.state.as_str()))
    });
    let mut foot: Vec<Line<'_>> = Vec::new();
    if log.ended && log.back == 0 {
        foot.push(Line::styled(" End of log", theme.dim()));
    }
    if let Some((message, state)) = said {
        let text = style::one_line(&clean(message), usize::from(area.width).saturating_sub(4));
        foot.push(Line::styled(
            format!(" {} {text}", sign(state)),
            theme.state(state),
        ));
    }
    let room = height.saturating_sub(foot.len());
    let end = log.lines.len().saturating_sub(log.back);
    let begin = end.saturating_sub(room);
    if log.lines.is_empty() && foot.is_empty() {
        let text = match (log.source.is_some(), log.loaded) {
            (false, _) => " Nothing of it has run.",
            (true, false) => " Loading…",
            (true, true) => " Nothing has been written yet.",
        };
        lines.push(Line::styled(text, theme.dim()));
    }
    for line in log.lines.range(begin..end) {
        lines.push(Line::from(vec![
            Span::styled(format!(" {} ", clock(model, line.time_ms)), theme.dim()),
            Span::styled(clean(&line.text), theme.level(&line.level)),
        ]));
    }
    lines.extend(foot);
    frame.render_widget(ratatui::text::Text::from(lines), area);
}
