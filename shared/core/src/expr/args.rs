//! Arguments of filters, functions and tests, as the kinds they need.

use std::borrow::Cow;

use minijinja::Value;

use super::error::{Fault, bad};
use super::runtime::Call;
use super::value::{self, Number, kind};

impl Call<'_> {
    /// The argument at `slot`, if it was given and is not null.
    pub(super) fn given(&self, slot: usize) -> Option<&Value> {
        self.args
            .get(slot)
            .and_then(Option::as_ref)
            .filter(|value| !value::is_missing(value))
    }

    /// The argument at `slot`; null if it was not given.
    pub(super) fn value(&self, slot: usize) -> Value {
        self.args.get(slot).cloned().flatten().unwrap_or_default()
    }

    /// The argument at `slot` as text: a number or boolean as it is written, a list or map as JSON.
    pub(super) fn text(&self, slot: usize) -> Result<String, Fault> {
        value::display(&self.value(slot))
    }

    /// The argument at `slot` as text, or `default`.
    pub(super) fn text_or<'a>(&self, slot: usize, default: &'a str) -> Result<Cow<'a, str>, Fault> {
        match self.given(slot) {
            Some(value) => value::display(value).map(Cow::Owned),
            None => Ok(Cow::Borrowed(default)),
        }
    }

    /// The argument at `slot` as an integer.
    pub(super) fn int(&self, slot: usize) -> Result<Option<i64>, Fault> {
        let Some(value) = self.given(slot) else {
            return Ok(None);
        };
        let number = match (Number::of(value), value.as_str()) {
            (Some(Number::Int(number)), _) => i64::try_from(number).ok(),
            (None, Some(text)) => text.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => Ok(Some(number)),
            None => bad(format!(
                "`{}` needs an integer, not {}",
                self.name,
                kind(value)
            )),
        }
    }

    /// The argument at `slot` as a count: an integer from 0 to `most`.
    pub(super) fn count(&self, slot: usize, default: usize, most: usize) -> Result<usize, Fault> {
        match self.int(slot)? {
            None => Ok(default),
            Some(number) => match usize::try_from(number).ok().filter(|count| *count <= most) {
                Some(count) => Ok(count),
                None => bad(format!(
                    "`{}` needs a number from 0 to {most}, not {number}",
                    self.name
                )),
            },
        }
    }

    /// The argument at `slot` as a number.
    pub(super) fn number(&self, slot: usize) -> Result<Number, Fault> {
        let value = self.value(slot);
        match Number::of(&value) {
            Some(number) => Ok(number),
            None => bad(format!(
                "`{}` needs a number, not {}; convert it with `| number`",
                self.name,
                kind(&value)
            )),
        }
    }

    /// The argument at `slot` as a list.
    pub(super) fn list(&self, slot: usize) -> Result<Vec<Value>, Fault> {
        let value = self.value(slot);
        if let Some(items) = value::items(&value) {
            return Ok(items);
        }
        let is_json = value
            .as_str()
            .is_some_and(|text| text.trim_start().starts_with('['));
        let hint = if is_json {
            "; if it is JSON, use `fromJson(…)`"
        } else {
            ""
        };
        bad(format!(
            "`{}` needs a list, not {}{hint}",
            self.name,
            kind(&value)
        ))
    }

    /// The argument at `slot` as the entries of a map.
    pub(super) fn map(&self, slot: usize) -> Result<Vec<(Value, Value)>, Fault> {
        let value = self.value(slot);
        match value::entries(&value) {
            Some(entries) => Ok(entries),
            None => bad(format!("`{}` needs a map, not {}", self.name, kind(&value))),
        }
    }
}
