//! Colours and words for times and states.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const HELP: Style = AnsiColor::Cyan.on_default().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const BOLD: Style = Style::new().bold();

/// Colours by which tasks are told apart in merged logs.
const NAMES: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Green,
    AnsiColor::Yellow,
    AnsiColor::BrightCyan,
];

/// The text, in colour if there are colours.
pub(crate) fn paint(colour: bool, style: Style, text: &str) -> String {
    if colour {
        format!("{style}{text}{style:#}")
    } else {
        text.to_owned()
    }
}

/// The colour of a state.
pub(crate) fn of_state(state: &str) -> Style {
    match state {
        "SUCCESS" => AnsiColor::Green.on_default(),
        "WARNING" | "RETRYING" | "PAUSED" | "QUEUED" => AnsiColor::Yellow.on_default(),
        "FAILED" => AnsiColor::Red.on_default().bold(),
        "KILLED" | "KILLING" | "CANCELLED" => AnsiColor::Magenta.on_default(),
        "RUNNING" | "SUBMITTED" => AnsiColor::Cyan.on_default(),
        _ => DIM,
    }
}

/// The colour of a task's name: always the same for the same name.
pub(crate) fn of_name(name: &str) -> Style {
    let sum = name.bytes().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(31) + usize::from(byte)
    });
    NAMES
        .get(sum % NAMES.len())
        .map_or_else(Style::new, |colour| colour.on_default())
}

/// A state as it is shown in the middle of a line.
pub(crate) fn state(colour: bool, state: &str) -> String {
    paint(colour, of_state(state), state)
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn time(ms: u64) -> String {
    let time = i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or_default();
    format!("{time:.3}")
}

/// The time of day of this machine's time zone: `14:03:59`.
pub(crate) fn clock(ms: u64) -> String {
    let time = i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or_default();
    let zoned = time.to_zoned(jiff::tz::TimeZone::system());
    format!(
        "{:02}:{:02}:{:02}",
        zoned.hour(),
        zoned.minute(),
        zoned.second()
    )
}

/// `640ms`, `3.2s`, `4m 12s`, `2h 03m`, `5d 04h`.
pub(crate) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = match seconds {
        0 => write!(text, "{ms}ms"),
        1..60 => write!(text, "{seconds}.{}s", ms % 1000 / 100),
        60..3600 => write!(text, "{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => write!(text, "{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => write!(
            text,
            "{}d {:02}h",
            seconds / 86_400,
            seconds % 86_400 / 3600
        ),
    };
    text
}

/// Text for one line of the terminal: without control characters, cut to so many characters.
pub(crate) fn one_line(text: &str, characters: usize) -> String {
    let mut out = String::new();
    for (count, character) in text.trim().chars().enumerate() {
        if count + 1 >= characters && text.trim().chars().count() > characters {
            out.push('…');
            break;
        }
        out.push(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    out
}

/// The same without trimming the beginning, for lines made of columns.
pub(crate) fn one_line_keeping(text: &str, characters: usize) -> String {
    let text = text.trim_end();
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(characters.saturating_sub(1)).collect();
    out.push('…');
    out
}

/// Text of a task for the terminal: line breaks stay, escape sequences cannot do anything.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\t' => character,
            other if other.is_control() => '\u{fffd}',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        let shown: Vec<String> = [0, 999, 1_250, 61_000, 7_380_000, 446_400_000]
            .into_iter()
            .map(duration)
            .collect();
        assert_eq!(
            shown,
            ["0ms", "999ms", "1.2s", "1m 01s", "2h 03m", "5d 04h"]
        );
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn lines_are_cut_and_tamed() {
        assert_eq!(one_line("ab\u{1b}[31mc", 80), "ab [31mc");
        assert_eq!(one_line("abcdef", 4), "abc…");
        assert_eq!(one_line("abcd", 4), "abcd");
        assert_eq!(harmless("a\u{1b}[2J\n"), "a\u{fffd}[2J\n");
    }
}
