//! Cron expressions: when a schedule fires.
//!
//! Unix cron: minute, hour, day of month, month, day of week; with seconds, a sixth field in front. `L`, `W` and
//! `#` stand for the last day, the nearest working day and the n-th weekday of a month. When both days are
//! restricted, either one is enough, as in every Unix cron.
//!
//! The dates are found by the crate `croner`, which also knows what becomes of hours that a change of the clocks
//! leaves out or repeats (docs/decisions/0040-triggers.md). What is read here first is read for the sake of its
//! messages.

use croner::parser::{CronParser, Seconds, Year};
use jiff::{Timestamp, Zoned, tz::TimeZone};

/// A parsed cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    pattern: croner::Cron,
    text: String,
    seconds: bool,
}

/// Why a text is not a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &[
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const SECOND: Field = Field {
    name: "second",
    min: 0,
    max: 59,
    names: &[],
};
const FIELDS: [Field; 5] = [
    Field {
        name: "minute",
        min: 0,
        max: 59,
        names: &[],
    },
    Field {
        name: "hour",
        min: 0,
        max: 23,
        names: &[],
    },
    Field {
        name: "day of the month",
        min: 1,
        max: 31,
        names: &[],
    },
    Field {
        name: "month",
        min: 1,
        max: 12,
        names: MONTHS,
    },
    // 7 is Sunday too.
    Field {
        name: "day of the week",
        min: 0,
        max: 7,
        names: WEEKDAYS,
    },
];

impl Cron {
    /// Reads five fields, six with seconds, or a name such as `@daily`.
    pub fn parse(text: &str, with_seconds: bool) -> Result<Self, CronError> {
        let text = text.trim();
        let expanded = match text.to_ascii_lowercase().as_str() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            _ if text.starts_with('@') => {
                return Err(CronError(format!(
                    "`{text}` is not known; write `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly` or five fields"
                )));
            }
            _ => "",
        };
        let named = !expanded.is_empty();
        let fields: Vec<&str> = if named { expanded } else { text }
            .split_whitespace()
            .collect();
        let want = if with_seconds && !named { 6 } else { 5 };
        if fields.len() != want {
            let hint = match (fields.len(), want) {
                (6, 5) => "; for seconds write `withSeconds: true`",
                _ => "",
            };
            return Err(CronError(format!(
                "`{text}` has {} fields, not {want} ({}minute hour day month weekday){hint}",
                fields.len(),
                if want == 6 { "second " } else { "" },
            )));
        }
        let kinds = if want == 6 { Some(&SECOND) } else { None }
            .into_iter()
            .chain(&FIELDS);
        for (field, kind) in fields.iter().zip(kinds) {
            check(field, kind)?;
        }
        let seconds = if want == 6 {
            Seconds::Required
        } else {
            Seconds::Disallowed
        };
        let parser = CronParser::builder()
            .seconds(seconds)
            .year(Year::Disallowed)
            .sloppy_ranges(true)
            .build();
        let pattern = parser
            .parse(&fields.join(" "))
            .map_err(|error| CronError(format!("`{text}` cannot be read: {error}")))?;
        let cron = Self {
            pattern,
            text: fields.join(" "),
            seconds: want == 6,
        };
        // From the epoch on, every day of the calendar comes within some years.
        let start = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        if cron.next_after(&start).is_none() {
            return Err(CronError(format!(
                "`{text}` never fires: no such day is in that month"
            )));
        }
        Ok(cron)
    }

    /// The fields.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the first field is the second.
    #[must_use]
    pub const fn has_seconds(&self) -> bool {
        self.seconds
    }

    /// The first date after `after`, in its time zone.
    #[must_use]
    pub fn next_after(&self, after: &Zoned) -> Option<Zoned> {
        self.pattern.find_next_occurrence(after, false).ok()
    }

    /// The last date at or before `at`, in its time zone.
    #[must_use]
    pub fn last_until(&self, at: &Zoned) -> Option<Zoned> {
        self.pattern.find_previous_occurrence(at, true).ok()
    }
}

/// Says what is wrong with a field in the words of this language; what has `L`, `W` or `#` is left to the crate.
fn check(text: &str, kind: &Field) -> Result<(), CronError> {
    for part in text.split(',') {
        let upper = part.to_ascii_uppercase();
        let special = kind.max == 31 && (upper.contains('L') || upper.contains('W'))
            || kind.max == 7
                && (upper.contains('#') || upper.ends_with('L') || upper.ends_with('+'));
        if !special {
            range(part, kind)?;
        }
    }
    Ok(())
}

fn range(part: &str, kind: &Field) -> Result<(), CronError> {
    let error = |why: &str| {
        CronError(format!(
            "`{part}` is not a {}: {why}; it goes from {} to {}",
            kind.name, kind.min, kind.max
        ))
    };
    let span = match part.split_once('/') {
        Some((span, step)) => {
            let step = step.parse::<u32>().ok().filter(|step| *step > 0);
            step.ok_or_else(|| error("the step is not a positive number"))?;
            span
        }
        None => part,
    };
    let value = |text: &str| {
        let lower = text.to_ascii_lowercase();
        let named = kind.names.iter().position(|name| *name == lower);
        let number = match named {
            Some(index) => u32::try_from(index).ok().map(|index| index + kind.min),
            None => text.parse().ok(),
        };
        number
            .filter(|number| (kind.min..=kind.max).contains(number))
            .ok_or_else(|| error("out of range or not a number"))
    };
    match span.split_once('-') {
        _ if span == "*" || span == "?" => {}
        Some((from, to)) => {
            if value(from)? > value(to)? {
                return Err(error("the range runs backwards"));
            }
        }
        None => {
            value(span)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The first dates after a local time, as local times with offset.
    fn dates(cron: &str, seconds: bool, after: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(cron, seconds).unwrap();
        let mut at: Zoned = after.parse().unwrap();
        let mut found = Vec::new();
        for _ in 0..count {
            at = cron.next_after(&at).unwrap();
            found.push(at.strftime("%a %m-%d %H:%M:%S %:z").to_string());
        }
        found
    }

    #[test]
    fn fields_ranges_steps_and_names() {
        assert_eq!(
            dates(
                "*/15 2-3 * jan,JUL mon-fri",
                false,
                "2026-01-30T03:30[UTC]",
                3
            ),
            [
                "Fri 01-30 03:45:00 +00:00",
                "Wed 07-01 02:00:00 +00:00",
                "Wed 07-01 02:15:00 +00:00"
            ]
        );
        assert_eq!(
            dates("*/10 * * * * *", true, "2026-01-30T03:30:45[UTC]", 2),
            ["Fri 01-30 03:30:50 +00:00", "Fri 01-30 03:31:00 +00:00"]
        );
        assert_eq!(
            dates("0 0 * * 7", false, "2026-01-30T03:30[UTC]", 1),
            ["Sun 02-01 00:00:00 +00:00"]
        );
        assert_eq!(
            dates("5/20 * * * *", false, "2026-01-30T03:30[UTC]", 2),
            ["Fri 01-30 03:45:00 +00:00", "Fri 01-30 04:05:00 +00:00"]
        );
        assert_eq!(Cron::parse("@daily", true), Cron::parse("0 0 * * *", false));
    }

    #[test]
    fn either_day_is_enough_when_both_are_given() {
        assert_eq!(
            dates("0 0 13 * 5", false, "2026-02-06T00:00[UTC]", 3),
            [
                "Fri 02-13 00:00:00 +00:00",
                "Fri 02-20 00:00:00 +00:00",
                "Fri 02-27 00:00:00 +00:00"
            ]
        );
    }

    #[test]
    fn ends_of_months_and_nth_weekdays() {
        assert_eq!(
            dates("0 6 L * *", false, "2028-01-30T07:00[UTC]", 3),
            [
                "Mon 01-31 06:00:00 +00:00",
                "Tue 02-29 06:00:00 +00:00",
                "Fri 03-31 06:00:00 +00:00"
            ]
        );
        assert_eq!(
            dates("0 6 * * 1#1", false, "2026-03-01T00:00[UTC]", 2),
            ["Mon 03-02 06:00:00 +00:00", "Mon 04-06 06:00:00 +00:00"]
        );
        assert_eq!(
            dates("0 6 * * FRI#L", false, "2026-03-01T00:00[UTC]", 1),
            ["Fri 03-27 06:00:00 +00:00"]
        );
    }

    #[test]
    fn the_clocks_change_in_spring_and_autumn() {
        // 29 March 2026: 02:00 becomes 03:00. What is fixed at 02:30 fires once, at the first moment there is.
        assert_eq!(
            dates("30 2 * * *", false, "2026-03-28T12:00[Europe/Zurich]", 2),
            ["Sun 03-29 03:00:00 +02:00", "Mon 03-30 02:30:00 +02:00"]
        );
        // What fires every half hour goes on every half hour of real time.
        assert_eq!(
            dates("*/30 * * * *", false, "2026-03-29T01:20[Europe/Zurich]", 3),
            [
                "Sun 03-29 01:30:00 +01:00",
                "Sun 03-29 03:00:00 +02:00",
                "Sun 03-29 03:30:00 +02:00"
            ]
        );
        // 25 October 2026: 03:00 becomes 02:00. What is fixed at 02:30 fires once, at the first of the two.
        assert_eq!(
            dates("30 2 * * *", false, "2026-10-24T12:00[Europe/Zurich]", 2),
            ["Sun 10-25 02:30:00 +02:00", "Mon 10-26 02:30:00 +01:00"]
        );
        assert_eq!(
            dates("0 * * * *", false, "2026-10-25T01:30[Europe/Zurich]", 3),
            [
                "Sun 10-25 02:00:00 +02:00",
                "Sun 10-25 02:00:00 +01:00",
                "Sun 10-25 03:00:00 +01:00"
            ]
        );
    }

    #[test]
    fn wrong_ones_say_why() {
        for (text, seconds, part) in [
            ("0 2 * *", false, "4 fields"),
            ("0 0 2 * * *", false, "withSeconds"),
            ("60 * * * *", false, "minute"),
            ("* 24 * * *", false, "hour"),
            ("* * 0 * *", false, "day of the month"),
            ("* * * foo *", false, "month"),
            ("5-1 * * * *", false, "backwards"),
            ("*/0 * * * *", false, "step"),
            ("@often", false, "@daily"),
            ("0 0 31 2 *", false, "never fires"),
            ("0 0 * * 1#9", false, "cannot be read"),
            ("", false, "0 fields"),
        ] {
            let message = Cron::parse(text, seconds).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
