//! Reading logs, also while they are written and from other processes.
//!
//! Memory does not depend on the size of the log. All methods block on the file system.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use operon_engine::ports::{self, AttemptId, LOG_PAGE_MAX, LogLine, LogLines, StoreError};

use super::{LogEnd, path_of};

/// Bytes of a line in a file at most; JSON may need six bytes for one of the text.
const LINE_MAX: usize = 8 * LogLine::TEXT_MAX;
/// Lines returned at once at most.
const PAGE_MAX: usize = 10_000;
/// Bytes read at once from the end, and below which a search becomes a scan.
const BLOCK: u64 = 64 * 1024;
/// Bytes read from the end at most.
const TAIL_MAX: u64 = 16 << 20;

/// Lines of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPage {
    /// Ascending.
    pub lines: Vec<LogLine>,
    /// The end of the log, once it was reached: nothing follows.
    pub end: Option<LogEnd>,
    /// Where to go on with [`LogReader::follow`], in bytes.
    pub next: u64,
}

/// Reads the logs in a directory.
#[derive(Debug, Clone)]
pub struct LogReader {
    directory: PathBuf,
}

impl LogReader {
    /// Reads the logs below `directory`. The engine that writes them may be another process, or none.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// At most `limit` lines from number `from_seq` on. An attempt that logged nothing gives an empty page.
    pub fn read(&self, attempt: &AttemptId, from_seq: u64, limit: usize) -> io::Result<LogPage> {
        let Some(file) = self.open(attempt)? else {
            return Ok(LogPage::default());
        };
        let start = offset_of(&file, from_seq)?;
        page(file, start, from_seq, limit)
    }

    /// At most `limit` lines from a place in the file on: 0, or `next` of the page before. To be repeated
    /// until the page has an end.
    pub fn follow(&self, attempt: &AttemptId, offset: u64, limit: usize) -> io::Result<LogPage> {
        let Some(file) = self.open(attempt)? else {
            return Ok(LogPage {
                next: offset,
                ..LogPage::default()
            });
        };
        page(file, offset, 0, limit)
    }

    /// The last `count` lines, read from the end.
    pub fn tail(&self, attempt: &AttemptId, count: usize) -> io::Result<LogPage> {
        let Some(mut file) = self.open(attempt)? else {
            return Ok(LogPage::default());
        };
        let count = count.min(PAGE_MAX);
        // One more, because the last one may be the end marker.
        let last = last_entries(&mut file, count.saturating_add(1))?;
        let mut page = LogPage {
            next: last.next,
            ..LogPage::default()
        };
        for entry in last.entries {
            match entry {
                Entry::Line(line) => page.lines.push(line),
                Entry::End(end) => page.end = Some(end),
            }
        }
        page.lines.drain(..page.lines.len().saturating_sub(count));
        Ok(page)
    }

    /// The number of the next line: after the last one in the file, if there is one.
    pub fn next_seq(&self, attempt: &AttemptId) -> io::Result<u64> {
        let page = self.tail(attempt, 1)?;
        Ok(page.lines.last().map_or(0, |line| line.seq + 1))
    }

    /// The last `count` lines before number `before`.
    fn before(&self, attempt: &AttemptId, before: u64, count: usize) -> io::Result<LogPage> {
        let count = count.min(PAGE_MAX);
        let from = before.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        let mut page = self.read(attempt, from, count)?;
        page.lines.retain(|line| line.seq < before);
        // What follows is not here.
        page.end = None;
        Ok(page)
    }

    /// Reads on a thread that may block.
    async fn blocking(
        &self,
        attempt: &AttemptId,
        read: impl FnOnce(&Self, &AttemptId) -> io::Result<LogPage> + Send + 'static,
    ) -> Result<LogLines, StoreError> {
        let (reader, attempt) = (self.clone(), attempt.clone());
        let page = tokio::task::spawn_blocking(move || read(&reader, &attempt)).await;
        let page = page
            .map_err(|error| StoreError::Failed(format!("reading a log: {error}")))?
            .map_err(|error| StoreError::Failed(format!("a log cannot be read: {error}")))?;
        Ok(LogLines {
            ended: page.end.is_some(),
            lines: page.lines,
        })
    }

    fn open(&self, attempt: &AttemptId) -> io::Result<Option<File>> {
        match File::open(path_of(&self.directory, attempt)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl ports::LogReader for LogReader {
    async fn read(
        &self,
        attempt: &AttemptId,
        from: u64,
        limit: usize,
    ) -> Result<LogLines, StoreError> {
        let limit = limit.min(LOG_PAGE_MAX);
        self.blocking(attempt, move |reader, attempt| {
            let mut page = reader.read(attempt, from, limit)?;
            if page.end.is_none() && page.lines.len() == limit {
                // A full page stops before the marker that may follow it at once.
                let last = page.lines.last().map_or(from, |line| line.seq + 1);
                page.end = reader.read(attempt, last, 1)?.end;
            }
            Ok(page)
        })
        .await
    }

    async fn tail(
        &self,
        attempt: &AttemptId,
        before: Option<u64>,
        count: usize,
    ) -> Result<LogLines, StoreError> {
        let count = count.min(LOG_PAGE_MAX);
        self.blocking(attempt, move |reader, attempt| match before {
            Some(before) => reader.before(attempt, before, count),
            None => reader.tail(attempt, count),
        })
        .await
    }
}

/// A line of a file that can be read.
#[derive(Debug)]
pub(super) enum Entry {
    Line(LogLine),
    End(LogEnd),
}

/// Nothing when a crash or damage made the line unreadable.
fn parse(bytes: &[u8]) -> Option<Entry> {
    if bytes.starts_with(b"{\"end\":") {
        return serde_json::from_slice(bytes).ok().map(Entry::End);
    }
    serde_json::from_slice(bytes).ok().map(Entry::Line)
}

fn page(mut file: File, start: u64, from_seq: u64, limit: usize) -> io::Result<LogPage> {
    file.seek(SeekFrom::Start(start))?;
    let mut reader = BufReader::new(file);
    let mut page = LogPage {
        next: start,
        ..LogPage::default()
    };
    let mut bytes = Vec::new();
    while page.end.is_none() && page.lines.len() < limit.min(PAGE_MAX) {
        let Some(length) = whole_line(&mut reader, &mut bytes)? else {
            // What is still being written is for the next time.
            break;
        };
        page.next += length;
        match parse(&bytes) {
            Some(Entry::Line(line)) if line.seq >= from_seq => page.lines.push(line),
            Some(Entry::End(end)) => page.end = Some(end),
            Some(Entry::Line(_)) | None => {}
        }
    }
    Ok(page)
}

/// Reads a line with its end, keeping [`LINE_MAX`] bytes of it; its length, or none when the end is missing.
fn whole_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<u64>> {
    line.clear();
    let mut length = 0;
    loop {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            return Ok(None);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let (text, used) = match end {
            Some(end) => (&available[..end], end + 1),
            None => (available, available.len()),
        };
        let room = LINE_MAX.saturating_sub(line.len());
        line.extend_from_slice(&text[..text.len().min(room)]);
        reader.consume(used);
        length += used as u64;
        if end.is_some() {
            return Ok(Some(length));
        }
    }
}

/// Start of a line at or before the one with number `seq`, near it: lines are in the order of numbers.
fn offset_of(file: &File, seq: u64) -> io::Result<u64> {
    if seq == 0 {
        return Ok(0);
    }
    let (mut low, mut high) = (0, file.metadata()?.len());
    while high - low > BLOCK {
        let middle = low + (high - low) / 2;
        match first_line_after(file, middle, high)? {
            Some((start, found)) if found < seq => low = start,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

/// The first readable line that starts after `offset` and before `end`: its start and its number.
fn first_line_after(file: &File, offset: u64, end: u64) -> io::Result<Option<(u64, u64)>> {
    let mut reader = file.try_clone()?;
    reader.seek(SeekFrom::Start(offset))?;
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    let mut start = offset;
    let Some(rest) = whole_line(&mut reader, &mut bytes)? else {
        return Ok(None);
    };
    start += rest;
    while start < end {
        let Some(length) = whole_line(&mut reader, &mut bytes)? else {
            return Ok(None);
        };
        match parse(&bytes) {
            Some(Entry::Line(line)) => return Ok(Some((start, line.seq))),
            Some(Entry::End(_)) => return Ok(None),
            None => start += length,
        }
    }
    Ok(None)
}

/// What a file ends with.
#[derive(Debug)]
pub(super) struct Last {
    /// The last readable lines, ascending.
    pub(super) entries: Vec<Entry>,
    /// Whether the file ends with a line end.
    pub(super) complete: bool,
    /// Behind the last line end.
    pub(super) next: u64,
}

/// Reads blocks from the end until `count` lines are in them.
pub(super) fn last_entries(file: &mut File, count: usize) -> io::Result<Last> {
    let size = file.metadata()?.len();
    let mut start = size;
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        // The first of `count` lines is whole when the end of the one before it is there too.
        let ends = bytes.split(|byte| *byte == b'\n').count() - 1;
        if start == 0 || ends > count || size - start >= TAIL_MAX {
            break;
        }
        // Doubling, so that moving what is there costs no more than reading it.
        let length = BLOCK.max(size - start).min(start);
        start -= length;
        let mut block = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut block, start)?;
        block.append(&mut bytes);
        bytes = block;
    }
    let complete = bytes.last().is_none_or(|byte| *byte == b'\n');
    let end = bytes.iter().rposition(|byte| *byte == b'\n');
    let whole = end.map_or(&[][..], |end| &bytes[..end]);
    let mut lines: Vec<&[u8]> = if end.is_some() {
        whole.split(|byte| *byte == b'\n').collect()
    } else {
        Vec::new()
    };
    if start > 0 && !lines.is_empty() {
        // Its beginning was not read.
        lines.remove(0);
    }
    let mut entries: Vec<Entry> = lines
        .iter()
        .rev()
        .filter_map(|line| parse(line))
        .take(count)
        .collect();
    entries.reverse();
    let next = end.map_or(start, |end| start + end as u64 + 1);
    Ok(Last {
        entries,
        complete,
        next,
    })
}
