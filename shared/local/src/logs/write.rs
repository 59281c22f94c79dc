//! The writer of one attempt's log.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use operon_engine::ports::{LogLevel, LogLine};
use tracing::warn;

use super::LogEnd;
use super::read::{self, Entry};

/// Bytes buffered before they are written at once, whoever waits.
const BUFFER: usize = 64 * 1024;

/// Appends to one file, which it opens only to write.
#[derive(Debug)]
pub(super) struct LogWriter {
    path: PathBuf,
    limit: u64,
    buffer: Vec<u8>,
    /// Bytes in the file; none before it was first looked at.
    written: Option<u64>,
    /// Lines in the file and the buffer.
    lines: u64,
    dropped: u64,
    /// The limit was reached and said so.
    cut: bool,
    /// The end marker is written: nothing follows.
    ended: bool,
    /// A failure to write was reported.
    failed: bool,
}

impl LogWriter {
    pub(super) const fn new(path: PathBuf, limit: u64) -> Self {
        Self {
            path,
            limit,
            buffer: Vec::new(),
            written: None,
            lines: 0,
            dropped: 0,
            cut: false,
            ended: false,
            failed: false,
        }
    }

    pub(super) fn line(&mut self, mut line: LogLine) {
        if self.ended || self.cut {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        if line.text.len() > LogLine::TEXT_MAX {
            // Whoever logs cuts lines and says so; a longer one could not be read again.
            let end = line.text.floor_char_boundary(LogLine::TEXT_MAX);
            line.text.truncate(end);
        }
        let seq = line.seq;
        let before = self.buffer.len();
        if self.append(&line) && self.size() > self.limit {
            self.buffer.truncate(before);
            self.cut = true;
            self.dropped = self.dropped.saturating_add(1);
            line.level = LogLevel::Warn;
            line.text = format!(
                "log cut: it reached {} bytes, the limit of one attempt; what follows is not kept",
                self.limit
            );
            self.append(&line);
        }
        self.lines = seq.saturating_add(1);
        if self.buffer.len() > BUFFER {
            self.flush();
        }
    }

    /// Writes the end marker, unless there is nothing to end.
    pub(super) fn end(&mut self) {
        self.flush_with(true);
    }

    pub(super) fn flush(&mut self) {
        self.flush_with(false);
    }

    fn flush_with(&mut self, end: bool) {
        if self.buffer.is_empty() && !end {
            return;
        }
        let lines = self.buffer.split(|byte| *byte == b'\n').count() - 1;
        if let Err(error) = self.write(end) {
            // Lines must not pile up in memory; the log has a gap and its end says so.
            let lost = u64::try_from(lines).unwrap_or(u64::MAX);
            self.dropped = self.dropped.saturating_add(lost);
            // The file may end in half a line: look at it again before the next.
            self.written = None;
            if !self.failed {
                self.failed = true;
                warn!(path = %self.path.display(), %error, "cannot write a task's log; lines are lost");
            }
        }
        self.buffer.clear();
    }

    fn write(&mut self, end: bool) -> io::Result<()> {
        let mut file = self.open()?;
        let mut written = if let Some(written) = self.written {
            written
        } else {
            self.resume(&mut file)?
        };
        if self.ended {
            return Ok(());
        }
        if end {
            let marker = LogEnd {
                end: true,
                lines: self.lines,
                dropped: self.dropped,
            };
            self.append(&marker);
        }
        file.write_all(&self.buffer)?;
        self.ended = end;
        written = written.saturating_add(u64::try_from(self.buffer.len()).unwrap_or(u64::MAX));
        self.written = Some(written);
        Ok(())
    }

    fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        // Reading is for finding out what an earlier process wrote.
        options.read(true).append(true).create(true).mode(0o600);
        match options.open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = self.path.parent() {
                    let mut builder = DirBuilder::new();
                    builder.recursive(true).mode(0o700).create(parent)?;
                }
                options.open(&self.path)
            }
            opened => opened,
        }
    }

    /// Goes on with a file that an earlier process began: its size, after closing a line that was cut off.
    fn resume(&mut self, file: &mut File) -> io::Result<u64> {
        let size = file.metadata()?.len();
        if size == 0 {
            return Ok(0);
        }
        let last = read::last_entries(file, 1)?;
        match last.entries.last() {
            Some(Entry::End(_)) => self.ended = true,
            Some(Entry::Line(line)) => self.lines = self.lines.max(line.seq.saturating_add(1)),
            None => {}
        }
        if !last.complete {
            file.write_all(b"\n")?;
            return Ok(size.saturating_add(1));
        }
        Ok(size)
    }

    /// Appends a line to the buffer; false when it cannot be written as JSON, which no such value is.
    fn append<T: serde::Serialize>(&mut self, line: &T) -> bool {
        let before = self.buffer.len();
        if serde_json::to_writer(&mut self.buffer, line).is_err() {
            self.buffer.truncate(before);
            return false;
        }
        self.buffer.push(b'\n');
        true
    }

    fn size(&self) -> u64 {
        let buffered = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        self.written.unwrap_or(0).saturating_add(buffered)
    }
}
