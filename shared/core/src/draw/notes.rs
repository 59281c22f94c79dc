//! What a drawing says about a task besides its id.

use crate::lang::model::{Dynamic, LoopValues};
use crate::plan::TaskNode;

use super::picture::{Part, Shape};

/// Characters of a template that a drawing repeats at most.
const TEMPLATE_MAX: usize = 40;

pub(super) fn loop_note(values: &LoopValues, window: u32) -> String {
    match values {
        LoopValues::Values(_) | LoopValues::Items { .. } => format!("× window {window}"),
        LoopValues::Until(until) => format!("until {}", shorten(&until.condition)),
    }
}

pub(super) fn task_notes(task: &TaskNode) -> Vec<String> {
    let mut notes = vec![
        task.plugin
            .clone()
            .unwrap_or_else(|| short_type(&task.task_type)),
    ];
    if let Some(attempts) = task.retry.as_ref().and_then(|retry| retry.max_attempts) {
        notes.push(format!("{attempts} attempts"));
    }
    if !task.idempotent {
        notes.push("once".to_owned());
    }
    notes
}

pub(super) fn group_notes(parts: &[Part], concurrent: u16, working_directory: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let body = parts.first().map_or(Shape::Chain, Part::shape);
    notes.push(
        match body {
            Shape::Chain => "in sequence",
            Shape::Parallel => "in parallel",
            Shape::Graph => "graph",
        }
        .to_owned(),
    );
    if concurrent > 0 && body != Shape::Chain {
        notes.push(format!("{concurrent} at once"));
    }
    if working_directory {
        notes.push("one directory".to_owned());
    }
    notes
}

/// The last two words of a class name: `io.kestra.plugin.scripts.python.Script` is `python.Script`.
fn short_type(name: &str) -> String {
    let mut words: Vec<&str> = name.rsplitn(3, '.').take(2).collect();
    words.reverse();
    words.join(".")
}

pub(super) fn timed(word: &str, duration: Option<&Dynamic<u64>>) -> String {
    match duration {
        None => word.to_owned(),
        Some(Dynamic::Constant(ms)) => format!("{word} {}", human(*ms)),
        Some(Dynamic::Template(template)) => format!("{word} {}", shorten(template)),
    }
}

/// Milliseconds as people say them, exactly: `90s`, `2h`, `1500ms`.
fn human(ms: u64) -> String {
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    units
        .into_iter()
        .find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit))
        .map_or_else(
            || format!("{ms}ms"),
            |(unit, name)| format!("{}{name}", ms / unit),
        )
}

/// Text without control characters, which could end a line or speak to a terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// One line of a template, cut when it is long.
pub(super) fn shorten(template: &str) -> String {
    let line = template.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= TEMPLATE_MAX {
        return line;
    }
    line.chars().take(TEMPLATE_MAX - 1).chain(['…']).collect()
}
