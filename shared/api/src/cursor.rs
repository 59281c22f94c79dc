//! Cursors: where to go on in a list. Opaque to callers, checked when they come back.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// Characters of a cursor at most.
const CURSOR_MAX: usize = 8192;
/// Rows of a page at most.
pub(crate) const PAGE_MAX: u32 = 1000;
/// Rows of a page unless asked otherwise.
pub(crate) const PAGE_DEFAULT: u32 = 50;

/// A cursor that says where.
pub(crate) fn write<T: Serialize>(place: &T) -> Option<String> {
    let text = serde_json::to_vec(place).ok()?;
    Some(URL_SAFE_NO_PAD.encode(text))
}

/// Where a cursor says.
pub(crate) fn read<T: DeserializeOwned>(cursor: Option<&str>) -> Result<Option<T>, Problem> {
    let Some(cursor) = cursor.filter(|cursor| !cursor.is_empty()) else {
        return Ok(None);
    };
    let wrong = || Problem::bad_request("`cursor` is none of ours; take `next` of the page before");
    if cursor.len() > CURSOR_MAX {
        return Err(wrong());
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|_| wrong())
}

/// How many rows, within limits.
pub(crate) fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    match asked {
        None => Ok(PAGE_DEFAULT),
        Some(limit @ 1..=PAGE_MAX) => Ok(limit),
        Some(_) => Err(Problem::bad_request(format!(
            "`limit` must be from 1 to {PAGE_MAX}"
        ))),
    }
}
