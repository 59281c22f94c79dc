//! Starting the main process of an attempt and waiting for it without a thread.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;
use wait4::ResUse;

use super::system::{pid_of, signal_group};
use crate::runner::stage::StageError;

/// Variables of the machine that a process sees.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];
/// Searched when the machine has no `PATH`.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A script that was just written is busy while another thread starts a process.
const BUSY_TRIES: u32 = 50;

/// Numbers of what was started here and is not reaped yet.
static LEADERS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn leaders() -> MutexGuard<'static, BTreeSet<i32>> {
    LEADERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this number is that of a process started here, which somebody watches. Its number means nobody else before it
/// is reaped, and it is forgotten before that.
pub(super) fn is_leader(pid: u32) -> bool {
    i32::try_from(pid).is_ok_and(|pid| leaders().contains(&pid))
}

/// A started process: leader of its own group, not reaped until [`Child::reap`].
pub(crate) struct Child {
    pid: Pid,
    /// Standard output.
    pub(crate) out: Receiver,
    /// Standard error.
    pub(crate) err: Receiver,
    /// Becomes known when the process ends.
    pub(crate) exit: Exit,
    reaped: bool,
}

/// How the end of the process is noticed. It stays a zombie meanwhile, so its number is not used again.
pub(crate) enum Exit {
    /// A descriptor that becomes readable.
    Descriptor(Pid, Receiver),
    /// A thread that waits; where there are no such descriptors.
    Thread(oneshot::Receiver<()>),
}

/// The environment of a process: little of the machine's, then the attempt's.
pub(crate) fn environment(
    attempt: &BTreeMap<String, String>,
    own: &[(&str, OsString)],
) -> Vec<(OsString, OsString)> {
    let mut all: BTreeMap<OsString, OsString> = INHERITED
        .iter()
        .filter_map(|name| Some((OsString::from(name), env::var_os(name)?)))
        .collect();
    all.entry("PATH".into()).or_insert(PATH_DEFAULT.into());
    for (name, value) in attempt {
        all.insert(name.into(), value.into());
    }
    for (name, value) in own {
        all.insert(name.into(), value.clone());
    }
    all.into_iter().collect()
}

/// Finds a program like a shell does. `Command` would do it too, but then it cannot start processes the
/// fast way.
pub(crate) fn find_program(
    program: &str,
    directory: &Path,
    path: &OsStr,
) -> Result<PathBuf, StageError> {
    let runnable = |file: &Path| {
        file.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        let file = directory.join(program);
        return if runnable(&file) {
            Ok(file)
        } else {
            Err(StageError::launch(format!(
                "`{program}` is not a file that can be executed; check the path and its permissions"
            )))
        };
    }
    env::split_paths(path)
        .map(|place| directory.join(place).join(program))
        .find(|file| runnable(file))
        .ok_or_else(|| {
            StageError::launch(format!(
                "there is no program `{program}` in PATH ({}); install it, or give the task a container image that has it",
                path.display()
            ))
        })
}

impl Child {
    /// Starts a process. Uses `posix_spawn`: nothing here may need code between fork and exec.
    pub(crate) async fn start(
        command: &[String],
        directory: &Path,
        environment: &[(OsString, OsString)],
        use_descriptor: bool,
    ) -> Result<Self, StageError> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(StageError::invalid("the task has no command"));
        };
        let path = environment
            .iter()
            .find(|(name, _)| name == "PATH")
            .map_or(OsStr::new(PATH_DEFAULT), |(_, value)| value);
        let file = find_program(program, directory, path)?;
        let mut command = Command::new(&file);
        command
            .arg0(program)
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut tries = 0;
        let child = loop {
            match command.spawn() {
                Err(error)
                    if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < BUSY_TRIES =>
                {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(u64::from(tries.min(10)))).await;
                }
                Err(error) => return Err(cannot_start(program, &error)),
                Ok(child) => break child,
            }
        };
        Self::adopt(child, use_descriptor)
            .map_err(|error| StageError::launch(format!("`{program}` cannot be watched: {error}")))
    }

    fn adopt(mut child: std::process::Child, use_descriptor: bool) -> io::Result<Self> {
        let pid = pid_of(child.id()).ok_or_else(|| io::Error::other("no process number"))?;
        leaders().insert(pid.as_raw_pid());
        let wired = (|| {
            let out = child.stdout.take().ok_or_else(no_pipe)?;
            let err = child.stderr.take().ok_or_else(no_pipe)?;
            Ok(Self {
                pid,
                out: Receiver::from_owned_fd(out.into())?,
                err: Receiver::from_owned_fd(err.into())?,
                exit: Exit::watch(pid, use_descriptor)?,
                reaped: false,
            })
        })();
        if wired.is_err() {
            signal_group(pid, Signal::KILL);
            leaders().remove(&pid.as_raw_pid());
            let _ = child.wait();
        }
        wired
    }

    /// Its number, and that of its group.
    pub(crate) const fn pid(&self) -> Pid {
        self.pid
    }

    /// Takes the exit status of a process that has been killed or has ended.
    pub(crate) async fn reap_ended(&mut self) -> io::Result<ResUse> {
        let pid = self.pid.as_raw_pid().unsigned_abs();
        leaders().remove(&self.pid.as_raw_pid());
        loop {
            if let Some(used) = wait4::try_wait4_pid(pid)? {
                self.reaped = true;
                return Ok(used);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Child {
    /// The task that watched it was dropped, with the whole engine: nothing may go on unwatched.
    fn drop(&mut self) {
        if !self.reaped {
            signal_group(self.pid, Signal::KILL);
            leaders().remove(&self.pid.as_raw_pid());
            let _ = wait4::try_wait4_pid(self.pid.as_raw_pid().unsigned_abs());
        }
    }
}

impl Exit {
    /// Returns once the process has ended. May be dropped and called again, but not after it returned.
    pub(crate) async fn ended(&mut self) {
        match self {
            Self::Descriptor(pid, descriptor) => loop {
                // Readiness is a hint; an error means that the descriptor cannot be watched any more.
                let _ = descriptor.readable().await;
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
                match waitid(WaitId::Pid(*pid), options) {
                    Ok(None) | Err(Errno::INTR) => {}
                    Ok(Some(_)) | Err(_) => return,
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            },
            Self::Thread(done) => {
                let _ = done.await;
            }
        }
    }

    fn watch(pid: Pid, use_descriptor: bool) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if use_descriptor
            && let Ok(descriptor) =
                rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK)
        {
            // Not a pipe, but all that is asked of it is readiness.
            let descriptor = Receiver::from_owned_fd_unchecked(descriptor)?;
            return Ok(Self::Descriptor(pid, descriptor));
        }
        let (send, done) = oneshot::channel();
        std::thread::Builder::new()
            .name(format!("wait-{}", pid.as_raw_pid()))
            .stack_size(64 * 1024)
            .spawn(move || {
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
                while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
                let _ = send.send(());
            })?;
        Ok(Self::Thread(done))
    }
}

fn no_pipe() -> io::Error {
    io::Error::other("the pipe is missing")
}

fn cannot_start(program: &str, error: &io::Error) -> StageError {
    let kind = error.kind();
    if kind == io::ErrorKind::ArgumentListTooLong {
        StageError::invalid(format!(
            "`{program}` cannot be started: its arguments and environment are too large; pass large values as input files"
        ))
    } else if kind == io::ErrorKind::NotFound {
        StageError::launch(format!(
            "`{program}` cannot be started: the interpreter named in its first line is missing"
        ))
    } else {
        StageError::launch(format!("`{program}` cannot be started: {error}"))
    }
}
