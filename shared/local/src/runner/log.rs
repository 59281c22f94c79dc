//! From the bytes a process writes to numbered log lines.
//!
//! Invariant: lines of an attempt are numbered from 0 without gaps, and no secret is in them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use operon_core::agent::{self as protocol, Emitted};
use operon_engine::ports::{AttemptId, LogLevel, LogLine, LogSink};

use super::mask::Mask;

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |passed| {
            u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
        })
}

/// Splits a stream into lines and keeps what has no line end yet.
#[derive(Debug)]
pub(crate) struct Lines {
    kept: Vec<u8>,
    dropped: u64,
    keep: usize,
}

impl Lines {
    /// Keeps at most `keep` bytes of a line (more of one that carries outputs).
    pub(crate) const fn new(keep: usize) -> Self {
        Self {
            kept: Vec::new(),
            dropped: 0,
            keep,
        }
    }

    /// Takes bytes, gives each finished line without its end, and how many bytes of it were dropped.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8], u64)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = bytes.split_at(end);
            if self.kept.is_empty() && self.dropped == 0 && head.len() <= self.keep {
                line(head, 0);
            } else {
                self.push(head);
                self.end(&mut line);
            }
            bytes = tail.get(1..).unwrap_or_default();
        }
        self.push(bytes);
    }

    /// The stream ended: gives the last line if it had no end.
    pub(crate) fn end(&mut self, mut line: impl FnMut(&[u8], u64)) {
        if !self.kept.is_empty() || self.dropped > 0 {
            line(&self.kept, self.dropped);
            self.kept.clear();
            self.dropped = 0;
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = self.limit(bytes).saturating_sub(self.kept.len());
        let (fits, rest) = bytes.split_at(room.min(bytes.len()));
        self.kept.extend_from_slice(fits);
        self.dropped += u64::try_from(rest.len()).unwrap_or(u64::MAX);
    }

    fn limit(&self, bytes: &[u8]) -> usize {
        let start = if self.kept.len() < protocol::PREFIX.len() {
            let mut start = self.kept.clone();
            start.extend(bytes.iter().take(protocol::PREFIX.len()));
            start
        } else {
            self.kept[..protocol::PREFIX.len()].to_vec()
        };
        if start.starts_with(protocol::PREFIX.as_bytes()) {
            protocol::LINE_MAX.max(self.keep)
        } else {
            self.keep
        }
    }
}

/// Writes the log of one attempt and picks the outputs out of it.
pub(crate) struct AttemptLog {
    sink: Arc<dyn LogSink>,
    id: AttemptId,
    mask: Mask,
    seq: u64,
    bytes_left: u64,
    /// What the process said in lines of the protocol.
    pub(crate) emitted: Emitted,
    /// Its last words on standard error, for the message of a failure.
    pub(crate) last_error: Option<String>,
}

impl AttemptLog {
    /// A log that takes at most `bytes_max` bytes.
    pub(crate) fn new(sink: Arc<dyn LogSink>, id: AttemptId, mask: Mask, bytes_max: u64) -> Self {
        Self {
            sink,
            id,
            mask,
            seq: 0,
            bytes_left: bytes_max,
            emitted: Emitted::default(),
            last_error: None,
        }
    }

    /// Bytes of a line that must be kept so that a secret on the edge is recognized.
    pub(crate) fn line_bytes(&self) -> usize {
        LogLine::TEXT_MAX + self.mask.longest()
    }

    /// The masker of the attempt's secrets.
    pub(crate) const fn mask(&self) -> &Mask {
        &self.mask
    }

    /// A line of the runner's own.
    pub(crate) fn note(&mut self, level: LogLevel, text: &str) {
        let masked = self.mask.text(text);
        self.write(level, now_ms(), cut(masked, LogLine::TEXT_MAX, 0));
    }

    /// A line of standard output, or of standard error.
    pub(crate) fn line(&mut self, is_error: bool, time_ms: u64, raw: &[u8], dropped: u64) {
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        let text = String::from_utf8_lossy(raw);
        match protocol::parse_line(&text) {
            Some(_) if dropped > 0 => self.emitted.fail(format!(
                "a line of outputs is longer than {} bytes; write large values to a file",
                protocol::LINE_MAX
            )),
            Some(Ok(said)) => {
                for (level, line) in self.emitted.take(said, text.len()) {
                    let masked = self.mask.text(&line);
                    self.write(level, time_ms, cut(masked, LogLine::TEXT_MAX, 0));
                }
                return;
            }
            Some(Err(why)) => self.note(
                LogLevel::Warn,
                &format!("the next line looks like outputs but is not: {why}"),
            ),
            None => {}
        }
        let masked = self.mask.text(&text);
        let shown = if dropped > 0 || masked.len() > LogLine::TEXT_MAX {
            // The end of what was kept may be the beginning of a secret.
            let safe = masked.len().saturating_sub(self.mask.longest());
            cut(masked, LogLine::TEXT_MAX.min(safe), dropped)
        } else {
            masked
        };
        if is_error && !shown.trim().is_empty() {
            self.last_error = Some(shown.trim().chars().take(500).collect());
        }
        let level = if is_error {
            LogLevel::Warn
        } else {
            LogLevel::Info
        };
        self.write(level, time_ms, shown);
    }

    /// Nothing follows.
    pub(crate) fn end(&self) {
        self.sink.end(&self.id);
    }

    fn write(&mut self, level: LogLevel, time_ms: u64, text: String) {
        if self.bytes_left == 0 {
            return;
        }
        let size = u64::try_from(text.len()).unwrap_or(u64::MAX).max(1);
        let (level, text) = if size <= self.bytes_left {
            self.bytes_left -= size;
            (level, text)
        } else {
            self.bytes_left = 0;
            let text = "the log is too large; what follows is not kept".to_owned();
            (LogLevel::Warn, text)
        };
        let text = if text.contains('\0') {
            text.replace('\0', "\u{fffd}")
        } else {
            text
        };
        let line = LogLine {
            seq: self.seq,
            time_ms,
            level,
            text,
        };
        self.seq += 1;
        self.sink.line(&self.id, line);
    }
}

/// Shortens `text` to `max` bytes, a note on what is missing included.
fn cut(mut text: String, max: usize, dropped: u64) -> String {
    if text.len() <= max && dropped == 0 {
        return text;
    }
    let note = " … (line cut)";
    let mut end = max.saturating_sub(note.len()).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push_str(note);
    text
}
