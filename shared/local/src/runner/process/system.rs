//! What the system knows of processes: `/proc`, signals to groups, and who escaped from one.
//!
//! A process is recognized as part of an attempt by its group, or by the marker variable that it inherits.
//! A descendant that both leaves the group and clears its environment cannot be found; a container can.
//! Where there is no `/proc` (macOS), only groups are seen.

use std::fs;
use std::io;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, test_kill_process_group,
    waitpgid, waitpid,
};

use super::child::is_leader;
use crate::runner::claims::ProcessMark;

/// Name of the marker variable: `<engine>/<attempt id>`.
pub(crate) const MARKER: &str = "OPERON_ATTEMPT_ID";
/// How long the system may take to end what was killed, before that is reported.
const GONE_MAX: Duration = Duration::from_secs(10);

/// A positive process number as the system calls want it.
pub(crate) fn pid_of(raw: u32) -> Option<Pid> {
    i32::try_from(raw).ok().and_then(Pid::from_raw)
}

/// Makes orphans of our descendants our children, where the system can, so that they are found and reaped.
pub(crate) fn become_subreaper() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_child_subreaper(Some(getpid())) {
        tracing::debug!(%error, "orphans cannot be adopted");
    }
}

/// Which start of the machine this is; empty where the system does not tell.
pub(crate) fn boot_id() -> &'static str {
    static BOOT: LazyLock<String> = LazyLock::new(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|id| id.trim().to_owned())
            .unwrap_or_default()
    });
    &BOOT
}

/// The interesting fields of `/proc/<pid>/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    zombie: bool,
    session: i32,
    started: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The command name, in parentheses, may hold anything: fields count from the last `)`.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?; // Field 3.
    Some(Stat {
        zombie: matches!(state, "Z" | "X"),
        session: fields.nth(2)?.parse().ok()?,  // Field 6.
        started: fields.nth(15)?.parse().ok()?, // Field 22.
    })
}

/// The mark of a child that has not been reaped. Without `/proc` its start is 0.
pub(crate) fn mark(pid: u32, boot: &str) -> ProcessMark {
    ProcessMark {
        pid,
        started: stat(pid).map_or(0, |stat| stat.started),
        boot: boot.to_owned(),
    }
}

/// Whether exactly this process runs. One whose start is unknown is not claimed to.
pub(crate) fn is_alive(mark: &ProcessMark, boot: &str) -> bool {
    mark.started != 0
        && mark.boot == boot
        && stat(mark.pid).is_some_and(|stat| stat.started == mark.started && !stat.zombie)
}

/// Sends a signal to a whole group; one that is gone is no error.
pub(crate) fn signal_group(group: Pid, signal: Signal) {
    match kill_process_group(group, signal) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => {
            tracing::warn!(group = group.as_raw_pid(), %error, "cannot signal a process group");
        }
    }
}

/// Kills a group whose leader has been reaped and waits until nothing of it is there.
pub(crate) async fn end_group(group: Pid) -> io::Result<()> {
    let start = Instant::now();
    loop {
        // Its orphans are ours when we adopt them; then nobody else reaps them.
        while matches!(waitpgid(group, WaitOptions::NOHANG), Ok(Some(_))) {}
        if test_kill_process_group(group) == Err(Errno::SRCH) {
            return Ok(());
        }
        signal_group(group, Signal::KILL);
        pause(start, "processes of the attempt do not end after SIGKILL").await?;
    }
}

/// Kills what left its group but carries the marker; returns when nothing of it is there.
pub(crate) async fn end_escaped(marker: &str) -> io::Result<()> {
    let start = Instant::now();
    while kill_escaped(marker) {
        pause(
            start,
            "processes of the attempt that left its group do not end after SIGKILL",
        )
        .await?;
    }
    Ok(())
}

async fn pause(start: Instant, what: &str) -> io::Result<()> {
    if start.elapsed() > GONE_MAX {
        return Err(io::Error::other(what));
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
    Ok(())
}

/// One round of [`end_escaped`]; true when something was found.
fn kill_escaped(marker: &str) -> bool {
    // Orphans become children of the main thread: one short file instead of all of `/proc`.
    let own = getpid().as_raw_pid();
    let Ok(children) = fs::read_to_string(format!("/proc/self/task/{own}/children")) else {
        return kill_marked(|found| found == marker) > 0;
    };
    let mut found = false;
    for pid in children
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        // What other attempts started is no orphan, and looking at it costs as much as a short task.
        .filter(|pid| !is_leader(*pid))
    {
        if marker_of(pid).as_deref() == Some(marker) {
            found = true;
            kill(pid);
        }
        reap_stranger(pid);
    }
    found
}

/// Reaps a zombie that we adopted: one of another session, because our own children stay in ours until
/// they are adopted with their group, and that [`end_group`] reaps.
fn reap_stranger(pid: u32) {
    // Both from `/proc`: within a PID namespace a session from outside is 0 there, and `getsid` cannot say that.
    let own = stat(std::process::id()).map_or(0, |stat| stat.session);
    let strange = stat(pid).is_some_and(|stat| stat.zombie && stat.session != own);
    if strange && let Some(pid) = pid_of(pid) {
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// Kills every process whose marker `wanted` accepts; gives their number.
fn kill_marked(wanted: impl Fn(&str) -> bool) -> usize {
    let Ok(entries) = fs::read_dir("/proc") else {
        return 0;
    };
    let own = std::process::id();
    let mut killed = 0;
    for entry in entries.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if pid != own && marker_of(pid).is_some_and(|marker| wanted(&marker)) {
            killed += 1;
            kill(pid);
            reap_stranger(pid);
        }
    }
    killed
}

fn kill(pid: u32) {
    if let Some(pid) = pid_of(pid)
        && let Err(error) = kill_process(pid, Signal::KILL)
        && error != Errno::SRCH
    {
        tracing::warn!(pid = pid.as_raw_pid(), %error, "cannot kill a process");
    }
}

/// The marker in a process's environment. Zombies have none.
fn marker_of(pid: u32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|variable| {
        let value = variable
            .strip_prefix(MARKER.as_bytes())?
            .strip_prefix(b"=")?;
        String::from_utf8(value.to_vec()).ok()
    })
}

/// Kills everything with exactly this marker, wherever it is; true when there was something.
pub(crate) async fn end_marked(marker: &str) -> io::Result<bool> {
    let start = Instant::now();
    let mut any = false;
    while kill_marked(|found| found == marker) > 0 {
        any = true;
        pause(start, "processes of the attempt do not end after SIGKILL").await?;
    }
    Ok(any)
}

/// Notices that the machine killed processes for want of memory. Asked only when a process was killed.
#[derive(Debug)]
pub(crate) struct MemoryWatch(Mutex<MemoryKills>);

#[derive(Debug, Default)]
struct MemoryKills {
    count: Option<u64>,
    grown_ms: u64,
}

impl MemoryWatch {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(MemoryKills {
            count: memory_kills(),
            grown_ms: 0,
        }))
    }

    /// Whether the number of kills has grown, as far as one can tell, after `started_ms`.
    pub(crate) fn killed_since(&self, started_ms: u64, now_ms: u64) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = memory_kills();
        if count > last.count {
            last.count = count;
            last.grown_ms = now_ms;
        }
        last.grown_ms >= started_ms && last.grown_ms > 0
    }
}

fn memory_kills() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_command_name_cannot_forge_fields() {
        let text = "42 (a) Z 1 (b) S 7 42 43 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9876 0 0";
        assert_eq!(
            parse_stat(text).unwrap(),
            Stat {
                zombie: false,
                session: 43,
                started: 9876
            }
        );
    }

    #[test]
    fn we_are_alive_and_a_process_that_had_our_number_is_not() {
        let boot = boot_id();
        let mut mark = mark(std::process::id(), boot);
        assert!(is_alive(&mark, boot));
        assert!(!is_alive(&mark, "another start of the machine"));
        mark.started -= 1;
        assert!(!is_alive(&mark, boot));
        mark.started = 0;
        assert!(!is_alive(&mark, boot));
    }
}
