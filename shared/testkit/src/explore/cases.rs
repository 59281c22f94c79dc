//! What is explored: on every push, at leisure, and with mistakes put in.

use super::flows::{
    barrier, chain, clean_up, diamond, flow_retry, guarded, lock, nap, once, quarantine, repeated,
    repeated_once, retried, tolerant, turnstile, two_parts,
};
use super::{Faults, Invariant, Mutant, Setup};

/// A configuration with the faults to explore it under.
#[derive(Debug, Clone)]
pub struct Case {
    /// What.
    pub setup: Setup,
    /// Under which faults.
    pub faults: Faults,
}

fn case(setup: Setup, faults: Faults) -> Case {
    Case { setup, faults }
}

/// Faults beyond the four of [`Faults::of`].
const fn also(infrastructure: u8, timeout: u8, kill: u8, restart: u8) -> Faults {
    Faults {
        infrastructure,
        timeout,
        kill,
        restart,
        ..Faults::NONE
    }
}

/// A launch that comes again when the runtime has forgotten that it was made.
const fn expiry() -> Faults {
    Faults {
        expiry: 1,
        ..Faults::of(1, 1, 0, 1)
    }
}

/// The cases that the tests run: together some million worlds.
#[must_use]
pub fn small() -> Vec<Case> {
    let none = Faults::NONE;
    vec![
        case(chain(), Faults::of(1, 0, 0, 0)),
        case(chain(), Faults::of(0, 1, 1, 0)),
        case(chain().without_sweeper(), Faults::of(2, 1, 0, 1)),
        case(diamond(), none),
        case(chain().without_sweeper(), expiry()),
        case(nap(), Faults::of(2, 2, 2, 0)),
        case(guarded(), Faults::of(0, 0, 1, 0)),
        case(
            once(),
            Faults {
                infrastructure: 1,
                ..Faults::of(1, 0, 1, 1)
            },
        ),
        case(retried(), Faults::of(1, 0, 1, 0)),
        case(retried(), also(1, 0, 0, 0)),
        case(
            retried(),
            Faults {
                kill: 1,
                ..Faults::of(1, 0, 0, 0)
            },
        ),
        case(
            retried(),
            Faults {
                restart: 1,
                ..Faults::of(0, 0, 0, 1)
            },
        ),
        case(clean_up(), Faults::of(0, 0, 0, 1)),
        case(lock().without_sweeper(), none),
        case(turnstile().without_sweeper(), Faults::of(0, 1, 0, 0)),
        case(two_parts().without_sweeper(), Faults::of(0, 1, 0, 0)),
        case(barrier().without_sweeper(), none),
        case(repeated_once().without_sweeper(), none),
        case(
            tolerant().without_sweeper(),
            Faults {
                restart: 1,
                ..Faults::of(0, 0, 0, 1)
            },
        ),
    ]
}

/// The cases that take minutes and gigabytes each.
#[must_use]
pub fn large() -> Vec<Case> {
    vec![
        case(chain(), Faults::of(1, 1, 0, 0)),
        case(chain(), Faults::of(1, 0, 1, 0)),
        case(chain(), Faults::of(2, 0, 0, 0)),
        case(chain(), Faults::of(0, 1, 0, 1)),
        case(chain(), Faults::of(0, 0, 1, 1)),
        case(diamond(), Faults::of(1, 0, 0, 0)),
        case(diamond(), Faults::of(0, 1, 0, 0)),
        case(diamond(), Faults::of(0, 0, 1, 0)),
        case(diamond().without_sweeper(), Faults::of(2, 1, 0, 1)),
        case(
            nap(),
            Faults {
                kill: 1,
                ..Faults::of(2, 2, 2, 0)
            },
        ),
        case(guarded(), Faults::of(1, 0, 1, 0)),
        case(
            once(),
            Faults {
                infrastructure: 1,
                ..Faults::of(1, 1, 1, 1)
            },
        ),
        case(retried(), Faults::of(1, 1, 0, 1)),
        case(retried(), also(1, 1, 0, 0)),
        case(retried(), also(0, 0, 1, 1)),
        case(
            retried(),
            Faults {
                kill: 1,
                ..Faults::of(1, 1, 1, 0)
            },
        ),
        case(clean_up(), Faults::of(1, 0, 0, 1)),
        case(flow_retry(), Faults::of(0, 0, 0, 1)),
        case(lock(), Faults::NONE),
        // Not without a sweeper: who took an execution out of the queue and died before telling it had the message of
        // another execution, whose redelivery cannot know. That it is due heals it.
        case(lock(), Faults::of(1, 0, 0, 0)),
        case(lock().without_sweeper(), Faults::of(0, 1, 0, 0)),
        case(lock(), Faults::of(0, 0, 1, 0)),
        case(turnstile(), Faults::of(1, 0, 0, 0)),
        case(turnstile(), Faults::of(0, 0, 1, 0)),
        case(turnstile(), Faults::of(1, 1, 1, 0)),
        case(quarantine().without_sweeper(), also(1, 0, 0, 0)),
        case(quarantine(), also(1, 0, 0, 0)),
        case(
            quarantine(),
            Faults {
                infrastructure: 1,
                ..Faults::of(1, 0, 0, 0)
            },
        ),
        case(quarantine(), also(0, 0, 1, 0)),
        case(
            turnstile(),
            Faults {
                kill: 1,
                ..Faults::of(1, 0, 1, 0)
            },
        ),
        case(two_parts(), also(0, 0, 1, 0)),
        case(
            two_parts(),
            Faults {
                kill: 1,
                ..Faults::of(0, 0, 1, 0)
            },
        ),
        case(two_parts(), Faults::NONE),
        case(two_parts().without_sweeper(), Faults::of(1, 1, 0, 0)),
        case(two_parts().without_sweeper(), Faults::of(1, 0, 0, 0)),
        case(two_parts(), Faults::of(0, 0, 1, 0)),
        case(two_parts(), Faults::of(1, 0, 1, 0)),
        case(barrier().without_sweeper(), Faults::of(1, 0, 0, 0)),
        case(barrier().without_sweeper(), Faults::of(0, 1, 0, 0)),
        case(barrier(), Faults::of(0, 0, 1, 0)),
        case(barrier(), Faults::of(1, 0, 1, 0)),
        case(barrier(), also(0, 0, 1, 0)),
        case(repeated().without_sweeper(), Faults::NONE),
        case(repeated_once().without_sweeper(), Faults::of(1, 0, 0, 0)),
        case(repeated_once().without_sweeper(), Faults::of(0, 1, 0, 0)),
        case(repeated_once(), Faults::of(0, 0, 1, 0)),
        case(repeated_once(), also(0, 0, 1, 0)),
    ]
}

/// A mistake, where it shows, and what it must break; nothing means that it is harmless there.
#[derive(Debug, Clone)]
pub struct MutantCase {
    /// For people.
    pub name: &'static str,
    /// Where and under which faults.
    pub case: Case,
    /// The mistake; none for one that is in the setup, such as a missing sweeper.
    pub mutant: Option<Mutant>,
    /// What it must break.
    pub breaks: Option<Invariant>,
}

/// Every mutant of the design's own model, in its order.
#[must_use]
pub fn mutants() -> Vec<MutantCase> {
    let without = || chain().without_sweeper();
    let mutant = |name, setup, faults, mutant, breaks| MutantCase {
        name,
        case: case(setup, faults),
        mutant,
        breaks,
    };
    let crash = Faults::of(1, 0, 0, 0);
    let stuck = Some(Invariant::EndIsReachable);
    let twice = Some(Invariant::OneTaskPerAttempt);
    vec![
        mutant(
            "M1 delete before sending",
            without(),
            crash,
            Some(Mutant::AcknowledgeFirst),
            stuck,
        ),
        mutant(
            "M2 send only on change",
            without(),
            crash,
            Some(Mutant::SendOnChangeOnly),
            stuck,
        ),
        mutant(
            "M3 no sweeper",
            without(),
            Faults::of(0, 0, 1, 0),
            None,
            stuck,
        ),
        mutant(
            "M4 never ask",
            chain(),
            Faults::of(0, 0, 1, 0),
            Some(Mutant::NeverAsk),
            stuck,
        ),
        mutant(
            "M5 write unconditionally",
            diamond().without_sweeper(),
            Faults::of(0, 1, 0, 0),
            Some(Mutant::UnconditionalWrite),
            Some(Invariant::TerminalIsFinal),
        ),
        mutant(
            "M6 random token, no fence",
            without(),
            crash,
            Some(Mutant::RandomTokenNoFence),
            twice,
        ),
        mutant(
            "M7 random token",
            without(),
            crash,
            Some(Mutant::RandomToken),
            twice,
        ),
        mutant(
            "M8 no fence",
            without(),
            Faults::of(1, 1, 0, 1),
            Some(Mutant::NoFence),
            None,
        ),
        mutant(
            "M8 no fence, tokens expire",
            without(),
            expiry(),
            Some(Mutant::NoFence),
            twice,
        ),
        mutant(
            "M9 reports not fenced by attempt",
            without(),
            Faults::of(0, 1, 0, 1),
            Some(Mutant::UnfencedCompletion),
            Some(Invariant::RealOutcome),
        ),
        mutant(
            "M10 dependencies counted by reports",
            diamond().without_sweeper(),
            Faults::of(0, 1, 0, 0),
            Some(Mutant::DependencyCounter),
            Some(Invariant::DependenciesFirst),
        ),
    ]
}
