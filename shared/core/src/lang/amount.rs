//! Durations, sizes and amounts of CPU as people write them.

use std::fmt::Write as _;

use super::limits::DURATION_MS_MAX;

/// Why a text is not an amount. The message says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AmountError(String);

fn fail<T>(message: impl Into<String>) -> Result<T, AmountError> {
    Err(AmountError(message.into()))
}

/// Milliseconds of a duration: ISO-8601 (`PT15M`, `P1DT12H`, `P2W`) or short (`15m`, `1h30m`, `500ms`).
/// A plain number is seconds, as in Kestra. Years and months have no fixed length and are refused.
pub fn duration_ms(text: &str) -> Result<u64, AmountError> {
    let text = text.trim();
    let upper = text.to_ascii_uppercase();
    let ms = if let Some(iso) = upper.strip_prefix('P') {
        iso_ms(iso, text)?
    } else if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        part_ms(text, 1_000, text)?
    } else {
        short_ms(text)?
    };
    if ms > DURATION_MS_MAX {
        return fail(format!("`{text}` is longer than ten years"));
    }
    Ok(ms)
}

fn iso_ms(iso: &str, text: &str) -> Result<u64, AmountError> {
    let (date, time) = match iso.split_once('T') {
        Some((_, "")) => return fail(format!("`{text}` ends after `T`; write `PT15M`")),
        Some((date, time)) => (date, time),
        None => (iso, ""),
    };
    if date.is_empty() && time.is_empty() {
        return fail(format!("`{text}` has no number; write `PT15M`"));
    }
    let days = parts(date, text, |unit| match unit {
        "D" => Ok(86_400_000),
        "W" => Ok(7 * 86_400_000),
        "Y" | "M" => fail(format!(
            "`{text}` has years or months, whose length differs; write days (`P30D`) or, for minutes, `PT15M`"
        )),
        "H" | "S" => fail(format!(
            "`{text}` lacks the `T` before hours, minutes and seconds; write `PT15M`"
        )),
        _ => fail(format!(
            "`{text}` is not a duration; write `PT15M` or `15m`"
        )),
    })?;
    let rest = parts(time, text, |unit| match unit {
        "H" => Ok(3_600_000),
        "M" => Ok(60_000),
        "S" => Ok(1_000),
        _ => fail(format!(
            "`{text}` is not a duration; write `PT15M` or `15m`"
        )),
    })?;
    Ok(days.saturating_add(rest))
}

fn short_ms(text: &str) -> Result<u64, AmountError> {
    if text.is_empty() {
        return fail("a duration is empty; write `PT15M` or `15m`");
    }
    parts(text, text, |unit| {
        match unit.to_ascii_lowercase().as_str() {
            "ms" => Ok(1),
            "s" | "sec" => Ok(1_000),
            "m" | "min" => Ok(60_000),
            "h" => Ok(3_600_000),
            "d" => Ok(86_400_000),
            "w" => Ok(7 * 86_400_000),
            _ => fail(format!(
                "`{text}` is not a duration; write `PT15M` or `15m`"
            )),
        }
    })
}

/// Sum of `number unit` pairs.
fn parts(
    mut rest: &str,
    text: &str,
    unit_ms: impl Fn(&str) -> Result<u64, AmountError>,
) -> Result<u64, AmountError> {
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let digits = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                .len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len()
            - after
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let (unit, after) = after.split_at(letters);
        if number.is_empty() || unit.is_empty() {
            return fail(format!(
                "`{text}` is not a duration; write `PT15M` or `15m`"
            ));
        }
        sum = sum.saturating_add(part_ms(number, unit_ms(unit)?, text)?);
        rest = after.trim_start();
    }
    Ok(sum)
}

/// `number` times `unit_ms`; digits after the point count.
fn part_ms(number: &str, unit_ms: u64, text: &str) -> Result<u64, AmountError> {
    let thousandths = thousandths(number).ok_or_else(|| {
        AmountError(format!(
            "`{text}` is not a duration; write `PT15M` or `15m`"
        ))
    })?;
    Ok(thousandths.saturating_mul(unit_ms) / 1_000)
}

/// `1.25` as 1250: exact for three digits after the point, further ones are dropped.
fn thousandths(number: &str) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || number.ends_with('.') {
        return None;
    }
    let mut padded = fraction.to_owned();
    padded.push_str("000");
    let fraction: u64 = padded.get(..3)?.parse().ok()?;
    // Too many digits for a number is far beyond every limit.
    let whole: u64 = whole.parse().unwrap_or(u64::MAX);
    Some(whole.saturating_mul(1_000).saturating_add(fraction))
}

/// The canonical spelling: `PT15M`, `P1DT2H`, `PT0.5S`.
#[must_use]
pub fn duration_text(ms: u64) -> String {
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    let (hours, rest) = (rest / 3_600_000, rest % 3_600_000);
    let (minutes, rest) = (rest / 60_000, rest % 60_000);
    // Writing to a string cannot fail.
    let mut text = String::from("P");
    if days > 0 {
        let _ = write!(text, "{days}D");
    }
    if !ms.is_multiple_of(86_400_000) || days == 0 {
        text.push('T');
        if hours > 0 {
            let _ = write!(text, "{hours}H");
        }
        if minutes > 0 {
            let _ = write!(text, "{minutes}M");
        }
        if rest > 0 || (hours == 0 && minutes == 0) {
            let fraction = format!("{:03}", rest % 1_000);
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            let _ = write!(text, "{}{point}{fraction}S", rest / 1_000);
        }
    }
    text
}

/// Bytes of a size: `4Gi`, `512MB`, `10 kB`. A plain number counts `unit` bytes.
pub fn size_bytes(text: &str, unit: u64) -> Result<u64, AmountError> {
    let trimmed = text.trim();
    let at = trimmed.len()
        - trimmed
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
            .len();
    let (number, suffix) = trimmed.split_at(at);
    let factor = match suffix.trim().to_ascii_lowercase().as_str() {
        "" => unit,
        "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        "ti" | "tib" => 1 << 40,
        _ => return fail(format!("`{trimmed}` is not a size; write `512Mi` or `4Gi`")),
    };
    let thousandths = thousandths(number)
        .ok_or_else(|| AmountError(format!("`{trimmed}` is not a size; write `512Mi` or `4Gi`")))?;
    Ok(thousandths.saturating_mul(factor) / 1_000)
}

/// Thousandths of a CPU: `2`, `0.5`, `500m`.
pub fn cpu_milli(text: &str) -> Result<u32, AmountError> {
    let trimmed = text.trim();
    let error = || {
        AmountError(format!(
            "`{trimmed}` is not an amount of CPU; write `2`, `0.5` or `500m`"
        ))
    };
    let milli = match trimmed.strip_suffix('m') {
        Some(milli) => milli.parse::<u64>().map_err(|_| error())?,
        None => thousandths(trimmed).ok_or_else(error)?,
    };
    match u32::try_from(milli) {
        Ok(milli) if (1..=1_024_000).contains(&milli) => Ok(milli),
        Ok(_) | Err(_) => fail(format!(
            "`{trimmed}` CPUs are not to be had; write from `1m` to `1024`"
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        for (text, ms) in [
            ("PT15M", 900_000),
            ("pt15m", 900_000),
            ("P1D", 86_400_000),
            ("P1DT2H3M4.5S", 93_784_500),
            ("P2W", 1_209_600_000),
            ("PT0S", 0),
            ("PT0.25S", 250),
            ("15m", 900_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("500ms", 500),
            ("2d", 172_800_000),
            ("90", 90_000),
            ("1.5h", 5_400_000),
        ] {
            assert_eq!(duration_ms(text).unwrap(), ms, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_what_to_write() {
        for (text, part) in [
            ("", "empty"),
            ("P", "no number"),
            ("PT", "ends after `T`"),
            ("P15H", "lacks the `T`"),
            ("P1M", "months"),
            ("P1Y", "years"),
            ("15x", "write `PT15M`"),
            ("m", "write `PT15M`"),
            ("-PT5M", "write `PT15M`"),
            ("1.m", "write `PT15M`"),
            ("9999999999999999999999d", "ten years"),
            ("P3661D", "ten years"),
        ] {
            let message = duration_ms(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn the_canonical_spelling_means_the_same() {
        for ms in [
            0, 1, 250, 1_000, 60_000, 3_600_000, 86_400_000, 93_784_500, 90_061_001,
        ] {
            assert_eq!(
                duration_ms(&duration_text(ms)).unwrap(),
                ms,
                "{}",
                duration_text(ms)
            );
        }
        assert_eq!(duration_text(900_000), "PT15M");
        assert_eq!(duration_text(86_400_000), "P1D");
        assert_eq!(duration_text(0), "PT0S");
    }

    #[test]
    fn sizes_and_cpus() {
        assert_eq!(size_bytes("4Gi", 1).unwrap(), 4 << 30);
        assert_eq!(size_bytes("512 MB", 1).unwrap(), 512_000_000);
        assert_eq!(size_bytes("0.5Gi", 1).unwrap(), 1 << 29);
        assert_eq!(size_bytes("2048", 1 << 20).unwrap(), 2 << 30);
        assert!(size_bytes("four", 1).is_err());
        assert!(size_bytes("4Q", 1).is_err());
        assert_eq!(cpu_milli("2").unwrap(), 2_000);
        assert_eq!(cpu_milli("0.25").unwrap(), 250);
        assert_eq!(cpu_milli("500m").unwrap(), 500);
        assert!(cpu_milli("0").is_err());
        assert!(cpu_milli("two").is_err());
        assert!(cpu_milli("5000").is_err());
    }
}
