//! Filters that make and format numbers.

use minijinja::Value;

use super::catalog::{Callable, filter_of};
use super::error::{Fault, bad};
use super::runtime::Call;
use super::value::{Number, is_true, kind};

type Outcome = Result<Value, Fault>;

pub(super) const FILTERS: &[Callable] = &[
    filter_of("abs", &["value"], 1, |call| match call.number(0)? {
        Number::Int(value) => Number::Int(value.abs()).value(),
        Number::Float(value) => Number::Float(value.abs()).value(),
    }),
    filter_of("bool", &["value"], 1, |call| {
        Ok(Value::from(is_true(&call.value(0))))
    }),
    filter_of("className", &["value"], 1, |call| {
        Ok(Value::from(class_name(&call.value(0))))
    }),
    filter_of("int", &["value"], 1, |call| integer(&parse(call)?)),
    filter_of("number", &["value", "type"], 1, number),
    filter_of("numberFormat", &["value", "format"], 2, number_format),
    // As Pebble spells it.
    filter_of("numberformat", &["value", "format"], 2, number_format),
];

/// The number in the input, which may be a text.
fn parse(call: &Call<'_>) -> Result<Number, Fault> {
    let value = call.value(0);
    if let Some(number) = Number::of(&value) {
        return Ok(number);
    }
    let Some(text) = value.as_str().map(str::trim) else {
        return bad(format!(
            "`{}` needs a number or a text, not {}",
            call.name,
            kind(&value)
        ));
    };
    let int = text.parse().ok().map(Number::Int);
    let number = int.or_else(|| {
        text.parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .map(Number::Float)
    });
    match number {
        Some(number) => Ok(number),
        None => bad(format!("`{}` cannot read `{text}` as a number", call.name)),
    }
}

/// Cuts off what is behind the point.
fn integer(number: &Number) -> Outcome {
    match number {
        Number::Int(_) => number.value(),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "cutting is the purpose, and the range is checked"
        )]
        Number::Float(value) if value.abs() < 9.0e18 => Ok(Value::from(*value as i64)),
        Number::Float(value) => bad(format!("{value} does not fit a 64-bit integer")),
    }
}

/// As the narrowest number, or as the Java type that is named.
fn number(call: &Call<'_>) -> Outcome {
    let number = parse(call)?;
    match call.text_or(1, "")?.to_uppercase().as_str() {
        "INT" | "LONG" | "BIGINTEGER" => integer(&number),
        "FLOAT" | "DOUBLE" => Number::Float(number.as_f64()).value(),
        "" | "BIGDECIMAL" => number.value(),
        other => bad(format!(
            "`number` knows INT, LONG, FLOAT, DOUBLE, BIGINTEGER and BIGDECIMAL, not `{other}`"
        )),
    }
}

/// The kind of value, in the words of JSON: a flow has no Java classes.
fn class_name(value: &Value) -> &'static str {
    match (Number::of(value), kind(value)) {
        (Some(Number::Int(_)), _) => "integer",
        (Some(Number::Float(_)), _) => "number",
        (None, "a boolean") => "boolean",
        (None, "a text") => "string",
        (None, "a list") => "array",
        (None, "a map") => "object",
        (None, _) => "null",
    }
}

/// Java's `DecimalFormat`, as far as flows use it: `0`, `#`, `,`, `.`, `%` and text around them.
fn number_format(call: &Call<'_>) -> Outcome {
    let number = parse(call)?;
    let format = call.text(1)?;
    let is_digit = |c: char| matches!(c, '0' | '#' | ',' | '.');
    let (Some(start), Some(end)) = (format.find(is_digit), format.rfind(is_digit)) else {
        return bad(format!(
            "the format `{format}` has no digit, such as `#,##0.00`"
        ));
    };
    let (prefix, digits, suffix) = (&format[..start], &format[start..=end], &format[end + 1..]);
    if !digits.chars().all(is_digit) || digits.matches('.').count() > 1 || format.len() > 64 {
        return bad(format!(
            "`{format}` is not a number format such as `#,##0.00`"
        ));
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let value = number.as_f64() * if format.contains('%') { 100.0 } else { 1.0 };
    let places = fraction.len().min(20);
    let mut text = if places == 0
        && let (Number::Int(exact), false) = (number, format.contains('%'))
    {
        exact.abs().to_string()
    } else {
        format!("{:.places$}", value.abs())
    };
    let required = fraction.chars().take_while(|c| *c == '0').count();
    if places > 0 {
        let least = text.len() - (places - required);
        while text.len() > least && text.ends_with('0') {
            text.pop();
        }
        text.truncate(text.trim_end_matches('.').len());
    }
    let (mut int, decimals) = match text.split_once('.') {
        Some((int, decimals)) => (int.to_owned(), format!(".{decimals}")),
        None => (text, String::new()),
    };
    let least = whole.chars().filter(|c| *c == '0').count();
    if int == "0" && least == 0 && !decimals.is_empty() {
        int.clear();
    }
    while int.len() < least {
        int.insert(0, '0');
    }
    if let Some((_, group)) = whole
        .rsplit_once(',')
        .filter(|(_, group)| !group.is_empty())
    {
        let mut at = int.len();
        while at > group.len() {
            at -= group.len();
            int.insert(at, ',');
        }
    }
    let zero = int
        .chars()
        .chain(decimals.chars())
        .all(|c| matches!(c, '0' | '.' | ','));
    let sign = if value < 0.0 && !zero { "-" } else { "" };
    Ok(Value::from(format!(
        "{sign}{prefix}{int}{decimals}{suffix}"
    )))
}
