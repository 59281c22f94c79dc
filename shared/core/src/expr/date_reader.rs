//! Reading the fields of a date.

use jiff::tz::{Offset, TimeZone};

use super::date_pattern::{DAYS, MONTHS};

/// An offset such as `+02:00`, and nothing else.
pub(super) fn read_offset(text: &str) -> Option<Offset> {
    let mut reader = Reader {
        rest: text,
        ..Reader::default()
    };
    reader.offset().filter(|_| reader.rest.is_empty())
}

/// What has been read of a date.
#[derive(Debug, Default)]
pub(super) struct Reader<'a> {
    pub(super) rest: &'a str,
    pub(super) year: Option<i16>,
    pub(super) month: i8,
    pub(super) day: i8,
    pub(super) hour: i8,
    pub(super) minute: i8,
    pub(super) second: i8,
    pub(super) nanos: i32,
    pub(super) afternoon: Option<bool>,
    pub(super) offset: Option<TimeZone>,
}

impl Reader<'_> {
    /// Reads one field of a pattern; `None` if the text has no such thing here.
    pub(super) fn field(&mut self, letter: char, count: usize) -> Option<()> {
        match letter {
            'y' | 'u' => {
                let year: i16 = self.digits(if count == 1 { 1..=4 } else { count..=count })?;
                self.year = Some(if count == 2 { 2000 + year } else { year });
            }
            'M' | 'L' if count >= 3 => self.month = self.name(&MONTHS, count)? + 1,
            'M' | 'L' => self.month = self.pair(count)?,
            'd' => self.day = self.pair(count)?,
            'H' | 'h' | 'K' => self.hour = self.pair(count)?,
            'k' => self.hour = self.pair(count)? % 24,
            'm' => self.minute = self.pair(count)?,
            's' => self.second = self.pair(count)?,
            'S' => {
                let digits: i64 = self.digits(count..=count)?;
                let scale = 10_i64.checked_pow(u32::try_from(9_usize.checked_sub(count)?).ok()?)?;
                self.nanos = i32::try_from(digits * scale).ok()?;
            }
            '\u{1}' => {
                if let Some(rest) = self.rest.strip_prefix('.') {
                    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
                    self.rest = rest;
                    self.field('S', length)?;
                }
            }
            'a' => {
                let (half, rest) = self.rest.split_at_checked(2)?;
                self.afternoon = Some(half.eq_ignore_ascii_case("pm"));
                self.rest = rest;
            }
            'E' => drop(self.name(&DAYS, count)?),
            'X' | 'x' | 'Z' => self.offset = Some(TimeZone::fixed(self.offset()?)),
            'V' => {
                let end = self
                    .rest
                    .find(|c: char| !(c.is_ascii_alphanumeric() || "/_+-".contains(c)));
                let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                self.offset = Some(TimeZone::get(name).ok()?);
                self.rest = rest;
            }
            '\u{2}' => {
                if let Some((name, rest)) = self
                    .rest
                    .strip_prefix('[')
                    .and_then(|rest| rest.split_once(']'))
                {
                    self.offset = Some(TimeZone::get(name).ok()?);
                    self.rest = rest;
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn digits<T: std::str::FromStr>(
        &mut self,
        widths: std::ops::RangeInclusive<usize>,
    ) -> Option<T> {
        let available = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let width = available.min(*widths.end());
        if width < *widths.start() {
            return None;
        }
        let (digits, rest) = self.rest.split_at(width);
        self.rest = rest;
        digits.parse().ok()
    }

    fn pair(&mut self, count: usize) -> Option<i8> {
        self.digits(if count == 1 { 1..=2 } else { count..=count })
    }

    fn name(&mut self, names: &[&str], count: usize) -> Option<i8> {
        let index = names.iter().position(|name| {
            let name = if count == 4 { name } else { &name[..3] };
            self.rest
                .get(..name.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(name))
        })?;
        self.rest = &self.rest[if count == 4 { names[index].len() } else { 3 }..];
        i8::try_from(index).ok()
    }

    fn offset(&mut self) -> Option<Offset> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Some(Offset::UTC);
        }
        let sign = match self.rest.chars().next()? {
            '+' => 1,
            '-' => -1,
            _ => return None,
        };
        self.rest = &self.rest[1..];
        let hours: i32 = self.digits(2..=2)?;
        self.rest = self.rest.strip_prefix(':').unwrap_or(self.rest);
        let minutes: i32 = self.digits(2..=2).unwrap_or(0);
        Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
    }
}
