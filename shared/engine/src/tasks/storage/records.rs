//! Records of a file, one at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::files::io;
use crate::tasks::TaskError;
use crate::tasks::props::Props;

/// Bytes of one record. The longest lines in practice are whole genomes, which for the viruses and bacteria
/// this is made for have at most some ten million bases.
pub const RECORD_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of a separator.
pub const SEPARATOR_BYTES_MAX: usize = 256;
/// Bytes read at once.
const BUFFER: usize = 256 * 1024;

/// Reads a file record by record.
pub(super) struct Records<R> {
    from: R,
    separator: Vec<u8>,
    record: Vec<u8>,
    limit: u64,
    number: u64,
}

impl Records<BufReader<File>> {
    pub(super) fn open(path: &Path, separator: &[u8]) -> Result<Self, TaskError> {
        let file = File::open(path).map_err(io("opening the file"))?;
        let reader = BufReader::with_capacity(BUFFER, file);
        Ok(Self::new(reader, separator, RECORD_BYTES_MAX))
    }
}

impl<R: BufRead> Records<R> {
    fn new(from: R, separator: &[u8], limit: u64) -> Self {
        Self {
            from,
            separator: separator.to_vec(),
            record: Vec::new(),
            limit,
            number: 0,
        }
    }

    /// The next record with the separator after it; the last may have none. None at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, TaskError> {
        self.record.clear();
        let last = self.separator.last().copied().unwrap_or(b'\n');
        loop {
            let length = u64::try_from(self.record.len()).unwrap_or(u64::MAX);
            let read = (&mut self.from)
                .take((self.limit + 1).saturating_sub(length))
                .read_until(last, &mut self.record)
                .map_err(io("reading the file"))?;
            if u64::try_from(self.record.len()).unwrap_or(u64::MAX) > self.limit {
                return Err(TaskError::invalid(format!(
                    "record {} has more than {} bytes; is `separator` right?",
                    self.number + 1,
                    self.limit
                )));
            }
            if read == 0 || self.record.ends_with(&self.separator) {
                break;
            }
        }
        if self.record.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(&self.record))
    }

    /// Number of the record read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

/// The property `separator`; a line end when absent.
pub(super) fn separator(props: &Props<'_>) -> Result<Vec<u8>, TaskError> {
    let text = props.text("separator")?.unwrap_or_else(|| "\n".to_owned());
    if (1..=SEPARATOR_BYTES_MAX).contains(&text.len()) {
        return Ok(text.into_bytes());
    }
    let what = format!(
        "has {} bytes; it may have 1 to {SEPARATOR_BYTES_MAX}",
        text.len()
    );
    Err(props.wrong("separator", &what))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::io::Cursor;

    use super::*;

    fn all(text: &str, separator: &str, limit: u64) -> Result<Vec<String>, TaskError> {
        let mut records = Records::new(Cursor::new(text), separator.as_bytes(), limit);
        let mut found = Vec::new();
        while let Some(record) = records.next()? {
            found.push(String::from_utf8(record.to_vec()).unwrap());
        }
        Ok(found)
    }

    #[test]
    fn records_keep_their_separators() {
        assert_eq!(all("a\n\nb", "\n", 9).unwrap(), ["a\n", "\n", "b"]);
        assert_eq!(all("", "\n", 9).unwrap(), Vec::<String>::new());
        assert_eq!(all("a--b-c--", "--", 9).unwrap(), ["a--", "b-c--"]);
        assert_eq!(all("a---b", "--", 9).unwrap(), ["a--", "-b"]);
    }

    #[test]
    fn a_record_has_a_limit() {
        assert_eq!(all("12345\n1234", "\n", 6).unwrap().len(), 2);
        let error = all("1\n123456\n", "\n", 6).unwrap_err();
        assert!(
            error.message.starts_with("record 2 has more than 6 bytes"),
            "{error}"
        );
    }
}
