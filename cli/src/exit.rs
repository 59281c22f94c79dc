//! Exit codes, and the words before them when a command cannot do what it should.

use std::process::ExitCode;

use crate::output::Console;

/// How the process ends. Documented in `operon --help` and `docs/cli.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done; an execution succeeded, with or without warnings.
    Success,
    /// 1: an execution failed, was cancelled or was tried again as another one, or something went wrong that is not the user's fault.
    Failure,
    /// 2: an invalid flow, input, or command line.
    Usage,
    /// 3: an execution was killed.
    Killed,
    /// 130: left while an execution was unfinished; it can be resumed.
    Left,
}

impl Exit {
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Killed => 3,
            Self::Left => 130,
        })
    }

    /// For the end of an execution.
    pub(crate) fn of_state(state: &str) -> Self {
        match state {
            "SUCCESS" | "WARNING" | "SKIPPED" => Self::Success,
            "KILLED" => Self::Killed,
            _ => Self::Failure,
        }
    }

    /// The worse of two, for commands about several executions.
    pub(crate) fn worse(self, other: Self) -> Self {
        let rank = |exit: Self| match exit {
            Self::Success => 0,
            Self::Killed => 1,
            Self::Failure => 2,
            Self::Usage => 3,
            Self::Left => 4,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }
}

/// Something the user can put right: exit code 2.
#[derive(Debug)]
pub(crate) struct Usage {
    message: String,
    help: Option<String>,
}

impl Usage {
    /// What is wrong.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    /// What to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Usage {}

/// Says what went wrong; the exit code follows from its kind.
pub(crate) fn failure(console: &Console, error: &anyhow::Error) -> Exit {
    let usage = error.downcast_ref::<Usage>();
    console.flush();
    console.error(&format!("{error:#}"));
    if let Some(help) = usage.and_then(|usage| usage.help.as_ref()) {
        console.help(help);
    }
    if usage.is_some() {
        Exit::Usage
    } else {
        Exit::Failure
    }
}

/// What clap says; its help and version are no failures.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // There is nobody to tell when the terminal is gone.
    let _ = error.print();
    if error.use_stderr() {
        Exit::Usage.code()
    } else {
        Exit::Success.code()
    }
}
