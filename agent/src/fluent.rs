//! Takes the log of `main` from ECS' log driver.
//!
//! With the log driver `awsfirelens`, ECS hands each line of a container to a socket in the container that is the
//! task's log router: here, the agent. It speaks Fluentd's forward protocol, of which the driver uses one form,
//! `[tag, time, record, option]` in `MessagePack`. See `docs/decisions/0023-agent.md`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use operon_core::agent::{LINE_MAX, LogLevel, PREFIX};
use tokio::io::AsyncReadExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, sleep};

use crate::log::{Log, now_ms};
use crate::msgpack::{self, ReadError, Value};

/// Bytes of one message at most: the driver cuts lines at 16 KiB.
const MESSAGE_MAX: usize = 2 * 1024 * 1024;
/// Connections at once at most: one per container and stream.
const CONNECTIONS_MAX: usize = 16;
/// How long the first line of an attempt that is already over is waited for.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// How long a connection without new lines is waited for once `main` is over.
const QUIET_WAIT: Duration = Duration::from_secs(2);
/// How long all of the rest may take.
const REST_MAX: Duration = Duration::from_secs(20);

/// The log, shared between the connections and the watch.
pub(crate) type SharedLog = Arc<Mutex<Log>>;

/// Locks the log; a panic elsewhere does not silence it.
pub(crate) fn locked(log: &SharedLog) -> std::sync::MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The socket, and what came through it.
pub(crate) struct Router {
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    ever: AtomicUsize,
    open: AtomicUsize,
    bytes: AtomicU64,
}

impl Router {
    /// Listens, and writes what comes to the log.
    pub(crate) fn listen(socket: &Path, log: SharedLog) -> io::Result<Self> {
        if let Some(parent) = socket.parent() {
            std::fs::create_dir_all(parent)?;
        }
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(socket)?;
        let counts = Arc::<Counts>::default();
        tokio::spawn(accept(listener, log, counts.clone()));
        Ok(Self { counts })
    }

    /// Waits until the log of a program that is over has arrived.
    pub(crate) async fn drain(&self) {
        let started = Instant::now();
        let mut seen = (self.counts.bytes.load(Ordering::Relaxed), started);
        while started.elapsed() < REST_MAX {
            let ever = self.counts.ever.load(Ordering::Relaxed) > 0;
            let open = self.counts.open.load(Ordering::Relaxed) > 0;
            let bytes = self.counts.bytes.load(Ordering::Relaxed);
            if bytes != seen.0 {
                seen = (bytes, Instant::now());
            }
            let over = if ever {
                !open || seen.1.elapsed() >= QUIET_WAIT
            } else {
                started.elapsed() >= FIRST_WAIT
            };
            if over {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn accept(listener: UnixListener, log: SharedLog, counts: Arc<Counts>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, for now.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        if counts.open.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
            continue;
        }
        counts.ever.fetch_add(1, Ordering::Relaxed);
        counts.open.fetch_add(1, Ordering::Relaxed);
        let (log, counts) = (log.clone(), counts.clone());
        tokio::spawn(async move {
            if let Err(why) = serve(stream, &log, &counts).await {
                let note = format!("a part of the log is lost: {why}");
                locked(&log).note(LogLevel::Warn, &note);
            }
            counts.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn serve(mut stream: UnixStream, log: &SharedLog, counts: &Counts) -> Result<(), String> {
    let mut kept: Vec<u8> = Vec::new();
    let mut lines = Lines::default();
    loop {
        let got = stream.read_buf(&mut kept).await;
        let got = got.map_err(|error| error.to_string())?;
        counts
            .bytes
            .fetch_add(u64::try_from(got).unwrap_or(u64::MAX), Ordering::Relaxed);
        let mut at = 0;
        while at < kept.len() {
            match msgpack::read(kept.get(at..).unwrap_or_default()) {
                Ok((message, length)) => {
                    at += length;
                    lines.take(message, log)?;
                }
                Err(ReadError::Short) => break,
                Err(ReadError::Malformed(what)) => {
                    return Err(format!("the log driver sent {what}"));
                }
            }
        }
        kept.drain(..at);
        if got == 0 {
            lines.end(log);
            return Ok(());
        }
        if kept.len() > MESSAGE_MAX {
            return Err(format!("a message has more than {MESSAGE_MAX} bytes"));
        }
    }
}

/// Puts lines together again that the driver has cut.
#[derive(Default)]
struct Lines {
    output: Option<Open>,
    error: Option<Open>,
}

#[derive(Default)]
struct Open {
    kept: Vec<u8>,
    dropped: u64,
    time_ms: u64,
}

/// What a record says of a piece of a line.
struct Piece {
    is_error: bool,
    bytes: Vec<u8>,
    is_last: bool,
}

impl Lines {
    fn take(&mut self, message: Value, log: &SharedLog) -> Result<(), String> {
        let Value::Array(parts) = message else {
            return Err("the log driver sent no array".to_owned());
        };
        let mut parts = parts.into_iter().skip(1);
        let (time, record) = (parts.next(), parts.next());
        let Some(Value::Map(record)) = record else {
            return Err("the log driver sent no record".to_owned());
        };
        let time_ms = time.as_ref().and_then(time_of).unwrap_or_else(now_ms);
        let Some(piece) = piece_of(record) else {
            return Ok(());
        };
        let place = if piece.is_error {
            &mut self.error
        } else {
            &mut self.output
        };
        let mut open = place.take().unwrap_or_default();
        if open.kept.is_empty() {
            open.time_ms = time_ms;
        }
        let mut log = locked(log);
        open.push(&piece.bytes, log.line_bytes());
        if piece.is_last {
            log.line(piece.is_error, open.time_ms, &open.kept, open.dropped);
        } else {
            *place = Some(open);
        }
        Ok(())
    }

    fn end(&mut self, log: &SharedLog) {
        for (is_error, open) in [(false, self.output.take()), (true, self.error.take())] {
            if let Some(open) = open {
                locked(log).line(is_error, open.time_ms, &open.kept, open.dropped);
            }
        }
    }
}

impl Open {
    fn push(&mut self, bytes: &[u8], keep: usize) {
        let start = if self.kept.is_empty() {
            bytes
        } else {
            &self.kept
        };
        let limit = if start.starts_with(PREFIX.as_bytes()) {
            LINE_MAX.max(keep)
        } else {
            keep
        };
        let room = limit.saturating_sub(self.kept.len()).min(bytes.len());
        let (fits, rest) = bytes.split_at(room);
        self.kept.extend_from_slice(fits);
        self.dropped += u64::try_from(rest.len()).unwrap_or(u64::MAX);
    }
}

fn piece_of(record: Vec<(Value, Value)>) -> Option<Piece> {
    let mut fields: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for (name, value) in record {
        if let (Value::Bytes(name), Value::Bytes(value)) = (name, value) {
            fields.insert(name, value);
        }
    }
    let is = |name: &[u8], wanted: &[u8]| fields.get(name).is_some_and(|value| value == wanted);
    let is_last = !is(b"partial_message", b"true") || is(b"partial_last", b"true");
    let is_error = is(b"source", b"stderr");
    let bytes = fields.remove(&b"log"[..])?;
    Some(Piece {
        is_error,
        bytes,
        is_last,
    })
}

/// Milliseconds of an `EventTime` (seconds and nanoseconds), or of seconds.
fn time_of(value: &Value) -> Option<u64> {
    match value {
        Value::Extension(0, bytes) => {
            let word = |at: usize| -> Option<u64> {
                let bytes: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
                Some(u64::from(u32::from_be_bytes(bytes)))
            };
            Some(word(0)? * 1_000 + word(4)? / 1_000_000)
        }
        Value::Integer(seconds) => u64::try_from(*seconds).ok()?.checked_mul(1_000),
        Value::Nil
        | Value::Bool(_)
        | Value::Float(_)
        | Value::Bytes(_)
        | Value::Array(_)
        | Value::Map(_)
        | Value::Extension(..) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::log::testing;

    fn text(text: &str) -> Vec<u8> {
        let mut bytes = vec![0xda];
        bytes.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    /// A message as the driver writes it.
    fn message(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = vec![0x94];
        bytes.extend(text("main-firelens-1"));
        bytes.extend_from_slice(b"\xd7\x00\x00\x00\x00\x05\x01\x31\x2d\x00");
        bytes.push(0x80 | u8::try_from(fields.len()).unwrap());
        for (name, value) in fields {
            bytes.extend(text(name));
            bytes.extend(text(value));
        }
        bytes.push(0x80);
        bytes
    }

    fn shared() -> (SharedLog, testing::Written) {
        let (log, written) = testing::log(1 << 20);
        (Arc::new(Mutex::new(log)), written)
    }

    #[tokio::test]
    async fn lines_arrive_whole_and_without_secrets() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("run/fluent.sock");
        let (log, written) = shared();
        let router = Router::listen(&socket, log.clone()).unwrap();
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        let partial = |log: &str, last: &str| {
            message(&[
                ("source", "stdout"),
                ("log", log),
                ("partial_message", "true"),
                ("partial_last", last),
            ])
        };
        let all = [
            message(&[("source", "stderr"), ("log", "careful")]),
            partial("the password is hunter2-", "false"),
            partial("swordfish", "true"),
            message(&[("source", "stdout"), ("log", r#"::{"outputs":{"n":1}}::"#)]),
            partial("no end", "false"),
        ]
        .concat();
        for piece in all.chunks(7) {
            stream.write_all(piece).await.unwrap();
        }
        drop(stream);
        router.drain().await;
        let lines = written.lines();
        let facts: Vec<_> = lines
            .iter()
            .map(|line| (line.level, line.time_ms, line.text.as_str()))
            .collect();
        assert_eq!(
            facts,
            [
                (LogLevel::Warn, 5_020, "careful"),
                (LogLevel::Info, 5_020, "the password is ******"),
                (LogLevel::Info, 5_020, "no end"),
            ]
        );
        assert_eq!(locked(&log).emitted.vars.len(), 1);
    }

    #[tokio::test]
    async fn what_is_no_message_closes_the_connection_and_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("fluent.sock");
        let (log, written) = shared();
        let router = Router::listen(&socket, log).unwrap();
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        stream.write_all(b"\xc1").await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        router.drain().await;
        assert!(written.texts()[0].contains("a part of the log is lost"));
    }

    #[tokio::test]
    async fn a_message_without_end_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("fluent.sock");
        let (log, written) = shared();
        let router = Router::listen(&socket, log).unwrap();
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        stream.write_all(b"\xc6\xff\xff\xff\xff").await.unwrap();
        let block = vec![0; 64 * 1024];
        while stream.write_all(&block).await.is_ok() {}
        router.drain().await;
        assert!(
            written.texts()[0].contains("bytes"),
            "{:?}",
            written.texts()
        );
    }

    #[test]
    fn a_line_that_is_too_long_says_how_much_is_missing() {
        let mut open = Open::default();
        for _ in 0..3 {
            open.push(&[b'x'; 100], 150);
        }
        assert_eq!((open.kept.len(), open.dropped), (150, 150));
    }
}
