//! Names of downloaded files.

use reqwest::header::{CONTENT_DISPOSITION, HeaderMap};

/// Bytes of the name of a downloaded file.
pub const FILE_NAME_BYTES_MAX: usize = 128;

/// The file name that the server suggests.
pub(super) fn disposition(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_DISPOSITION)?.to_str().ok()?;
    let parts = || {
        text.split(';')
            .skip(1)
            .filter_map(|part| part.split_once('='))
    };
    let named = |wanted: &str| {
        parts()
            .find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim())
    };
    if let Some(value) = named("filename*")
        && let Some((_, encoded)) = value.rsplit_once('\'')
    {
        let decoded = percent_decode(encoded);
        return file_name(&decoded);
    }
    file_name(named("filename")?.trim_matches('"'))
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'%').then(|| after.get(..2)).flatten();
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A name that is safe as the last segment of a key: the last part of a path, odd characters as `_`.
pub(super) fn file_name(text: &str) -> Option<String> {
    let last = text.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    let name: String = last
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
                c
            } else {
                '_'
            }
        })
        .take(FILE_NAME_BYTES_MAX)
        .collect();
    (!name.trim_matches('.').is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn suggested(text: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_DISPOSITION, text.parse().unwrap());
        disposition(&headers)
    }

    #[test]
    fn a_suggested_name_is_one_safe_segment() {
        let name = |text: &str| Some(text.to_owned());
        assert_eq!(
            suggested("attachment; filename=\"a b.tsv\""),
            name("a_b.tsv")
        );
        assert_eq!(
            suggested("attachment; filename=../../etc/passwd"),
            name("passwd")
        );
        assert_eq!(
            suggested("attachment; filename*=UTF-8''a%2fb.fa; filename=x"),
            name("b.fa")
        );
        assert_eq!(suggested("attachment; filename=\"..\""), None);
        assert_eq!(suggested("attachment"), None);
        let long = file_name(&"n".repeat(FILE_NAME_BYTES_MAX + 1)).unwrap();
        assert_eq!(long.len(), FILE_NAME_BYTES_MAX);
    }
}
