//! Failpoints: the process dies at its n-th write, and everything after that fails too until it is started again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whether a write that kills the process took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It did not.
    Before,
    /// It did, and nobody heard.
    After,
}

#[derive(Debug, Default)]
struct State {
    armed: Option<(u64, When)>,
    dead: bool,
    writes: u64,
    last: &'static str,
    counts: BTreeMap<(&'static str, &'static str), u64>,
}

/// Counts requests, and fails them.
#[derive(Debug, Default)]
pub struct Faults(Mutex<State>);

impl Faults {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the process at the write with this number, counted from 0 and from now.
    pub fn kill_at(&self, write: u64, when: When) {
        let mut state = self.lock();
        state.armed = Some((write, when));
        state.writes = 0;
    }

    /// Starts the process again; whether it was dead.
    pub fn revive(&self) -> bool {
        std::mem::take(&mut self.lock().dead)
    }

    /// Whether the armed failpoint was reached.
    #[must_use]
    pub fn fired(&self) -> bool {
        self.lock().armed.is_none()
    }

    /// What the process was about when it was killed.
    #[must_use]
    pub fn last(&self) -> &'static str {
        self.lock().last
    }

    /// Requests so far, by service and kind.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.lock().counts.clone()
    }

    /// Requests so far to one service.
    #[must_use]
    pub fn count(&self, service: &str) -> u64 {
        let state = self.lock();
        let own = state.counts.iter().filter(|((of, _), _)| *of == service);
        own.map(|(_, count)| count).sum()
    }

    /// Forgets what was counted.
    pub fn reset_counts(&self) {
        self.lock().counts.clear();
    }

    /// Counts a request that nobody can fail.
    pub fn add(&self, service: &'static str, what: &'static str) {
        *self.lock().counts.entry((service, what)).or_default() += 1;
    }

    /// A request that only reads.
    pub fn read(&self, service: &'static str, what: &'static str) -> Result<(), String> {
        let mut state = self.lock();
        if state.dead {
            return Err("the process is dead".to_owned());
        }
        *state.counts.entry((service, what)).or_default() += 1;
        Ok(())
    }

    /// A request that writes or sends: a failpoint.
    pub fn write<T>(
        &self,
        service: &'static str,
        what: &'static str,
        effect: impl FnOnce() -> T,
    ) -> Result<T, String> {
        let hit = {
            let mut state = self.lock();
            if state.dead {
                return Err("the process is dead".to_owned());
            }
            *state.counts.entry((service, what)).or_default() += 1;
            let number = state.writes;
            state.writes += 1;
            let hit = state
                .armed
                .filter(|(at, _)| *at == number)
                .map(|(_, when)| when);
            if hit.is_some() {
                state.armed = None;
                state.dead = true;
                state.last = what;
            }
            hit
        };
        match hit {
            Some(When::Before) => Err("killed before a write".to_owned()),
            Some(When::After) => {
                drop(effect());
                Err("killed after a write".to_owned())
            }
            None => Ok(effect()),
        }
    }
}
