//! Cron expressions: when a schedule fires. Reading them; the engine asks [`Cron::matches`].
//!
//! Unix cron: minute, hour, day of month, month, day of week; with seconds, a sixth field in front.
//! When both days are restricted, either one is enough, as in every Unix cron.

/// A parsed cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
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
    // 7 is Sunday too; it is folded onto 0.
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
        let (seconds, fields) = if want == 6 {
            (field(fields[0], &SECOND)?, &fields[1..])
        } else {
            (1, &fields[..])
        };
        let mut sets = [0_u64; 5];
        for (set, (text, kind)) in sets.iter_mut().zip(fields.iter().zip(&FIELDS)) {
            *set = field(text, kind)?;
        }
        let [minutes, hours, days, months, weekdays] = sets;
        let cron = Self {
            seconds,
            minutes,
            hours,
            days,
            months,
            weekdays: (weekdays | (weekdays >> 7)) & 0x7f,
            either_day: !fields[2].starts_with('*') && !fields[4].starts_with('*'),
        };
        cron.happens(text)
    }

    /// Refuses what no calendar has, such as 31 February.
    fn happens(self, text: &str) -> Result<Self, CronError> {
        let longest = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let possible = self.either_day
            || longest.iter().zip(1..).any(|(length, month)| {
                has(self.months, month) && (1..=*length).any(|day| has(self.days, day))
            });
        if possible {
            Ok(self)
        } else {
            Err(CronError(format!(
                "`{text}` never fires: no such day is in that month"
            )))
        }
    }

    /// Whether it fires at this local time. Weekday 0 is Sunday.
    #[must_use]
    pub fn matches(
        &self,
        second: u32,
        minute: u32,
        hour: u32,
        day: u32,
        month: u32,
        weekday: u32,
    ) -> bool {
        self.matches_day(day, month, weekday)
            && has(self.hours, hour)
            && has(self.minutes, minute)
            && has(self.seconds, second)
    }

    /// Whether it fires at all on this day, so that others can be skipped at once.
    #[must_use]
    pub fn matches_day(&self, day: u32, month: u32, weekday: u32) -> bool {
        let (of_month, of_week) = (has(self.days, day), has(self.weekdays, weekday));
        let days = if self.either_day {
            of_month || of_week
        } else {
            of_month && of_week
        };
        days && has(self.months, month)
    }

    /// Hours, minutes and seconds at which it fires, ascending, as sets of bits.
    #[must_use]
    pub const fn times(&self) -> (u64, u64, u64) {
        (self.hours, self.minutes, self.seconds)
    }
}

const fn has(set: u64, value: u32) -> bool {
    value < 64 && set & (1 << value) != 0
}

fn field(text: &str, kind: &Field) -> Result<u64, CronError> {
    text.split(',')
        .try_fold(0, |set, part| Ok(set | range(part, kind)?))
}

fn range(part: &str, kind: &Field) -> Result<u64, CronError> {
    let error = |why: &str| {
        CronError(format!(
            "`{part}` is not a {}: {why}; it goes from {} to {}",
            kind.name, kind.min, kind.max
        ))
    };
    let (span, step) = match part.split_once('/') {
        Some((span, step)) => {
            let step = step.parse::<u32>().ok().filter(|step| *step > 0);
            (
                span,
                Some(step.ok_or_else(|| error("the step is not a positive number"))?),
            )
        }
        None => (part, None),
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
    let (from, to) = match span.split_once('-') {
        _ if span == "*" || span == "?" => (kind.min, kind.max),
        Some((from, to)) => (value(from)?, value(to)?),
        None => {
            let from = value(span)?;
            (from, if step.is_some() { kind.max } else { from })
        }
    };
    if from > to {
        return Err(error("the range runs backwards"));
    }
    let step = usize::try_from(step.unwrap_or(1)).unwrap_or(usize::MAX);
    Ok((from..=to)
        .step_by(step)
        .fold(0, |set, value| set | (1 << value)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn fields_ranges_steps_and_names() {
        let cron = Cron::parse("*/15 2-4 * jan,JUL mon-fri", false).unwrap();
        assert!(cron.matches(0, 45, 3, 5, 1, 1));
        assert!(!cron.matches(0, 46, 3, 5, 1, 1));
        assert!(!cron.matches(0, 45, 5, 5, 1, 1));
        assert!(!cron.matches(0, 45, 3, 5, 2, 1));
        assert!(!cron.matches(0, 45, 3, 5, 1, 0));
        assert!(!cron.matches(1, 45, 3, 5, 1, 1), "only at second 0");
        let sunday = Cron::parse("0 0 * * 7", false).unwrap();
        assert!(sunday.matches(0, 0, 0, 9, 9, 0));
        let seconds = Cron::parse("*/10 * * * * *", true).unwrap();
        assert!(seconds.matches(50, 1, 1, 1, 1, 1));
        assert_eq!(Cron::parse("@daily", true), Cron::parse("0 0 * * *", false));
    }

    #[test]
    fn either_day_is_enough_when_both_are_given() {
        let cron = Cron::parse("0 0 13 * 5", false).unwrap();
        assert!(cron.matches_day(13, 3, 1));
        assert!(cron.matches_day(14, 3, 5));
        assert!(!cron.matches_day(14, 3, 1));
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
            ("", false, "0 fields"),
        ] {
            let message = Cron::parse(text, seconds).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
