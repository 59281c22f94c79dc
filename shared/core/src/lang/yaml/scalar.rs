//! The core schema of YAML 1.2: which plain text is null, a boolean or a number.
//!
//! Two deliberate deviations, both so that nothing written is lost: a decimal integer with leading zeros
//! and an integer beyond 64 bits stay text.

use super::Yaml;

/// What plain, untagged text means.
pub(super) fn resolve(text: &str) -> Yaml {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Yaml::Null,
        "true" | "True" | "TRUE" => Yaml::Bool(true),
        "false" | "False" | "FALSE" => Yaml::Bool(false),
        _ => number(text).unwrap_or_else(|| Yaml::String(text.to_owned())),
    }
}

/// An integer or a float, if the text is one.
pub(super) fn number(text: &str) -> Option<Yaml> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if let Some(n) = integer(text) {
        return Some(Yaml::Int(n));
    }
    float(text).map(Yaml::Float)
}

fn integer(text: &str) -> Option<i64> {
    let radix = |prefix: &str, radix| {
        let digits = text.strip_prefix(prefix)?;
        let plain = digits.starts_with(|c: char| c.is_ascii_hexdigit());
        plain.then(|| i64::from_str_radix(digits, radix).ok())?
    };
    if let Some(n) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Some(n);
    }
    if has_leading_zero(text) {
        return None;
    }
    text.parse().ok()
}

/// `0755`, `-007`: digits only, more than one, the first a zero.
pub(super) fn has_leading_zero(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
}

fn float(text: &str) -> Option<f64> {
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Some(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        _ => {}
    }
    // Digits alone were an integer, or are one that must stay text.
    let has_point_or_exponent = text.contains(['.', 'e', 'E']);
    let has_digit = text.bytes().any(|b| b.is_ascii_digit());
    let allowed = text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !(has_point_or_exponent && has_digit && allowed) {
        return None;
    }
    text.parse().ok().filter(|x: &f64| x.is_finite())
}

/// How YAML writes a float that is not finite.
pub(super) fn not_finite(x: f64) -> &'static str {
    if x.is_nan() {
        ".nan"
    } else if x > 0.0 {
        ".inf"
    } else {
        "-.inf"
    }
}

/// The boolean that a word was in YAML 1.1.
pub(super) fn old_boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}
