//! Java's `DateTimeFormatter` patterns, written and read.

use std::fmt::Write as _;

use jiff::Zoned;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::{Offset, TimeZone};

use super::date_reader::Reader;
use super::error::{Fault, bad};

/// Longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 128;

/// Names that Kestra and Java have for patterns. `n` with count 0 is a fraction only if there is one.
const NAMED: &[(&str, &str)] = &[
    ("iso", "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX"),
    ("iso_sec", "yyyy-MM-dd'T'HH:mm:ssXXX"),
    ("iso_milli", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX"),
    ("sql", "yyyy-MM-dd HH:mm:ss.SSSSSS"),
    ("sql_seq", "yyyy-MM-dd HH:mm:ss"),
    ("sql_milli", "yyyy-MM-dd HH:mm:ss.SSS"),
    ("basic_iso_date", "yyyyMMddXX"),
    ("iso_date", "yyyy-MM-ddXXX"),
    ("iso_date_time", "yyyy-MM-dd'T'HH:mm:ss\u{1}XXX\u{2}"),
    ("iso_instant", "yyyy-MM-dd'T'HH:mm:ss\u{1}'Z'"),
    ("iso_local_date", "yyyy-MM-dd"),
    ("iso_local_date_time", "yyyy-MM-dd'T'HH:mm:ss\u{1}"),
    ("iso_local_time", "HH:mm:ss\u{1}"),
    ("iso_offset_date", "yyyy-MM-ddXXX"),
    ("iso_offset_date_time", "yyyy-MM-dd'T'HH:mm:ss\u{1}XXX"),
    ("iso_offset_time", "HH:mm:ss\u{1}XXX"),
    ("iso_ordinal_date", "yyyy-DDDXXX"),
    ("iso_time", "HH:mm:ss\u{1}XXX"),
    ("iso_zoned_date_time", "yyyy-MM-dd'T'HH:mm:ss\u{1}XXX\u{2}"),
    ("rfc_1123_date_time", "EEE, d MMM yyyy HH:mm:ss 'GMT'"),
];

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(super) const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// A parsed pattern.
#[derive(Debug, PartialEq)]
pub(super) struct Pattern {
    items: Vec<Item>,
    /// The pattern names UTC itself.
    utc: bool,
}

#[derive(Debug, PartialEq)]
enum Item {
    Literal(String),
    /// A letter and how often it stands.
    Field(char, usize),
}

impl Pattern {
    /// A pattern, or the name of one.
    pub(super) fn parse(pattern: &str) -> Result<Self, Fault> {
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(Fault::Limit(format!(
                "a date pattern may have {MAX_PATTERN_BYTES} bytes"
            )));
        }
        let name = pattern.to_lowercase();
        let known = NAMED.iter().find(|(known, _)| *known == name);
        let utc = matches!(name.as_str(), "iso_instant" | "rfc_1123_date_time");
        let pattern = known.map_or(pattern, |(_, pattern)| pattern);
        let mut items = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\'' {
                items.push(Item::Literal(quoted(&mut chars, pattern)?));
            } else if c.is_ascii_alphabetic() || c.is_control() {
                let mut count = 1;
                while chars.next_if_eq(&c).is_some() {
                    count += 1;
                }
                if !"yuMLdDHhKkmsSnaEXxZzVO\u{1}\u{2}".contains(c) {
                    return bad(format!(
                        "the date pattern `{pattern}` has the letter `{c}`, which is not known; \
                         put text between single quotes"
                    ));
                }
                items.push(Item::Field(c, count));
            } else {
                items.push(Item::Literal(c.to_string()));
            }
        }
        Ok(Self { items, utc })
    }

    /// The moment in this form.
    pub(super) fn write(&self, moment: &Zoned) -> String {
        let in_utc = self.utc.then(|| moment.with_time_zone(TimeZone::UTC));
        let moment = in_utc.as_ref().unwrap_or(moment);
        let mut out = String::new();
        for item in &self.items {
            match item {
                Item::Literal(text) => out.push_str(text),
                Item::Field(letter, count) => field(&mut out, moment, *letter, *count),
            }
        }
        out
    }

    /// The moment that is written in this form. What is missing is 0, or 1 for month and day; without an
    /// offset it is in `zone`, or UTC.
    pub(super) fn read(&self, text: &str, zone: Option<&TimeZone>) -> Result<Zoned, Fault> {
        let shown: String = text.chars().take(40).collect();
        let failed = || {
            Fault::Value(format!(
                "`{shown}` does not have the form of `existingFormat`"
            ))
        };
        let mut reader = Reader {
            rest: text.trim(),
            ..Reader::default()
        };
        for item in &self.items {
            match item {
                Item::Literal(literal) => {
                    reader.rest = reader
                        .rest
                        .strip_prefix(literal.as_str())
                        .ok_or_else(failed)?;
                }
                Item::Field(letter, count) => reader.field(*letter, *count).ok_or_else(failed)?,
            }
        }
        if !reader.rest.is_empty() {
            return Err(failed());
        }
        let hour = match reader.afternoon {
            Some(afternoon) => reader.hour % 12 + if afternoon { 12 } else { 0 },
            None => reader.hour,
        };
        let (year, month, day) = (
            reader.year.unwrap_or(1970),
            reader.month.max(1),
            reader.day.max(1),
        );
        let local = DateTime::new(
            year,
            month,
            day,
            hour,
            reader.minute,
            reader.second,
            reader.nanos,
        );
        let zone = match (reader.offset, zone) {
            _ if self.utc => TimeZone::UTC,
            (Some(offset), _) => offset,
            (None, Some(zone)) => zone.clone(),
            (None, None) => TimeZone::UTC,
        };
        local
            .and_then(|local| zone.to_zoned(local))
            .map_err(|_| failed())
    }
}

fn quoted(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    pattern: &str,
) -> Result<String, Fault> {
    let mut literal = String::new();
    loop {
        match chars.next() {
            None => {
                return bad(format!(
                    "the date pattern `{pattern}` has a quote without its end"
                ));
            }
            Some('\'') if chars.next_if_eq(&'\'').is_some() => literal.push('\''),
            Some('\'') => break,
            Some(c) => literal.push(c),
        }
    }
    // Two quotes alone are one quote.
    Ok(if literal.is_empty() {
        "'".to_owned()
    } else {
        literal
    })
}

fn field(out: &mut String, moment: &Zoned, letter: char, count: usize) {
    let hour = i64::from(moment.hour());
    let number = match letter {
        'y' | 'u' if count == 2 => i64::from(moment.year().rem_euclid(100)),
        'y' | 'u' => i64::from(moment.year()),
        'M' | 'L' if count >= 3 => return name(out, &MONTHS, moment.month() - 1, count),
        'M' | 'L' => i64::from(moment.month()),
        'd' => i64::from(moment.day()),
        'D' => i64::from(moment.day_of_year()),
        'H' => hour,
        'k' => {
            if hour == 0 {
                24
            } else {
                hour
            }
        }
        'K' => hour % 12,
        'h' => {
            if hour % 12 == 0 {
                12
            } else {
                hour % 12
            }
        }
        'm' => i64::from(moment.minute()),
        's' => i64::from(moment.second()),
        'n' => i64::from(moment.subsec_nanosecond()),
        'a' => return out.push_str(if hour < 12 { "AM" } else { "PM" }),
        'E' => return name(out, &DAYS, weekday(moment.weekday()), count),
        'S' | '\u{1}' => return fraction(out, moment, letter, count),
        'V' => return out.push_str(zone_name(moment).unwrap_or("UTC")),
        '\u{2}' => {
            if let Some(name) = zone_name(moment).filter(|name| *name != "UTC") {
                let _infallible = write!(out, "[{name}]");
            }
            return;
        }
        'z' => {
            let info = moment.time_zone().to_offset_info(moment.timestamp());
            return out.push_str(info.abbreviation());
        }
        _ => return offset(out, moment.offset(), letter, count),
    };
    let _infallible = write!(out, "{number:0count$}");
}

fn zone_name(moment: &Zoned) -> Option<&str> {
    moment.time_zone().iana_name()
}

fn weekday(day: Weekday) -> i8 {
    day.to_monday_zero_offset()
}

fn name(out: &mut String, names: &[&str], index: i8, count: usize) {
    let name = usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index))
        .copied()
        .unwrap_or("");
    out.push_str(match count {
        4 => name,
        5 => &name[..name.len().min(1)],
        _ => &name[..name.len().min(3)],
    });
}

fn fraction(out: &mut String, moment: &Zoned, letter: char, count: usize) {
    let digits = format!("{:09}", moment.subsec_nanosecond());
    if letter == 'S' {
        out.push_str(&digits[..count.min(9)]);
    } else if moment.subsec_nanosecond() != 0 {
        out.push('.');
        out.push_str(digits.trim_end_matches('0'));
    }
}

fn offset(out: &mut String, offset: Offset, letter: char, count: usize) {
    let seconds = offset.seconds();
    if seconds == 0 && (letter == 'X' || letter == 'Z' && count == 5) {
        return out.push('Z');
    }
    if letter == 'O' || letter == 'Z' && count == 4 {
        out.push_str("GMT");
        if seconds == 0 {
            return;
        }
    }
    let (sign, seconds) = (if seconds < 0 { '-' } else { '+' }, seconds.abs());
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let _infallible = match (letter, count) {
        ('X' | 'x', 1) if minutes == 0 => write!(out, "{sign}{hours:02}"),
        ('O', 1) if minutes == 0 => write!(out, "{sign}{hours}"),
        ('X' | 'x', 1 | 2 | 4) | ('Z', 1..=3) => write!(out, "{sign}{hours:02}{minutes:02}"),
        _ => write!(out, "{sign}{hours:02}:{minutes:02}"),
    };
}
