//! Logs of attempts: one file of JSON lines per attempt that logs anything.
//!
//! A line of the file is a [`LogLine`]; the last one is the end marker `{"end":true,"lines":n}`. Lines are
//! buffered and reach the file within 100 ms, at the end of the attempt at the latest, by a thread of their
//! own. No file is kept open, so the number of attempts at once does not matter. Invariant: what is in a
//! file never changes; a line cut off by a crash is skipped by readers and closed by the next writer.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use operon_engine::ports::{AttemptId, LogLine, LogSink};
use serde::{Deserialize, Serialize};

pub use read::{LogPage, LogReader};
use write::LogWriter;

/// A line is visible to readers after this time at the latest.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// Bytes of one attempt's log by default: 64 MiB.
pub const LOG_MAX: u64 = 64 << 20;

/// The last line of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEnd {
    end: bool,
    /// Lines before it, counted by their numbers: one more than the last.
    pub lines: u64,
    /// Lines that were dropped because the log was too large or could not be written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The log sink of the local engine.
#[derive(Debug)]
pub struct LogFiles {
    shared: Arc<Shared>,
    flusher: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    limit: u64,
    table: Mutex<Table>,
    // Told when there is something to flush, and when to stop.
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Table {
    open: HashMap<AttemptId, Arc<Mutex<LogWriter>>>,
    dirty: bool,
    stop: bool,
}

impl LogFiles {
    /// Logs below `directory`, at most `limit` bytes per attempt (see [`LOG_MAX`]).
    pub fn start(directory: &Path, limit: u64) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            directory: directory.to_owned(),
            limit,
            table: Mutex::default(),
            wake: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        let flusher = std::thread::Builder::new()
            .name("log-flusher".to_owned())
            .spawn(move || of_thread.flush_until_stopped())?;
        Ok(Self {
            shared,
            flusher: Some(flusher),
        })
    }

    /// Reads these logs.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        LogReader::new(&self.shared.directory)
    }

    /// Makes every line visible now.
    pub fn flush(&self) {
        self.shared.flush();
    }
}

impl LogSink for LogFiles {
    fn line(&self, attempt: &AttemptId, line: LogLine) {
        let writer = {
            let mut table = self.shared.table();
            if !table.dirty {
                table.dirty = true;
                self.shared.wake.notify_one();
            }
            if let Some(writer) = table.open.get(attempt) {
                Arc::clone(writer)
            } else {
                let path = path_of(&self.shared.directory, attempt);
                let writer = LogWriter::new(path, self.shared.limit);
                let writer = Arc::new(Mutex::new(writer));
                table.open.insert(attempt.clone(), Arc::clone(&writer));
                writer
            }
        };
        locked(&writer).line(line);
    }

    fn end(&self, attempt: &AttemptId) {
        let writer = self.shared.table().open.remove(attempt);
        if let Some(writer) = writer {
            locked(&writer).end();
        } else {
            // Nothing was logged since the start of this process; before it, perhaps.
            let path = path_of(&self.shared.directory, attempt);
            if path.exists() {
                LogWriter::new(path, self.shared.limit).end();
            }
        }
    }
}

impl Drop for LogFiles {
    fn drop(&mut self) {
        self.shared.table().stop = true;
        self.shared.wake.notify_all();
        if let Some(flusher) = self.flusher.take() {
            // A panic of the thread was reported when it happened.
            let _ = flusher.join();
        }
        self.shared.flush();
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps while nothing is logged, and gathers what comes within [`FLUSH_EVERY`].
    fn flush_until_stopped(&self) {
        loop {
            let idle = |table: &mut Table| !table.dirty && !table.stop;
            let table = self.wake.wait_while(self.table(), idle);
            let table = table.unwrap_or_else(PoisonError::into_inner);
            let wait = self
                .wake
                .wait_timeout_while(table, FLUSH_EVERY, |table| !table.stop);
            let (mut table, _) = wait.unwrap_or_else(PoisonError::into_inner);
            if table.stop {
                return;
            }
            table.dirty = false;
            drop(table);
            self.flush();
        }
    }

    fn flush(&self) {
        let writers: Vec<_> = self.table().open.values().cloned().collect();
        for writer in writers {
            locked(&writer).flush();
        }
    }
}

fn locked(writer: &Mutex<LogWriter>) -> MutexGuard<'_, LogWriter> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `<execution>/<shard>-<slot>-<attempt>.jsonl`. Ids of executions and shards hold no dots or slashes that
/// would lead elsewhere: `0.12/5` becomes `0.12_5`.
fn path_of(directory: &Path, attempt: &AttemptId) -> PathBuf {
    let shard = attempt.task_run.shard.to_string().replace('/', "_");
    let (slot, number) = (attempt.task_run.slot, attempt.attempt);
    directory
        .join(attempt.execution.as_str())
        .join(format!("{shard}-{slot}-{number}.jsonl"))
}
