//! What a container writes, from the engine's log to that of the attempt.
//!
//! Invariant: each byte is taken once, and none is missing that the engine kept. Following alone does not hold
//! that: Docker before 23 may end the stream of a container that stops before it has sent the last lines
//! (<https://github.com/moby/moby/pull/43294>), and with them may go the task's outputs.

use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{LogsOptions, LogsOptionsBuilder};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use operon_engine::ports::LogLevel;
use tokio::time::timeout;

use crate::runner::log::{AttemptLog, Lines, now_ms};

/// How long the engine may be silent while it delivers the end of a log.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The log of one container.
pub(super) struct Text<'a> {
    docker: &'a Docker,
    container: &'a str,
    following: BoxStream<'a, Result<LogOutput, Error>>,
    open: bool,
    output: Side,
    error: Side,
}

/// One of the two streams.
struct Side {
    is_error: bool,
    lines: Lines,
    /// Bytes taken.
    seen: u64,
    /// Bytes that come once more and were taken before.
    again: u64,
}

impl Side {
    const fn new(is_error: bool, line_bytes: usize) -> Self {
        Self {
            is_error,
            lines: Lines::new(line_bytes),
            seen: 0,
            again: 0,
        }
    }

    fn take(&mut self, bytes: &[u8], log: &mut AttemptLog) {
        let known = usize::try_from(self.again)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let (known, new) = bytes.split_at(known);
        self.again -= length(known);
        self.seen += length(new);
        let (is_error, time) = (self.is_error, now_ms());
        self.lines.feed(new, |line, dropped| {
            log.line(is_error, time, line, dropped);
        });
    }

    fn end(&mut self, log: &mut AttemptLog) {
        let (is_error, time) = (self.is_error, now_ms());
        self.lines
            .end(|line, dropped| log.line(is_error, time, line, dropped));
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl<'a> Text<'a> {
    /// Follows a container whose lines of at most `line_bytes` are kept.
    pub(super) fn follow(docker: &'a Docker, container: &'a str, line_bytes: usize) -> Self {
        Self {
            docker,
            container,
            following: docker.logs(container, Some(options(true))).boxed(),
            open: true,
            output: Side::new(false, line_bytes),
            error: Side::new(true, line_bytes),
        }
    }

    /// Takes what comes next; waits for ever once the stream has ended.
    pub(super) async fn next(&mut self, log: &mut AttemptLog) {
        if !self.open {
            return std::future::pending().await;
        }
        match self.following.next().await {
            Some(Ok(part)) => self.take(part, log),
            // What was cut off comes when the log is read once more.
            Some(Err(_)) | None => self.open = false,
        }
    }

    /// Takes what is left, now that the container has ended.
    pub(super) async fn complete(mut self, log: &mut AttemptLog) {
        while self.open {
            if timeout(SILENCE_MAX, self.next(log)).await.is_err() {
                break;
            }
        }
        for side in [&mut self.output, &mut self.error] {
            side.again = side.seen;
        }
        let whole = self.docker.logs(self.container, Some(options(false)));
        if let Err(why) = self.take_all(whole, log).await {
            log.note(
                LogLevel::Warn,
                &format!("the end of the log is missing: {why}"),
            );
        }
        self.output.end(log);
        self.error.end(log);
    }

    async fn take_all(
        &mut self,
        parts: impl Stream<Item = Result<LogOutput, Error>>,
        log: &mut AttemptLog,
    ) -> Result<(), String> {
        let mut parts = std::pin::pin!(parts);
        loop {
            match timeout(SILENCE_MAX, parts.next()).await {
                Ok(Some(Ok(part))) => self.take(part, log),
                Ok(Some(Err(error))) => return Err(error.to_string()),
                Ok(None) => return Ok(()),
                Err(_) => return Err(format!("the engine sent nothing for {SILENCE_MAX:?}")),
            }
        }
    }

    fn take(&mut self, part: LogOutput, log: &mut AttemptLog) {
        match part {
            LogOutput::StdErr { message } => self.error.take(&message, log),
            LogOutput::StdOut { message } | LogOutput::Console { message } => {
                self.output.take(&message, log);
            }
            LogOutput::StdIn { .. } => {}
        }
    }
}

fn options(follow: bool) -> LogsOptions {
    LogsOptionsBuilder::default()
        .follow(follow)
        .stdout(true)
        .stderr(true)
        .build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::path::Path;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;
    use crate::runner::mask::Mask;
    use crate::runner::testing::{attempt_id, ports};

    /// A frame of the engine: stream, three zeros, length, bytes.
    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        frame.extend(text.as_bytes());
        frame
    }

    /// An engine that gives `first` to who follows, and `whole` to who does not.
    fn engine(socket: &Path, first: Vec<u8>, whole: Vec<u8>) {
        let listener = UnixListener::bind(socket).unwrap();
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let size = client.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..size]).into_owned();
                let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
                client.write_all(head.as_bytes()).await.unwrap();
                let body = if request.contains("follow=true") {
                    &first
                } else {
                    &whole
                };
                client.write_all(body).await.unwrap();
            }
        });
    }

    #[tokio::test]
    async fn what_the_stream_kept_back_is_read_once_the_container_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("engine");
        let whole = [
            frame(1, "one\ntw"),
            frame(2, "warn\n"),
            frame(1, "o\n"),
            frame(2, "end"),
            frame(1, "three"),
        ];
        for cut in 0..=whole.len() {
            let path = socket.with_extension(cut.to_string());
            engine(&path, whole[..cut].concat(), whole.concat());
            let version = bollard::API_DEFAULT_VERSION;
            let docker = Docker::connect_with_unix(path.to_str().unwrap(), 5, version).unwrap();
            let (_, said) = ports(directory.path());
            let id = attempt_id(1);
            let mut log = AttemptLog::new(said.clone(), id.clone(), Mask::new(&[]), 1 << 20);
            let mut text = Text::follow(&docker, "c", log.line_bytes());
            while text.open {
                text.next(&mut log).await;
            }
            text.complete(&mut log).await;
            let mut texts = said.texts(&id);
            texts.sort();
            assert_eq!(
                texts,
                ["end", "one", "three", "two", "warn"],
                "cut at {cut}"
            );
        }
    }
}
