//! Dates and times.

use minijinja::Value;

use super::catalog::Callable;
use super::error::{Fault, bad};
use super::runtime::Call;

pub(super) const FILTERS: &[Callable] = &[];

/// The time of the evaluation, as ISO 8601 text.
pub(super) fn now(call: &Call<'_>) -> Result<Value, Fault> {
    let zone = call.text_or(0, "UTC")?;
    match call.runtime.context.resolver().now().in_tz(&zone) {
        Ok(time) => Ok(Value::from(
            time.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string(),
        )),
        Err(_) => bad(format!("`{zone}` is not a time zone")),
    }
}
