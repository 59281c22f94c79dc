//! What every attempt, condition and person will do, fixed before the simulation starts.
//!
//! Invariant: an answer depends on the seed, the execution, the task run's name and its attempt or round, and
//! on nothing that the order of messages can change. The oracle and the runtime read the same script.

use operon_core::exec::{Outcome, Reason, Verdict};

/// How an attempt goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It ends, and says how.
    Ends(Outcome),
    /// It is gone without a word; the runtime knows, when asked.
    Vanishes,
    /// It goes on until it is stopped.
    Hangs,
}

/// The script of a simulation.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    seed: u64,
    /// Attempts of 100 that do not succeed.
    failing: u64,
    /// Whether attempts may vanish or hang, which only a sweeper can notice.
    silent: bool,
}

/// How attempts fail that say so.
const REASONS: [Reason; 12] = [
    Reason::ExitCode,
    Reason::ExitCode,
    Reason::ExitCode,
    Reason::TaskFailed,
    Reason::OutOfMemory,
    Reason::Interrupted,
    Reason::Interrupted,
    Reason::CannotPull,
    Reason::NoCapacity,
    Reason::Output,
    Reason::InvalidInput,
    Reason::Timeout,
];

impl Script {
    /// A script in which `failing` of 100 attempts fail.
    #[must_use]
    pub const fn new(seed: u64, failing: u64, silent: bool) -> Self {
        Self {
            seed,
            failing,
            silent,
        }
    }

    /// A number that depends on all of its arguments.
    fn roll(&self, what: &str, execution: usize, name: &str, number: u32) -> u64 {
        let bytes = what.bytes().chain(name.bytes());
        let text = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let place = (execution as u64) << 32 | u64::from(number);
        mix(mix(self.seed ^ text).wrapping_add(place))
    }

    /// How an attempt of a task run goes.
    #[must_use]
    pub fn fate(&self, execution: usize, name: &str, attempt: u8) -> Fate {
        let roll = self.roll("fate", execution, name, u32::from(attempt));
        let detail = roll >> 32;
        if roll % 100 >= self.failing {
            return Fate::Ends(if detail.is_multiple_of(20) {
                Outcome::Warning
            } else {
                Outcome::Success
            });
        }
        match detail % 16 {
            0 | 1 if self.silent => Fate::Vanishes,
            2 if self.silent => Fate::Hangs,
            _ => {
                let index = usize::try_from(detail / 16).unwrap_or(0) % REASONS.len();
                Fate::Ends(Outcome::Failed(REASONS[index]))
            }
        }
    }

    /// What the `when` condition of a task run gives.
    #[must_use]
    pub fn gate(&self, execution: usize, name: &str, round: u8) -> Verdict {
        match self.roll("gate", execution, name, u32::from(round)) % 20 {
            0 if self.failing > 0 => Verdict::Error,
            1..=5 => Verdict::Gate(false),
            _ => Verdict::Gate(true),
        }
    }

    /// Whether a repeated loop is over after the iteration that a check belongs to.
    #[must_use]
    pub fn holds(&self, execution: usize, name: &str, round: u8) -> Verdict {
        match self.roll("holds", execution, name, u32::from(round)) % 25 {
            0 if self.failing > 0 => Verdict::Error,
            1..=4 => Verdict::Gate(true),
            _ => Verdict::Gate(false),
        }
    }

    /// Which branch a choice takes.
    #[must_use]
    pub fn branch(&self, execution: usize, name: &str, round: u8, branches: usize) -> Verdict {
        let roll = self.roll("branch", execution, name, u32::from(round));
        let branch = usize::try_from(roll >> 8).unwrap_or(0) % (branches + 1);
        match roll % 25 {
            0 if self.failing > 0 => Verdict::Error,
            _ if branch == branches => Verdict::Branch(None),
            _ => Verdict::Branch(u8::try_from(branch).ok()),
        }
    }

    /// Whether a person answers a pause with yes. Not by round: an answer may come late.
    #[must_use]
    pub fn resumes(&self, execution: usize, name: &str) -> bool {
        self.failing == 0 || !self.roll("resume", execution, name, 0).is_multiple_of(8)
    }
}

/// Spreads a number over 64 bits (the finaliser of `SplitMix64`, Steele et al. 2014).
pub(super) const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
