//! One attempt from its first file to its last: stage, start, watch, end, collect.

use std::ffi::OsString;
use std::pin::Pin;
use std::time::Duration;

use operon_core::exec::{Outcome, Reason};
use operon_engine::ports::{AttemptResult, AttemptSpec, LogLevel, Usage};
use rustix::process::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};
use wait4::ResUse;

use super::Shared;
use super::child::{Child, environment};
use super::files;
use super::system::{self, MARKER};
use crate::runner::directory::WorkDir;
use crate::runner::finish::{self, Ending};
use crate::runner::log::{AttemptLog, Lines, now_ms};
use crate::runner::stage::{self, For, StageError};

/// Bytes read from a pipe at once.
const READ_BYTES: usize = 16 * 1024;
/// Reads of what is left in a pipe after its writers are dead: more than a pipe can hold.
const DRAIN_READS: usize = 128;

/// Processes that live longer are recorded by their number; shorter ones need not cost a write.
const RECORD_AFTER: Duration = Duration::from_millis(200);

/// Why a process was told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Timeout,
    Stop,
}

/// Runs an attempt. `stop` becomes true when it must end.
pub(super) async fn run(
    shared: &Shared,
    spec: &AttemptSpec,
    log: &mut AttemptLog,
    stop: watch::Receiver<bool>,
) -> AttemptResult {
    let created_ms = now_ms();
    if let Some(image) = &spec.image {
        let text = format!(
            "the container image {image} is not used: the command runs as a process of this machine"
        );
        log.note(LogLevel::Warn, &text);
    }
    let config = &shared.config;
    let dir = match WorkDir::create(&config.state_dir, spec, &shared.spares) {
        Ok(dir) => dir,
        Err(error) => {
            let message = format!("the working directory cannot be made: {error}");
            return finish::not_started(created_ms, log, &StageError::launch(message));
        }
    };
    let result = match in_directory(shared, spec, &dir, log, stop).await {
        Ok(result) => finish::provisioned(result, created_ms),
        Err(error) => finish::not_started(created_ms, log, &error),
    };
    if !config.keep_directories {
        dir.remove_async(&shared.spares).await;
    }
    result
}

async fn in_directory(
    shared: &Shared,
    spec: &AttemptSpec,
    dir: &WorkDir,
    log: &mut AttemptLog,
    stop: watch::Receiver<bool>,
) -> Result<AttemptResult, StageError> {
    if spec.only_files {
        return files::run(shared, spec, dir, log).await;
    }
    stage::input_files(
        dir,
        &spec.input_files,
        shared.artifacts.as_ref(),
        For::Process,
    )
    .await?;
    let marker = shared.marker(&spec.id);
    let environment = environment(&spec.env, &own_environment(spec, dir, &marker));
    if *stop.borrow() {
        return Err(StageError {
            reason: Reason::Kill,
            message: "stopped before it started".to_owned(),
        });
    }
    let entry = spec.entrypoint.iter().flatten();
    let command: Vec<String> = entry.chain(&spec.command).cloned().collect();
    let started_ms = now_ms();
    let child = Child::start(
        &command,
        &dir.path,
        &environment,
        shared.config.use_descriptors,
    )
    .await?;
    let mut watched = Watched::new(shared, child, spec, log, stop);
    watched.watch().await;
    let ended_ms = now_ms();
    let (cause, ended) = watched.end(&marker).await;
    let oom = || shared.memory.killed_since(started_ms, ended_ms);
    let name = command.first().map_or("", String::as_str);
    let ending = ending(name, spec, cause, ended, oom);
    let mut result = finish::collect(spec, dir, log, shared.artifacts.as_ref(), ending).await;
    result.started_ms = started_ms;
    result.ended_ms = ended_ms;
    Ok(result)
}

/// What the attempt is told about itself.
fn own_environment(
    spec: &AttemptSpec,
    dir: &WorkDir,
    marker: &str,
) -> [(&'static str, OsString); 9] {
    [
        ("TMPDIR", dir.temporary().into()),
        ("WORKING_DIR", dir.path.clone().into()),
        ("OUTPUT_DIR", dir.output().into()),
        ("OPERON_OUTPUTS", dir.outputs_file().into()),
        ("OPERON_METRICS", dir.metrics_file().into()),
        ("OPERON_EXECUTION", spec.id.execution.as_str().into()),
        ("OPERON_TASK_RUN", spec.name.clone().into()),
        ("OPERON_ATTEMPT", spec.id.attempt.to_string().into()),
        (MARKER, marker.into()),
    ]
}

/// Puts the exit status into the words of the core.
fn ending(
    program: &str,
    spec: &AttemptSpec,
    cause: Option<Cause>,
    ended: std::io::Result<ResUse>,
    oom: impl FnOnce() -> bool,
) -> Ending {
    use std::os::unix::process::ExitStatusExt as _;
    let failed = |reason, message: String| (Outcome::Failed(reason), Some(message));
    let used = match ended {
        Ok(used) => used,
        Err(error) => {
            let (outcome, message) = failed(Reason::Lost, format!("`{program}`: {error}"));
            return Ending {
                outcome,
                message,
                exit_code: None,
                usage: Usage::default(),
            };
        }
    };
    let signal = used.status.signal();
    let code = used.status.code().or(signal.map(|signal| 128 + signal));
    let (outcome, message) = match (cause, code, signal) {
        (Some(Cause::Stop), ..) => failed(Reason::Kill, "stopped".to_owned()),
        (Some(Cause::Timeout), ..) => failed(
            Reason::Timeout,
            format!("took longer than its timeout of {}", words(spec.timeout)),
        ),
        (None, Some(0), _) => (Outcome::Success, None),
        (None, Some(137), _) if oom() => failed(
            Reason::OutOfMemory,
            format!(
                "`{program}` was killed because the machine ran out of memory; its largest process had {} MiB",
                used.rusage.maxrss >> 20
            ),
        ),
        (None, _, Some(signal)) => failed(
            Reason::ExitCode,
            format!("`{program}` was ended by {}", signal_name(signal)),
        ),
        (None, Some(code), None) => failed(
            Reason::ExitCode,
            format!("`{program}` ended with exit code {code}"),
        ),
        (None, None, None) => failed(Reason::Lost, format!("`{program}` ended in an unknown way")),
    };
    Ending {
        outcome,
        message,
        exit_code: code,
        usage: Usage {
            peak_rss_bytes: used.rusage.maxrss,
            cpu_seconds: (used.rusage.utime + used.rusage.stime).as_secs_f64(),
            provision_seconds: 0.0,
        },
    }
}

/// A duration for people.
pub(crate) fn words(duration: Duration) -> String {
    if duration < Duration::from_mins(1) {
        return format!("{} s", duration.as_secs_f64());
    }
    let seconds = duration.as_secs();
    let parts = [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let shown: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    shown.join(" ")
}

/// `signal 9 (KILL)`.
pub(crate) fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => " (HUP: its terminal or session ended)",
        2 => " (INT: interrupted)",
        4 => " (ILL: an instruction this machine does not know)",
        6 => " (ABRT: it aborted itself)",
        7 => " (BUS: bad memory access, or a full disk under a memory map)",
        8 => " (FPE: arithmetic error)",
        9 => " (KILL: somebody killed it, perhaps for want of memory)",
        11 => " (SEGV: bad memory access)",
        13 => " (PIPE: it wrote to a closed pipe)",
        15 => " (TERM: somebody asked it to end)",
        _ => "",
    };
    format!("signal {signal}{name}")
}

/// A running process with its pipes.
struct Watched<'a> {
    shared: &'a Shared,
    spec: &'a AttemptSpec,
    /// None once it has been reaped: then the group's number may be used again.
    child: Option<Child>,
    log: &'a mut AttemptLog,
    stop: watch::Receiver<bool>,
    out: Lines,
    err: Lines,
    out_open: bool,
    err_open: bool,
    cause: Option<Cause>,
    timer: Pin<Box<Sleep>>,
    /// When the process is recorded, unless it has ended by then.
    record: Pin<Box<Sleep>>,
}

/// Where a running process is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The timer is the timeout.
    Running,
    /// SIGTERM was sent; the timer is the end of the grace.
    Asked,
    /// SIGKILL was sent.
    Killed,
    /// The main process has ended; the timer bounds the wait for its pipes.
    Ended,
}

/// What happened to it.
enum News {
    Out(std::io::Result<usize>),
    Err(std::io::Result<usize>),
    Ended,
    Stop,
    Record,
    Timer,
}

impl<'a> Watched<'a> {
    fn new(
        shared: &'a Shared,
        child: Child,
        spec: &'a AttemptSpec,
        log: &'a mut AttemptLog,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let keep = log.line_bytes();
        // A timeout beyond what the timer can hold is none: thirty years.
        let timeout = spec.timeout.min(Duration::from_hours(30 * 365 * 24));
        Self {
            shared,
            spec,
            child: Some(child),
            log,
            stop,
            out: Lines::new(keep),
            err: Lines::new(keep),
            out_open: true,
            err_open: true,
            cause: None,
            timer: Box::pin(sleep_until(Instant::now() + timeout)),
            record: Box::pin(tokio::time::sleep(RECORD_AFTER)),
        }
    }

    /// Returns when the main process has ended and its pipes are closed, or have been open too long.
    async fn watch(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let mut out = Vec::with_capacity(READ_BYTES);
        let mut err = Vec::with_capacity(READ_BYTES);
        let mut phase = Phase::Running;
        let mut recorded = false;
        while phase != Phase::Ended || self.out_open || self.err_open {
            let news = tokio::select! {
                read = read(&mut child.out, &mut out), if self.out_open => News::Out(read),
                read = read(&mut child.err, &mut err), if self.err_open => News::Err(read),
                () = child.exit.ended(), if phase != Phase::Ended => News::Ended,
                () = stopped(&mut self.stop), if phase == Phase::Running => News::Stop,
                () = self.record.as_mut(), if !recorded && phase != Phase::Ended => News::Record,
                () = self.timer.as_mut(), if phase != Phase::Killed => News::Timer,
            };
            match news {
                News::Out(read) => self.out_open = self.take(false, &read, &out),
                News::Err(read) => self.err_open = self.take(true, &read, &err),
                News::Ended => {
                    phase = Phase::Ended;
                    self.arm(self.shared.config.linger);
                }
                News::Record => {
                    recorded = true;
                    self.record(&child);
                }
                News::Stop => phase = self.ask(&child, Cause::Stop),
                News::Timer => match phase {
                    Phase::Running => phase = self.ask(&child, Cause::Timeout),
                    Phase::Asked => {
                        system::signal_group(child.pid(), Signal::KILL);
                        phase = Phase::Killed;
                    }
                    Phase::Ended | Phase::Killed => break,
                },
            }
        }
        self.child = Some(child);
    }

    /// Notes which process it is. A crash before that is no harm: the process is found by its marker.
    fn record(&self, child: &Child) {
        let mark = system::mark(child.pid().as_raw_pid().unsigned_abs(), self.shared.boot);
        let (claims, id) = (self.shared.claims.clone(), self.spec.id.clone());
        // The pipes are read meanwhile.
        tokio::spawn(async move {
            if let Err(error) = claims.record(&id, &mark).await {
                tracing::warn!(attempt = %id, %error, "a process was not recorded");
            }
        });
    }

    fn arm(&mut self, after: Duration) {
        self.timer.as_mut().reset(Instant::now() + after);
    }

    fn ask(&mut self, child: &Child, cause: Cause) -> Phase {
        self.cause = Some(cause);
        system::signal_group(child.pid(), Signal::TERM);
        self.arm(self.shared.config.grace);
        Phase::Asked
    }

    /// Takes what was read; false when the stream has ended.
    fn take(&mut self, is_error: bool, read: &std::io::Result<usize>, bytes: &[u8]) -> bool {
        let lines = if is_error {
            &mut self.err
        } else {
            &mut self.out
        };
        let (log, time) = (&mut *self.log, now_ms());
        match read {
            Ok(count) if *count > 0 => {
                lines.feed(bytes, |line, dropped| {
                    log.line(is_error, time, line, dropped);
                });
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Ends whatever is left of the attempt, sees that it is gone, and reads what it wrote last.
    async fn end(mut self, marker: &str) -> (Option<Cause>, std::io::Result<ResUse>) {
        let Some(mut child) = self.child.take() else {
            return (self.cause, Err(std::io::Error::other("it was not watched")));
        };
        let group = child.pid();
        // Its leader is not reaped yet, so the number still means this group.
        system::signal_group(group, Signal::KILL);
        let ended = child.reap_ended().await;
        let gone = system::end_group(group).await;
        let escaped = system::end_escaped(marker).await;
        let mut bytes = Vec::with_capacity(READ_BYTES);
        for is_error in [false, true] {
            for _ in 0..DRAIN_READS {
                bytes.clear();
                let pipe = if is_error { &child.err } else { &child.out };
                let read = pipe.try_read_buf(&mut bytes);
                if !self.take(is_error, &read, &bytes) {
                    break;
                }
            }
        }
        let (log, time) = (self.log, now_ms());
        self.out
            .end(|line, dropped| log.line(false, time, line, dropped));
        self.err
            .end(|line, dropped| log.line(true, time, line, dropped));
        for error in [gone, escaped].into_iter().filter_map(Result::err) {
            log.note(LogLevel::Error, &error.to_string());
        }
        (self.cause, ended)
    }
}

/// Reads into the emptied buffer.
async fn read(pipe: &mut Receiver, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    bytes.clear();
    pipe.read_buf(bytes).await
}

/// Returns once the attempt must end. A sender that is gone asks for nothing any more.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
