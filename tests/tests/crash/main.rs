//! `kill -9` of `operon` at any moment loses nothing.
//!
//! A flow of some fifty task runs is started by the real binary. The process (not its children) gets SIGKILL
//! after a random delay, `operon resume` takes the execution up, gets SIGKILL too, and so on; at last it may
//! finish. Every attempt leaves lines in a file outside the state directory, written by its script; what
//! happened is read from there, and from what `operon executions show` says.
//!
//! Holds invariants 2 and 3 of `docs/ARCHITECTURE.md`: at most one live attempt of a task run, no attempt
//! launched twice, a task with `idempotent: false` launched at most once. Also: nothing an engine started is
//! alive once its successor works, order and windows are kept, and what was accepted is complete.
//!
//! ```text
//! cargo test -p operon-tests --test crash -- --nocapture
//! OPERON_CRASH_SEED=7 …     one campaign only: how a failure is repeated (timing stays random)
//! OPERON_CRASH_KILLS=5000 … kills in all; 200 without it
//! OPERON_BIN=/path/operon … this binary; without it, the test builds one with `cargo build -p operon`
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod binary;
mod campaign;
mod journal;
mod processes;
mod random;
mod verdict;

use std::path::PathBuf;
use std::sync::Mutex;

use campaign::{Budget, Campaign, Tally};

/// Kills in all, unless `OPERON_CRASH_KILLS` says otherwise.
const KILLS: u32 = 200;
/// State directories that are worked on at the same time.
const LANES: u64 = 4;
/// Seed of the first campaign; the others follow.
const FIRST_SEED: u64 = 1;

/// What is shared by all lanes.
struct Progress {
    binary: PathBuf,
    budget: Budget,
    tally: Mutex<Tally>,
    failures: Mutex<Vec<String>>,
}

impl Progress {
    /// One campaign; false when it failed.
    fn campaign(&self, seed: u64) -> bool {
        let mut campaign = Campaign::new(&self.binary, seed);
        match campaign.run(&self.budget) {
            Ok(tally) => {
                eprintln!("seed {seed}: {tally}");
                self.tally.lock().unwrap().add(&tally);
                true
            }
            Err(what) => {
                let kept = campaign.keep();
                let failure = format!(
                    "seed {seed}: {what}\n  everything is kept in {}\n  again: OPERON_CRASH_SEED={seed} cargo test -p operon-tests --test crash -- --nocapture",
                    kept.display()
                );
                eprintln!("{failure}");
                self.failures.lock().unwrap().push(failure);
                false
            }
        }
    }

    fn lane(&self, lane: u64) {
        let mut seed = FIRST_SEED + lane;
        while self.budget.is_left() && self.campaign(seed) {
            seed += LANES;
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| {
        panic!("{variable} must be a number, not `{text}`");
    }))
}

#[test]
fn kill_9_at_any_moment_loses_nothing() {
    let kills_wanted =
        number("OPERON_CRASH_KILLS").map_or(KILLS, |kills| kills.try_into().unwrap());
    let progress = Progress {
        binary: binary::operon(),
        budget: Budget::new(kills_wanted),
        tally: Mutex::default(),
        failures: Mutex::default(),
    };
    let seed = number("OPERON_CRASH_SEED");
    if let Some(seed) = seed {
        progress.campaign(seed);
    } else {
        std::thread::scope(|scope| {
            for lane in 0..LANES {
                let progress = &progress;
                scope.spawn(move || progress.lane(lane));
            }
        });
    }
    let failures = progress.failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let tally = progress.tally.into_inner().unwrap();
    eprintln!("in all: {tally}");
    if seed.is_none() && kills_wanted >= KILLS {
        // The test itself is tested: what it is about must have happened.
        assert!(tally.kills >= kills_wanted, "{tally}");
        assert!(tally.repeated > 0, "no kill hit an attempt: {tally}");
        assert!(
            tally.unknown > 0,
            "no kill hit a task that must not be repeated: {tally}"
        );
        assert!(tally.orphans > 0, "no process outlived its engine: {tally}");
    }
}
