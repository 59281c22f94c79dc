//! Filters between values and their written forms: JSON, base64, URLs, digests.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use md5::{Digest as _, Md5};
use minijinja::Value;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::catalog::{Callable, filter_of};
use super::error::{Fault, bad};
use super::runtime::Call;
use super::value::{display, hex, items, json_text};

type Outcome = Result<Value, Fault>;

pub(super) const FILTERS: &[Callable] = &[
    filter_of("base64decode", &["value"], 1, base64_decode),
    filter_of("base64encode", &["value"], 1, |call| {
        Ok(Value::from(STANDARD.encode(call.text(0)?)))
    }),
    Callable {
        name: "json",
        ..TO_JSON
    },
    filter_of("md5", &["value"], 1, |call| {
        Ok(Value::from(hex(&Md5::digest(call.text(0)?))))
    }),
    filter_of("sha1", &["value"], 1, |call| {
        Ok(Value::from(hex(&Sha1::digest(call.text(0)?))))
    }),
    filter_of("sha256", &["value"], 1, |call| {
        Ok(Value::from(hex(&Sha256::digest(call.text(0)?))))
    }),
    filter_of("sha512", &["value"], 1, |call| {
        Ok(Value::from(hex(&Sha512::digest(call.text(0)?))))
    }),
    filter_of("toIon", &["value"], 1, to_lines),
    TO_JSON,
    filter_of("urldecode", &["value"], 1, url_decode),
    filter_of("urlencode", &["value"], 1, url_encode),
];

const TO_JSON: Callable = Callable {
    name: "toJson",
    kind: "filter",
    params: &["value"],
    required: 1,
    takes_missing: true,
    run: |call| json_text(&call.value(0)).map(Value::from),
};

/// JSON Lines, which take Ion's place here: a list gives one line per item, anything else one line.
fn to_lines(call: &Call<'_>) -> Outcome {
    let value = call.value(0);
    let lines = items(&value).unwrap_or_else(|| vec![value]);
    let lines: Vec<String> = lines.iter().map(json_text).collect::<Result<_, _>>()?;
    Ok(Value::from(lines.join("\n")))
}

/// Standard or URL-safe, padded or not.
fn base64_decode(call: &Call<'_>) -> Outcome {
    let text = call.text(0)?;
    let text = text.trim();
    let bytes = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
        .iter()
        .find_map(|engine| engine.decode(text).ok());
    match bytes.map(String::from_utf8) {
        Some(Ok(text)) => Ok(Value::from(text)),
        Some(Err(_)) => bad("the decoded bytes are not UTF-8 text; decode them in a task"),
        None => bad("the value is not base64"),
    }
}

/// What Java's `URLEncoder` leaves as it is, beside the space.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*')
    .remove(b' ');

/// As in a form: a space is `+`.
fn url_encode(call: &Call<'_>) -> Outcome {
    let text = display(&call.value(0))?;
    Ok(Value::from(
        utf8_percent_encode(&text, FORM)
            .to_string()
            .replace(' ', "+"),
    ))
}

fn url_decode(call: &Call<'_>) -> Outcome {
    let text = call.text(0)?.replace('+', " ");
    match percent_decode_str(&text).decode_utf8() {
        Ok(text) => Ok(Value::from(text.into_owned())),
        Err(_) => bad("the decoded bytes are not UTF-8 text"),
    }
}
