//! How `EventBridge` Scheduler is told when to look at a trigger.
//!
//! What it says is only a hint to look: which dates are due, the cursor and [`super::schedule`] decide. So an
//! expression may fire too often, and where AWS cannot say the same as cron it does: `rate(1 minute)`.

use super::schedule::Dates;
use super::{Config, Kind};

/// An expression with the time zone in which it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    /// `cron(…)` or `rate(…)`.
    pub text: String,
    /// IANA name.
    pub zone: String,
}

/// The expression for a trigger; none for one that neither has dates nor looks.
#[must_use]
pub fn expression(trigger: &Config) -> Option<Expression> {
    if let Some(interval) = trigger.interval_ms() {
        let minutes = interval.div_ceil(60_000).max(1);
        let unit = if minutes == 1 { "minute" } else { "minutes" };
        return Some(Expression {
            text: format!("rate({minutes} {unit})"),
            zone: "UTC".to_owned(),
        });
    }
    let Kind::Schedule(schedule) = &trigger.kind else {
        return None;
    };
    let zone = schedule.zone.iana_name().unwrap_or("UTC").to_owned();
    let cron = if let Dates::Cron(cron) = &schedule.dates {
        Some(cron)
    } else {
        None
    };
    let text = cron
        .filter(|cron| !cron.has_seconds())
        .and_then(|cron| of_cron(cron.text()))
        .unwrap_or_else(|| "rate(1 minute)".to_owned());
    Some(Expression { text, zone })
}

/// Cron as AWS writes it: six fields, one of the two days `?`, weekdays by name.
fn of_cron(text: &str) -> Option<String> {
    let text = match text.trim().to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => "0 0 1 1 *".to_owned(),
        "@monthly" => "0 0 1 * *".to_owned(),
        "@weekly" => "0 0 * * 0".to_owned(),
        "@daily" | "@midnight" => "0 0 * * *".to_owned(),
        "@hourly" => "0 * * * *".to_owned(),
        other => other.to_owned(),
    };
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields.as_slice() else {
        return None;
    };
    let plain = |field: &str| {
        field
            .chars()
            .all(|c| c.is_ascii_digit() || "*/,-".contains(c))
    };
    if !plain(minute) || !plain(hour) {
        return None;
    }
    let any = |field: &str| matches!(field, "*" | "?");
    let (day, weekday) = match (any(day), any(weekday)) {
        (true, true) => ("*".to_owned(), "?".to_owned()),
        (false, true) => (day.to_ascii_uppercase(), "?".to_owned()),
        (true, false) => ("?".to_owned(), weekdays(weekday)?),
        (false, false) => return None, // Either is enough here; AWS cannot say that.
    };
    let named = |c: char| c.is_ascii_alphanumeric() || "*/,-".contains(c);
    let good = day == "?" || day.chars().all(named);
    (good && month.chars().all(named)).then(|| {
        format!(
            "cron({minute} {hour} {day} {} {weekday} *)",
            month.to_ascii_uppercase()
        )
    })
}

/// Lists and ranges of weekdays by name; nothing else means the same on both sides.
fn weekdays(field: &str) -> Option<String> {
    const NAMES: [&str; 8] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
    let one = |text: &str| {
        let upper = text.to_ascii_uppercase();
        let number = text
            .parse::<usize>()
            .ok()
            .and_then(|number| NAMES.get(number).copied());
        number.or_else(|| NAMES.iter().find(|name| **name == upper).copied())
    };
    let mut parts = Vec::new();
    for part in field.split(',') {
        parts.push(match part.split_once('-') {
            Some((from, to)) => {
                let (from, to) = (one(from)?, one(to)?);
                // Their week begins on Sunday: what ends with it would run backwards.
                if to == "SUN" {
                    return None;
                }
                format!("{from}-{to}")
            }
            None => one(part)?.to_owned(),
        });
    }
    Some(parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_aws_can_say_is_said_and_the_rest_is_every_minute() {
        for (cron, expected) in [
            ("0 2 * * *", Some("cron(0 2 * * ? *)")),
            (
                "*/15 8-18 * * mon-fri",
                Some("cron(*/15 8-18 ? * MON-FRI *)"),
            ),
            ("0 6 * * 1,4", Some("cron(0 6 ? * MON,THU *)")),
            ("0 6 * * 7", Some("cron(0 6 ? * SUN *)")),
            ("0 6 L * *", Some("cron(0 6 L * ? *)")),
            ("0 6 1 jan *", Some("cron(0 6 1 JAN ? *)")),
            ("@hourly", Some("cron(0 * * * ? *)")),
            ("0 0 13 * 5", None),
            ("0 0 * * 1#1", None),
            ("0 0 * * 5-7", None),
            ("0 0 * * */2", None),
        ] {
            assert_eq!(of_cron(cron).as_deref(), expected, "{cron}");
        }
    }
}
