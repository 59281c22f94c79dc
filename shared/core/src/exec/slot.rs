//! One task run as the core keeps it: seven bytes.

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(pub u64);

impl Time {
    /// This time plus so many milliseconds.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// State of a task run. Groups, choices, loops and waits are task runs too.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[repr(u8)]
pub enum State {
    /// For its parent, dependencies or a free place in the window.
    #[default]
    Waiting = 0,
    /// The `when` condition is to be evaluated.
    Gate = 1,
    /// Its own value is to be evaluated: branch, loop values, duration.
    Deciding = 2,
    /// The attempt is to be launched, or was and has not been heard of.
    Launching = 3,
    /// The attempt is known to run.
    Running = 4,
    /// The next attempt is due later.
    RetryWait = 5,
    /// Waits for a person or a time.
    Paused = 6,
    /// The attempt is to be stopped and has not been seen stopped.
    Killing = 7,
    /// A group, choice or loop whose body runs.
    Body = 8,
    /// A group whose error handler runs.
    Errors = 9,
    /// A group whose clean-up runs.
    Finally = 10,
    /// Terminal.
    Success = 11,
    /// Terminal: succeeded with a warning, or a failure that is allowed.
    Warning = 12,
    /// Terminal.
    Failed = 13,
    /// Terminal: stopped because the execution was killed.
    Killed = 14,
    /// Terminal: the `when` condition was false.
    Skipped = 15,
    /// Terminal: cannot run because of what happened before it, or its branch was not taken.
    Omitted = 16,
    /// Terminal: never started because the execution was killed or a sibling's failure stops the rest.
    Cancelled = 17,
}

impl State {
    /// Every state, in order of its number.
    pub const ALL: [Self; 18] = [
        Self::Waiting,
        Self::Gate,
        Self::Deciding,
        Self::Launching,
        Self::Running,
        Self::RetryWait,
        Self::Paused,
        Self::Killing,
        Self::Body,
        Self::Errors,
        Self::Finally,
        Self::Success,
        Self::Warning,
        Self::Failed,
        Self::Killed,
        Self::Skipped,
        Self::Omitted,
        Self::Cancelled,
    ];

    /// Whether the task run is over.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Waiting
            | Self::Gate
            | Self::Deciding
            | Self::Launching
            | Self::Running
            | Self::RetryWait
            | Self::Paused
            | Self::Killing
            | Self::Body
            | Self::Errors
            | Self::Finally => false,
            Self::Success
            | Self::Warning
            | Self::Failed
            | Self::Killed
            | Self::Skipped
            | Self::Omitted
            | Self::Cancelled => true,
        }
    }

    /// Whether what depends on it may go on.
    #[must_use]
    pub const fn lets_pass(self) -> bool {
        matches!(self, Self::Success | Self::Warning | Self::Skipped)
    }

    /// Whether an attempt of it may be alive.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Launching | Self::Running | Self::Killing)
    }

    /// Whether its body, error handler or clean-up may run.
    #[must_use]
    pub const fn is_active_group(self) -> bool {
        matches!(self, Self::Body | Self::Errors | Self::Finally)
    }
}

/// Why a task run is in its state. One byte in the shard; words for people.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Reason {
    /// Nothing to say.
    #[default]
    None = 0,
    /// The process ended with a code other than 0.
    ExitCode = 1,
    /// Memory limit exceeded.
    OutOfMemory = 2,
    /// Took longer than its timeout.
    Timeout = 3,
    /// The machine was taken away.
    Interrupted = 4,
    /// The image cannot be pulled.
    CannotPull = 5,
    /// No machine is available.
    NoCapacity = 6,
    /// The attempt vanished without a result.
    Lost = 7,
    /// Launched, may not be repeated, and nobody knows how it ended.
    OutcomeUnknown = 8,
    /// An expression cannot be evaluated.
    Expression = 9,
    /// What the task was given is not valid.
    InvalidInput = 10,
    /// A dependency did not succeed.
    Upstream = 11,
    /// The branch was not taken, or the handler was not needed.
    NotTaken = 12,
    /// A person or a limit of the execution killed it.
    Kill = 13,
    /// A sibling's failure stops what has not started.
    SiblingFailed = 14,
    /// The task itself reports a failure (an assertion, an HTTP status, `Fail`).
    TaskFailed = 15,
    /// A child of the group or an iteration of the loop failed.
    ChildFailed = 16,
    /// An output or an artifact is missing or too large.
    Output = 17,
    /// The runner could not start it.
    Launch = 18,
    /// The execution took longer than its timeout or service level allows.
    ExecutionTimeout = 19,
    /// The concurrency limit was reached.
    ConcurrencyLimit = 20,
    /// Succeeded only after a retry, and the flow wants to hear of it.
    Retried = 21,
    /// A message about it could not be processed.
    Poisoned = 22,
    /// A service level or a pause that nobody answered cancelled it.
    ServiceLevel = 23,
    /// The runtime took the attempt and could not start it; it did nothing.
    StartFailed = 24,
    /// The runtime took the attempt and had not started it when its time to start was over.
    StartTimeout = 25,
    /// A loop was repeated as often, or as long, as it may be, and its condition does not hold.
    LimitReached = 26,
}

impl Reason {
    /// Every reason, in order of its number.
    pub const ALL: [Self; 27] = [
        Self::None,
        Self::ExitCode,
        Self::OutOfMemory,
        Self::Timeout,
        Self::Interrupted,
        Self::CannotPull,
        Self::NoCapacity,
        Self::Lost,
        Self::OutcomeUnknown,
        Self::Expression,
        Self::InvalidInput,
        Self::Upstream,
        Self::NotTaken,
        Self::Kill,
        Self::SiblingFailed,
        Self::TaskFailed,
        Self::ChildFailed,
        Self::Output,
        Self::Launch,
        Self::ExecutionTimeout,
        Self::ConcurrencyLimit,
        Self::Retried,
        Self::Poisoned,
        Self::ServiceLevel,
        Self::StartFailed,
        Self::StartTimeout,
        Self::LimitReached,
    ];

    /// The reason with that number; `None` for an unknown one.
    #[must_use]
    pub fn of(number: u8) -> Self {
        Self::ALL
            .get(usize::from(number))
            .copied()
            .unwrap_or_default()
    }

    /// Whether an attempt that ended so may have done all, some or nothing of its work.
    #[must_use]
    pub const fn leaves_outcome_unknown(self) -> bool {
        matches!(
            self,
            Self::Timeout | Self::OutOfMemory | Self::Interrupted | Self::Lost
        )
    }

    /// Words for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::None => "",
            Self::ExitCode => "exit code",
            Self::OutOfMemory => "out of memory",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::CannotPull => "cannot pull image",
            Self::NoCapacity => "no capacity",
            Self::Lost => "lost",
            Self::OutcomeUnknown => "outcome unknown",
            Self::Expression => "expression error",
            Self::InvalidInput => "invalid input",
            Self::Upstream => "upstream failed",
            Self::NotTaken => "branch not taken",
            Self::Kill => "killed",
            Self::SiblingFailed => "stopped after a failure",
            Self::TaskFailed => "task failed",
            Self::ChildFailed => "child failed",
            Self::Output => "output error",
            Self::Launch => "cannot start",
            Self::ExecutionTimeout => "execution timeout",
            Self::ConcurrencyLimit => "concurrency limit",
            Self::Retried => "retried",
            Self::Poisoned => "poisoned",
            Self::ServiceLevel => "service level missed",
            Self::StartFailed => "start failed",
            Self::StartTimeout => "start timeout",
            Self::LimitReached => "limit reached",
        }
    }

    /// Whether the fault is the infrastructure's: the next attempt is free, up to a bound, and needs no
    /// retry policy (design.md, "How an unchanged image runs on Fargate").
    #[must_use]
    pub const fn is_infrastructure(self) -> bool {
        matches!(
            self,
            Self::Interrupted
                | Self::NoCapacity
                | Self::Lost
                | Self::StartFailed
                | Self::StartTimeout
        )
    }

    /// Whether another attempt could end differently.
    #[must_use]
    pub const fn is_retriable(self) -> bool {
        !matches!(
            self,
            Self::Expression
                | Self::InvalidInput
                | Self::OutcomeUnknown
                | Self::Kill
                | Self::Poisoned
        )
    }
}

/// One task run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Where it is.
    pub state: State,
    /// Live or last attempt, from 1; 0 before the first. Of a loop: how often it began from scratch.
    pub attempt: u8,
    /// Free attempts used up by the infrastructure's faults, 0 to [`Slot::FREE_MAX`].
    pub free: u8,
    /// Terminal: the [`Reason`]. Active choice: the branch. Task in progress: attempts of earlier rounds.
    pub detail: u8,
    /// Task or wait: when it must be looked at, in units of 10 ms since the shard's epoch; 0 means never
    /// by itself. Loop that runs: the number of iterations.
    pub due: u32,
}

impl Slot {
    /// Infrastructure faults forgiven per round. Three bits.
    pub const FREE_MAX: u8 = 7;

    /// Why a terminal task run is in its state.
    #[must_use]
    pub fn reason(&self) -> Reason {
        if self.state.is_terminal() {
            Reason::of(self.detail)
        } else {
            Reason::None
        }
    }
}

/// What one shard knows of a node in another: half a byte.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Seen {
    /// Nothing that matters.
    #[default]
    Nothing = 0,
    /// A group whose body runs.
    Body = 1,
    /// A group whose error handler runs.
    Errors = 2,
    /// A group whose clean-up runs.
    Finally = 3,
    /// See [`State::Success`].
    Success = 4,
    /// See [`State::Warning`].
    Warning = 5,
    /// A warning that hides an unknown outcome.
    WarningUnknown = 6,
    /// See [`State::Failed`].
    Failed = 7,
    /// A failure with an unknown outcome.
    FailedUnknown = 8,
    /// See [`State::Killed`].
    Killed = 9,
    /// See [`State::Skipped`].
    Skipped = 10,
    /// See [`State::Omitted`].
    Omitted = 11,
    /// See [`State::Cancelled`].
    Cancelled = 12,
    /// Success of what holds an unknown outcome that is allowed.
    SuccessUnknown = 13,
    /// Killed with an unknown outcome.
    KilledUnknown = 14,
    /// Cancelled with an unknown outcome inside.
    CancelledUnknown = 15,
}

impl Seen {
    /// Every value, in order of its number.
    pub const ALL: [Self; 16] = [
        Self::Nothing,
        Self::Body,
        Self::Errors,
        Self::Finally,
        Self::Success,
        Self::Warning,
        Self::WarningUnknown,
        Self::Failed,
        Self::FailedUnknown,
        Self::Killed,
        Self::Skipped,
        Self::Omitted,
        Self::Cancelled,
        Self::SuccessUnknown,
        Self::KilledUnknown,
        Self::CancelledUnknown,
    ];

    /// What is to be known of a task run.
    #[must_use]
    pub fn of(slot: &Slot) -> Self {
        let unknown = slot.reason() == Reason::OutcomeUnknown;
        match slot.state {
            State::Waiting
            | State::Gate
            | State::Deciding
            | State::Launching
            | State::Running
            | State::RetryWait
            | State::Paused
            | State::Killing => Self::Nothing,
            State::Body => Self::Body,
            State::Errors => Self::Errors,
            State::Finally => Self::Finally,
            State::Success if unknown => Self::SuccessUnknown,
            State::Success => Self::Success,
            State::Warning if unknown => Self::WarningUnknown,
            State::Warning => Self::Warning,
            State::Failed if unknown => Self::FailedUnknown,
            State::Failed => Self::Failed,
            State::Killed if unknown => Self::KilledUnknown,
            State::Killed => Self::Killed,
            State::Skipped => Self::Skipped,
            State::Omitted => Self::Omitted,
            State::Cancelled if unknown => Self::CancelledUnknown,
            State::Cancelled => Self::Cancelled,
        }
    }

    /// The state it stands for; `Waiting` when nothing that matters is known.
    #[must_use]
    pub const fn state(self) -> State {
        match self {
            Self::Nothing => State::Waiting,
            Self::Body => State::Body,
            Self::Errors => State::Errors,
            Self::Finally => State::Finally,
            Self::Success | Self::SuccessUnknown => State::Success,
            Self::Warning | Self::WarningUnknown => State::Warning,
            Self::Failed | Self::FailedUnknown => State::Failed,
            Self::Killed | Self::KilledUnknown => State::Killed,
            Self::Skipped => State::Skipped,
            Self::Omitted => State::Omitted,
            Self::Cancelled | Self::CancelledUnknown => State::Cancelled,
        }
    }

    /// Whether it holds an unknown outcome.
    #[must_use]
    pub const fn is_unknown(self) -> bool {
        matches!(
            self,
            Self::SuccessUnknown
                | Self::WarningUnknown
                | Self::FailedUnknown
                | Self::KilledUnknown
                | Self::CancelledUnknown
        )
    }
}
